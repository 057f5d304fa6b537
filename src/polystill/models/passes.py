"""Which passes compute a set of networks that are prefixes of one teacher.

Networks e{E}d{D} share the teacher's layers, so a batch needs far fewer passes than networks: one encoder pass can be
read at every depth, and decoders that read the same memory are one decoder pass read at several depths (not so those
with input feeding). The plan is derived from the drawn networks alone and holds no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polystill.students import Student


@dataclass(frozen=True)
class DecoderPass:
    """One run of the batch through the first `depth` decoder layers over the memory of one encoder read."""

    encoder_pass: int
    encoder_depth: int
    depth: int


@dataclass(frozen=True)
class PassPlan:
    """Encoder and decoder passes, each list deepest first, and where every network is read.

    encoder_depths: layers of each encoder pass.
    decoder_passes: the decoder passes; pass i occupies rows [i*B, (i+1)*B) of the decoder's batch.
    reads: for each distinct network (decoder pass, decoder depth) at which its output is read.
    members: for each asked network, in order, the index of its read; networks that are computed once share one.
    shared: whether what does not differ between passes is computed once, dropout masks included.
    """

    encoder_depths: tuple[int, ...]
    decoder_passes: tuple[DecoderPass, ...]
    reads: tuple[tuple[int, int], ...]
    members: tuple[int, ...]
    shared: bool


def shared_plan(networks: Sequence[Student]) -> PassPlan:
    """One encoder pass for all networks, one decoder pass for each encoder depth, equal networks computed once."""
    deepest: dict[int, int] = {}
    for network in networks:
        deepest[network.encoder_layers] = max(deepest.get(network.encoder_layers, 0), network.decoder_layers)
    decoder_passes = sorted(
        (DecoderPass(0, encoder_depth, depth) for encoder_depth, depth in deepest.items()),
        key=lambda decoder_pass: (-decoder_pass.depth, -decoder_pass.encoder_depth),
    )
    pass_of = {decoder_pass.encoder_depth: i for i, decoder_pass in enumerate(decoder_passes)}
    distinct = list(dict.fromkeys(networks))
    return PassPlan(
        encoder_depths=(max(deepest),),
        decoder_passes=tuple(decoder_passes),
        reads=tuple((pass_of[network.encoder_layers], network.decoder_layers) for network in distinct),
        members=tuple(distinct.index(network) for network in networks),
        shared=True,
    )


def shared_encoder_plan(networks: Sequence[Student]) -> PassPlan:
    """One encoder pass for all networks, a decoder pass for each distinct one.

    For decoders with input feeding: what is fed back comes from the top layer, so a pass serves one depth only.
    """
    distinct = list(dict.fromkeys(networks))
    ordered = sorted(distinct, key=lambda network: (-network.decoder_layers, -network.encoder_layers))
    return PassPlan(
        encoder_depths=(max(network.encoder_layers for network in networks),),
        decoder_passes=tuple(DecoderPass(0, network.encoder_layers, network.decoder_layers) for network in ordered),
        reads=tuple((ordered.index(network), network.decoder_layers) for network in distinct),
        members=tuple(distinct.index(network) for network in networks),
        shared=True,
    )


def exact_plan(networks: Sequence[Student]) -> PassPlan:
    """Passes of its own for every network, still batched, so that each has dropout masks of its own as published."""
    by_encoder = sorted(range(len(networks)), key=lambda i: -networks[i].encoder_layers)
    encoder_pass_of = {network: i for i, network in enumerate(by_encoder)}
    by_decoder = sorted(range(len(networks)), key=lambda i: -networks[i].decoder_layers)
    decoder_pass_of = {network: i for i, network in enumerate(by_decoder)}
    return PassPlan(
        encoder_depths=tuple(networks[i].encoder_layers for i in by_encoder),
        decoder_passes=tuple(
            DecoderPass(encoder_pass_of[i], networks[i].encoder_layers, networks[i].decoder_layers) for i in by_decoder
        ),
        reads=tuple((decoder_pass_of[i], network.decoder_layers) for i, network in enumerate(networks)),
        members=tuple(range(len(networks))),
        shared=False,
    )
