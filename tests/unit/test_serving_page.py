"""serving.page: the chart, and the exports that run in the browser, on made-up files."""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.serving.page import RUNTIME, Point, bergamot_exports, quality_chart, read_browser_models


def test_the_chart_shows_every_student_and_joins_the_front() -> None:
    points = [Point("e1d1", 3.5, 49.5), Point("e2d1", 4.1, 53.0), Point("e3d3", 6.2, 52.0), Point("<b>", 9.9, 60.0)]
    svg = ElementTree.fromstring(quality_chart(points, "a & b"))
    circles = {circle.attrib["data-model"]: circle.attrib for circle in svg.iter("circle")}
    assert next(title.text for title in svg.iter("title")) == "BLEU on a & b against size"
    assert set(circles) == {"e1d1", "e2d1", "e3d3", "<b>"}
    (front,) = svg.iter("polyline")
    joined = front.attrib["points"].split()
    assert joined == [f"{circles[name]['cx']},{circles[name]['cy']}" for name in ("e1d1", "e2d1", "<b>")]
    assert float(circles["e1d1"]["cx"]) < float(circles["e3d3"]["cx"])
    assert float(circles["e1d1"]["cy"]) > float(circles["e3d3"]["cy"])
    (words,) = svg.iter("desc")
    assert "e2d1: 4.1 MB, 53.0 BLEU" in (words.text or "")
    assert quality_chart([], "") == ""


def test_labels_of_the_chart_hide_neither_points_nor_each_other() -> None:
    points = [Point(f"e{i}d{k}", 6 + 0.1 * i, 36 + 0.1 * k) for i in range(9) for k in range(6)]
    svg = ElementTree.fromstring(quality_chart(points, "t"))
    labels = [text.attrib for text in svg.iter("text") if text.attrib["class"] == "name"]
    assert 5 < len(labels) < len(points)
    boxes = [(float(a["x"]), float(a["y"]) - 9, float(a["x"]) + 28, float(a["y"])) for a in labels]
    for circle in svg.iter("circle"):
        x, y = float(circle.attrib["cx"]), float(circle.attrib["cy"])
        boxes.append((x - 5, y - 5, x + 5, y + 5))
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


@pytest.mark.parametrize("values", [(1.0, 1.0), (0.0, 0.0), (17.2, 17.3), (0.1, 900.0)])
def test_the_charts_scale_holds_all_points(values: tuple[float, float]) -> None:
    svg = ElementTree.fromstring(
        quality_chart([Point("a", values[0], values[0]), Point("b", values[1], values[1])], "t")
    )
    for circle in svg.iter("circle"):
        assert 40 < float(circle.attrib["cx"]) < 400
        assert 10 < float(circle.attrib["cy"]) < 270


# --- models that run in the browser ---------------------------------------------------------------------------------


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
