"""What students make of lines unlike their data: counts by kind, and examples of what went wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from polystill.data.cleaning import Repetition
from polystill.errors import UserError
from polystill.evaluation.figures import search, sort_rows
from polystill.evaluation.probes import KINDS, has_words
from polystill.reporting.document import Cell, Gap, Part, Table
from polystill.reporting.families import Family, Row
from polystill.runs.rows import artefact_key, student_name

FAILURES = {"crashed": "crashed", "empty": "empty", "invented": "invented", "loops": "loops", "cut": "cut"}
EXAMPLES = 6
CHARACTERS = 160
"""Of an example's line and translation."""


def robustness_parts(family: Family) -> list[Part]:
    rows = family.results.get("robustness", [])
    if not rows:
        command = f"polystill robustness {family.run.folder}"
        return [Gap(f"{family.name}: lines unlike the data were not tried.", command)]
    known = {row["model_id"]: row for row in family.results["rows"]}
    rows = sort_rows(
        {"test_set": "", "parameters": known.get(r["model_id"], {}).get("parameters", 0), **r} for r in rows
    )
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*artefact_key(row), row["beam"]), []).append(row)
    parts: list[Part] = [_table(family, found) for found in groups.values()]
    parts += [_by_kind(rows), *_examples(family, rows)]
    return parts


_NOTE = (
    "Empty: a line with words that came to nothing. Invented: a translation of a line without any character. Loops: a "
    "phrase again and again that the source does not repeat. Cut: lines longer than the model takes."
)


def _table(family: Family, rows: Sequence[Row]) -> Table:
    kinds = [kind for kind, counts in rows[0]["kinds"].items() if counts["to_copy"]]
    lines: list[list[Cell | str]] = []
    for row in rows:
        totals = [str(sum(counts.get(name, 0) for counts in row["kinds"].values())) for name in ("lines", *FAILURES)]
        copied = [_copied(row["kinds"].get(kind)) for kind in kinds]
        lines.append([student_name(row), *totals, *copied])
    how = f"{rows[0]['engine']}, {rows[0]['precision']}, {search(rows[0]['beam'])}"
    columns = ["student", "lines", *FAILURES.values(), *(f"{kind} copied" for kind in kinds)]
    return Table(f"{family.name}, {how}", columns, lines, note=_NOTE)


def _copied(counts: dict[str, int] | None) -> str:
    return f"{counts['copied']} of {counts['to_copy']}" if counts else ""


def _by_kind(rows: Sequence[Row]) -> Table:
    """All students together."""
    lines: list[list[Cell | str]] = []
    for kind in dict.fromkeys(kind for row in rows for kind in row["kinds"]):
        counts = [row["kinds"][kind] for row in rows if kind in row["kinds"]]
        totals = [str(sum(found.get(name, 0) for found in counts)) for name in ("lines", *FAILURES)]
        lines.append([kind, KINDS.get(kind, ""), *totals])
    columns = ["kind", "lines that are", "lines", *FAILURES.values()]
    return Table("By kind of line, all students together", columns, lines, words=2, folded=True)


def _examples(family: Family, rows: Sequence[Row]) -> Iterator[Part]:
    data = family.run.recipe.data
    repetition = Repetition((data.source_language, data.target_language))
    shown: list[list[Cell | str]] = []
    kinds: set[tuple[str, str]] = set()
    for row in rows:
        for probe in _read(family, row):
            source, output = probe["source"], probe["output"]
            if output is None:
                what = "crashed"
            elif has_words(source) and not output.strip():
                what = "empty"
            elif repetition.is_looping(source, output):
                what = "loop"
            else:
                continue
            if (what, probe["kind"]) not in kinds and len(shown) < EXAMPLES:
                kinds.add((what, probe["kind"]))
                shown.append([f"{student_name(row)}: {what}", _clipped(source), _clipped(output or "")])
    if shown:
        yield Table("Examples of what went wrong", ["student", "line", "translation"], shown, words=3, folded=True)


def _read(family: Family, row: Row) -> list[dict[str, Any]]:
    path = family.run.folder / row["outputs"]
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); make it again with polystill robustness") from None


def _clipped(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"
