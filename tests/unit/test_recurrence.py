"""The fast steps against their plain twins, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from polystill.models.recurrence import StepProduct, lstm_cell, packed_lstm, plain_lstm_cell, plain_product


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def same(fast: list[Tensor], plain: list[Tensor], leaves: list[Tensor]) -> None:
    torch.testing.assert_close(fast, plain)
    seeds = [torch.randn_like(x) for x in plain]
    ours, theirs = (torch.autograd.grad(x, leaves, seeds, retain_graph=True) for x in (fast, plain))
    torch.testing.assert_close(ours, theirs)


def test_a_weight_of_many_steps() -> None:
    """Rows that fall, a bias and an addend, an output that is the next input."""
    torch.manual_seed(1)
    weight, bias, x, addend = randn(6, 6), randn(6), randn(5, 6), randn(5, 6)

    def run(kind) -> list[Tensor]:
        product = kind(weight)
        first = product(x, addend)
        second = product(first[:3].tanh(), bias)
        return [first, second, product(second, bias)]

    same(run(StepProduct), run(plain_product), [weight, bias, x, addend])


def test_a_weight_serves_two_backward_passes() -> None:
    torch.manual_seed(1)
    weight, x, addend = randn(3, 3), randn(2, 3), randn(2, 3)
    out = StepProduct(weight)(x, addend).sum()
    out.backward(retain_graph=True)
    assert weight.grad is not None
    once = weight.grad.clone()
    out.backward()
    torch.testing.assert_close(weight.grad, 2 * once)


@pytest.mark.parametrize("rows", [1, 4])
def test_cells(rows: int) -> None:
    torch.manual_seed(1)
    gates, cells = randn(rows, 20), randn(rows, 5)

    def twice(cell) -> list[Tensor]:
        hidden, after = cell(gates, cells)
        return [*cell(gates + hidden.repeat(1, 4), after), hidden]

    same(twice(lstm_cell), twice(plain_lstm_cell), [gates, cells])


def test_cell_states_stay_in_float32_under_half_precision() -> None:
    gates, cells = torch.randn(3, 20).bfloat16().requires_grad_(), torch.randn(3, 5)
    for cell in (lstm_cell, plain_lstm_cell):
        hidden, new_cells = cell(gates, cells)
        assert hidden.dtype == torch.bfloat16 and new_cells.dtype == torch.float32
        assert cell(gates.double(), cells.double())[1].dtype == torch.float64
        (gradient,) = torch.autograd.grad(hidden.float().sum() + new_cells.sum(), gates)
        assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("lengths", [[4, 1, 6, 4], [3, 3], [5]])
def test_packed_sequences(lengths: list[int]) -> None:
    torch.manual_seed(1)
    layer = nn.LSTM(5, 5, batch_first=True).double()
    x = randn(len(lengths), max(lengths), 5)
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    states, ((hidden,), (cells,)) = layer(packed)
    ours = packed_lstm(layer, packed, torch.float64)
    assert torch.equal(ours[0].batch_sizes, states.batch_sizes)
    same([ours[0].data, *ours[1:]], [states.data, hidden, cells], [x, *layer.parameters()])


def test_memory_is_given_back_without_a_backward_pass() -> None:
    """What is noted for the weight must not keep the graph alive."""
    import gc
    import weakref

    gc.disable()
    try:
        weight, x = randn(3, 3), randn(2, 3)
        product = StepProduct(weight)
        out = product(product(x, weight[0]), weight[0])
        torch.autograd.grad(out.sum(), x)  # the weight's gradient is not asked for
        seen = weakref.ref(out)
        del out, product
        assert seen() is None
    finally:
        gc.enable()
