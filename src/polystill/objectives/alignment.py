"""Guided alignment (Chen et al. 2016): attention learns given word alignments, by cross-entropy.

As Marian defines it (`--guided-alignment-cost ce`), every link of a source token s and a target token t adds
-share * log(attention[t, s] + EPSILON). The shares of a target token's links add up to 1; a token without links adds
nothing. Marian divides the loss by the target tokens and the weighted links together; here the sum is a part of the
batch's loss, which is divided by the target tokens.

Shapes: B sentences, T target positions, S source positions, L links.
"""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-6


def alignment_loss(attention: Tensor, links: Tensor, shares: Tensor) -> Tensor:
    """The sum over all links; attention (B, T, S), links (L,): places in it when it is flattened, shares (L,)."""
    # autocast computes softmax in float32
    return -(shares * (attention.flatten().index_select(0, links) + EPSILON).log()).sum()
