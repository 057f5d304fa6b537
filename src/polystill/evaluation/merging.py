"""Figures that `polystill measure` has taken on a device, taken up by the run whose students they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polystill.errors import UserError
from polystill.evaluation.measure import FORMAT, check_device_name
from polystill.export.students import extracted
from polystill.models.folder import WEIGHTS, family_space
from polystill.runs import Run
from polystill.storage import sha256
from polystill.students import Student

Row = dict[str, Any]


class _Lenient(BaseModel):
    """What is not checked is kept."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class MeasuredRow(_Lenient):
    """One folder with one beam size. `model` and what else identifies a student is missing in a foreign folder."""

    folder: str
    model: str | None = None
    precision: str | None = None
    shortlist: Literal[True] | None = None
    source_sha256: str | None = None
    engine: str
    beam: int = Field(ge=1)
    threads: int = Field(ge=1)
    words_per_second: float = Field(gt=0)
    latency_p50_ms: float = Field(gt=0)
    latency_p95_ms: float = Field(gt=0)
    size_bytes: int = Field(gt=0)
    peak_memory_bytes: int = Field(gt=0)


class _Hardware(_Lenient):
    summary: str


class _Provenance(_Lenient):
    hardware: _Hardware
    time: str


class MeasuredFile(_Lenient):
    """What `polystill measure --out` writes."""

    format: int = Field(ge=FORMAT, le=FORMAT)
    device: str = Field(min_length=1)
    settings: dict[str, Any]
    rows: list[MeasuredRow] = Field(min_length=1)
    provenance: _Provenance


def read_measured(path: Path) -> MeasuredFile:
    """Raises:
    UserError: the file is missing, none that `polystill measure` wrote, or of a device that cannot be called so.
    """
    try:
        measured = MeasuredFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(map(str, detail["loc"])) or "the file"
        raise UserError(f"{path}: not what polystill measure writes: {place}: {detail['msg']}") from None
    except ValueError:
        raise UserError(f"{path}: not JSON; give a file that polystill measure --out has written") from None
    check_device_name(f"{path}: device {measured.device}", measured.device)
    return measured


def merge_figures(run: Run, files: Sequence[Path]) -> tuple[list[Row], list[str]]:
    """Add the figures of this run's own students to RUN/results.json, under `devices`.

    A figure belongs to the run when its folder was exported from a student with the same weights. What is there of the
    same `rows.device_key` is replaced. Returns the rows that were added, and what was left out, with
    the reason.

    Raises:
        UserError: a file is none of `polystill measure`, or no figure is of this run's students.
    """
    contents = [read_measured(path) for path in files]
    known = {student.name: student for student in family_space(run.family).candidates}
    added, left_out = [], []
    for content in contents:
        common = {
            "device": content.device,
            "hardware": content.provenance.hardware.summary,
            "measured_at": content.provenance.time,
            "settings": content.settings,
        }
        for row in content.rows:
            reason = _foreign(run, row, known)
            if reason:
                left_out.append(f"{row.folder}, beam {row.beam}: {reason}")
            else:
                added.append({**common, **row.model_dump(exclude_none=True)})
    if not added:
        raise UserError(f"{run.folder}: nothing merged: {left_out[0]}")
    run.add_device_figures(added)
    return added, left_out


def _foreign(run: Run, row: MeasuredRow, known: dict[str, Student]) -> str:
    """Why the figures are of no student of this run, or "" where they are."""
    if None in (row.model, row.precision, row.source_sha256):
        return "not exported by polystill, so nothing says which student it is"
    if row.model not in known:
        return f"the run has no student {row.model}"
    weights = sha256(extracted(run, known[row.model]) / WEIGHTS)
    return "" if weights == row.source_sha256 else f"other weights than this run's {row.model}"
