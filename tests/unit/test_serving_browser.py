"""serving.browser: which of a run's exports run in the browser, and what damaged ones say. On made-up files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.serving.page import RUNTIME, bergamot_exports, read_browser_models

CONTENT = b"weights" * 10


def write_export(folder: Path, name: str, weights: str, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    info = {"format": "bergamot", "name": name, "source_sha256": weights, **changes}
    (folder / "polystill.json").write_text(json.dumps(info))
    (folder / "metadata.json").write_text(json.dumps({"files": {"model": {"name": "m.bin", "size": len(CONTENT)}}}))
    (folder / "m.bin.gz").write_bytes(gzip.compress(CONTENT, mtime=0))
    return folder


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    for name in RUNTIME:
        (tmp_path / "runtime" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runtime" / name).write_bytes(name.encode())
    return tmp_path / "runtime"


def test_exports_of_the_served_weights_are_found_and_older_ones_are_not(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    now = write_export(exports / "a-now", "e1d1", "now")
    before = write_export(exports / "b-before", "e1d1", "before")
    old = write_export(exports / "old", "e2d2", "before")
    write_export(exports / "unserved", "e3d3", "now")
    write_export(exports / "other", "e1d1", "now", format="argos")
    assert bergamot_exports(tmp_path, {"e1d1": "now", "e2d2": "now"}) == ({"e1d1": now}, [before, old])
    unknown = {"e2d2": None}  # as of an engine that does not say
    assert bergamot_exports(tmp_path, unknown) == ({"e2d2": old}, [])


def test_what_is_read_is_what_was_written(runtime: Path, tmp_path: Path) -> None:
    models = read_browser_models(runtime, {"e1d1": write_export(tmp_path / "export", "e1d1", "now")})
    assert gzip.decompress(models.files["e1d1", "m.bin"]) == CONTENT
    assert set(models.runtime) == set(RUNTIME) and models


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.json", b"{"),
        ("metadata.json", b"[]"),
        ("metadata.json", b'{"files": []}'),
        ("metadata.json", b'{"files": {"model": "m.bin"}}'),
        ("m.bin.gz", gzip.compress(CONTENT, mtime=0)[:-9]),
        ("m.bin.gz", gzip.compress(CONTENT, mtime=0)[:10] + b"\xff" * 30),
        ("m.bin.gz", b"weights"),
        ("m.bin.gz", gzip.compress(b"others", mtime=0)),
    ],
)
def test_a_damaged_export_is_one_line(name: str, content: bytes, runtime: Path, tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", "e1d1", "now")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=r"export: not a whole Bergamot export \(.*\); export it again$"):
        read_browser_models(runtime, {"e1d1": folder})
