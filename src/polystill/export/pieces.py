"""SentencePiece models whose ids are the model's own, for engines that read no vocabulary beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polystill.data.tokenizer import EOS, PAD, SPACE, UNK, Tokenizer
from polystill.errors import UserError


def joint_pieces(tokenizer: Tokenizer, lines: Sequence[str]) -> list[bytes]:
    """Make one serialised SentencePiece model for both sides, or the source's and the target's.

    Their ids are those of the vocabulary without `<pad>`, its last entry. A vocabulary trained by polystill is in that
    order already. OPUS-MT has one vocabulary beside two SentencePiece models: pieces that one side's model lacks are
    added to it as unused ones, which it can write but never reads. `<unk>` is written as nothing, as by `Tokenizer`.

    Raises:
        UserError: `<pad>` is not the last entry, or a line of `lines` is not cut into the same ids.
    """
    from sentencepiece import SentencePieceProcessor

    if tokenizer.pad_id != tokenizer.vocabulary_size - 1:
        raise UserError(
            f"the vocabulary has {PAD} at {tokenizer.pad_id}, and this format, which has none, needs it last; --to "
            "ctranslate2 and --to hf take any vocabulary"
        )
    vocabulary = tokenizer.pieces[:-1]
    models = [_in_order(model, vocabulary) for model in tokenizer.sentencepiece_models]
    processor = SentencePieceProcessor(model_proto=models[0])
    for line, expected in zip(lines, tokenizer.encode_source(lines), strict=True):
        if [*processor.encode(line), tokenizer.eos_id] != expected:
            raise UserError(f"this format needs one SentencePiece vocabulary, which would cut {line!r} into other ids")
    return models[:1] if models[0] == models[1] else models


def _in_order(model: bytes, vocabulary: Sequence[str]) -> bytes:
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto: Any = pb.ModelProto.FromString(model)
    proto.trainer_spec.unk_surface = ""  # SentencePiece would print ⁇
    if [piece.piece for piece in proto.pieces] == list(vocabulary):
        return proto.SerializeToString()
    known = {piece.piece: piece for piece in proto.pieces}
    kinds = pb.ModelProto.SentencePiece
    pieces = []
    for text in vocabulary:
        kind, score = kinds.UNUSED, 0.0
        if text == EOS:
            kind = kinds.CONTROL
        elif text == UNK:
            kind = kinds.UNKNOWN
        elif text in known:
            kind, score = known[text].type, known[text].score
        elif text.startswith(">>") and text.endswith("<<"):  # OPUS-MT's language codes, at the start of a line
            kind, text = kinds.USER_DEFINED, SPACE + text
        pieces.append(kinds(piece=text, type=kind, score=score))
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    spec = proto.trainer_spec
    spec.vocab_size, spec.bos_id, spec.pad_id = len(vocabulary), -1, -1
    spec.eos_id, spec.unk_id = vocabulary.index(EOS), vocabulary.index(UNK)
    return proto.SerializeToString()


def filled(model: bytes, size: int) -> bytes:
    """A serialised SentencePiece model with as many unused pieces at its end as make it `size` pieces."""
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto: Any = pb.ModelProto.FromString(model)
    for i in range(len(proto.pieces), size):
        proto.pieces.add(piece=f"<unused{i}>", score=0.0, type=pb.ModelProto.SentencePiece.UNUSED)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return proto.SerializeToString()
