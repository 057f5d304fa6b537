"""Bergamot's binary shortlist: read by plain loops, and against a file of Marian's own converter."""

from __future__ import annotations

import struct

import pytest

from polystill.data.shortlist import Shortlist
from polystill.export.bergamot_shortlist import MAGIC, checksum, write_shortlist

EOS, UNK = 0, 1
SHORTLIST = Shortlist([2, 4], {EOS: [3], 2: [3, 1], 3: [2]}, 9)


def read(content: bytes) -> tuple[tuple[int, ...], list[list[int]]]:
    """The header, and the lists; every byte is accounted for."""
    header = struct.unpack_from("<6Q", content)
    offsets = struct.unpack_from(f"<{header[4]}Q", content, 48)
    targets = struct.unpack_from(f"<{header[5]}I", content, 48 + 8 * header[4])
    assert len(content) == 48 + 8 * header[4] + 4 * header[5]
    assert offsets[0] == 0 and offsets[-1] == header[5]
    return header, [list(targets[offsets[i] : offsets[i + 1]]) for i in range(len(offsets) - 1)]


def test_every_piece_has_what_it_may_become_and_itself() -> None:
    header, lists = read(write_shortlist(SHORTLIST, EOS, UNK, 6))
    assert lists == [[0, 1, 2, 3, 4], [1], [1, 2, 3], [2, 3], [4], [5]]
    assert header == (MAGIC, header[1], 0, 5, 7, 13)


def test_it_is_what_marians_converter_makes_of_the_same_lists() -> None:
    """`pymarian convert --shortlist LISTS 0 5 0 --dump-shortlist FILE`, of version 1.12.42."""
    words = "f5173401d5481af1 c283a90e75a7ac82 0 05 07 0d 0 05 06 09 0b 0c 0d"
    numbers = b"".join(bytes.fromhex(word.zfill(2)).ljust(8, b"\0") for word in words.split())
    targets = struct.pack("<13I", 0, 1, 2, 3, 4, 1, 1, 2, 3, 2, 3, 4, 5)
    assert write_shortlist(SHORTLIST, EOS, UNK, 6) == numbers + targets


@pytest.mark.parametrize("at", [0, 17, 47])
def test_another_byte_is_another_sum(at: int) -> None:
    content = bytearray(range(51))
    before = checksum(bytes(content))
    content[at] ^= 1
    assert checksum(bytes(content)) != before


def test_what_is_no_whole_word_is_not_in_the_sum() -> None:
    assert checksum(bytes(range(51))) == checksum(bytes(range(48)))
