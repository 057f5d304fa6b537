"""serving.models, limits, chart: which student answers, who may ask, what the page shows."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.serving.family import Family, Measured, Student, measured
from polystill.serving.page import Point, quality_chart
from polystill.serving.requests import ApiKeys, Limits


def family(**latencies: float | None) -> Family:
    """Students whose BLEU is their place in the list."""
    nothing: Any = None
    students = [
        Student(name, nothing, Measured(bleu=float(i), latency_p95_ms=ms))
        for i, (name, ms) in enumerate(latencies.items())
    ]
    return Family("test", students, "en", "de")


def test_a_student_is_chosen_by_name_and_the_first_without() -> None:
    students = family(e3d3=None, e1d1=None)
    assert students.choose("e1d1", None).name == "e1d1"
    assert students.choose(None, None).name == "e3d3"
    with pytest.raises(UserError, match=r"no such student is served \(did you mean 'e1d1'\?\); there are: e3d3 e1d1"):
        students.choose("e1d2", None)
    with pytest.raises(UserError, match="not both"):
        students.choose("e1d1", 5)


def test_the_best_student_within_a_latency_budget_is_chosen() -> None:
    students = family(e1d1=10.0, e2d2=20.0, e3d3=40.0, e4d4=None)
    assert students.choose(None, 39).name == "e2d2"
    assert students.choose(None, 40).name == "e3d3"
    with pytest.raises(UserError, match="the quickest is e1d1, 10 ms"):
        students.choose(None, 9)
    with pytest.raises(UserError, match="no student's latency at batch 1 has been measured"):
        family(e1d1=None).choose(None, 100)


def test_measured_takes_the_rows_of_the_engine_that_serves() -> None:
    how: dict[str, Any] = {"engine": "ctranslate2", "precision": "int8", "beam": 1, "length_penalty": 0.5}
    row = {"model": "e1d1", **how, "test_set": "a", "bleu": 30.0}
    rows = [
        {**row, "engine": "torch", "bleu": 1.0},
        {**row, "beam": 5, "bleu": 2.0, "latency_p95_ms": 99.0},
        {**row, "length_penalty": 1.0, "bleu": 3.0, "latency_p95_ms": 88.0},
        row,
        {**row, "test_set": "b", "bleu": 4.0, "latency_p50_ms": 3.0, "latency_p95_ms": 4.0},
    ]
    found = measured(rows, "e1d1", **how)
    assert found == Measured(bleu=30.0, test_set="a", latency_p50_ms=3.0, latency_p95_ms=4.0)
    assert found.latency_ms == 4.0
    assert measured(rows, "e2d2", **how) == Measured()


def test_api_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\n\n  first \nsecond ü\n", encoding="utf-8")
    keys = ApiKeys.read(tmp_path / "keys")
    assert all(keys.accept(key) for key in ("first", "second ü"))
    assert not any(keys.accept(key) for key in ("", "firs", "first ", "# mine", "\ud800"))
    (tmp_path / "empty").write_text("# nothing\n")
    for name, message in (("empty", "no API key in it"), ("missing", "cannot be read")):
        with pytest.raises(UserError, match=message):
            ApiKeys.read(tmp_path / name)


def test_a_body_of_the_most_characters_fits_in_its_bytes() -> None:
    limits = Limits(characters=100, batch=3)
    assert len("\\ud83d\\ude00" * 100) <= limits.body_bytes
    assert len("%F0%9F%98%80" * 100) <= limits.body_bytes


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
