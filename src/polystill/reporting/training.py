"""Training in charts: every candidate's validation loss, and how the networks of a family act on each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from polystill.evaluation.figures import search
from polystill.reporting.document import (
    NO_GRID,
    Chart,
    Gap,
    Line,
    Part,
    Spec,
    Table,
    category,
    heat_map,
    layer,
    quantity,
    steps,
    tip,
)
from polystill.reporting.families import Family, title_end
from polystill.runs import Run
from polystill.students import Student

# --- lines over updates ---------------------------------------------------------------------------------------------

Lines = Mapping[str, Mapping[int, float]]
"""By student: a value for each update, counted over all stages, at which it was validated."""
_TABLE_POINTS = 8
"""Columns of a table of lines."""


def _by_depth(students: Iterable[str]) -> list[str]:
    return sorted(students, key=Student.parse)


def _student_lines(
    values: Sequence[Spec],
    field: str,
    title: str,
    tooltip: Sequence[Spec],
    ends: Sequence[tuple[str, int]] = (),
    level: float | None = None,
) -> Spec:
    """A line for each student, its look by its depths. Each value has `student`, `update` and `field`.

    The first fifth of the updates may run off the chart: such values would flatten all later ones. `ends` are names of
    stages and their last updates; `level` is a value to mark.
    """
    last = max(value["update"] for value in values)
    late = [value[field] for value in values if value["update"] >= last / 5] + ([] if level is None else [level])
    margin = 0.06 * ((max(late) - min(late)) or 1.0)
    y_scale = {"zero": False, "domain": [min(late) - margin, max(late) + margin], "nice": True}
    hover = {"name": "hover", "select": {"type": "point", "fields": ["student"], "on": "pointerover", "nearest": True}}
    depths = _depths({value["student"] for value in values})
    dotted = {"type": "rule", "strokeDash": [2, 3], "style": "quiet"}
    near = {"type": "point", "size": 60, "clip": True, "opacity": 0}
    return {
        "height": 300,
        "data": {"values": [{**value, **depths[value["student"]]} for value in values]},
        "encoding": {
            "x": quantity("update", title="updates", axis={"tickCount": 6}),
            "y": quantity(field, title=title, scale=y_scale),
        },
        "layer": [
            *([] if level is None else [layer(dotted, [{"level": level}], x=None, y=quantity("level"))]),
            *([_stage_ends(ends)] if ends else []),
            layer(
                {"type": "line", "clip": True},
                **_look(list(depths.values())),
                detail={"field": "student"},
                opacity={"condition": {"param": "hover", "value": 1}, "value": 0.15},
                strokeWidth={"condition": {"param": "hover", "empty": False, "value": 3}, "value": 1.5},
            ),
            {"params": [hover], **layer(near, tooltip=[tip("student"), tip("update", form=","), *tooltip])},
        ],
    }


def _depths(students: Iterable[str]) -> dict[str, Spec]:
    """The encoder and decoder layers of each student, the latter with its supernet's name if there are several."""
    parsed = {student: Student.parse(student) for student in students}
    several = len({student.supernet for student in parsed.values()}) > 1
    return {
        name: {
            "encoder": student.encoder_layers,
            "decoder": f"{student.supernet} {student.decoder_layers}".strip() if several else student.decoder_layers,
        }
        for name, student in parsed.items()
    }


def _look(depths: Sequence[Spec]) -> Spec:
    """Encodings of lines by the depths that differ: if both do, decoder layers by colour, encoder layers by dashes."""
    layers = {side: {each[side] for each in depths} for side in ("decoder", "encoder")}
    differing = [side for side, numbers in layers.items() if len(numbers) > 1] or ["decoder"]
    legend = {"orient": "top", "symbolType": "stroke", "symbolSize": 400, "columns": 6}
    look = {"color": steps(differing[0], title=f"{differing[0]} layers", legend={**legend, "symbolStrokeWidth": 4})}
    for side in differing[1:]:
        deepest_first = sorted(layers[side], reverse=True)
        scale = {"domain": deepest_first, "range": [_DASHES[i % len(_DASHES)] for i in range(len(deepest_first))]}
        look["strokeDash"] = steps(side, title=f"{side} layers", scale=scale, legend={**legend, "symbolStrokeWidth": 2})
    return look


_DASHES = [[1, 0], [10, 3], [5, 3], [2, 2], [10, 3, 2, 3], [1, 4]]
"""The deepest encoder has whole lines."""


def _stage_ends(ends: Sequence[tuple[str, int]]) -> Spec:
    """A layer of dashed lines at the last updates of stages."""
    dashed = {"type": "rule", "strokeDash": [4, 4], "style": "quiet"}
    values = [{"end": end, "stage": name} for name, end in ends]
    return layer(dashed, values, x=quantity("end"), y=None, tooltip=[tip("stage", "end of stage")])


def _line_table(caption: str, lines: Lines, form: str, *, lowest: bool = False) -> Table:
    """The lines at a few updates that are evenly spread and include the last. `form` formats a figure, like `.3f`.

    A cell is empty where the student was not validated.
    """
    updates = sorted({update for line in lines.values() for update in line})
    count = min(_TABLE_POINTS, len(updates))
    shown = [
        updates[i]
        for i in sorted({len(updates) - 1 - (len(updates) - 1) * i // max(1, count - 1) for i in range(count)})
    ]
    rows: list[Line] = []
    for student in _by_depth(lines):
        line = lines[student]
        cells = [f"{line[update]:{form}}" if update in line else "" for update in shown]
        rows.append([student, *cells, *([f"{min(line.values()):{form}}"] if lowest else [])])
    columns = ["student", *(f"{update:,}" for update in shown), *(["lowest"] if lowest else [])]
    return Table(caption, columns, rows, folded=True)


# --- validation loss ------------------------------------------------------------------------------------------------


def training_parts(families: Sequence[Family]) -> Iterator[Part]:
    for number, family in enumerate(families, 1):
        stages = interaction(family.run)
        if not any(stage.updates for stage in stages.values()):
            yield Gap(f"{family.name}: no training stage is finished; `tensorboard --logdir` shows it as it goes on.")
        else:
            yield from _loss_charts(stages, f"training-{number}", title_end(family, families))


def _loss_charts(stages: Mapping[str, Interaction], prefix: str, suffix: str) -> Iterator[Chart]:
    """The loss of each student and, if there are several, its distance to the teacher."""
    nll = _over_stages(stages, "nll")
    last = _last_values(nll)
    best, worst = (choose(last, key=last.__getitem__) for choose in (min, max))
    end = max(map(max, nll.values()))
    summary = (
        f"Validation loss of {len(nll)} students over {end:,} updates ({', '.join(stages)}). At last it is "
        f"lowest for {best} ({last[best]:.3f} nats a token) and highest for {worst} ({last[worst]:.3f})."
    )
    table = _line_table("Validation loss by update (nats a token)", nll, ".3f", lowest=True)
    tooltip = [tip("nll", "nats a token", ".3f")]
    spec = _student_lines(_values(nll, "nll"), "nll", "nats a token", tooltip, _ends(stages))
    yield Chart(f"{prefix}-loss", f"Validation loss{suffix}", summary, spec, table)
    teacher = _teacher_of(nll)
    if teacher and len(nll) > 1:
        gaps = _distances(nll, nll[teacher])
        others = {student: line for student, line in gaps.items() if student != teacher}
        last = _last_values(others)
        far = max(last, key=last.__getitem__)
        summary = (
            f"The same losses as differences to the largest student, {teacher}; below zero is better. At last {far} "
            f"is farthest behind, by {last[far]:.3f} nats a token."
        )
        table = _line_table(f"Distance to {teacher} by update (nats a token)", others, "+.3f")
        tooltip = [tip("gap", f"distance to {teacher}", "+.3f")]
        spec = _student_lines(_values(gaps, "gap"), "gap", "nats a token", tooltip, _ends(stages))
        yield Chart(f"{prefix}-distance", f"Distance to {teacher}{suffix}", summary, spec, table)


def _teacher_of(students: Iterable[str]) -> str:
    """The largest student of the first supernet; empty where there is none of it."""
    return max((name for name in students if not Student.parse(name).supernet), key=Student.parse, default="")


def _distances(lines: Lines, teacher: dict[int, float]) -> dict[str, dict[int, float]]:
    """How far every line is above the teacher's last value by then. Lines that end before the teacher's begins, not."""
    gaps: dict[str, dict[int, float]] = {}
    for student, line in lines.items():
        for update, value in line.items():
            if before := [known for known in teacher if known <= update]:
                gaps.setdefault(student, {})[update] = value - teacher[max(before)]
    return gaps


def _last_values(lines: Lines) -> dict[str, float]:
    """The value of every student when it was last validated."""
    return {student: line[max(line)] for student, line in lines.items()}


def _values(lines: Lines, field: str) -> list[Spec]:
    return [
        {"update": update, "student": name, field: round(value, 5)}
        for name in _by_depth(lines)
        for update, value in lines[name].items()
    ]


# --- how the networks of a family act on each other -----------------------------------------------------------------


@dataclass(frozen=True)
class Interaction:
    """One finished stage: its draws and detachments, and the validation cross-entropies relative to the teacher's.

    Updates count from the stage's beginning. `draws` and `detached` have one number for each bin and drawn student.
    """

    threshold: float | None
    """Ratio of cross-entropies from which a student's gradient is kept from the teacher. 0: always. None: no draws."""
    length: int
    """Number of updates."""
    until: Sequence[int]
    """Last update of each bin."""
    draws: Mapping[str, Sequence[int]]
    detached: Mapping[str, Sequence[int]]
    """Draws whose gradient was kept from the teacher."""
    updates: Sequence[int]
    """Updates with a validation."""
    ce_ratio: Mapping[str, Sequence[float]]
    """By candidate: its label-smoothed cross-entropy over the teacher's at each validation.

    Empty where the teacher is not trained, as in a stage of the smallest networks.
    """
    nll: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By candidate that the stage trains: nats a target token at each validation, without label smoothing."""


def interaction(run: Run) -> dict[str, Interaction]:
    """Read the records of the finished stages (RUN/state.json). A stage that drew no students has no draws."""
    records = {stage.name: run.record(f"training.{stage.name}") for stage in run.recipe.stages}
    finished = {name: record for name, record in records.items() if record is not None}
    histories = {name: record["history"] for name, record in finished.items()}
    trained = {name: list(history[0]["nll"]) if history else [] for name, history in histories.items()}
    teacher = _teacher_of(each for names in trained.values() for each in names)
    stages = {}
    for name, record in finished.items():
        counts, history, students = record.get("interaction", {}), histories[name], trained[name]
        entropies = [point["cross_entropy"] for point in history]
        stages[name] = Interaction(
            threshold=counts.get("threshold"),
            length=record["updates"],
            until=counts.get("until", []),
            draws=counts.get("draws", {}),
            detached=counts.get("detached", {}),
            updates=[point["update"] for point in history],
            ce_ratio={s: [round(point[s] / point[teacher], 5) for point in entropies] for s in students}
            if teacher in students
            else {},
            nll={s: [point["nll"][s] for point in history] for s in students},
        )
    return stages


def _over_stages(stages: Mapping[str, Interaction], lines: Literal["nll", "ce_ratio"]) -> dict[str, dict[int, float]]:
    values: dict[str, dict[int, float]] = {}
    for start, stage in zip(_starts(stages), stages.values(), strict=True):
        updates = [start + update for update in stage.updates]
        for student, line in getattr(stage, lines).items():
            values.setdefault(student, {}).update(zip(updates, line, strict=True))
    return values


def share_equal(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of lines that two translations of one text have in common."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def interaction_parts(families: Sequence[Family], beam: int | None) -> Iterator[Part]:
    """Charts of every family that was trained together. A network that was trained alone has none."""
    for number, family in enumerate(families, 1):
        if family.run.recipe.trains_family:
            yield from _family_parts(family, number, beam, title_end(family, families))


def _family_parts(family: Family, number: int, beam: int | None, suffix: str) -> Iterator[Part]:
    stages = interaction(family.run)
    detached = detached_chart(stages, f"detached-{number}", f"Gradients kept from the teacher{suffix}")
    if detached is not None:
        yield detached
    elif text := _never_detached(stages):
        yield f"{family.name}: {text}" if suffix else text
    ratios = ratio_chart(stages, f"ce-ratio-{number}", f"Cross-entropy over the teacher's{suffix}")
    if ratios is not None:
        yield ratios
    if beam is None or not family.text("target"):  # the test set tells whether files of translations are complete
        return
    texts = {row.model: lines for row in family.as_recipe(beam) if (lines := family.translations(row))}
    if len(texts) > 1:
        yield _alike_chart(texts, f"alike-{number}", f"Translations that are equal (%), {search(beam)}{suffix}")


def detached_chart(stages: Mapping[str, Interaction], name: str, title: str) -> Chart | None:
    """Each student's share of draws whose gradient was kept from the teacher, in bins of the training.

    None if no gradient was kept from the teacher, or if the threshold asks for all.
    """
    values: list[Spec] = []
    for start, stage in zip(_starts(stages), stages.values(), strict=True):
        bounds = [0, *stage.until]
        for student, draws in stage.draws.items() if stage.threshold else ():
            for i, (kept, drawn) in enumerate(zip(stage.detached[student], draws, strict=True)):
                bin_ = {"student": student, "from": start + bounds[i], "until": start + bounds[i + 1]}
                values += [{**bin_, "draws": drawn, "share": kept / drawn}] if drawn else []
    if not any(value["share"] for value in values):
        return None
    students = _by_depth({value["student"] for value in values})
    drawn, kept = _totals(stages)
    summary = (
        f"Share of each student's draws whose gradient was kept from the teacher: {kept:,} of {drawn:,} in all. "
        "Blank: the student was not drawn."
    )
    spec = _detached_spec(values, students, _ends(stages))
    return Chart(name, title, summary, spec, _detached_table(stages, students))


def _detached_spec(values: Sequence[Spec], students: Sequence[str], ends: Sequence[tuple[str, int]]) -> Spec:
    scale = {"scheme": "viridis", "domain": [0, max(0.1, *(value["share"] for value in values))]}
    legend = {"format": ".0%", "orient": "top", "gradientLength": 240}
    color = quantity("share", title="kept from the teacher", scale=scale, legend=legend)
    tooltip = [
        *(tip("student"), tip("until", "updates until", ",")),
        *(tip("draws", form=","), tip("share", "kept from the teacher", ".0%")),
    ]
    return {
        "height": 20 * len(students),
        "data": {"values": values},
        "encoding": {
            "x": quantity("from", title="updates", scale={"nice": False}, axis={"tickCount": 6}),
            "y": category("student", title=None, sort=students),
        },
        "layer": [
            layer({"type": "rect"}, x2={"field": "until"}, color=color, tooltip=tooltip),
            *([_stage_ends(ends)] if ends else []),
        ],
        "config": {"axis": {"grid": False}},
    }


def _detached_table(stages: Mapping[str, Interaction], students: Sequence[str]) -> Table:
    columns = ["student", *(f"{stage}: {what}" for stage in stages for what in ("draws", "detached"))]
    lines: list[Line] = []
    for student in students:
        lines.append([student])
        for stage in stages.values():
            drawn, kept = (sum(counts.get(student, ())) for counts in (stage.draws, stage.detached))
            lines[-1] += [f"{drawn:,}", f"{kept / drawn:.1%}"] if drawn else ["", ""]
    return Table("Draws, and the share that was kept from the teacher", columns, lines, folded=True)


def _never_detached(stages: Mapping[str, Interaction]) -> str:
    """The text in place of the chart. Empty if no draws are recorded or a threshold asks for all."""
    drawn, _ = _totals(stages)
    thresholds = {stage.threshold for stage in stages.values() if stage.threshold is not None}
    if not drawn or 0 in thresholds:
        return ""
    limits = ", ".join(f"{threshold:g}" for threshold in sorted(thresholds))
    return (
        f"No student was detached: in none of the {drawn:,} draws did its cross-entropy reach the threshold ({limits} "
        "times the teacher's)."
    )


def _totals(stages: Mapping[str, Interaction]) -> tuple[int, int]:
    """Draws, and those that were detached, over all students and the stages that have a threshold."""
    counted = [stage for stage in stages.values() if stage.threshold is not None]
    drawn = sum(sum(map(sum, stage.draws.values())) for stage in counted)
    return drawn, sum(sum(map(sum, stage.detached.values())) for stage in counted)


def ratio_chart(stages: Mapping[str, Interaction], name: str, title: str) -> Chart | None:
    """Cross-entropy of every candidate over the teacher's at every validation. None if there was no validation."""
    lines = _over_stages(stages, "ce_ratio")
    if not lines:
        return None
    values = _values(lines, "ratio")
    near = 1.2 * max(value["ratio"] for value in values)
    thresholds = [stage.threshold for stage in stages.values() if stage.threshold and stage.threshold < near]
    threshold = min(thresholds, default=None)
    tooltip = [tip("ratio", "of the teacher's", ".3f")]
    spec = _student_lines(values, "ratio", "cross-entropy / the teacher's", tooltip, _ends(stages), threshold)
    last = _last_values(lines)
    most = max(last, key=last.__getitem__)
    summary = (
        "Validation cross-entropy over the teacher's, of the networks that learn beside it. At last it is highest for "
        f"{most} ({last[most]:.3f})." + (" Dotted: the threshold of detaching." if threshold is not None else "")
    )
    table = _line_table("Validation cross-entropy over the teacher's, by update", lines, ".3f")
    return Chart(name, title, summary, spec, table)


def _starts(stages: Mapping[str, Interaction]) -> list[int]:
    """The number of updates before each stage."""
    lengths = [stage.length for stage in stages.values()]
    return [sum(lengths[:i]) for i in range(len(lengths))]


def _ends(stages: Mapping[str, Interaction]) -> list[tuple[str, int]]:
    """Names and last updates of all stages but the last."""
    return list(zip(stages, _starts(stages)[1:], strict=False))


def _alike_chart(texts: Mapping[str, Sequence[str]], name: str, title: str) -> Chart:
    """The share of lines that two students translate in the same words, for every two students."""
    students = _by_depth(texts)
    shares = {(a, b): share_equal(texts[a], texts[b]) for a in students for b in students if a != b}
    values = [{"one": a, "other": b, "per cent": round(100 * share, 1)} for (a, b), share in shares.items()]
    ends = {word: choose(shares, key=shares.__getitem__) for word, choose in (("most", max), ("least", min))}
    extremes = ", ".join(f"{word} for {' and '.join(pair)} ({shares[pair]:.0%})" for word, pair in ends.items())
    summary = (
        "Share of the test set's lines that two students translate in the same words: "
        f"{sum(shares.values()) / len(shares):.0%} on average of all pairs, {extremes}."
    )
    middle = 50 * (max(shares.values()) + min(shares.values()))
    tooltip = [tip("one", "student"), tip("other", "and"), tip("per cent", "equal (%)", ".1f")]
    spec = {
        "height": 26 * max(2, len(students)),
        "data": {"values": values},
        "encoding": {
            "x": steps("one", title=None, sort=students, axis={"labelAngle": -90}),
            "y": steps("other", title=None, sort=students),
        },
        "layer": heat_map("per cent", quantity("per cent", format=".0f"), middle, tooltip, {"fontSize": 9}),
        "config": NO_GRID,
    }
    lines = [[a, *("" if a == b else f"{shares[a, b]:.1%}" for b in students)] for a in students]
    return Chart(name, title, summary, spec, Table("Equal translations", ["", *students], lines, folded=True))
