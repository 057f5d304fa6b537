"""Latency and memory of a run's students on the machine that evaluates them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from polystill.decoding.contract import DecodingOptions
from polystill.evaluation.speed import sample
from polystill.evaluation.speed_rounds import Subject, measure_in_turn
from polystill.export.students import exported
from polystill.runs import Run
from polystill.runs.rows import has_shortlist
from polystill.storage import text_lines

Row = dict[str, Any]
_log = logging.getLogger(__name__)

ROUNDS = 3
LATENCY_LINES = 100
"""Sentences of a test set that latency and memory are measured with."""
_FIGURES = ("latency_p50_ms", "latency_p95_ms", "peak_memory_bytes")


def has_device_figures(row: Row) -> bool:
    return all(name in row for name in _FIGURES)


def add_device_figures(run: Run, rows: Sequence[Row]) -> list[Row]:
    """The rows of results, with latency and memory for those of CTranslate2 that lack them.

    All of these are measured in turn, in processes of their own, so that a machine whose speed varies treats them
    alike. What is found goes into RUN/results.json after the last round.

    Raises:
        UserError: a folder does not load, or a test set has no words.
    """
    lacking = [i for i, row in enumerate(rows) if row["engine"] == "ctranslate2" and not has_device_figures(row)]
    if not lacking:
        return list(rows)
    _log.info("latency and memory, %d times in each of %d rounds", len(lacking), ROUNDS)
    found = measure_in_turn(_subjects(run, [rows[i] for i in lacking]), rounds=ROUNDS, log=_log.info)
    completed = list(rows)
    for i, measured in zip(lacking, found, strict=True):
        completed[i] = {**rows[i], **measured, "latency_rounds": ROUNDS}
    run.add_results([completed[i] for i in lacking])
    return completed


def _subjects(run: Run, rows: Sequence[Row]) -> list[Subject]:
    from polystill.models.folder import family_space

    space = family_space(run.family)

    @cache  # many rows are of one folder, whose weights are hashed to know that they are the run's
    def folder(student: str, precision: str, shortlist: bool) -> Path:
        return exported(run, space.get(student), precision, shortlist)

    @cache
    def lines(test_set: str) -> list[str]:
        return sample(text_lines(run.data / "test" / f"{test_set}.source.txt"), LATENCY_LINES)

    return [
        Subject(
            folder=folder(row["model"], row["precision"], has_shortlist(row)),
            lines=lines(row["test_set"]),
            options=DecodingOptions(beam_size=row["beam"], length_penalty=row["length_penalty"]),
            precision=row["precision"],
            threads=row["threads"],
        )
        for row in rows
    ]
