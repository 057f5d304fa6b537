"""A TSV of translations: matched by source, in order, and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.targets.store import Candidate
from polystill.targets.teachers import TranslationsFile


def file(tmp_path: Path, text: str) -> TranslationsFile:
    path = tmp_path / "t.tsv"
    path.write_text(text, encoding="utf-8")
    return TranslationsFile(path, 2)


def test_translations_of_the_asked_sources(tmp_path: Path) -> None:
    read = file(tmp_path, "a\tA\tAA\nskipped\tS\nb\tB\na\tA again\nc\tC\t\n")
    assert read.translate(["a", "b"]) == [[Candidate("A"), Candidate("AA")], [Candidate("B")]]
    assert read.translate(["c"]) == [[Candidate("C")]]


def test_a_missing_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t.tsv: no translation of 'b' from line 2 on; expected a line for every"):
        file(tmp_path, "a\tA\nc\tC\n").translate(["a", "b", "c"])


@pytest.mark.parametrize("line", ["b", "b\t", "b\t \t"])
def test_no_candidates(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"t.tsv: line 2: no translation of 'b'"):
        file(tmp_path, f"a\tA\n{line}\nc\tC\n").translate(["a", "b", "c"])
