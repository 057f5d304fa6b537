import pytest
import torch

from polystill.models.layers import score_mask, softmax


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 5, 15, 16, 17])
def test_softmax_of_short_and_long_rows_is_torchs(width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    scores = torch.randn(3, 2, 4, width, dtype=dtype)
    scores += score_mask(torch.arange(width) > width // 2, dtype)
    scores.requires_grad_()
    upstream = torch.randn(scores.shape, dtype=dtype)
    results = []
    for each in (softmax, lambda x: x.softmax(-1)):
        weights = each(scores)
        results.append((weights, *torch.autograd.grad(weights, scores, upstream)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    assert results[0][0][..., width // 2 + 1 :].eq(0).all()
