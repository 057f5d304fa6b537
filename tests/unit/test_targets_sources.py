"""Sources: each distinct one once, in order, with all sentences that have it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from polystill.config import parse_recipe
from polystill.data.training_text import lines_sha256
from polystill.errors import UserError
from polystill.targets.sources import Source, corpus_sources, text_sources

PAIRS = [("a b", "x"), ("c d", "y"), ("a b", "z"), ("", "empty"), ("a b", "x"), ("e f", "w")]


def recipe(folder: Path, pairs: list[tuple[str, str]]) -> Any:
    for side in (0, 1):
        (folder / f"train.{side}").write_text("".join(pair[side] + "\n" for pair in pairs))
    text = {"kind": "text", "source": "train.0", "target": "train.1"}
    data = {"folder": str(folder), "train": [text], "validation": text}
    return parse_recipe({"data": data, "stages": [{"name": "one", "updates": 1}]}, "r.yaml")


def test_a_corpus_grouped_by_source(tmp_path: Path) -> None:
    with corpus_sources(recipe(tmp_path, PAIRS), tmp_path, lambda line: None) as sources:
        assert (sources.sentences, len(sources)) == (4, 3)
        assert sources.block(0, 2) == [Source([0, 2], "a b", ["x", "z"]), Source([1], "c d", ["y"])]
        assert sources.block(2, 9) == [Source([3], "e f", ["w"])]
        checksum = lines_sha256(["a b", "c d", "a b", "e f"])
        assert sources.about == {"kind": "corpus", "sha256": checksum, "sentences": 4}
    assert not list(tmp_path.glob(".text-*"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_text(tmp_path: Path, packed: bool) -> None:
    content = b"one \n\xef\xbb\xbf\xe2\x80\x8b\nthree\none\n"
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(content) if packed else content)
    with text_sources(path, tmp_path, print) as sources:
        assert sources.block(0, 9) == [Source([0, 3], "one", []), Source([2], "three", [])]
        assert (sources.sentences, sources.about["sentences"], sources.about["left_out"]) == (3, 4, 1)


def test_a_few_lines_of_a_text_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"one\n" * 1100 + b"t\xffwo\nth\0ree\nfour\n")
    warnings: list[str] = []
    with text_sources(tmp_path / "text", tmp_path, warnings.append) as sources:
        assert sources.block(1, 9) == [Source([1102], "four", [])]
        assert sources.about["left_out"] == 2
    assert warnings == [
        f"warning: {tmp_path}/text: 2 of 1,103 lines cannot be read: invalid_utf8 1 (line 1,101), "
        "nul_byte 1 (line 1,102)"
    ]


def test_bad_texts(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text("\n \n")
    (tmp_path / "latin").write_bytes(b"a\n\xe4\n\xf6\n")
    for name, message in (
        ("blank", "not one line with text"),
        ("latin", r"2 of 3 lines cannot be read: invalid_utf8 2 \(lines 2, 3\)"),
        ("no", "no such file"),
    ):
        with pytest.raises(UserError, match=message), text_sources(tmp_path / name, tmp_path, print):
            pass
