"""RUN/results.json as types: rows of figures, the cost of each stage, and the provenance of all of it.

A row is frozen and knows the `key` that tells it from the other rows of its kind; `Results.merge` replaces rows by key.
In JSON a figure that was not measured is left out: None, an empty text and False are not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from polystill.errors import UserError, reason
from polystill.runs.records import Record, UnknownKey, json_types
from polystill.storage import json_text, write_atomic

if TYPE_CHECKING:
    from polystill.config import Recipe

WITH_SHORTLIST = "+list"
"""Written behind a student's name that is run with its run's shortlist."""
VALIDATION = "validation"
"""What the validation set is called beside the test sets."""


class Variant(NamedTuple):
    """A student as an engine runs it."""

    engine: str
    precision: str
    shortlist: bool = False

    @property
    def file_name(self) -> str:
        """As a part of a file's name: "ctranslate2-int8", "ctranslate2-int8-shortlist"."""
        return f"{self.engine}-{self.precision}{'-shortlist' * self.shortlist}"


# --- rows -----------------------------------------------------------------------------------------------------------


class _StudentRow(Record):
    """A row about one student as one engine runs it and searches with it."""

    model: str
    engine: str
    precision: str
    shortlist: bool
    beam: int

    @property
    def variant(self) -> Variant:
        return Variant(self.engine, self.precision, self.shortlist)

    @property
    def system(self) -> tuple[str, str, str, bool, int]:
        """Identifies a student of a run with its engine and search: model, variant, beam size."""
        return (self.model, *self.variant, self.beam)

    @property
    def label(self) -> str:
        """The student as it is shown: "e2d2", or "e2d2 +list" with a shortlist."""
        return f"{self.model} {WITH_SHORTLIST}" if self.shortlist else self.model


@dataclass(frozen=True, kw_only=True)
class QualityRow(_StudentRow):
    """The figures of one student on one test set with one engine, precision, shortlist and beam size.

    Speed, latency and memory are those of the machine named in `hardware`.
    """

    section: ClassVar[str] = "rows"

    run_id: str = ""
    seed: int | None = None
    hardware: str = ""
    commit: str = ""
    model_id: str
    """Such as "aio_kd-gold-e4d2"."""
    architecture: str = ""
    model: str
    supernet: str = ""
    """The first one's name is empty, and so not in the file."""
    encoder_layers: int | None = None
    decoder_layers: int | None = None
    d_model: int | None = None
    ffn_dim: int | None = None
    """An LSTM has none."""
    method: str = ""
    targets: str = ""
    domains: str = ""
    """Such as "2xsoftware+0.5xeveryday"; empty where all pairs were drawn alike."""
    test_set: str
    engine: str
    precision: str
    shortlist: bool = False
    beam: int
    length_penalty: float
    bleu: float
    bleu_signature: str = ""
    chrf: float | None = None
    chrf_signature: str = ""
    bleu_lc: float | None = None
    bleu_lc_signature: str = ""
    comet: float | None = None
    comet_signature: str = ""
    perplexity: float | None = None
    p_mode: float | None = None
    parameters: int | None = None
    size_bytes: int | None = None
    nonzero_parameters: int | None = None
    words_per_second: float | None = None
    threads: int | None = None
    batch_tokens: int | None = None
    max_length: int | None = None
    max_length_factor: float | None = None
    hypotheses: str = ""
    """The file with its translations, as seen from the run's folder."""
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_sentences: int | None = None
    peak_memory_bytes: int | None = None
    compute_type: str = ""
    latency_p50_ms_min: float | None = None
    latency_p50_ms_max: float | None = None
    latency_p95_ms_min: float | None = None
    latency_p95_ms_max: float | None = None
    latency_rounds: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.model_id, self.test_set, *self.variant, self.beam, self.length_penalty)

    @property
    def has_latency(self) -> bool:
        """Whether latency and memory were measured, too."""
        return None not in (self.latency_p50_ms, self.latency_p95_ms, self.peak_memory_bytes)

    def measured_as(self, recipe: Recipe, precision: str = "", shortlist: bool = False) -> bool:
        """Whether the row has the recipe's engine, length penalty and precision (or `precision`), with any beam size.

        Rows with a shortlist only count with `shortlist`, and then no others.
        """
        settings = recipe.evaluation
        engine = settings.engine_for(self.architecture or "transformer")
        wanted = Variant(engine, precision or settings.precision, shortlist)
        return self.variant == wanted and self.length_penalty == settings.length_penalty


@dataclass(frozen=True, kw_only=True)
class ProbeCounts(Record):
    """Outcomes of the probes of one kind; a line is one probe."""

    lines: int = 0
    crashed: int = 0
    """The engine raised an error or died."""
    empty: int = 0
    """A line with words has an empty translation."""
    invented: int = 0
    """A line without any character has a translation that is not empty."""
    loops: int = 0
    """The translation has a repetition that its source does not have."""
    cut: int = 0
    """The line is longer than the model takes."""
    to_copy: int = 0
    """The line has something that belongs into its translation unchanged."""
    copied: int = 0
    """The translation has it."""

    def __add__(self, other: ProbeCounts) -> ProbeCounts:
        return ProbeCounts(**{e.name: getattr(self, e.name) + getattr(other, e.name) for e in fields(self)})


@dataclass(frozen=True, kw_only=True)
class RobustnessRow(_StudentRow):
    """One student's failures on lines that are unlike its data, by kind of line (`evaluation.robustness.KINDS`)."""

    section: ClassVar[str] = "robustness"

    model_id: str
    model: str
    engine: str
    precision: str
    shortlist: bool = False
    beam: int
    length_penalty: float
    kinds: Mapping[str, ProbeCounts]
    """Of the model's own translations, as other programs show them."""
    kept: Mapping[str, ProbeCounts] | None = None
    """Of translations by `translate` and `serve`, which keep what models lose; missing from rows written before
    November 2026."""
    outputs: str
    """The file with all probes and their translations, as seen from the run's folder."""

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.model_id, *self.variant, self.beam, self.length_penalty)

    @property
    def ways(self) -> dict[str, Mapping[str, ProbeCounts]]:
        """Both counts, by who translates."""
        return {self.label: self.kept, f"{self.label} by itself": self.kinds} if self.kept else {self.label: self.kinds}


def totals(kinds: Mapping[str, ProbeCounts]) -> ProbeCounts:
    """The counts over all kinds."""
    return sum(kinds.values(), ProbeCounts())


@dataclass(frozen=True, kw_only=True)
class DeviceRow(_StudentRow):
    """Figures of one exported folder with one beam size on a device, from `polystill measure`.

    In a device's own file, device, hardware, time and settings stand once for all rows, which then lack them. There a
    folder of another program lacks model, precision and checksum as well.
    """

    section: ClassVar[str] = "devices"

    device: str = ""
    hardware: str = ""
    measured_at: str = ""
    settings: Mapping[str, Any] | None = None
    folder: str = ""
    model: str = ""
    precision: str = ""
    shortlist: bool = False
    source_sha256: str = ""
    """Checksum of the student's weights, which tells students of one name from different runs apart."""
    engine: str
    beam: int
    threads: int | None = None
    words_per_second: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    model_id: str = ""
    latency_sentences: int | None = None
    compute_type: str = ""
    words_per_second_min: float | None = None
    words_per_second_max: float | None = None
    latency_p50_ms_min: float | None = None
    latency_p50_ms_max: float | None = None
    latency_p95_ms_min: float | None = None
    latency_p95_ms_max: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.device, *self.system)


@dataclass(frozen=True, kw_only=True)
class PackageRow(Record):
    """The size of one student's package in one format, for the family with these weights."""

    section: ClassVar[str] = "packages"

    model: str
    format: str
    precision: str
    family_sha256: str
    size_bytes: int

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.model, self.format, self.precision)


Row = QualityRow | RobustnessRow | DeviceRow | PackageRow


# --- cost and provenance ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost(Record):
    """The cost of a stage so far; a stage of training has all figures, another its seconds only."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    target_tokens: int | None = None
    flops: int | None = None
    projections_again: int | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    processes: int | None = None
    threads: int | None = None
    device: str = ""
    precision: str = ""
    energy_kwh: float | None = None
    energy_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Hardware(Record):
    """The machine that measured."""

    cpu: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    gpu: str = ""
    summary: str
    """All of it in one line."""


@dataclass(frozen=True, kw_only=True)
class Provenance(Record):
    """Where figures come from; `runs.provenance.provenance` makes it."""

    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware
    malloc: str = ""
    command: str = ""
    time: str
    commit: str = ""


# --- the whole file --------------------------------------------------------------------------------------------------


_SECTIONS = ("rows", "robustness", "devices", "packages")
_ALWAYS = ("rows", "cost", "provenance")


@dataclass(frozen=True, kw_only=True)
class Results(Record):
    """All that is in a run's results.json."""

    rows: list[QualityRow] = field(default_factory=list)
    cost: dict[str, Cost] = field(default_factory=dict)
    """By stage: "data", "training.NAME", "evaluation"."""
    provenance: Provenance | None = None
    """Of the figures that were added last."""
    robustness: list[RobustnessRow] = field(default_factory=list)
    devices: list[DeviceRow] = field(default_factory=list)
    packages: list[PackageRow] = field(default_factory=list)

    def merge(self, rows: Iterable[Row]) -> Results:
        """With rows of any kind added; a row replaces the one of its kind with the same `key`, in its place."""
        sections = {name: {row.key: row for row in getattr(self, name)} for name in _SECTIONS}
        for row in rows:
            sections[row.section][row.key] = row
        merged: dict[str, Any] = {name: list(section.values()) for name, section in sections.items()}
        return replace(self, **merged)

    def add_cost(self, stage: str, cost: Cost) -> Results:
        """With the figures of a stage's cost that are given, and its others as before."""
        return replace(self, cost={**self.cost, stage: replace(self.cost.get(stage, Cost()), **cost.to_json())})

    def to_json(self) -> dict[str, Any]:
        """`rows`, `cost` and `provenance` are always there, the other sections where they have rows."""
        parts = super().to_json()
        return {name: parts.get(name, {}) for name in json_types(Results) if name in _ALWAYS or parts.get(name)}

    @classmethod
    def from_json(cls, values: Any, path: tuple[str, ...] = ()) -> Self:
        if isinstance(values, dict):
            if missing := [name for name in _ALWAYS if name not in values]:
                raise ValueError(f"no key {missing[0]!r}")
            values = {**values, "provenance": values["provenance"] or None}
        return super().from_json(values, path)

    @classmethod
    def read(cls, path: Path, remedy: str) -> Results:
        """The results in a file; none where the file is missing. `remedy` ends the message of an error.

        Raises:
            UserError: the file is damaged; it is left as it is.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except UnknownKey as error:
            raise UserError(f"{path}: {error}; another version of polystill wrote it, so use that one") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: damaged ({reason(error)}); {remedy}") from None

    def write(self, path: Path) -> None:
        """Replace the file in one step; UserError where that is not possible."""
        write_atomic(path, json_text(self.to_json()))
