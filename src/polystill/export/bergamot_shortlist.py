"""Bergamot's form of a shortlist, a file beside the model, as Firefox's models have it.

A binary file of Marian's (BinaryShortlistGenerator): after the magic number and a checksum of all that follows, how
many of the first ids are on every list, the length of the longest list, and the sizes of two arrays: where each source
piece's list begins, and the lists. `marian-conv --shortlist` makes it of pieces spelt out, which those of OPUS-MT's
language codes do not survive, so it is written here, by ids; of the same lists both make the same bytes
(tests/consumers).
"""

from __future__ import annotations

import struct

import numpy as np

from polystill.data.shortlist import Shortlist

MAGIC = 0xF11A48D5013417F5
FIRST = 0
"""Ids that are on every list because they are the first ones: none, as ids are not in the order of target pieces."""


def write_shortlist(shortlist: Shortlist, eos: int, unk: int, size: int) -> bytes:
    """The file for a vocabulary of `size` pieces, the same on both sides.

    What is to be on every list is on the end mark's, which every sentence has. Every piece may also become itself, as
    names and numbers do, so no list is empty. Within a list ids ascend.
    """
    lists = [sorted({source, *shortlist.likely.get(source, [])}) for source in range(size)]
    lists[eos] = sorted({*lists[eos], *shortlist.frequent, unk})
    offsets = np.cumsum([0, *map(len, lists)]).astype("<u8")
    targets = np.array([target for own in lists for target in own], "<u4")
    assert targets.max() < size
    numbers = struct.pack("<QQQQ", FIRST, max(map(len, lists)), len(offsets), len(targets))
    content = numbers + offsets.tobytes() + targets.tobytes()
    return struct.pack("<QQ", MAGIC, checksum(content)) + content


def checksum(content: bytes) -> int:
    """Marian's `util::hashMem` over whole words of 64 bits, as 64-bit processors compute it; a rest is left out."""
    found = 0
    for word in np.frombuffer(content[: len(content) // 8 * 8], "<u8").tolist():
        found = (found ^ (word + 0x9E3779B9 + (found << 6) + (found >> 2))) & (2**64 - 1)
    return found
