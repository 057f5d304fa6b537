"""The figures in short, and all of them in tables."""

from __future__ import annotations

from collections.abc import Sequence

from polystill.evaluation.figures import TITLES, figure, measured, search, sort_rows
from polystill.reporting.document import Cell, Gap, Part, Table
from polystill.reporting.families import Family, Row
from polystill.reporting.noise import LEVEL, SAMPLES, Noise
from polystill.reporting.points import Labels, Point
from polystill.runs.rows import student_name


def overview_parts(families: Sequence[Family], points: Sequence[Point], noise: Noise) -> list[Part]:
    """`points`: what was measured of each student of each run with one beam size."""
    if not points:
        run = families[0].run.folder
        return [Gap("Nothing is measured yet.", f"polystill run {run / 'recipe.yaml'} --out {run}")]
    best = max(points, key=lambda point: point.bleu)
    smallest = min(points, key=lambda point: point.row["size_bytes"])
    labels = Labels(points)
    forms = len({labels.series(point) for point in points})
    how = f"{search(best.row['beam'])}, test set {best.row['test_set']}"
    count = f"{len(points)} {'students' if forms == 1 else 'measured forms of students'}"
    lines = [f"Best of {count}: {_described(best, labels)} ({how})."]
    if smallest is not best:
        lines.append(f"Smallest: {_described(smallest, labels)}.")
    smaller = [point for point in points if point.row["size_bytes"] < best.row["size_bytes"]]
    tested = _p_values(best, sorted(smaller, key=lambda point: point.row["size_bytes"]), noise)
    if tested:
        point, p_value = tested[-1]
        if noise.is_noise_at(p_value):
            text = "Smallest that is as good as the best, as far as this test set can tell"
            lines.append(f"{text}: {_described(point, labels)}.")
        else:
            lines.append(f"Everything smaller is worse than the best by more than noise (p < {LEVEL:g}).")
        lines.append(f"Noise is judged by sacreBLEU's paired bootstrap ({SAMPLES:,} samples) of BLEU.")
    return [" ".join(lines), *_untested(families)]


def _p_values(best: Point, others: Sequence[Point], noise: Noise) -> list[tuple[Point, float]]:
    """Of the differences from the best, in order until one is noise; those without translations are left out."""
    found: list[tuple[Point, float]] = []
    for point in others:
        found += [(point, p_value) for p_value in noise.p_values(best, [point]).values()]
        if found and noise.is_noise_at(found[-1][1]):
            break
    return found


def _described(point: Point, labels: Labels) -> str:
    return f"{labels.full(point)}, BLEU {point.bleu:.2f}, {figure('size_bytes', point.row)}"


def _untested(families: Sequence[Family]) -> list[Part]:
    """What lacks the texts that differences are tested with; without them nothing is marked as noise."""
    gaps: list[Part] = []
    for family in families:
        if family.rows and family.text("target") is None:
            gaps.append(Gap(f"{family.name}: {family.run.data / 'test'} is missing, so no difference is tested."))
            continue
        missing = [row for row in family.rows if family.translations(row) is None]
        if missing:
            names = " ".join(dict.fromkeys(student_name(row) for row in missing))
            what = f"{family.name}: {len(missing)} of {len(family.rows)} files of translations are missing ({names})"
            gaps.append(Gap(f"{what}; their differences are not tested.", f"polystill evaluate {family.run.folder}"))
    return gaps


# --- all figures --------------------------------------------------------------------------------------------------

_OF_STUDENT = ("parameters", "size_bytes", "perplexity")
_OF_SEARCH = (
    *("bleu", "bleu_lc", "chrf", "comet", "p_mode", "words_per_second"),
    *("latency_p50_ms", "latency_p95_ms", "peak_memory_bytes"),
)


def all_figures(family: Family) -> list[Part]:
    """A table for each test set of a run: a line for each row of results."""
    rows = sort_rows(family.results["rows"])
    test_sets = list(dict.fromkeys(row["test_set"] for row in rows))
    return [_figures(family, name, [row for row in rows if row["test_set"] == name]) for name in test_sets]


def _figures(family: Family, test_set: str, rows: Sequence[Row]) -> Table:
    several_engines = len({_engine(row) for row in rows}) > 1
    names = measured((*_OF_STUDENT, *_OF_SEARCH), rows)
    lines: list[list[Cell | str]] = []
    for row in rows:
        words = [student_name(row), *([_engine(row)] if several_engines else []), search(row["beam"])]
        lines.append([*words, *(figure(name, row) for name in names)])
    columns = ["student", *(["engine"] if several_engines else []), "search", *(TITLES[name] for name in names)]
    caption = f"{family.name} on {test_set}" + ("" if several_engines else f", {_engine(rows[0])}")
    threads = sorted({row["threads"] for row in rows if "threads" in row})
    note = f"Speed with {' or '.join(map(str, threads))} threads." if threads else ""
    return Table(caption, columns, lines, words=2 + several_engines, note=note, folded=True)


def _engine(row: Row) -> str:
    return f"{row['engine']} {row['precision']}"
