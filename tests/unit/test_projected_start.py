"""Supernets that start from the first one's weights, projected to fewer dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polystill.config import parse_recipe
from polystill.data.prepare import prepare_data
from polystill.errors import UserError
from polystill.models.elastic import ElasticModel
from polystill.models.folder import load_model, load_model_with_tokenizer
from polystill.models.projected_start import project
from polystill.models.transformer import Transformer
from polystill.pipeline import check_recipe
from polystill.runs import Run
from polystill.students import Student
from polystill.training.loop import train_family
from polystill.training.session import Session


@pytest.fixture
def wide(make_model: Callable[..., ElasticModel]) -> Transformer:
    """A network of random weights, whose normalisations have no gains."""
    model = make_model(layers=3)
    assert isinstance(model, Transformer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
    return model


def projected(wide: Transformer, **sizes: Any) -> Transformer:
    narrow = Transformer(replace(wide.config, **sizes)).eval()
    project(wide, narrow)
    return narrow


@pytest.mark.parametrize("positions", ["huggingface", "marian"])
def test_the_same_function_at_the_same_width(positions: str, wide: Transformer, make_batch: Any) -> None:
    wide = Transformer(replace(wide.config, positions=positions)).eval()
    batch, narrow = make_batch(), projected(wide)
    expected = wide(batch.source, batch.target_in)
    assert torch.allclose(narrow(batch.source, batch.target_in), expected, atol=1e-4)


def test_keeps_the_first_and_the_last_layer_and_others_between(wide: Transformer, make_batch: Any) -> None:
    batch, narrow = make_batch(), projected(wide, encoder_layers=2, decoder_layers=1)
    del wide.encoder[1], wide.decoder[1:]
    assert torch.allclose(narrow(batch.source, batch.target_in), wide(batch.source, batch.target_in), atol=1e-4)


def test_keeps_the_first_layers_where_a_student_is_as_deep(wide: Transformer, make_batch: Any) -> None:
    batch, student = make_batch(), Student(2, 1)
    narrow = Transformer(replace(wide.config, encoder_layers=2, decoder_layers=1)).eval()
    project(wide, narrow, [Student(1, 1), student])
    del wide.encoder[2:], wide.decoder[1:]
    assert torch.allclose(narrow(batch.source, batch.target_in), wide(batch.source, batch.target_in), atol=1e-4)


def test_keeps_the_feed_forward_units_of_the_largest_norm(wide: Transformer, make_batch: Any) -> None:
    with torch.no_grad():
        layers: list[Any] = [*wide.encoder_layers(3), *wide.decoder_layers(3)]
        for layer in layers:
            layer.feed_forward.contract.weight[:, ::2] = 0
    batch, narrow = make_batch(), projected(wide, ffn_dim=16)
    expected = wide(batch.source, batch.target_in)
    assert torch.allclose(narrow(batch.source, batch.target_in), expected, atol=1e-4)


@pytest.mark.parametrize("sizes", [{}, {"heads": 2}, {"ffn_dim": 8, "encoder_layers": 1}])
def test_a_narrower_network_has_no_empty_weights(sizes: dict[str, int], wide: Transformer, make_batch: Any) -> None:
    narrow, batch = projected(wide, d_model=8, **sizes), make_batch()
    assert not narrow.embedding[narrow.pad_id].any() and not narrow.output_bias[narrow.pad_id]
    narrow(batch.source, batch.target_in).square().sum().backward()
    for name, parameter in narrow.named_parameters():
        if parameter.ndim > 1:
            assert parameter.norm() > 0.1 and parameter.grad is not None and parameter.grad.any(), name


def test_a_trained_network_keeps_some_of_what_it_knows(marian_student: Path, make_batch: Any) -> None:
    wide = load_model(marian_student).eval()
    assert isinstance(wide, Transformer)
    batch = make_batch(vocabulary_size=wide.config.vocabulary_size)
    expected = wide(batch.source, batch.target_in).log_softmax(-1)

    def distance(narrow: Transformer) -> float:
        logits = narrow.eval()(batch.source, batch.target_in).log_softmax(-1)
        return (expected.exp() * (expected - logits)).sum(-1).flatten()[batch.real].mean().item()

    half = {"d_model": 32, "heads": 2}
    assert distance(projected(wide, **half)) < 0.5 * distance(Transformer(replace(wide.config, **half)))


# --- from the recipe ------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(counting_student: Path, counting_recipe: dict[str, Any]) -> dict[str, Any]:
    del counting_recipe["data"]["tokenizer"]
    counting_recipe["data"]["max_tokens"] = 48
    tiny = {"encoder_layers": 2, "decoder_layers": 1, "d_model": 8, "ffn_dim": 16, "heads": 2, "start": "projected"}
    return {**counting_recipe, "model": {"start": str(counting_student)}, "supernets": {"tiny": tiny}}


def begun_session(recipe: dict[str, Any], start: Path, folder: Path) -> Session:
    """The session of a run at its first update."""
    run = Run.start(folder, parse_recipe(recipe, "test"))
    run.finish("data", prepare_data(run.recipe, run.data, tokenizer=load_model_with_tokenizer(start)[1], log=print))
    session = Session(run)
    session.project_before(run.recipe.stages[0])
    return session


def test_a_recipe_starts_a_supernet_new_or_projected(
    recipe: dict[str, Any], counting_student: Path, tmp_path: Path
) -> None:
    started = begun_session(recipe, counting_student, tmp_path / "projected").model
    recipe["supernets"]["tiny"]["start"] = "new"
    new = begun_session(recipe, counting_student, tmp_path / "new").model
    first = started.first
    assert isinstance(first, Transformer)
    expected = projected(first, encoder_layers=2, decoder_layers=1, d_model=8, ffn_dim=16, heads=2)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(started["tiny"].state_dict()[name], tensor)
    assert not torch.equal(new["tiny"].embedding, started["tiny"].embedding)


@pytest.mark.parametrize(("networks", "trained"), [("all", True), ("largest", False)])
def test_without_a_start_a_supernet_is_projected_when_its_first_stage_begins(
    networks: str, trained: bool, counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]
) -> None:
    """From the student that is as deep, if that was trained."""
    counting_recipe["model"] |= {"encoder_layers": 3, "max_positions": 16}
    counting_recipe["data"]["max_tokens"] = 16
    tiny = {"encoder_layers": 2, "decoder_layers": 1, "d_model": 8, "ffn_dim": 16, "heads": 2, "start": "projected"}
    tiny["students"] = {"encoder": [2, 2], "decoder": [1, 1]}
    stages = [
        {"name": "wide", "updates": 4, "supernets": "first", "networks": networks},
        {"name": "held", "updates": 1, "supernets": "further", "objective": {"kind": "word_kd"}, "learning_rate": 1e-9},
    ]
    changed = {"supernets": {"tiny": tiny}, "stages": stages, "students": {"encoder": [1, 3], "decoder": [1, 2]}}
    run = prepared_run({**counting_recipe, **changed})
    train_family(run)
    first, learnt = load_model(run.family), load_model(run.family / "tiny")
    assert isinstance(first, Transformer)
    narrow = Transformer(learnt.config).eval()
    project(first, narrow, [Student(2, 1)] if trained else [])
    for name, tensor in narrow.state_dict().items():
        assert torch.allclose(learnt.state_dict()[name], tensor, atol=1e-6), name


def test_a_session_leaves_projected_layers_as_they_are(
    recipe: dict[str, Any], counting_student: Path, tmp_path: Path
) -> None:
    """New layers above the smallest network's begin with none where that learns first; these have something to lose."""
    recipe["stages"].insert(0, {"name": "smallest", "updates": 1, "networks": "smallest"})

    def has_second_layer() -> bool:
        start = recipe["supernets"]["tiny"]["start"]
        tiny = begun_session(recipe, counting_student, tmp_path / start).model["tiny"]
        assert isinstance(tiny, Transformer)
        return bool(tiny.encoder_layers(2)[1].self_attention.output.weight.any())

    assert has_second_layer()
    recipe["supernets"]["tiny"]["start"] = "new"
    assert not has_second_layer()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder_layers": 3}, r"supernets\.tiny\.encoder_layers: 3; .* at most the first supernet's 2"),
        ({"decoder_layers": 4}, r"supernets\.tiny\.decoder_layers: 4; .* at most the first supernet's 2"),
        ({"d_model": 64}, r"supernets\.tiny\.d_model: 64; .* at most the first supernet's 32"),
        ({"ffn_dim": 96}, r"supernets\.tiny\.ffn_dim: 96; .* at most the first supernet's 64"),
        ({"heads": 8, "d_model": 16}, r"supernets\.tiny\.heads: 8; .* at most the first supernet's 4"),
        ({"d_model": 12, "heads": 1}, r"supernets\.tiny\.heads: 1 of size 12; .* size 8, so give at least 2 heads"),
        ({"activation": "gelu"}, r"supernets\.tiny\.activation: gelu; .* the first supernet's relu"),
        ({"start": "old"}, r"supernets\.tiny\.start: .*'new' or 'projected'"),
    ],
)
def test_shapes_that_nothing_can_be_projected_to(recipe: dict[str, Any], change: dict[str, Any], words: str) -> None:
    recipe["supernets"]["tiny"] |= change
    with pytest.raises(UserError, match=words):
        check_recipe(parse_recipe(recipe, "test"))


def test_projected_needs_a_transformer_that_has_been_trained(recipe: dict[str, Any], counting_lstm: Path) -> None:
    beside_new = {**recipe, "model": {"encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "heads": 2}}
    with pytest.raises(UserError, match=r"supernets\.tiny\.start: projected needs a trained first supernet"):
        parse_recipe(beside_new, "test")
    beside_lstm = {**recipe, "model": {"start": str(counting_lstm), "architecture": "lstm"}}
    with pytest.raises(UserError, match=r"supernets\.tiny\.start: projected is for a transformer"):
        parse_recipe(beside_lstm, "test")
    lstm = {"architecture": "lstm", "encoder_layers": 1, "decoder_layers": 1, "d_model": 8, "start": "projected"}
    with pytest.raises(UserError, match=r"supernets\.tiny\.start: projected is for a transformer"):
        parse_recipe({**recipe, "supernets": {"tiny": lstm}}, "test")
