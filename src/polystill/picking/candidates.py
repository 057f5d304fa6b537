"""What can be picked: students of runs, in every precision and beam size measured, with a shortlist or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.errors import UserError
from polystill.evaluation.trained import references
from polystill.picking.devices import CTRANSLATE2, EVALUATION, Device
from polystill.runs import Run
from polystill.runs.rows import has_shortlist, student_name, system_key

Row = dict[str, Any]
COST = ("words_per_second", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "threads", "hardware")
"""What depends on the device, of the figures of a row."""


@dataclass(frozen=True)
class Candidate:
    """A student of a run in one precision with one beam size, with a shortlist or without."""

    run: Path
    row: Row
    """Quality and size as the run measured them; speed, latency and memory of the device that is asked for.

    All of CTranslate2's folder, but for a weighed candidate's size.
    """
    format: str = CTRANSLATE2
    """What it would be shipped in."""
    weighed: bool = False
    """Whether the size is that of a package in `format`."""

    @property
    def name(self) -> str:
        return f"{self.run / student_name(self.row)} {self.row['precision']} beam {self.row['beam']}"

    def get(self, key: str) -> float | None:
        value: float | None = self.row.get(key)
        return value


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Raises:
    UserError: a folder is no run, or its training is not finished.
    """
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        run.need_family()
    return runs


def check_test_set(runs: Sequence[Run], test_set: str | None) -> str:
    """The test set that all runs are compared on: by default the first one of the first run.

    Raises:
        UserError: a run does not have it, or has other sentences under its name.
    """
    known = list(runs[0].recipe.data.test)
    if not known:
        raise UserError(f"{runs[0].folder}: the run has no test sets to choose by; add one to data.test")
    chosen = test_set or known[0]
    expected = None
    for run in runs:
        if chosen not in run.recipe.data.test:
            raise UserError(f"--test-set {chosen}: {run.folder} has {' '.join(run.recipe.data.test) or 'none'}")
        found = references(run, chosen)
        if expected not in (None, found):
            raise UserError(f"{run.folder}: has not the same test set {chosen} as {runs[0].folder}")
        expected = found
    return chosen


def candidates(runs: Sequence[Run], test_set: str, device: Device, name: str | None) -> list[Candidate]:
    """Those in the device's precision and beam size, with the length penalty of their run's recipe.

    Those with a shortlist only where the device's format can have one. The device's `name` is None where it has none.

    Raises:
        UserError: there is none, or their BLEU was computed in different ways.
    """
    where = device.measured_on or name
    found = []
    for run in runs:
        results = run.results()
        found += [
            Candidate(run.folder, _on_device(row, results.get("devices", []), where), device.format)
            for row in results["rows"]
            if (row["test_set"], row["engine"]) == (test_set, CTRANSLATE2)
            and row["length_penalty"] == run.recipe.evaluation.length_penalty
            and device.wanted_precision in (None, row["precision"])
            and device.wanted_beam in (None, row["beam"])
            and (device.takes_shortlists or not has_shortlist(row))
        ]
    if not found:
        how = f" --precision {device.wanted_precision}" if device.wanted_precision else ""
        how += f" --beam {device.wanted_beam}" if device.wanted_beam else ""
        raise UserError(
            f"{'' if name is None else f'device {name}: '}no student is measured on {test_set} like that; measure: "
            f"polystill evaluate {runs[0].folder} --engine ctranslate2{how}"
        )
    signatures = {candidate.row["bleu_signature"] for candidate in found}
    if len(signatures) > 1:
        raise UserError(f"BLEU was computed in different ways and cannot be compared: {' and '.join(signatures)}")
    return found


def _on_device(row: Row, measured: Sequence[Row], where: str | None) -> Row:
    """The row, with what depends on the device as measured there, or not at all."""
    if where in (None, EVALUATION):
        return row
    kept = {key: value for key, value in row.items() if key not in COST}
    for figures in measured:
        if figures["device"] == where and system_key(figures) == system_key(row):
            return {**kept, **{key: figures[key] for key in COST}, "device": where}
    return kept
