"""Where the figures come from: metrics' signatures, versions, hardware, recipe."""

from __future__ import annotations

from typing import Any

from polystill.reporting.document import Cell, Gap, Part, Table, Verbatim
from polystill.reporting.families import Family

_METRICS = (("bleu", "BLEU"), ("bleu_lc", "BLEU -lc"), ("chrf", "chrF"), ("comet", "COMET"))


def origin_parts(family: Family) -> list[Part]:
    results = family.results
    known = results["provenance"]
    if not known:
        return [Gap(f"{family.name}: nothing is recorded yet.")]
    facts: list[list[Cell | str]] = [["run", family.run.run_id], ["seed", str(family.run.recipe.seed)]]
    for key in ("command", "time"):
        if key in known:
            facts.append([f"last {key}", str(known[key])])
    facts += [["commit of figures", commit] for commit in _distinct(results["rows"], "commit")]
    facts += [["measured on", hardware] for hardware in _distinct(results["rows"], "hardware")]
    facts += [
        [f"signature of {title}", signature]
        for name, title in _METRICS
        for signature in _distinct(results["rows"], f"{name}_signature")
    ]
    facts += [[package, version] for package, version in known.get("versions", {}).items()]
    recipe = (family.run.folder / "recipe.yaml").read_text(encoding="utf-8")
    return [
        Table(f"Provenance of {family.name}", ["", ""], facts, words=2),
        Verbatim(f"Recipe of {family.name}", recipe),
    ]


def _distinct(rows: list[dict[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(str(row[key]) for row in rows if key in row))
