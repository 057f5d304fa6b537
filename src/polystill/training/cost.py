"""What training costs: seconds, and floating-point operations.

FLOPs count matrix products only, a multiply-add as two.

Shapes as in `models.transformer`; a backward pass costs twice its forward pass.
"""

from __future__ import annotations

import time

from polystill.models.passes import PassPlan
from polystill.models.transformer import TransformerConfig


def update_flops(
    config: TransformerConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int
) -> int:
    """FLOPs of forward and backward passes of a plan over one padded batch."""
    c = config
    source, target = sentences * source_length, sentences * target_length
    feed_forward = 2 * c.d_model * c.ffn_dim
    encoder_layer = source * (4 * c.d_model**2 + feed_forward + 2 * source_length * c.d_model)
    decoder_layer = target * (6 * c.d_model**2 + feed_forward + 2 * (target_length + source_length) * c.d_model)
    decoder_layer += source * 2 * c.d_model**2
    projection = target * c.d_model * c.vocabulary_size * len(plan.reads)
    decided_first = projection if len(plan.members) > 1 else 0  # the projection that decides detaching has no backward
    networks = sum(plan.encoder_depths) * encoder_layer + sum(p.depth for p in plan.decoder_passes) * decoder_layer
    return 2 * (3 * (networks + projection) + decided_first)


class Clock:
    """Wall and CPU seconds of this process between two looks at it."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """(wall, CPU) seconds since the last lap, or since the clock was made."""
        wall, cpu = time.monotonic(), time.process_time()
        lap = wall - self._wall, cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return lap
