"""Charts of how a family's networks act on each other: detaching, cross-entropies, how alike the outputs are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polystill.evaluation.figures import search
from polystill.reporting.document import Cell, Chart, Part, Table
from polystill.reporting.families import Family
from polystill.reporting.interaction import interaction, share_equal
from polystill.reporting.lines import by_depth, line_table, stage_ends, student_lines

Row = dict[str, Any]
"""Of one stage, as `interaction` makes it."""


def interaction_parts(family: Family, number: int, beam: int | None, suffix: str) -> Iterator[Part]:
    """Of a family that was trained together; nothing of a network that was trained alone."""
    recipe = family.run.recipe
    if not recipe.trains_family:
        return
    stages = interaction(family.run, str(recipe.model.teacher))
    detached = detached_chart(stages, f"detached-{number}", f"Gradients kept from the teacher{suffix}")
    if detached is not None:
        yield detached
    elif told := _never_detached(stages):
        yield f"{family.name}: {told}" if suffix else told
    ratios = ratio_chart(stages, f"ce-ratio-{number}", f"Cross-entropy over the teacher's{suffix}")
    if ratios is not None:
        yield ratios
    if beam is None or not family.text("target"):  # without the test set no file of translations is known to be whole
        return
    found = {row["model"]: family.translations(row) for row in family.as_recipe(beam)}
    said = {name: lines for name, lines in found.items() if lines}
    if len(said) > 1:
        yield _alike_chart(said, f"alike-{number}", f"Translations that are equal (%), {search(beam)}{suffix}")


def detached_chart(stages: Mapping[str, Row], name: str, title: str) -> Chart | None:
    """Share of draws that were kept from the teacher, by student, in stretches of the training.

    None where no gradient was kept from it in any of them, or every one was meant to be.
    """
    values: list[Row] = []
    for start, stage in _with_starts(stages):
        if "bins" in stage and stage["threshold"] > 0:
            bounds = [0, *stage["bins"]["until"]]
            for student, draws in stage["bins"]["draws"].items():
                for i, (kept, drawn) in enumerate(zip(stage["bins"]["detached"][student], draws, strict=True)):
                    place = {"student": student, "from": start + bounds[i], "until": start + bounds[i + 1]}
                    values += [{**place, "draws": drawn, "share": kept / drawn}] if drawn else []
    if not any(value["share"] for value in values):
        return None
    students = by_depth({value["student"] for value in values})
    spec = {
        "height": 20 * len(students),
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "from",
                "type": "quantitative",
                "title": "updates",
                "scale": {"nice": False},
                "axis": {"tickCount": 6},
            },
            "y": {"field": "student", "type": "nominal", "title": None, "sort": students},
        },
        "layer": [
            {
                "mark": {"type": "rect"},
                "encoding": {
                    "x2": {"field": "until"},
                    "color": {
                        "field": "share",
                        "type": "quantitative",
                        "title": "kept from the teacher",
                        "scale": {"scheme": "viridis", "domain": [0, max(0.1, *(value["share"] for value in values))]},
                        "legend": {"format": ".0%", "orient": "top", "gradientLength": 240},
                    },
                    "tooltip": [
                        {"field": "student"},
                        {"field": "until", "title": "updates until", "format": ","},
                        {"field": "draws", "title": "draws in the curves"},
                        {"field": "share", "title": "kept from the teacher", "format": ".0%"},
                    ],
                },
            },
            *([stage_ends(ends)] if (ends := _ends(stages)) else []),
        ],
        "config": {"axis": {"grid": False}},
    }
    drawn, kept = _counts(stages)
    summary = (
        f"Share of each student's draws whose gradient was kept from the teacher: {kept:,} of {drawn:,} in "
        "all. Blank: the curves, which have every tenth update, have no draw of it there."
    )
    return Chart(name, title, summary, spec, _detached_table(stages, students))


def _never_detached(stages: Mapping[str, Row]) -> str:
    """What stands in the chart's place; empty where nothing is known, or the rule says always."""
    drawn, _ = _counts(stages)
    thresholds = {stage["threshold"] for stage in stages.values()}
    if not drawn or 0 in thresholds:
        return ""
    limits = ", ".join(f"{threshold:g}" for threshold in sorted(thresholds))
    return (
        f"No student was detached: in none of the {drawn:,} draws that the training's curves hold did "
        f"its cross-entropy come to the threshold ({limits} times the teacher's)."
    )


def _counts(stages: Mapping[str, Row]) -> tuple[int, int]:
    """Draws in the curves, and those that were detached, over all stages and students."""
    bins = [stage["bins"] for stage in stages.values() if "bins" in stage]
    drawn, kept = (sum(sum(map(sum, each[key].values())) for each in bins) for key in ("draws", "detached"))
    return drawn, kept


def _detached_table(stages: Mapping[str, Row], students: Sequence[str]) -> Table:
    columns = ["student", *(f"{stage}: {what}" for stage in stages for what in ("draws", "detached"))]
    rows: list[list[Cell | str]] = []
    for student in students:
        cells: list[Cell | str] = [student]
        for stage in stages.values():
            drawn, share = (stage.get(key, {}).get(student) for key in ("draws", "detached"))
            cells += ["" if drawn is None else f"{drawn:,}", "" if share is None else f"{share:.1%}"]
        rows.append(cells)
    return Table("Draws in the curves, and the share that was kept from the teacher", columns, rows, folded=True)


def ratio_chart(stages: Mapping[str, Row], name: str, title: str) -> Chart | None:
    """Cross-entropy of every candidate over the teacher's, at every validation; None where there was none."""
    updates: list[int] = []
    lines: dict[str, list[float]] = {}
    for start, stage in _with_starts(stages):
        updates += [start + update for update in stage["updates"]]
        for student, ratios in stage["ce_ratio"].items():
            lines.setdefault(student, []).extend(ratios)
    if not updates:
        return None
    values: list[Row] = [
        {"student": student, "update": update, "ratio": ratio}
        for student in by_depth(lines)
        for update, ratio in zip(updates, lines[student], strict=True)
    ]
    near = 1.2 * max(value["ratio"] for value in values)
    threshold = min((stage["threshold"] for stage in stages.values() if 0 < stage["threshold"] < near), default=None)
    tooltip = [{"field": "ratio", "title": "of the teacher's", "format": ".3f"}]
    spec = student_lines(values, "ratio", "cross-entropy / the teacher's", tooltip, _ends(stages), threshold)
    end = {student: ratios[-1] for student, ratios in lines.items()}
    most = max(end, key=end.__getitem__)
    summary = f"Validation cross-entropy of every network over the teacher's. At the end it is highest for {most} "
    summary += f"({end[most]:.3f})." + (" Dotted: the threshold of detaching." if threshold is not None else "")
    caption = "Validation cross-entropy over the teacher's after so many updates"
    return Chart(name, title, summary, spec, line_table(caption, updates, lines, ".3f"))


def _with_starts(stages: Mapping[str, Row]) -> Iterator[tuple[int, Row]]:
    """Each stage with the updates of those before it."""
    start = 0
    for stage in stages.values():
        yield start, stage
        start += stage["length"]


def _ends(stages: Mapping[str, Row]) -> list[tuple[str, int]]:
    """Of all stages but the last: its name, and the updates after which it ends."""
    lasts = [start + stage["length"] for start, stage in _with_starts(stages)]
    return list(zip(stages, lasts, strict=True))[:-1]


def _alike_chart(said: Mapping[str, Sequence[str]], name: str, title: str) -> Chart:
    """Every two students: the share of lines that they translate in the same words."""
    students = by_depth(said)
    shares = {(a, b): share_equal(said[a], said[b]) for a in students for b in students if a != b}
    values = [{"one": a, "other": b, "per cent": round(100 * share, 1)} for (a, b), share in shares.items()]
    ends = {word: choose(shares, key=shares.__getitem__) for word, choose in (("most", max), ("least", min))}
    told = ", ".join(f"{word} for {' and '.join(pair)} ({shares[pair]:.0%})" for word, pair in ends.items())
    mean = sum(shares.values()) / len(shares)
    summary = (
        f"Share of the test set's lines that two students translate in the same words: {mean:.0%} on average of all "
        f"pairs, {told}."
    )
    middle = 50 * (max(shares.values()) + min(shares.values()))
    spec = {
        "height": 26 * max(2, len(students)),
        "data": {"values": values},
        "encoding": {
            "x": {"field": "one", "type": "ordinal", "title": None, "sort": students, "axis": {"labelAngle": -90}},
            "y": {"field": "other", "type": "ordinal", "title": None, "sort": students},
        },
        "layer": [
            {
                "mark": {"type": "rect"},
                "encoding": {
                    "color": {
                        "field": "per cent",
                        "type": "quantitative",
                        "scale": {"scheme": "viridis", "zero": False},
                        "legend": None,
                    },
                    "tooltip": [
                        {"field": "one", "title": "student"},
                        {"field": "other", "title": "and"},
                        {"field": "per cent", "title": "equal (%)", "format": ".1f"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "fontSize": 9},
                "encoding": {
                    "text": {"field": "per cent", "type": "quantitative", "format": ".0f"},
                    "color": {
                        "condition": {"test": f"datum['per cent'] < {middle}", "value": "#ffffff"},
                        "value": "#111111",
                    },
                },
            },
        ],
        "config": {"axis": {"grid": False, "domain": False, "ticks": False}},
    }
    rows = [[a, *("" if a == b else f"{shares[a, b]:.1%}" for b in students)] for a in students]
    return Chart(name, title, summary, spec, Table("Equal translations", ["", *students], rows, folded=True))
