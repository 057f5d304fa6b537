"""What people read of errors of the system and of libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from polystill.errors import reason


@pytest.mark.parametrize(
    ("fail", "shown"),
    [
        (lambda: Path("/").read_text(), "Is a directory"),
        (lambda: b"abc\xff".decode(), "not UTF-8 at byte 4"),
        (lambda: json.loads('{"a": 1,\n]'), "broken at line 2, column 1"),
        (lambda: json.loads(" \n"), "empty"),
        (lambda: int("x\ny"), "invalid literal for int() with base 10: 'x\\ny'"),
    ],
)
def test_reasons_are_one_line_without_names_and_numbers_of_libraries(fail: Callable[[], object], shown: str) -> None:
    with pytest.raises(Exception) as caught:
        fail()
    assert reason(caught.value) == shown
