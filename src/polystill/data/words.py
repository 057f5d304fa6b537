"""Encode columns of lines word by word: the fast path of `Tokenizer.encode_source` and `encode_target`.

SentencePiece looks for the pieces of a line with the largest sum of scores, and its own models have no piece that spans
a space. So the pieces of a word do not depend on the words around it, and a word needs to be encoded once, however
often it comes. They would depend on them by the rounding of sums, though: two ways to cut a word that are as good as
equal, such as "a aa" and "aa a", may come out either way behind another text. `train_tokenizer` therefore rounds scores
to multiples of SCORE_STEP, and sums of up to LARGEST_SUM are exact in float32.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from polystill.data.normalization import Form
from polystill.data.tokenizer import SCORE_STEP

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_SUM = 2.0**14
"""Multiples of SCORE_STEP up to here are float32 numbers: 24 bits."""

_LONGEST_WORD = 64
_MOST_WORDS = 400_000
"""Words that are kept, each about 250 bytes."""
_CODE = ">>"

Encode = Callable[[Sequence[str]], list[list[int]]]


def longest_exact_line(model: bytes) -> int:
    """The number of tokens up to which a line's pieces are those of its words; 0 for models of other kinds.

    Takes a serialised SentencePiece model. Every partial sum that is looked at is that of some pieces before a word and
    of characters in it.
    """
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto: Any = pb.ModelProto.FromString(model)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    normal = [piece for piece in proto.pieces if piece.type == pb.ModelProto.SentencePiece.NORMAL]
    kinds = {getattr(pb.ModelProto.SentencePiece, name) for name in ("NORMAL", "BYTE", "CONTROL", "UNKNOWN")}
    if (
        trainer.model_type != pb.TrainerSpec.UNIGRAM
        or trainer.treat_whitespace_as_suffix
        or normalizer.name not in get_args(Form)
        or not (normalizer.add_dummy_prefix and normalizer.remove_extra_whitespaces and normalizer.escape_whitespaces)
        or any(piece.type not in kinds for piece in proto.pieces)
        or any("▁" in piece.piece[1:] or piece.score % SCORE_STEP for piece in normal)
    ):
        return 0
    most = max(abs(piece.score) for piece in normal)
    return max(0, int(LARGEST_SUM / most) - _LONGEST_WORD - 2) if most else 0


class WordEncoder:
    """Encodes lines with the results of an `encode` for whole lines, which gets those that need it."""

    def __init__(self, encode: Encode, model: bytes, unk_id: int, eos_id: int, dtype: type[np.integer[Any]]) -> None:
        self._encode, self._unk_id, self._eos_id = encode, unk_id, eos_id
        self._dtype = np.dtype(dtype)
        self._longest_line = longest_exact_line(model)
        self._known: dict[str, bytes] = {}

    def __call__(self, lines: pa.StringArray) -> pa.ListArray:
        """Token ids of each line (N,), the end mark last. Any number of threads may call this."""
        import pyarrow as pa

        if not self._longest_line:
            return self._whole(lines.to_pylist())
        encoded, is_exact = self._by_words(lines)
        if is_exact.all():
            return encoded
        others = np.flatnonzero(~is_exact)
        places = np.arange(len(lines))
        places[others] = len(lines) + np.arange(len(others))
        whole = self._whole(lines.take(others).to_pylist())
        return pa.concat_arrays([encoded, whole]).take(places)

    def _whole(self, lines: list[str]) -> pa.ListArray:
        """Lines encoded as they are: the plain twin."""
        rows = self._encode(lines)
        flat = array(self._dtype.char)
        for row in rows:
            flat.extend(row)
        return _lists([len(row) for row in rows], np.frombuffer(flat, dtype=self._dtype))

    def _by_words(self, lines: pa.StringArray) -> tuple[pa.ListArray, np.ndarray]:
        """The pieces of each line's words, and whether they are those of the line (N,)."""
        import pyarrow.compute as pc

        words = pc.split_pattern(lines, " ")
        distinct = words.flatten().dictionary_encode()
        table, is_same = self._table(distinct.dictionary.to_pylist())
        starts = words.offsets.to_numpy()
        numbers = distinct.indices.to_numpy()
        counts = _sums(np.diff(table.offsets.to_numpy())[numbers], starts)
        is_exact = (counts <= self._longest_line) & ~np.array(pc.starts_with(lines, _CODE))
        if not is_same.all():
            is_exact &= _sums(~is_same[numbers], starts) == 0
        tokens = table.take(distinct.indices).flatten().to_numpy()
        return _lists(counts + 1, _with_ends(tokens, counts, self._eos_id)), is_exact

    def _table(self, words: list[str]) -> tuple[pa.ListArray, np.ndarray]:
        """The ids of each word, and whether they are the same in every line (W,)."""
        found = list(map(self._known.get, words))
        is_same = np.ones(len(found), dtype=bool)
        if None in found:
            missing = [i for i, row in enumerate(found) if row is None]
            new = self._learn([words[i] for i in missing])
            is_same[[i for i in missing if words[i] not in new]] = False
            for i in missing:
                found[i] = new.get(words[i], b"")
        rows = cast(list[bytes], found)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.frombuffer(b"".join(rows), dtype=self._dtype)
        return _lists(lengths // self._dtype.itemsize, flat), is_same

    def _learn(self, words: list[str]) -> dict[str, bytes]:
        """The ids of those words that have the same in every line."""
        words = [word for word in words if len(word) <= _LONGEST_WORD and not word.startswith(_CODE)]
        code, unknown = self._dtype.char, self._unk_id
        rows = zip(words, self._encode(words), strict=True)
        new = {word: array(code, ids[:-1]).tobytes() for word, ids in rows if unknown not in ids}
        if len(self._known) < _MOST_WORDS:
            self._known.update(new)
        return new


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of each stretch of values, which starts hold (N + 1,)."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return np.diff(sums[starts])


def _with_ends(tokens: np.ndarray, counts: np.ndarray, end: int) -> np.ndarray:
    """All tokens, with one more behind each stretch of so many."""
    longer = np.full(len(tokens) + len(counts), end, dtype=tokens.dtype)
    is_token = np.ones(len(longer), dtype=bool)
    is_token[np.cumsum(counts + 1) - 1] = False
    longer[is_token] = tokens
    return longer


def _lists(lengths: Any, values: np.ndarray) -> pa.ListArray:
    import pyarrow as pa

    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
