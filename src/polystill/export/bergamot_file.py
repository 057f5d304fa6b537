"""Bergamot's two file formats: models with 8-bit weights, and shortlists.

Weights are rounded to w * 127 / max|w|, matrices transposed, embeddings not; activations are rounded while
translating, by their own largest value each time. (Names with "alphas" are for files with fixed ones; this has none.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polystill.data.shortlist import Shortlist
from polystill.models.elastic import ElasticModel
from polystill.models.marian_npz import BIAS, EMBEDDING, SETTINGS, arrays_of, model_settings
from polystill.models.transformer import Transformer

INT8, FLOAT32, CHAR = 0x4101, 0x0404, 0x0101
"""Types by the numbers of Bergamot's Marian: int8 for intgemm, for any processor; float; the model's settings."""
ALIGNMENT = 256
NEVER = -1e9
"""Bias of rows that only fill the vocabulary up to a multiple of 8."""
MAGIC = 0xF11A48D5013417F5
FIRST = 0
"""How many first ids are on every list: none, as ids are not in the order of target pieces."""


# --- models ---------------------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One array of the file: `content` as stored, padded to ALIGNMENT."""

    name: str
    kind: int
    shape: tuple[int, ...]
    content: bytes


def bergamot_items(model: ElasticModel) -> Iterator[Item]:
    """The model's arrays, in alphabetical order, as Marian writes them."""
    assert isinstance(model, Transformer)
    for name, array in sorted(arrays_of(model).items()):
        if name == SETTINGS:
            continue
        if name == EMBEDDING:
            yield _rounded(name, _filled(array, 0, 0.0), transpose=False)
        elif name == BIAS:
            yield _exact(name, _filled(array, 1, NEVER))
        elif name.rsplit("_", 1)[-1].startswith("W"):
            yield _rounded(name, array, transpose=True)
        else:
            yield _exact(name, array)
    settings = model_settings(model.config, rounded_up(model.config.vocabulary_size - 1, 8)).encode() + b"\0"
    yield Item(SETTINGS, CHAR, (len(settings),), _padded(settings))


def _filled(array: NDArray[Any], axis: int, value: float) -> NDArray[Any]:
    missing = rounded_up(array.shape[axis], 8) - array.shape[axis]
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths, constant_values=value)


def _rounded(name: str, array: NDArray[Any], transpose: bool) -> Item:
    multiplier = np.float32(127 / max(float(np.abs(array).max()), 1e-9))
    rounded = np.rint(array * multiplier).astype(np.int8)
    content = np.ascontiguousarray(rounded.T if transpose else rounded).tobytes() + multiplier.tobytes()
    return Item(name, INT8, array.shape, _padded(content))


def _exact(name: str, array: NDArray[Any]) -> Item:
    return Item(name, FLOAT32, array.shape, _padded(np.ascontiguousarray(array, np.float32).tobytes()))


def rounded_up(size: int, step: int) -> int:
    return -(-size // step) * step


def _padded(content: bytes) -> bytes:
    return content.ljust(rounded_up(len(content), ALIGNMENT), b"\0")


def write_binary(items: Iterator[Item]) -> bytes:
    """Marian's binary model file, version 1: headers, names, shapes, and from a multiple of ALIGNMENT on the arrays."""
    rows = list(items)
    names = [row.name.encode() + b"\0" for row in rows]
    head = struct.pack("<QQ", 1, len(rows))
    for row, name in zip(rows, names, strict=True):
        head += struct.pack("<QQQQ", len(name), row.kind, len(row.shape), len(row.content))
    head += b"".join(names) + b"".join(struct.pack(f"<{len(row.shape)}i", *row.shape) for row in rows)
    gap = -(len(head) + 8) % ALIGNMENT
    return head + struct.pack("<Q", gap) + b"\0" * gap + b"".join(row.content for row in rows)


def read_binary(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of such a file, 8-bit ones as the float32 values that they stand for."""
    _, count = struct.unpack_from("<QQ", content)
    headers = [struct.unpack_from("<QQQQ", content, 16 + 32 * i) for i in range(count)]
    at = 16 + 32 * count
    names, shapes, arrays = [], [], {}
    for length, *_ in headers:
        names.append(content[at : at + length - 1].decode())
        at += length
    for _, _, dimensions, _ in headers:
        shapes.append(struct.unpack_from(f"<{dimensions}i", content, at))
        at += 4 * dimensions
    at += 8 + struct.unpack_from("<Q", content, at)[0]
    for name, shape, (_, kind, _, length) in zip(names, shapes, headers, strict=True):
        arrays[name] = _read_array(name, kind, shape, content[at : at + length])
        at += length
    return arrays


def _read_array(name: str, kind: int, shape: tuple[int, ...], content: bytes) -> NDArray[Any]:
    size = int(np.prod(shape))
    if kind != INT8:
        return np.frombuffer(content, np.int8 if kind == CHAR else np.float32, size).reshape(shape)
    (multiplier,) = struct.unpack_from("<f", content, size)
    stored = np.frombuffer(content, np.int8, size)
    rounded = stored.reshape(shape) if name == EMBEDDING else stored.reshape(shape[::-1]).T
    return np.ascontiguousarray(rounded / np.float32(multiplier), np.float32)


# --- shortlists -----------------------------------------------------------------------------------------------------
#
# A binary file of Marian's (BinaryShortlistGenerator): a magic number, a checksum of all that follows, how many of the
# first ids are on every list, the length of the longest list, and the sizes of two arrays: where each source piece's
# list begins, and the lists. `marian-conv --shortlist` makes it from pieces spelt out, which breaks OPUS-MT's language
# codes, so it is written here by ids. From the same lists both make the same bytes (tests/consumers).


def write_shortlist(shortlist: Shortlist, eos: int, unk: int, size: int) -> bytes:
    """The file for a vocabulary of `size` pieces, the same on both sides.

    The targets that all sentences may use are on the list of the end mark, which every sentence has. Every piece may
    also become itself, as names and numbers do, so no list is empty. Within a list ids ascend.
    """
    lists = [sorted({source, *shortlist.likely.get(source, [])}) for source in range(size)]
    lists[eos] = sorted({*lists[eos], *shortlist.frequent, unk})
    offsets = np.cumsum([0, *map(len, lists)]).astype("<u8")
    targets = np.array([target for row in lists for target in row], "<u4")
    assert targets.max() < size
    numbers = struct.pack("<QQQQ", FIRST, max(map(len, lists)), len(offsets), len(targets))
    content = numbers + offsets.tobytes() + targets.tobytes()
    return struct.pack("<QQ", MAGIC, checksum(content)) + content


def checksum(content: bytes) -> int:
    """Marian's `util::hashMem` over whole words of 64 bits, as 64-bit processors compute it; without the rest."""
    result = 0
    for word in np.frombuffer(content[: len(content) // 8 * 8], "<u8").tolist():
        result = (result ^ (word + 0x9E3779B9 + (result << 6) + (result >> 2))) & (2**64 - 1)
    return result
