"""Pruning in training: the schedules' values, and zeros that stay zero."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from polystill.config import Pruning, parse_recipe
from polystill.errors import UserError
from polystill.models.folder import load_model
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.pruning import matrices, prune, sparsity_of
from polystill.models.supernets import Supernets
from polystill.runs.family import read_family
from polystill.training.loop import train_family
from polystill.training.pruning import Pruner, sparsity_at


def test_the_gradual_schedules_values() -> None:
    """Zhu & Gupta's equation 1 with s_f = 0.8, s_i = 0, t_0 = 0, n = 4 steps of 25."""
    settings = Pruning(schedule="gradual", sparsity=0.8, updates=100, every=25)
    found = {update: sparsity_at(update, settings) for update in range(1, 200)}
    steps = {update: value for update, value in found.items() if value is not None}
    assert steps == pytest.approx({25: 0.8 * (1 - 0.75**3), 50: 0.8 * (1 - 0.5**3), 75: 0.8 * (1 - 0.25**3), 100: 0.8})
    uneven = Pruning(schedule="gradual", sparsity=0.5, updates=30, every=20)
    assert [u for u in range(1, 99) if sparsity_at(u, uneven) is not None] == [20, 30]
    assert sparsity_at(30, uneven) == 0.5


def test_the_other_schedules_values() -> None:
    oneshot, hold = Pruning(sparsity=0.8), Pruning(schedule="hold")
    assert [sparsity_at(update, oneshot) for update in (1, 2, 3)] == [0.8, None, None]
    assert [sparsity_at(update, hold) for update in (1, 2, 3)] == [None, None, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, r"stages.0.pruning.sparsity: .* less than 1 \(got 1.0\)"),
        ({"sparsity": -0.1}, r"stages.0.pruning.sparsity: .* greater than or equal to 0 \(got -0.1\)"),
        ({}, "the schedule oneshot needs sparsity"),
        ({"schedule": "gradual", "sparsity": 0.5}, "the schedule gradual needs updates"),
        ({"schedule": "gradual", "sparsity": 0.5, "updates": 13}, "pruning.updates 13 is more than the stage's 12"),
        ({"sparsity": 0.5, "updates": 5}, "updates: of no use with the schedule oneshot"),
        ({"schedule": "hold", "sparsity": 0.5}, "sparsity: of no use with the schedule hold"),
        ({"sparcity": 0.5}, r"unknown key 'stages.0.pruning.sparcity' \(did you mean 'sparsity'\?\)"),
        ({"sparsity": 0.5, "scope": "row"}, "stages.0.pruning.scope: .*'global', 'layer' or 'matrix'"),
    ],
)
def test_mistakes_are_named(counting_recipe: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    counting_recipe["stages"][0]["pruning"] = settings
    with pytest.raises(UserError, match=message):
        parse_recipe(counting_recipe, "test")


@pytest.mark.parametrize("schedule", ["oneshot", "gradual"])
def test_layers_that_begin_with_zeros_are_not_pruned(counting_recipe: dict[str, Any], schedule: str) -> None:
    """Above the smallest networks; pruning would take these zeros for its own, and the layers would never learn."""
    smallest = {"name": "smallest", "updates": 5, "networks": "smallest"}
    pruning = {"schedule": schedule, "sparsity": 0.5, **({"updates": 5} if schedule == "gradual" else {})}
    pruned = {"name": "pruned", "updates": 5, "pruning": pruning}
    counting_recipe["stages"] = [smallest, pruned]
    with pytest.raises(UserError, match=r"stages.1.pruning: only the smallest networks are trained before stage prun"):
        parse_recipe(counting_recipe, "test")
    counting_recipe["stages"] = [smallest, {"name": "all", "updates": 5}, pruned]
    parse_recipe(counting_recipe, "test")
    counting_recipe["stages"] = [smallest, pruned]
    parse_recipe({**counting_recipe, "model": {"start": "runs/trained"}}, "test")


def test_stages_after_a_pruned_one_hold_its_zeros(counting_recipe: dict[str, Any]) -> None:
    counting_recipe["stages"] = [{"name": name, "updates": 5} for name in "abc"]
    counting_recipe["stages"][1]["pruning"] = {"sparsity": 0.5}
    recipe = parse_recipe(counting_recipe, "test")
    kinds = [recipe.stage_pruning(stage) for stage in recipe.stages]
    assert [kind and kind.schedule for kind in kinds] == [None, "oneshot", "hold"]
    assert recipe.prunes


def make_lstm() -> Lstm:
    torch.manual_seed(1)
    return Lstm(LstmConfig(40, pad_id=39, eos_id=0, d_model=12, encoder_layers=2, decoder_layers=2, dropout=0.0))


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_zeros_stay_zero_through_many_steps(make_model: Any, make_batch: Any, architecture: str) -> None:
    """Under Adam with weight decay, moments of before the pruning, and clipping; what is not pruned moves."""
    model = make_lstm() if architecture == "lstm" else make_model(2)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    pruner = Pruner(Supernets(model), Pruning(schedule="gradual", sparsity=0.8, updates=20, every=5))
    seen: dict[str, torch.Tensor] = {}
    for update in range(1, 41):
        batch = make_batch(seed=update)
        pruner.begin(update)
        logits = model(batch.source, batch.target_in).flatten(0, 1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, batch.target.flatten(), ignore_index=model.pad_id).backward()
        model.mask_pad_gradient()
        pruner.mask_gradient()
        for name, parameter in matrices(model).items():
            if parameter.grad is not None and name in seen:
                assert not parameter.grad[seen[name]].any(), name
        optimizer.step()
        pruner.hold()
        for name, parameter in matrices(model).items():
            zero = parameter.detach() == 0
            assert (zero | ~seen.get(name, zero)).all(), (name, update)
            seen[name] = zero
        assert pruner.at_target(update) == (update >= 20)
    assert sparsity_of(model) == pytest.approx(0.8, abs=1e-3)
    moved = {name: p.detach().clone() for name, p in matrices(model).items()}
    assert all(tensor.any() for tensor in moved.values())


def test_without_the_mask_zeros_would_go(counting_recipe: dict[str, Any], prepared_run: Any, capsys: Any) -> None:
    """So that the tests here can fail; and the user is told."""
    counting_recipe["stages"] = [{"name": "one", "updates": 2, "pruning": {"sparsity": 0.8}}]
    first = prepared_run(counting_recipe, "pruned")
    train_family(first)
    again = copy.deepcopy(counting_recipe)
    again["model"] = {"start": str(first.family)}
    again["stages"] = [{"name": "one", "updates": 3}]
    assert not parse_recipe(again, "test").prunes
    capsys.readouterr()
    second = prepared_run(again, "dense")
    train_family(second)
    assert "model.start: 80% of its weights are zero, which training will change" in capsys.readouterr().err
    assert sparsity_of(load_model(second.family)) < 0.5
    again["stages"][0]["pruning"] = {"schedule": "hold"}
    third = prepared_run(again, "held")
    train_family(third)
    assert "of its weights are zero" not in capsys.readouterr().err
    before, after = load_model(first.family), load_model(third.family)
    for (name, one), other in zip(matrices(before).items(), matrices(after).values(), strict=True):
        assert torch.equal(one == 0, other == 0), name
    assert any(not torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize(("architecture", "scope"), [("transformer", "global"), ("lstm", "layer")])
def test_a_family_is_pruned_and_retrained(
    counting_recipe: dict[str, Any], prepared_run: Any, architecture: str, scope: str
) -> None:
    """The first stage prunes, the second one holds; both with weight decay and averaging."""
    counting_recipe["training"].update(weight_decay=0.1, average_last=2)
    counting_recipe["stages"][0]["pruning"] = {"sparsity": 0.7, "scope": scope}
    if architecture == "lstm":
        shape = {"encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "max_positions": 64}
        counting_recipe["model"] = {"architecture": "lstm", **shape}
    run = prepared_run(counting_recipe)
    train_family(run)
    model = load_model(run.family)
    assert sparsity_of(model) == pytest.approx(0.7, abs=0.002)
    assert read_family(run.family)["sparsity"] == pytest.approx(0.7, abs=0.002)
    assert run.record("training.mutual")["sparsity"] == run.record("training.distillation")["sparsity"]
    states = [torch.load(p, weights_only=True)["model"] for p in sorted(run.checkpoints.rglob("state-*.pt"))]
    assert len(states) == 4
    for name in matrices(model):
        assert all(torch.equal(state[f"first.{name}"] == 0, states[0][f"first.{name}"] == 0) for state in states), name


def test_the_best_is_looked_for_when_the_model_is_as_sparse_as_it_will_be(
    counting_recipe: dict[str, Any], prepared_run: Any
) -> None:
    """Validations of denser weights are better, and not what was asked for."""
    counting_recipe["training"].update(validate_every=3, learning_rate=1e-9, average_last=9, early_stopping=3)
    pruning = {"schedule": "gradual", "sparsity": 0.9, "updates": 9, "every": 1}
    counting_recipe["stages"] = [{"name": "one", "updates": 12, "pruning": pruning}]
    run = prepared_run(counting_recipe)
    train_family(run)
    record = run.record("training.one")
    assert record["sparsity"] == pytest.approx(0.9, abs=0.001)
    assert [point["update"] for point in record["history"]] == [3, 6, 9, 12]
    assert sparsity_of(load_model(run.family)) == pytest.approx(0.9, abs=0.001)


def test_pruning_before_the_first_update_is_pruning_by_itself(
    counting_recipe: dict[str, Any], prepared_run: Any
) -> None:
    counting_recipe["stages"] = [{"name": "one", "updates": 1}]
    run = prepared_run(counting_recipe, "first")
    train_family(run)
    again = copy.deepcopy(counting_recipe)
    again["model"] = {"start": str(run.folder)}
    again["training"].update(learning_rate=1e-12, weight_decay=0.0)
    again["stages"] = [{"name": "one", "updates": 1, "pruning": {"sparsity": 0.6, "scope": "layer"}}]
    second = prepared_run(again, "second")
    train_family(second)
    expected = load_model(run.family)
    prune(expected, 0.6, "layer")
    for (name, one), other in zip(
        matrices(expected).items(), matrices(load_model(second.family)).values(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0, msg=name)
        assert torch.equal(one == 0, other == 0), name
