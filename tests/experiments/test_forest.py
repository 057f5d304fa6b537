"""experiments.forest: each comparison is drawn once in each metric, and what lacks seeds looks otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.claims import Compared
from experiments.forest import forest, write_forest
from polystill.evaluation.resampling import Difference

FOUND = {"bleu": Difference(30.0, 31.0, 0.2, 1.8), "chrf": Difference(55.0, 54.5, -1.2, 0.1)}
COMPARED = [
    Compared("baseline", "seq-kd", "beam 5", (3, 3), (0, 0), True, FOUND),
    Compared("baseline", "word-kd", "beam 5", (3, 1), (0, 0), False, FOUND),
    Compared("baseline", "later", "beam 5", (3, 1), (0, 0), False, {}),
]


def test_every_interval_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    chart = forest(COMPARED)
    assert chart is not None
    bleu, chrf = chart.spec["hconcat"]
    assert [(v["what"], v["low"], v["interval"]) for v in bleu["data"]["values"]] == [
        ("seq-kd – baseline (beam 5)", 0.2, "sentences and trainings"),
        ("word-kd – baseline (beam 5)", 0.2, "sentences only: one seed"),
    ]
    assert {v["high"] for v in chrf["data"]["values"]} == {0.1}
    assert write_forest(COMPARED, tmp_path).endswith("(comparisons.svg)")
    picture = (tmp_path / "comparisons.svg").read_text()
    assert "seq-kd – baseline (beam 5)" in picture and "later" not in picture


def test_nothing_compared_is_no_picture(tmp_path: Path) -> None:
    assert write_forest([COMPARED[-1]], tmp_path) == ""
    assert not list(tmp_path.iterdir())
