"""Candidates to pick from: students of runs in every precision and beam size measured, with or without a shortlist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from polystill.errors import UserError
from polystill.picking.devices import CTRANSLATE2, EVALUATION, Device
from polystill.runs import Run
from polystill.runs.family import read_family
from polystill.runs.results import VALIDATION, DeviceRow, QualityRow, Results


@dataclass(frozen=True)
class Candidate:
    """A student of a run in one precision with one beam size, with or without a shortlist."""

    run: Path
    row: QualityRow
    """Quality and size as the run measured them; speed, latency and memory of the wanted device, if measured there.

    All of them belong to CTranslate2's folder, except the size of a weighed candidate.
    """
    format: str = CTRANSLATE2
    """The format to ship in."""
    weighed: bool = False
    """Whether the size is that of a package in `format`."""
    device: str = ""
    """The device of speed, latency and memory. Empty for the machine of `polystill evaluate`."""
    reported: QualityRow | None = None
    """The same system on the run's first test set that it was not chosen on; None if it is not measured there."""

    @property
    def name(self) -> str:
        return f"{self.run / self.row.label} {self.row.precision} beam {self.row.beam}"

    @property
    def size(self) -> int:
        assert self.row.size_bytes is not None
        return self.row.size_bytes

    def get(self, key: str) -> float | None:
        value: float | None = getattr(self.row, key)
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
    """The set that all runs are compared on, by default the validation set: nothing is chosen on a test set unasked.

    Raises:
        UserError: a run does not have it, or has other sentences under its name.
    """
    chosen = test_set or VALIDATION
    for run in runs:
        if chosen not in run.held_out:
            raise UserError(f"--test-set {chosen}: {run.folder} has {' '.join(run.held_out)}")
        sides: tuple[Literal["source", "target"], ...] = ("source", "target")
        if any(run.test_lines(chosen, side) != runs[0].test_lines(chosen, side) for side in sides):
            what = f"{chosen} set" if chosen == VALIDATION else f"test set {chosen}"
            raise UserError(f"{run.folder}: its {what} is not the same as that of {runs[0].folder}")
    return chosen


def candidates(runs: Sequence[Run], test_set: str, device: Device, name: str = "") -> list[Candidate]:
    """All students in the device's precision and beam size, with the length penalty of their run's recipe.

    Students with a shortlist count only if the device's format can have one. `name` is the device's.

    Raises:
        UserError: there is no candidate, or their BLEU was computed in different ways.
    """
    where = device.measured_on or name
    suitable = [
        _on_device(
            Candidate(run.folder, row, device.format, reported=_reported(run, results, row)), results.devices, where
        )
        for run, results in ((run, run.results()) for run in runs)
        for row in results.rows
        if (row.test_set, row.engine) == (test_set, CTRANSLATE2)
        and row.length_penalty == run.recipe.evaluation.length_penalty
        and device.wanted_precision in (None, row.precision)
        and device.wanted_beam in (None, row.beam)
        and (device.takes_shortlists or not row.shortlist)
    ]
    if not suitable:
        how = f" --precision {device.wanted_precision}" if device.wanted_precision else ""
        how += f" --beam {device.wanted_beam}" if device.wanted_beam else ""
        raise UserError(
            f"{f'device {name}: ' if name else ''}no student was measured on {test_set} in this way; measure with "
            f"polystill evaluate {runs[0].folder} --engine ctranslate2{how}"
        )
    signatures = {candidate.row.bleu_signature for candidate in suitable}
    if len(signatures) > 1:
        raise UserError(f"BLEU was computed in different ways and cannot be compared: {' and '.join(signatures)}")
    return suitable


def not_evaluated(runs: Sequence[Run], test_set: str) -> list[tuple[Path, str, int]]:
    """Run, name and parameters of the students that have no figures on a test set."""
    missing = []
    for run in runs:
        parameters = read_family(run.family)["parameters"]
        known = {row.model for row in run.results().rows if row.test_set == test_set}
        missing += [(run.folder, name, size) for name, size in parameters.items() if name not in known]
    return missing


def _reported(run: Run, results: Results, row: QualityRow) -> QualityRow | None:
    others = [name for name in run.recipe.data.test if name != row.test_set]
    for other in results.rows:
        same = (other.model_id, other.system, other.length_penalty) == (row.model_id, row.system, row.length_penalty)
        if same and others[:1] == [other.test_set]:
            return other
    return None


def _on_device(candidate: Candidate, measured: Sequence[DeviceRow], where: str) -> Candidate:
    """Replace what depends on the device by the figures measured there, or by none."""
    if where in ("", EVALUATION):
        return candidate
    known = [row for row in measured if row.device == where and row.system == candidate.row.system]
    figures = known[0] if known else DeviceRow(engine=CTRANSLATE2, beam=candidate.row.beam)
    row = replace(candidate.row, **{key: getattr(figures, key) for key in _SPEED})
    return replace(candidate, row=row, device=figures.device)


_SPEED = ("words_per_second", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "threads", "hardware")
