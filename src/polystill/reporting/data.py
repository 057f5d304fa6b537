"""What the training text was and what cleaning dropped."""

from __future__ import annotations

import json
from typing import Any

from polystill.errors import UserError
from polystill.reporting.document import Cell, Gap, Part, Table
from polystill.reporting.families import Family


def data_parts(family: Family) -> list[Part]:
    report = _read(family)
    if report is None:
        return [Gap(f"{family.name}: data/cleaning.json is missing; the run was copied without it.")]
    record = family.run.record("data") or {}
    parts: list[Part] = [_in_words(report, record)]
    dropped = {reason: number for reason, number in report["dropped"].items() if number}
    if dropped:
        meaning = report.get("meaning", {})
        rows = [[reason.replace("_", " "), meaning.get(reason, ""), f"{n:,}"] for reason, n in dropped.items()]
        parts.append(
            Table("Dropped pairs, by the first reason that applied", ["reason", "means", "pairs"], rows, words=2)
        )
    examples: list[list[Cell | str]] = [
        [reason.replace("_", " "), example["source"], example["target"]]
        for reason, found in report.get("examples", {}).items()
        for example in found
    ]
    if examples:
        parts.append(Table("Examples of dropped pairs", ["reason", "source", "target"], examples, words=3, folded=True))
    leaks = _leaks(record)
    return [*parts, leaks] if leaks is not None else parts


def _read(family: Family) -> dict[str, Any] | None:
    path = family.run.data / "cleaning.json"
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sum(report["dropped"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy") from None
    return report


def _in_words(report: dict[str, Any], record: dict[str, Any]) -> str:
    dropped = sum(report["dropped"].values())
    text = f"Of {report['total']:,} pairs that were read, {report['kept']:,} are trained on"
    text += f" and {dropped:,} were dropped." if dropped else "; none was dropped."
    if "tokens" in record:
        tokens = record["tokens"]
        text += f" They have {tokens['source']:,} source and {tokens['target']:,} target tokens"
        text += f" of a vocabulary of {record['vocabulary_size']:,}." if "vocabulary_size" in record else "."
    return text


def _leaks(record: dict[str, Any]) -> Table | None:
    """Held-out sentences that the training text has as well."""
    leakage = record.get("leakage")
    if not leakage:
        return None
    rows = [[name, f"{found['sources']:,}", f"{found['pairs']:,}"] for name, found in leakage.items()]
    return Table("Held-out sentences that the training text has, too", ["held out", "sources", "pairs"], rows)
