"""Bergamot's file formats and what it refuses. tests/consumers runs exports in Bergamot itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from polystill.data.shortlist import Shortlist
from polystill.errors import UserError
from polystill.export import FORMATS
from polystill.export.bergamot_file import (
    MAGIC,
    NEVER,
    bergamot_items,
    checksum,
    read_binary,
    write_binary,
    write_shortlist,
)
from polystill.models.folder import load_model, load_model_with_tokenizer
from polystill.models.marian_npz import arrays_of
from polystill.models.transformer import Transformer


def test_the_file_reads_back_as_the_rounded_parameters(marian_student: Path) -> None:
    model = load_model(marian_student)
    assert isinstance(model, Transformer)
    content = write_binary(bergamot_items(model))
    read, original = read_binary(content), arrays_of(model)
    assert read.keys() == original.keys()
    assert b"dim-vocabs:\n- 304\n- 304" in read["special:model.yml"].tobytes()
    for name, array in original.items():
        if name == "special:model.yml":
            continue
        found = read[name]
        if name == "Wemb":
            assert found.shape == (304, 64)
            assert not found[300:].any()
            found = found[:300]
        elif name == "decoder_ff_logit_out_b":
            assert (found[0, 300:] == np.float32(NEVER)).all()
            found = found[:, :300]
        largest = np.abs(array).max() / 127 * 0.51 if "_W" in name[-3:] or name == "Wemb" else 0.0
        assert np.abs(found - array).max() <= largest, name


def test_arrays_start_at_multiples_of_256(marian_student: Path) -> None:
    items = list(bergamot_items(load_model(marian_student)))
    content = write_binary(iter(items))
    assert struct.unpack_from("<QQ", content) == (1, len(items))
    assert all(len(item.content) % 256 == 0 for item in items)
    assert (len(content) - sum(len(item.content) for item in items)) % 256 == 0
    assert [item.name for item in items[:-1]] == sorted(item.name for item in items[:-1])


def test_sizes_that_bergamots_kernels_lack_are_refused(counting_student: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(counting_student)
    with pytest.raises(UserError, match="d_model 32: Bergamot multiplies in steps of 64"):
        FORMATS["bergamot"].check(model.with_settings(positions="marian"), tokenizer, counting_student)


# --- shortlists: read by plain loops, and against a file of Marian's own converter ----------------------------------

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
