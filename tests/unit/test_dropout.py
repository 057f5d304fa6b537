import pytest
import torch

from polystill.models.layers import add_dropped, dropout, plain_add_dropped, random_bytes


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5])
def test_share_scale_and_expectation(probability: float) -> None:
    torch.manual_seed(1)
    out = dropout(torch.ones(1000, 999), probability)
    rounded = round(probability * 256) / 256
    dropped = (out == 0).float().mean().item()
    assert dropped == pytest.approx(rounded, abs=0.002)
    assert out.max().item() == pytest.approx(1 / (1 - rounded), rel=1e-6)
    assert out.mean().item() == pytest.approx(1.0, abs=0.003)


def test_gradient_passes_where_the_value_passed() -> None:
    torch.manual_seed(1)
    x = torch.randn(50, 50, requires_grad=True)
    out = dropout(x, 0.3)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, out)
    assert 0 < (x.grad == 0).sum() < x.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_added_dropout_equals_a_sum_with_the_same_mask(dtype: torch.dtype) -> None:
    x, update = (torch.randn(4, 30, 20, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(2))
    upstream = torch.randn(4, 20, 30, dtype=dtype)
    results = []
    for added in (add_dropped, lambda x, update, probability: x + dropout(update, probability)):
        torch.manual_seed(1)
        out = added(x, update, 0.3)
        results.append((out, *torch.autograd.grad(out, (x, update), upstream)))
    for ours, expected in zip(*results, strict=True):
        close = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {}  # the sum rounds twice
        torch.testing.assert_close(ours, expected, **close)


def test_nearly_all_dropped_is_finite() -> None:
    x = torch.ones(100, 100)
    assert dropout(x, 0.999).isfinite().all() and add_dropped(x, x, 0.999).isfinite().all()


def test_zero_probability_is_the_identity() -> None:
    x, update = torch.randn(3), torch.randn(3)
    assert dropout(x, 0.0) is x
    assert torch.equal(add_dropped(x, update, 0.0), plain_add_dropped(x, update, 0.0))


def test_seed_decides_the_mask() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(torch.ones(1000), 0.3))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_random_bytes_are_uniform_and_uncorrelated() -> None:
    torch.manual_seed(3)
    data = random_bytes(1 << 20)
    counts = torch.bincount(data.long(), minlength=256).double()
    chi_square = ((counts - 4096) ** 2 / 4096).sum().item()
    assert 160 < chi_square < 370  # 255 degrees of freedom: beyond this once in 10^5
    centred = data.double() - 127.5
    for lag in (1, 8):
        correlation = (centred[:-lag] * centred[lag:]).mean() / centred.pow(2).mean()
        assert abs(correlation.item()) < 0.005
