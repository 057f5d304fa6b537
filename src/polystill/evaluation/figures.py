"""The figures of results.json as text: titles, units, order, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from polystill.evaluation.significance import Comparison
from polystill.progress import format_seconds
from polystill.runs.results import Cost, DeviceRow, ProbeCounts, QualityRow, RobustnessRow, totals
from polystill.storage import text_lines

if TYPE_CHECKING:
    from rich.table import Table

    from polystill.runs import Run

TITLES = {
    "parameters": "parameters",
    "size_bytes": "size",
    "bleu": "BLEU",
    "bleu_lc": "BLEU -lc",
    "chrf": "chrF",
    "comet": "COMET",
    "perplexity": "PPL",
    "p_mode": "p(mode)",
    "words_per_second": "words/s",
    "latency_p50_ms": "latency p50",
    "latency_p95_ms": "latency p95",
    "peak_memory_bytes": "peak memory",
    "threads": "threads",
}


def figure(name: str, row: QualityRow | DeviceRow) -> str:
    """One figure with its unit; "" where it was not measured."""
    value = getattr(row, name, None)
    if value is None:
        return ""
    if name == "parameters":
        nonzero = getattr(row, "nonzero_parameters", None)
        return f"{'' if nonzero is None else f'{nonzero / 1e6:.2f} of '}{value / 1e6:.2f} M"
    if name in ("size_bytes", "peak_memory_bytes"):
        return megabytes(value)
    if name == "p_mode":
        return f"{100 * value:.2f} %" if value >= 1e-4 else "<0.01 %"
    if name in ("latency_p50_ms", "latency_p95_ms"):
        return milliseconds(value)
    if name == "comet":
        return f"{value:.4f}"
    return f"{value:,.0f}" if name in ("words_per_second", "threads") else f"{value:.2f}"


def measured(names: Sequence[str], rows: Sequence[QualityRow | DeviceRow]) -> list[str]:
    """The names of the figures that at least one row has."""
    return [name for name in names if any(getattr(row, name, None) is not None for row in rows)]


def megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e6:,.0f} MB"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def search(beam: int) -> str:
    """The name of a search with a beam size: "greedy", "beam 5"."""
    return "greedy" if beam == 1 else f"beam {beam}"


def sort_rows(rows: Iterable[QualityRow]) -> list[QualityRow]:
    """By test set, then from the largest student to the smallest, then by engine, precision, shortlist and beam."""
    return sorted(rows, key=lambda row: (row.test_set, -(row.parameters or 0), *row.key))


# --- of one run -----------------------------------------------------------------------------------------------------

SAMPLES = 3


def recipe_rows(run: Run) -> list[QualityRow]:
    """The rows with the recipe's engine, precision and length penalty, the largest student first."""
    return sort_rows(row for row in run.results().rows if row.measured_as(run.recipe))


@dataclass(frozen=True)
class Sample:
    """A sentence of a test set with translations of some students, by their names."""

    source: str
    reference: str
    translations: dict[str, str]


def sample_translations(run: Run, rows: Sequence[QualityRow]) -> list[Sample]:
    """Three sentences of the first test set with translations by the largest, a middle and the smallest student.

    Empty if the run was copied without its texts. `rows` are those of `recipe_rows`.
    """
    known = [name for name in run.recipe.data.test if (run.data / "test" / f"{name}.target.txt").is_file()]
    rows = [row for row in rows if row.test_set in known[:1] and (run.folder / row.hypotheses).is_file()]
    if not rows:
        return []
    test_set, beam = rows[0].test_set, max(row.beam for row in rows)
    models = [row for row in rows if row.beam == beam]
    shown = {models[i].model: text_lines(run.folder / models[i].hypotheses) for i in (0, len(models) // 2, -1)}
    sources, references = run.test_lines(test_set, "source"), run.test_lines(test_set, "target")
    return [
        Sample(sources[number], references[number], {model: lines[number] for model, lines in shown.items()})
        for number in sorted({len(sources) * i // SAMPLES for i in range(SAMPLES)})
    ]


# --- tables for the terminal ----------------------------------------------------------------------------------------

_SCORES = ("bleu", "bleu_lc", "chrf", "comet")
_SPEED = ("words_per_second", "latency_p50_ms", "peak_memory_bytes")
_TITLES = TITLES | {"latency_p50_ms": "latency ms\np50 | p95", "peak_memory_bytes": "memory"}


def stages_table(run: Run) -> Table:
    """A line each stage of the run: whether it is finished, and the time that it took."""
    from rich.table import Table

    finished, cost = run.stages(), run.results().cost
    expected = ["data", *(f"training.{stage.name}" for stage in run.recipe.stages), "family", "evaluation"]
    table = Table("stage", "state", title=run.run_id, title_justify="left", box=None)
    table.add_column("wall", justify="right")
    table.add_column("CPU", justify="right")
    for stage in expected:
        state = f"finished {finished[stage]['finished_at']}" if run.finished(stage) else "not finished"
        spent = cost.get(stage, Cost())
        times = ("" if time is None else format_seconds(time) for time in (spent.seconds, spent.cpu_seconds))
        table.add_row(stage, state, *times)
    return table


def results_table(rows: Sequence[QualityRow]) -> Table:
    """Quality: a line each student, test set, engine, precision, shortlist and length penalty; columns by beam size.

    Cells without a figure are empty. p(mode) is that of the largest beam. The scores' signatures stand below.
    """
    beams = _beams(rows)
    columns = [(beam, name) for beam in beams for name in measured(_SCORES, rows)]
    columns += [(beams[-1], name) for name in measured(["p_mode"], rows)]
    student = ["parameters", "size_bytes", *measured(["perplexity"], rows)]
    return _table(rows, student, columns, "\n".join(_signatures(rows)))


def speed_table(rows: Sequence[QualityRow]) -> Table:
    """Speed in batches, latency of single sentences and memory, in the lines of `results_table`."""
    variants = sorted({f"{row.engine} {row.precision}" for row in rows})
    machines = sorted({f"threads: {row.threads}, {row.hardware}" for row in rows if row.hardware})
    columns = [(beam, name) for beam in _beams(rows) for name in measured(_SPEED, rows)]
    return _table(rows, ["size_bytes"], columns, "\n".join([", ".join(variants), *machines]))


def _beams(rows: Sequence[QualityRow]) -> list[int]:
    return sorted({row.beam for row in rows})


def _table(rows: Sequence[QualityRow], student: Sequence[str], columns: Sequence[tuple[int, str]], below: str) -> Table:
    """`student`: figures that do not depend on the beam size; `columns`: beam sizes and figures that do."""
    from rich.table import Table

    groups: dict[tuple[Any, ...], dict[int, QualityRow]] = {}
    for row in sort_rows(rows):
        groups.setdefault((row.test_set, row.model_id, row.variant, row.length_penalty), {})[row.beam] = row
    several_engines = len({row.engine for row in rows}) > 1
    several_precisions = len({(row.engine, row.precision) for row in rows}) > 1
    variant = ["engine"] if several_engines else ["precision"] if several_precisions else []
    penalty = ["length penalty"] if len({row.length_penalty for row in rows}) > 1 else []
    table = Table(caption=below, caption_justify="left")
    for title in ("test set", "student", *variant, *penalty):
        table.add_column(title, no_wrap=title == "student")
    for name in student:
        table.add_column(_TITLES[name], justify="right")
    for beam, name in columns:
        table.add_column(f"{_TITLES[name]}\n{search(beam)}", justify="right")
    previous = None
    for (test_set, *_), by_beam in groups.items():
        first = next(iter(by_beam.values()))
        cells = ["" if test_set == previous else test_set, first.label]
        cells += [f"{first.engine} {first.precision}" if title == "engine" else first.precision for title in variant]
        cells += [f"{first.length_penalty:g}" for _ in penalty]
        cells += [_cell(name, first) for name in student]
        cells += [_cell(name, by_beam.get(beam)) for beam, name in columns]
        if previous is not None and test_set != previous:
            table.add_section()
        table.add_row(*cells)
        previous = test_set
    return table


def _signatures(rows: Sequence[QualityRow]) -> list[str]:
    """A line for each kind of score that the rows have, with the way in which it was computed."""
    pairs = [(name, getattr(row, f"{name}_signature")) for name in _SCORES for row in rows]
    return list(dict.fromkeys(f"{_TITLES[name]} {signature}" for name, signature in pairs if signature))


def _cell(name: str, row: QualityRow | None) -> str:
    """A figure; of latency both percentiles, without their unit."""
    if row is None:
        return ""
    names = ("latency_p50_ms", "latency_p95_ms") if name == "latency_p50_ms" else (name,)
    return " | ".join(filter(None, (figure(one, row) for one in names))).replace(" ms", "")


def device_table(rows: Sequence[DeviceRow], below: str) -> Table:
    """The figures of folders on a device, a line each folder and beam size."""
    from rich.table import Table

    table = Table(caption=below, caption_justify="left")
    table.add_column("folder", overflow="fold")
    for title in ("student", "precision"):
        table.add_column(title)
    for title in ("beam", "size", "p50 ms", "p95 ms", "memory", "words/s", "threads"):
        table.add_column(title, justify="right")
    for row in rows:
        cells = [figure(name, row).removesuffix(" ms") for name in ("size_bytes", "latency_p50_ms", "latency_p95_ms")]
        cells += [f"{(row.peak_memory_bytes or 0) / 1e6:.0f} MB", figure("words_per_second", row), str(row.threads)]
        table.add_row(row.folder, row.label, row.compute_type, str(row.beam), *cells)
    return table


def comparison_table(rows: Sequence[Comparison]) -> Table:
    """A line each system and metric, with the difference from the first system and what follows from its interval."""
    from rich.table import Table

    table = Table("metric", "student", "score", "difference", "95 % interval", "p-value", "")
    for row in rows:
        cells = [row.metric, row.system, f"{row.score:.2f}"]
        if row.difference is None:
            cells.append("(compared with)")
        else:
            found = row.difference
            cells += [f"{found.value:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}", f"{found.p:.4f}", found.verdict]
        table.add_row(*cells)
    return table


def robustness_table(rows: Sequence[RobustnessRow]) -> Table:
    """Two lines each student, by polystill and by itself: failures over all kinds, then what was copied, by kind."""
    from rich.table import Table

    kinds = [kind for kind, counts in rows[0].kinds.items() if counts.to_copy]
    how = f"{', '.join(dict.fromkeys(f'{row.engine} {row.precision}' for row in rows))}, {search(rows[0].beam)}"
    table = Table(title=how, title_justify="left", title_style="dim")
    table.add_column("student")
    failures = [entry.name for entry in fields(ProbeCounts) if entry.name not in ("to_copy", "copied")]
    for title in (*failures, *(f"{kind}\ncopied" for kind in kinds)):
        table.add_column(title, justify="right")
    for name, counts in (way for row in rows for way in row.ways.items()):
        copied = [f"{counts[kind].copied} of {counts[kind].to_copy}" for kind in kinds]
        table.add_row(name, *(str(getattr(totals(counts), failure)) for failure in failures), *copied)
    return table
