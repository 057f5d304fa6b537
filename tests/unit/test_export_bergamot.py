"""Bergamot's file format and what it refuses. tests/consumers runs exports in Bergamot itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from polystill.errors import UserError
from polystill.export.bergamot import NEVER, _check_sizes, bergamot_items, read_binary, write_binary
from polystill.export.marian import parameters
from polystill.models.folder import load_model


def test_the_file_reads_back_as_the_rounded_parameters(marian_student: Path) -> None:
    model = load_model(marian_student)
    content = write_binary(bergamot_items(model))
    read, original = read_binary(content), dict(parameters(model))
    assert read.keys() == original.keys()
    assert b"dim-vocabs:\n- 48\n- 48" in read["special:model.yml"].tobytes()
    for name, array in original.items():
        if name == "special:model.yml":
            continue
        found = read[name]
        if name == "Wemb":
            assert found.shape == (48, 64)
            assert not found[44:].any()
            found = found[:44]
        elif name == "decoder_ff_logit_out_b":
            assert (found[0, 44:] == np.float32(NEVER)).all()
            found = found[:, :44]
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
    with pytest.raises(UserError, match="d_model 32: Bergamot multiplies in steps of 64"):
        _check_sizes(load_model(counting_student), counting_student)
