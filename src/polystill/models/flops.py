"""Floating-point operations of training.

They count matrix products only, a multiply-add as two.

Shapes as in `models.transformer`; a backward pass costs twice its forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

from polystill.models.elastic import ElasticConfig
from polystill.models.lstm import LstmConfig
from polystill.models.passes import PassPlan
from polystill.models.transformer import TransformerConfig


def forward_flops(config: ElasticConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
    """FLOPs of a plan's forward passes over one padded batch, projections to the vocabulary included."""
    networks = _PRODUCTS[type(config)](config, plan, sentences, source_length, target_length)
    return 2 * networks + projection_flops(config, plan, sentences * target_length)


def update_flops(config: ElasticConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
    """FLOPs of forward and backward passes of a plan over one padded batch.

    Not in it: what `FamilyLoss.projections_again` counts.
    """
    return 3 * forward_flops(config, plan, sentences, source_length, target_length)


def projection_flops(config: ElasticConfig, plan: PassPlan, target_tokens: int) -> int:
    """FLOPs of a plan's forward projections to the vocabulary."""
    return 2 * target_tokens * config.d_model * config.vocabulary_size * len(plan.reads)


def _transformer(c: TransformerConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
    """Multiply-adds of the passes' forward products."""
    source, target = sentences * source_length, sentences * target_length
    feed_forward = 2 * c.d_model * c.ffn_dim
    encoder_layer = source * (4 * c.d_model**2 + feed_forward + 2 * source_length * c.d_model)
    self_attention = target * (4 * c.d_model**2 + 2 * target_length * c.d_model)
    decoder_layer = self_attention + target * (2 * c.d_model**2 + feed_forward + 2 * source_length * c.d_model)
    decoder_layer += source * 2 * c.d_model**2
    decoders = sum(p.depth for p in plan.decoder_passes) * decoder_layer
    if plan.shared:  # the first layer's depends on the target alone
        decoders -= (len(plan.decoder_passes) - 1) * self_attention
    return sum(plan.encoder_depths) * encoder_layer + decoders


def _lstm(c: LstmConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
    """Multiply-adds of the passes' forward products."""
    source, target = sentences * source_length, sentences * target_length
    layer = 8 * c.d_model**2  # four gates, each from the layer's input and its state
    fed = 4 * c.d_model**2  # to the first layer's gates
    attention = source * 2 * c.d_model**2 + target * (c.d_model**2 + 2 * source_length * c.d_model)
    decoders = len(plan.decoder_passes) * (target * fed + attention)
    decoders += sum(p.depth for p in plan.decoder_passes) * target * layer
    return sum(plan.encoder_depths) * source * layer + decoders


_PRODUCTS: dict[type, Callable[..., int]] = {TransformerConfig: _transformer, LstmConfig: _lstm}
