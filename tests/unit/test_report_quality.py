"""The Pareto front, its labels, and the words of a translation that differ."""

from __future__ import annotations

import re
from typing import Any

import pytest
import vl_convert

from polystill.reporting.cost import count, duration
from polystill.reporting.families import Family, Labels, Noise, Point, pareto
from polystill.reporting.page import VEGA_LITE
from polystill.reporting.quality import front_chart
from polystill.reporting.tables import MISSING, differing
from polystill.runs.results import QualityRow


def point(size: int, bleu: float, **row: Any) -> Point:
    family: Any = Family.__new__(Family)
    object.__setattr__(family, "name", row.pop("family", "run"))
    known = {"engine": "ctranslate2", "precision": "int8", "beam": 1, "model": "e1d1", "length_penalty": 1.0}
    known |= {"model_id": "aio_kd-gold-e1d1", "test_set": "x"}
    return Point(family, QualityRow(**{**known, "size_bytes": size, "bleu": bleu, **row}))


@pytest.fixture
def without_translations(monkeypatch: pytest.MonkeyPatch) -> Noise:
    monkeypatch.setattr(Family, "translations", lambda family, row: None)
    return Noise(None, "de")


def test_the_front_has_what_nothing_beats() -> None:
    cheap, beaten, better, equal, dear = point(1, 10), point(2, 9), point(3, 12), point(4, 12), point(5, 13)
    assert pareto([dear, equal, beaten, better, cheap], "size_bytes") == [cheap, better, dear]


def test_of_one_size_the_best_counts() -> None:
    worse, best = point(1, 10), point(1, 11)
    assert pareto([worse, best], "size_bytes") == [best]


def test_a_chart_shows_how_far_rounds_of_measuring_differ(without_translations: Noise) -> None:
    spread = {"latency_p50_ms_min": 2.5, "latency_p50_ms_max": 4.0}
    points = [point(1, 10, latency_p50_ms=2.0), point(2, 12, latency_p50_ms=3.0, **spread)]
    chart = front_chart(points, "latency_p50_ms", "latency", "Latency", without_translations)
    values = chart.spec["data"]["values"]
    assert [(value.get("min"), value.get("max")) for value in values] == [(None, None), (2.5, 4.0)]
    assert "slowest round" in chart.table.note
    assert "round" not in front_chart(points, "size_bytes", "size", "Size", without_translations).table.note


@pytest.mark.parametrize("sizes", [(5,), (1, 2), (1, 1), (1, 1000)])
def test_labels_lie_right_of_the_axis(sizes: tuple[int, ...], without_translations: Noise) -> None:
    """The scale starts so far left of the first point that its label, which ends there, has room."""
    points = [point(10**6 * size, 10 + size, shortlist=True) for size in sizes]
    spec = front_chart(points, "size_bytes", "size", "Size", without_translations).spec
    svg = vl_convert.vegalite_to_svg({**spec, "width": 230}, vl_version=VEGA_LITE)
    labels = re.findall(r"translate\((-?[0-9.]+),(-?[0-9.]+)\)[^>]*>e1d1 \+list<", svg)
    assert labels
    for right, _ in labels:
        assert float(right) > 7 * len("e1d1 +list")


def test_labels_say_only_what_differs() -> None:
    assert Labels([point(1, 1), point(2, 2)]).series(point(1, 1)) == ""
    several = [point(1, 1), point(2, 2, precision="float32", beam=5)]
    assert [Labels(several).series(each) for each in several] == ["int8, greedy", "float32, beam 5"]
    assert Labels(several).full(point(1, 1, shortlist=True)) == "e1d1 +list, int8, greedy"
    families = [point(1, 1, family="a"), point(1, 1, family="b")]
    assert Labels(families).full(families[1]) == "e1d1, b"


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("ein Hund rennt", []),
        ("ein Wolf rennt", ["Wolf"]),
        ("ein großer Hund rennt", ["großer"]),
        ("ein rennt", [MISSING]),
        ("", [MISSING]),
    ],
)
def test_words_that_differ(text: str, marked: list[str]) -> None:
    stretches = differing("ein Hund rennt", text)
    assert [words for words, is_marked in stretches if is_marked] == marked
    assert "".join(words for words, _ in stretches).replace(MISSING, "").split() == text.split()


def test_characters_differ_where_a_language_has_no_spaces() -> None:
    assert differing("狗跑得快", "狗跑得慢", unspaced=True) == [("狗跑得", False), ("慢", True)]


def test_figures_in_words() -> None:
    assert (duration(187), duration(11643)) == ("3:07 min", "3:14 h")
    assert (count(14_577_257), count(4.24163e14)) == ("14.6 million", "4.24 × 10¹⁴")
