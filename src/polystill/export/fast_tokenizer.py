"""tokenizer.json, which Hugging Face's JavaScript and Rust libraries read: SentencePiece's model in their words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polystill.data.tokenizer import EOS, PAD, SPACE, UNK, Tokenizer
from polystill.errors import UserError

SELDOM = 100.0
"""How far below all others the score of a piece lies that the source's model does not have."""


def write_fast_tokenizer(tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> None:
    """Write folder/tokenizer.json and add to tokenizer_config.json what JavaScript needs.

    Raises:
        UserError: the model is none of SentencePiece's unigram kind, or a line of `lines` gets other ids.
    """
    fast = build(tokenizer)
    for line, expected in zip(lines, tokenizer.encode_source(lines), strict=True):
        if fast.encode(line).ids != expected:
            raise UserError(f"this format needs tokenizer.json, which cuts {line!r} into other ids than SentencePiece")
    fast.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD, "tokenizer_class": "MarianTokenizer"}
    path.write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def build(tokenizer: Tokenizer) -> Any:
    """A `tokenizers.Tokenizer` with the vocabulary's ids and the source's segmentation.

    Raises:
        UserError: the source's model is none of SentencePiece's unigram kind.
    """
    import tokenizers
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    proto: Any = pb.ModelProto.FromString(tokenizer.sentencepiece_models[0])
    if proto.trainer_spec.model_type != pb.TrainerSpec.UNIGRAM:
        raise UserError("this format needs a SentencePiece model of the unigram kind")
    scores = {piece.piece: piece.score for piece in proto.pieces}
    lowest = min(scores.values()) - SELDOM
    vocabulary = [(piece, scores.get(piece, lowest)) for piece in tokenizer.pieces]
    fast = tokenizers.Tokenizer(Unigram(vocabulary, unk_id=tokenizer.unk_id, byte_fallback=False))
    rules: list[Any] = []
    if proto.normalizer_spec.precompiled_charsmap:
        rules.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    if proto.normalizer_spec.remove_extra_whitespaces:
        rules += [normalizers.Replace(tokenizers.Regex(" {2,}"), " "), normalizers.Strip(left=True, right=True)]
    fast.normalizer = normalizers.Sequence(rules)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    fast.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    fast.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.eos_id)])
    specials = [EOS, UNK, PAD, *(piece for piece in tokenizer.pieces if piece.startswith(">>") and piece[-2:] == "<<")]
    fast.add_special_tokens([tokenizers.AddedToken(piece, special=True, normalized=False) for piece in specials])
    return fast
