"""8-bit fine-tuning: what is computed, what learns, and what a stage leaves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from polystill.config import parse_recipe
from polystill.errors import UserError
from polystill.models.folder import load_model
from polystill.models.pruning import matrices
from polystill.models.supernets import Supernets
from polystill.objectives.nll import Nll
from polystill.training.loop import train_family
from polystill.training.quantization import Quantizer, rounded
from polystill.training.update import BatchLoss


def test_weights_are_rounded_by_row() -> None:
    weight = torch.tensor([[63.0, 0.4, -1.6], [0.0, 0.0, 0.0], [-6.3, 0.16, 0.0]])
    expected = torch.tensor([[63.0, 0.0, -2.0], [0.0, 0.0, 0.0], [-6.3, 0.2, 0.0]])
    torch.testing.assert_close(rounded(weight), expected)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_gradients_of_rounded_weights_are_those_of_the_exact_ones(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model().eval(), make_batch()
    twin = copy.deepcopy(model)
    for matrix in matrices(twin).values():
        matrix.data = rounded(matrix.data)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses = []
    for each, quantizer in ((model, Quantizer(Supernets(model), [""])), (twin, Quantizer(Supernets(twin)))):
        with quantizer():
            loss = BatchLoss(Supernets(each), Nll(), "plain")(batch, [each.teacher]).loss
            loss.backward()
        losses.append(loss.detach())
    assert torch.equal(*losses)
    for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, before[name]), name
        assert one.grad is not None and other.grad is not None and torch.equal(one.grad, other.grad), name


def test_other_supernets_are_not_rounded(make_model: Any) -> None:
    models = {"": make_model(), "small": make_model()}
    before = copy.deepcopy({name: matrices(model) for name, model in models.items()})
    quantizer = Quantizer(Supernets(models[""], {"small": models["small"]}), ["small"])
    assert quantizer.copied_bytes == sum(4 * matrix.numel() for matrix in before["small"].values())
    with quantizer():
        for name, model in models.items():
            equal = [torch.equal(matrix, before[name][key]) for key, matrix in matrices(model).items()]
            assert equal == [not name] * len(equal)


def test_weights_are_exact_again_after_an_error(make_model: Any) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyboardInterrupt), Quantizer(Supernets(model), [""])():
        raise KeyboardInterrupt
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_stage_chooses_by_rounded_weights_and_keeps_exact_ones(
    counting_recipe: dict[str, Any], prepared_run: Any
) -> None:
    """At a learning rate of almost zero, the stages differ by what they compute only."""
    counting_recipe["training"].update(learning_rate=1e-12, weight_decay=0.0)
    runs = {}
    for name, more in (("exact", {}), ("int8", {"quantization": "int8"})):
        recipe = {**counting_recipe, "stages": [{"name": "one", "updates": 2, **more}]}
        runs[name] = prepared_run(recipe, name)
        train_family(runs[name])
    exact, int8 = (runs[name].record("training.one")["validation"]["cross_entropy"] for name in ("exact", "int8"))
    assert all(exact[name] != int8[name] for name in exact)
    assert int8 == pytest.approx(exact, rel=0.01)
    assert runs["int8"].record("training.one")["quantization"] == "int8"
    weights = matrices(load_model(runs["int8"].family))
    for name, matrix in matrices(load_model(runs["exact"].family)).items():
        torch.testing.assert_close(weights[name], matrix, msg=name)
        assert not torch.equal(matrix, rounded(matrix)), name


def test_stages_that_would_undo_it_and_lstms_are_refused(counting_recipe: dict[str, Any]) -> None:
    stages = [{"name": name, "updates": 2} for name in "abc"]
    stages[1]["quantization"] = "int8"
    message = r"stages.1.quantization: stage c trains the first supernet again without it"
    with pytest.raises(UserError, match=message):
        parse_recipe({**counting_recipe, "stages": stages}, "test")
    stages[2]["quantization"] = "int8"
    assert parse_recipe({**counting_recipe, "stages": stages}, "test").quantized == [""]
    model = {"architecture": "lstm", "encoder_layers": 2, "decoder_layers": 2, "d_model": 16}
    with pytest.raises(UserError, match=r"stages.1.quantization: the first supernet is no Transformer"):
        parse_recipe({**counting_recipe, "model": model, "stages": stages}, "test")
