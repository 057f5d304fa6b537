"""The cost of a run, and an estimate of the cost of distilling each student alone.

The estimate starts from the counted FLOPs of a family, whose updates train the teacher and the drawn students. The
formulas of `models.flops` give the share of such an update that one student and a frozen teacher would need, on batches
of the corpus's mean lengths. The estimated FLOPs and time are that share of the family's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from polystill.evaluation.figures import megabytes
from polystill.models.folder import load_supernets
from polystill.models.supernets import Plans, Supernets
from polystill.objectives.base import FrozenTeacherObjective
from polystill.reporting.document import Cell, Chart, Gap, Line, Part, Spec, Table, category, quantity, tip
from polystill.reporting.families import Family
from polystill.runs.family import family_space
from polystill.runs.results import Cost
from polystill.students import Student
from polystill.training.update import stage_seed

SENTENCES = 32
"""Sentences of a batch. FLOPs are in proportion to them."""
DRAWS = 500
"""Updates whose drawn students give the mean cost of an update."""


def duration(seconds: float) -> str:
    """Such as "3:07 min" or "3:14 h"."""
    if seconds < 3570:
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes}:{seconds:02} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02} h"


def count(value: float) -> str:
    """Such as "14.6 million" or "4.24 × 10¹⁴"."""
    if value < 1e5:
        return f"{value:,.0f}"
    if value < 1e10:
        return f"{value / 1e6:,.1f} million"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × {_power_of_ten(int(exponent))}"


def _power_of_ten(exponent: int) -> str:
    return f"10{str(exponent).translate(_RAISED)}"


_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def cost_parts(families: Sequence[Family]) -> Iterator[Part]:
    spent = [family for family in families if family.results.cost]
    if not spent:
        yield Gap("No stage's cost is recorded.")
        return
    yield _spent_table(spent)
    estimates = {family.name: estimate for family in spent if (estimate := alone(family)) is not None}
    if estimates:
        yield _alone_chart(estimates, len(families) > 1)
        yield _METHOD
    else:
        yield Gap(
            "No comparison with each student alone: it needs a finished AIO-KD family of several students whose FLOPs "
            "were counted."
        )


_METHOD = (
    "The family's FLOPs and time were measured. The figures of each student alone are an estimate: the largest "
    "student is trained by itself, and every other one with the largest as a frozen teacher, each on as many target "
    "tokens as the stages had that train its supernet. Their FLOPs are the family's, times the share that an update "
    "of one student and a teacher's forward pass has of an update of the family, by the same formulas and on batches "
    "of the corpus's mean lengths. Their time assumes the same FLOPs a second. To compare with measured runs of "
    "single students, report those runs together with this one."
)

_FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "seconds": ("time", duration),
    "cpu_seconds": ("CPU time", duration),
    "target_tokens": ("target tokens", count),
    "flops": ("FLOPs", count),
    "peak_rss_bytes": ("peak memory", megabytes),
    "peak_device_bytes": ("peak GPU memory", megabytes),
    "energy_kwh": ("energy", "{:.3g} kWh".format),
    "threads": ("threads", str),
    "device": ("device", str),
}
_SUMMED = ("seconds", "cpu_seconds", "target_tokens", "flops", "energy_kwh")


def _spent_table(families: Sequence[Family]) -> Table:
    costs = [cost for family in families for cost in family.results.cost.values()]
    shown = [name for name in _FIGURES if any(_figure(cost, name) for cost in costs)]
    lines: list[Line] = [
        [family.name, stage.removeprefix("training."), *(_figure(cost, name) for name in shown)]
        for family in families
        for stage, cost in family.results.cost.items()
    ]
    for family in families:
        stages = family.results.cost.values()
        sums: dict[str, Any] = {name: sum(getattr(cost, name) or 0 for cost in stages) or None for name in _SUMMED}
        totals = [_figure(Cost(**sums), name) for name in shown]
        lines.append([Cell(text, "best") for text in (family.name, "all stages", *totals)])
    columns = ["run", "stage", *(_FIGURES[name][0] for name in shown)]
    if len(families) == 1:
        columns, lines = columns[1:], [line[1:] for line in lines]
    note = "FLOPs are those of matrix products, counted in training."
    ways = dict.fromkeys(cost.energy_by for cost in costs if cost.energy_by)
    note += f" Energy of training by {' or '.join(ways)}." if ways else ""
    if "energy_kwh" not in shown:
        note += " Energy was not recorded."
    return Table("What each stage took", columns, lines, words=1 + (len(families) > 1), note=note)


def _figure(cost: Cost, name: str) -> str:
    value = getattr(cost, name)
    return "" if value in (None, "") else _FIGURES[name][1](value)


# --- each student alone ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """Every candidate trained by itself, for as many target tokens as the stages of its supernet had."""

    shares: dict[Student, float]
    """FLOPs of each student's training as a share of the family's. The largest student trains without a teacher."""
    flops: float
    """FLOPs of the family's training, as counted."""
    seconds: float
    """Time of the family's training."""

    @property
    def total(self) -> float:
        return sum(self.shares.values())


def alone(family: Family) -> Alone | None:
    """Estimate what distilling each student alone would take. None if there is no base for it.

    It needs a finished family of several students that were trained together, and their counted FLOPs.
    """
    run, recipe = family.run, family.run.recipe
    data = run.record("data") or {}
    costs = [family.results.cost.get(f"training.{stage.name}", Cost()) for stage in recipe.stages]
    if (
        not run.finished("family")
        or not recipe.trains_family
        or not data.get("tokens")
        or any(not cost.flops for cost in costs)
        or recipe.frozen_teachers  # their passes are among the FLOPs, and their shapes are not known here
    ):
        return None
    space = family_space(run.family)
    if len(space.candidates) < 2:
        return None
    shape = mean_batch(data)
    model = load_supernets(run.family)
    flops: dict[Student, float] = dict.fromkeys(space.candidates, 0.0)
    for index, (stage, cost) in enumerate(zip(recipe.stages, costs, strict=True)):
        objective, seed = recipe.stage_objective(stage), stage_seed(recipe.seed, index)
        trained = space.only(stage.networks, stage.supernets)
        draws = [objective.networks(trained, seed, update) for update in range(1, min(DRAWS, stage.updates) + 1)]
        plans = [model.plans(networks, recipe.training.mode) for networks in draws]
        mean = sum(model.update_flops(each, *shape) for each in plans) / len(plans)
        counted = (cost.flops or 0) - _projected_again(model, plans, cost, stage.updates * recipe.training.accumulate)
        if isinstance(objective, FrozenTeacherObjective):
            mean += _teaching(model, space.teacher, shape)
        for student in space.only("all", stage.supernets).candidates:
            teacher = None if student == space.teacher else space.teacher
            flops[student] += counted * update_alone(model, student, teacher, shape) / mean
    total = sum(cost.flops or 0 for cost in costs)
    seconds = sum(cost.seconds or 0 for cost in costs)
    return Alone({student: value / total for student, value in flops.items() if value}, total, seconds)


def _projected_again(model: Supernets, plans: Sequence[Plans], cost: Cost, batches: int) -> float:
    """FLOPs of projections that were repeated since guesses were wrong; a student alone repeats none."""
    tokens = round((cost.target_tokens or 0) / batches)
    each = sum(model.projection_flops(plan, tokens) for plan in plans) / len(plans)
    return (cost.projections_again or 0) * each


def mean_batch(data: dict[str, Any]) -> tuple[int, int, int]:
    """Sentences, source and target length of a batch of the corpus's mean lengths, by the record of stage `data`."""
    pairs = data["pairs"]["train"]
    return SENTENCES, round(data["tokens"]["source"] / pairs), round(data["tokens"]["target"] / pairs)


def update_alone(model: Supernets, student: Student, teacher: Student | None, batch: tuple[int, int, int]) -> int:
    """FLOPs of an update of one student by itself, with the pass of its frozen teacher of the first supernet."""
    update = model.update_flops(model.plans([student]), *batch)
    return update + (_teaching(model, teacher, batch) if teacher else 0)


def _teaching(model: Supernets, teacher: Student, batch: tuple[int, int, int]) -> int:
    """FLOPs of a pass of a frozen teacher of the first supernet."""
    return model.first.forward_flops(model.first.shared_plan([teacher]), *batch)


def _alone_chart(estimates: dict[str, Alone], several: bool) -> Chart:
    lines: list[Line] = []
    values: list[Spec] = []
    for name, estimate in estimates.items():
        together, apart = (
            f"{name} {what}" if several else what for what in ("together (measured)", "alone (estimated)")
        )
        students, flops, seconds, total = len(estimate.shares), estimate.flops, estimate.seconds, estimate.total
        lines.append([together, str(students), f"{count(flops)} FLOPs", duration(seconds)])
        lines.append([apart, str(students), f"{count(flops * total)} FLOPs", duration(seconds * total)])
        values.append({"what": together, "student": "all", "flops": flops, "place": 0})
        values += [
            {"what": apart, "student": student.name, "flops": flops * share, "place": i}
            for i, (student, share) in enumerate(estimate.shares.items())
        ]
    exponent = int(math.log10(max(estimate.flops * max(1, estimate.total) for estimate in estimates.values())))
    for value in values:
        value["shown"] = value["flops"] / 10**exponent
    factors = " and ".join(f"{estimate.total:.1f} times as many" for estimate in estimates.values())
    summary = (
        f"FLOPs of training {'the families' if several else 'the family'} (counted) and of distilling each student "
        f"alone (estimated): alone takes {factors}."
    )
    table = Table("The family and each student alone", ["", "students", "FLOPs", "time"], lines)
    spec = _alone_spec(values, 48 * 2 * len(estimates), f"FLOPs × {_power_of_ten(exponent)}")
    return Chart("cost", "One run, or one for each student", summary, spec, table)


def _alone_spec(values: list[Spec], height: int, title: str) -> Spec:
    return {
        "height": height,
        "data": {"values": values},
        "mark": {"type": "bar", "style": "segment"},
        "encoding": {
            "y": category("what", title=None, sort=None, axis={"labelLimit": 260}),
            "x": quantity("shown", title=title, axis={"tickCount": 4}),
            "order": {"field": "place"},
            "tooltip": [tip("what"), tip("student"), tip("flops", form=".3e")],
        },
    }
