"""Plans of the passes that compute several networks of one supernet.

Networks e{E}d{D} share the supernet's layers, so a batch needs far fewer passes than networks. One encoder pass can be
read at every depth. Decoders that read the same memory are one decoder pass, read at several depths, except with input
feeding. A plan follows from the networks alone and holds no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polystill.students import Student


@dataclass(frozen=True)
class DecoderPass:
    """One pass of the batch through the first `depth` decoder layers, over the memory of one encoder pass."""

    encoder_pass: int
    encoder_depth: int
    depth: int


@dataclass(frozen=True)
class PassPlan:
    """Encoder and decoder passes, both deepest first, and the places where networks are read.

    encoder_depths: the number of layers of each encoder pass.
    decoder_passes: the decoder passes; pass i has rows [i*B, (i+1)*B) of the decoder's batch.
    reads: for each distinct network the (decoder pass, decoder depth) of its output.
    members: for each given network, in order, the index of its read; equal networks may share one.
    shared: whether passes share what does not differ between them, dropout masks included.
    """

    encoder_depths: tuple[int, ...]
    decoder_passes: tuple[DecoderPass, ...]
    reads: tuple[tuple[int, int], ...]
    members: tuple[int, ...]
    shared: bool


def shared_plan(networks: Sequence[Student]) -> PassPlan:
    """Plan one encoder pass for all networks and one decoder pass for each encoder depth.

    Equal networks are computed once.
    """
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
    """Plan one encoder pass for all networks and a decoder pass for each distinct network.

    Decoders with input feeding need this: they feed back the top layer, so a pass serves one depth only.
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
    """Plan passes of its own for every network, batched together. Each has its own dropout masks, as published."""
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
