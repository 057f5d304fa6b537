"""The figures in short, and all of them in tables."""

from __future__ import annotations

from collections.abc import Sequence

from polystill.evaluation.figures import TITLES, figure, measured, search, sort_rows
from polystill.reporting.document import Cell, Gap, Part, Table
from polystill.reporting.families import Family, Row
from polystill.reporting.noise import LEVEL, SAMPLES, Noise
from polystill.reporting.points import Point
from polystill.rows import student_name


def overview_parts(families: Sequence[Family], points: Sequence[Point], noise: Noise) -> list[Part]:
    """`points`: one for each student of each run, all searched with one beam in their recipe's engine."""
    if not points:
        run = families[0].run.folder
        if any(family.rows for family in families):
            what = "Nothing is measured in the recipe's own engine, precision and length penalty."
            return [Gap(what, f"polystill evaluate {run}")]
        return [Gap("Nothing is measured yet.", f"polystill run {run / 'recipe.yaml'} --out {run}")]
    best = max(points, key=lambda point: point.bleu)
    smallest = min(points, key=lambda point: point.row["size_bytes"])
    settings = best.row
    how = f"{settings['engine']}, {settings['precision']}, {search(settings['beam'])}, test set {settings['test_set']}"
    lines = [f"Best of {len(points)} students: {_described(best, families)} ({how})."]
    if smallest is not best:
        lines.append(f"Smallest: {_described(smallest, families)}.")
    others = [point for point in points if point is not best and point.row["size_bytes"] < best.row["size_bytes"]]
    p_values = noise.p_values(best, others)
    equals = [others[i] for i, p_value in p_values.items() if noise.is_noise_at(p_value)]
    if equals:
        least = min(equals, key=lambda point: point.row["size_bytes"])
        lines.append(
            f"Smallest that is as good as the best, as far as this test set can tell: {_described(least, families)}."
        )
    elif p_values:
        lines.append(f"Every smaller student is worse than the best by more than noise (p < {LEVEL:g}).")
    if p_values:
        lines.append(f"Noise is judged by sacreBLEU's paired bootstrap ({SAMPLES:,} samples) of BLEU.")
    return [" ".join(lines)]


def _described(point: Point, families: Sequence[Family]) -> str:
    owner = f" of {point.family.name}" if len(families) > 1 else ""
    return f"{point.row['model']}{owner}, BLEU {point.bleu:.2f}, {figure('size_bytes', point.row)}"


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
