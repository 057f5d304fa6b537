"""serving.requests: who may ask, and how much."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.serving.requests import ApiKeys, Limits


def test_api_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\n\n  first \nsecond ü\n", encoding="utf-8")
    keys = ApiKeys.read(tmp_path / "keys")
    assert all(keys.accept(key) for key in ("first", "second ü"))
    assert not any(keys.accept(key) for key in ("", "firs", "first ", "# mine", "\ud800"))
    (tmp_path / "marked").write_text("\ufefffirst\n", encoding="utf-8")  # as Windows' editor writes it
    assert ApiKeys.read(tmp_path / "marked").accept("first")
    (tmp_path / "empty").write_text("# nothing\n")
    for name, message in (("empty", "no API key in it"), ("missing", "cannot be read")):
        with pytest.raises(UserError, match=message):
            ApiKeys.read(tmp_path / name)


def test_a_body_of_the_most_characters_fits_in_its_bytes() -> None:
    limits = Limits(characters=100, batch=3)
    assert len("\\ud83d\\ude00" * 100) <= limits.body_bytes
    assert len("%F0%9F%98%80" * 100) <= limits.body_bytes
