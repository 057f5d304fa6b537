"""The figures of Miao et al. (2023) that stand beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import yaml

from experiments.claims import Values

PAPER: Values = yaml.safe_load(Path(__file__).with_name("aio_kd_paper.yaml").read_text(encoding="utf-8"))
STUDENTS: list[str] = PAPER["students"]


def gain(before: str, after: str, students: Sequence[str] = STUDENTS) -> str:
    """BLEU of row `after` minus that of `before` by data set, on average over these students; – where there is none."""
    if not set(students) <= set(STUDENTS):
        return "–"
    places = [STUDENTS.index(student) for student in students]
    both = {data: rows for data, rows in PAPER["bleu"].items() if before in rows and after in rows}
    gains = {data: fmean(rows[after][i] - rows[before][i] for i in places) for data, rows in both.items()}
    return ", ".join(f"{data.split()[-1]} {value:+.2f}" for data, value in gains.items()) or "–"


def cost_times(way: str, figure: str) -> str:
    """A way's `hours` or `gigabytes`, times those of AIO-KD, by data set; empty where there are none."""
    family, other = PAPER["costs"]["family"][figure], PAPER["costs"].get(way, {}).get(figure, [])
    return ", ".join(f"{there / here:.2f}" for there, here in zip(other, family, strict=False))
