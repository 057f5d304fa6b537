"""Magnitude pruning: which weights go, counted and worked out by hand."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn

from polystill.errors import UserError
from polystill.models import ARCHITECTURES
from polystill.models.elastic import ElasticModel
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.pruning import Scope, counts, matrices, nonzero_parameters, prune, sparsity_of


class Small(nn.Module):
    """An embedding of 3 x 2 with `<pad>` last, and two layers, the second of two matrices."""

    pad_id = 2
    architecture = ARCHITECTURES["transformer"]

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.tensor([[0.1, -0.9], [0.2, 0.8], [0.0, 0.0]]))
        self.output_bias = nn.Parameter(torch.tensor([0.001, 0.0, 0.0]))
        first, second, third = nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(1, 2)
        first.weight.data = torch.tensor([[0.3, -0.4], [0.5, 0.6]])
        second.weight.data = torch.tensor([[0.05, 7.0]])
        third.weight.data = torch.tensor([[-8.0], [9.0]])
        self.layers = nn.ModuleList([first, nn.Sequential(second, third)])


def kept(model: nn.Module) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in matrices(model).values()]


# Twelve weights without `<pad>`'s: 4 of the embedding, 4 of the first layer, 2 + 2 of the second.
BY_HAND = {
    # The smallest six of all: 0.05 0.1 0.2 0.3 0.4 0.5.
    "global": [[0, -0.9, 0, 0.8, 0, 0], [0, 0, 0, 0.6], [0, 7], [-8, 9]],
    # Half of each: 0.1 0.2, 0.3 0.4, and of the second layer's four 0.05 and 7.
    "layer": [[0, -0.9, 0, 0.8, 0, 0], [0, 0, 0.5, 0.6], [0, 0], [-8, 9]],
    "matrix": [[0, -0.9, 0, 0.8, 0, 0], [0, 0, 0.5, 0.6], [0, 7], [0, 9]],
}


@pytest.mark.parametrize("scope", get_args(Scope))
def test_each_scope_by_hand(scope: str) -> None:
    model = Small()
    biases = [p.clone() for p in model.parameters() if p.ndim == 1]
    prune(model, 0.5, scope)
    for row, expected in zip(kept(model), BY_HAND[scope], strict=True):
        assert row == pytest.approx(expected)
    for before, after in zip(biases, (p for p in model.parameters() if p.ndim == 1), strict=True):
        assert torch.equal(before, after)
    assert sparsity_of(model) == 0.5
    assert [(row.name, row.weights) for row in counts(model)] == [
        ("embedding", 4),
        ("layers.0.weight", 4),
        ("layers.1.0.weight", 2),
        ("layers.1.1.weight", 2),
    ]
    assert nonzero_parameters(model) == 6 + 3 + 2 + 1 + 2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_by_name(architecture: str) -> None:
    layer_of = ARCHITECTURES[architecture].layer_of
    assert layer_of("encoder.10.feed_forward.expand.weight") == "encoder.10"
    assert layer_of("decoder.0.weight_ih") == "decoder.0"
    assert layer_of("attention.output.weight") == "attention.output"
    assert layer_of("embedding") == "embedding"


@pytest.mark.parametrize("scope", get_args(Scope))
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.85])
def test_of_equal_weights_exactly_k_go_and_the_first_ones(make_model: Any, scope: str, sparsity: float) -> None:
    model = make_model(2)
    with torch.no_grad():
        for parameter in matrices(model).values():
            parameter.copy_(parameter.sign() * 0.5)
        model.embedding[model.pad_id] = 0
    again = make_model(2)
    again.load_state_dict(model.state_dict())
    prune(model, sparsity, scope)
    prune(again, sparsity, scope)
    for (name, one), other in zip(matrices(model).items(), matrices(again).values(), strict=True):
        assert torch.equal(one, other), name
    rows = counts(model)
    total = sum(row.weights for row in rows)
    if scope == "global":
        assert total - sum(row.nonzero for row in rows) == round(sparsity * total)
        gone = torch.cat([p.detach().flatten() == 0 for n, p in matrices(model).items() if n != "embedding"])
        assert torch.equal(gone, gone.sort(descending=True).values)
    if scope == "matrix":
        assert [row.weights - row.nonzero for row in rows] == [round(sparsity * row.weights) for row in rows]


def test_pruning_further_keeps_what_is_gone(make_model: Any) -> None:
    """Also where less is asked for than is gone already."""
    model = make_model(2)
    prune(model, 0.4, "global")
    first = {name: p.detach() == 0 for name, p in matrices(model).items()}
    prune(model, 0.4, "global")
    assert all(torch.equal(p == 0, first[name]) for name, p in matrices(model).items())
    prune(model, 0.1, "global")
    assert all(torch.equal(p == 0, first[name]) for name, p in matrices(model).items())
    prune(model, 0.7, "global")
    assert all((p[first[name]] == 0).all() for name, p in matrices(model).items())
    assert sparsity_of(model) == pytest.approx(0.7, abs=1e-3)


def test_lstm() -> None:
    model: ElasticModel = Lstm(LstmConfig(30, pad_id=29, eos_id=0, d_model=8, encoder_layers=2, decoder_layers=1))
    prune(model, 0.9, "layer")
    assert {model.architecture.layer_of(row.name) for row in counts(model)} == {
        "embedding",
        "encoder.0",
        "encoder.1",
        "decoder.0",
        "attention.general",
        "attention.output",
    }
    assert sparsity_of(model) == pytest.approx(0.9, abs=0.01)
    assert sum(row.weights for row in counts(model)) == sum(p.numel() for p in matrices(model).values()) - 8


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_outside_its_range(sparsity: float) -> None:
    with pytest.raises(UserError, match=f"sparsity {sparsity:g}: expected at least 0 and less than 1"):
        prune(Small(), sparsity, "global")


def test_weights_that_are_no_numbers() -> None:
    model = Small()
    model.embedding.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="weights are not finite"):
        prune(model, 0.5, "global")
