"""Bergamot exports, in Bergamot's runtime (WebAssembly under node)."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.export import bergamot
from polystill.export.bergamot import export_bergamot


def test_bergamot_translates_like_the_student(
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    hundred_lines: list[str],
    translate: Callable[..., list[str]],
    run_node: Callable[..., list[str]],
) -> None:
    info = export_bergamot(marian_student, tmp_path / "out", hundred_lines)
    assert info["verification"]["identical"] >= 0.8
    theirs = run_node("bergamot.mjs", tmp_path / "out", hundred_lines)
    ours = translate(marian_student, hundred_lines)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{same} of 100 translations in int8 are those of float32")
    assert same >= 65
    assert len(set(theirs)) > 50
    assert not [path for path in (tmp_path / "out").iterdir() if "alphas" in path.name]


def test_metadata_describes_the_files(marian_student: Path, tmp_path: Path, with_pymarian: Path) -> None:
    info = export_bergamot(marian_student, tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert {metadata["sourceLanguage"], metadata["targetLanguage"]} == {"en", "de"}
    assert set(metadata["files"]) == {"model", "vocab"}
    for file in metadata["files"].values():
        content = gzip.decompress((tmp_path / "out" / f"{file['name']}.gz").read_bytes())
        assert file["size"] == len(content)
        assert file["expectedSha256Hash"] == hashlib.sha256(content).hexdigest()
    assert metadata["files"]["model"]["size"] < info["parameters"] * 1.5


def test_wrong_weights_are_noticed_and_not_written(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = bergamot._rounded

    def not_transposed(name: str, array: object, transpose: bool) -> object:
        return rounded(name, array, transpose=False)

    monkeypatch.setattr(bergamot, "_rounded", not_transposed)
    with pytest.raises(UserError, match=r"does not translate like its source.*on average in int8"):
        export_bergamot(marian_student, tmp_path / "out")
    assert not list(tmp_path.iterdir())
