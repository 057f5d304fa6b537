"""What a run cost, and what it would have cost to distil each student alone.

The second is an estimate from what was counted. A run's FLOPs are those of its updates' networks: the teacher and the
students drawn. The formulas of `training.cost` say what share of that an update would take with one student and a
frozen teacher in their place, on batches of the corpus's mean lengths. The same share is taken of the FLOPs, and of the
time: that the machine makes as many FLOPs a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from polystill.evaluation.figures import megabytes
from polystill.models.elastic import ElasticModel
from polystill.models.flops import forward_flops, update_flops
from polystill.models.folder import family_space, load_model
from polystill.models.passes import exact_plan
from polystill.reporting.document import Cell, Chart, Gap, Part, Table
from polystill.reporting.families import Family
from polystill.reporting.shown import count, duration, power_of_ten
from polystill.students import Student
from polystill.training.update import stage_seed

SENTENCES = 32
"""Of a batch; FLOPs are in proportion."""
DRAWS = 500
"""Updates whose drawn students the mean cost of an update is taken over."""


@dataclass(frozen=True)
class Alone:
    """Every candidate trained by itself, for as many target tokens as the family."""

    shares: dict[Student, float]
    """Of the FLOPs that the family's training took; the teacher's own training is the largest student's."""
    flops: float
    """That the family's training took, as counted."""
    seconds: float

    @property
    def total(self) -> float:
        return sum(self.shares.values())


def alone(family: Family) -> Alone | None:
    """None where it has nothing to say: no family of several students, trained together, whose FLOPs were counted."""
    run, recipe = family.run, family.run.recipe
    tokens = (run.record("data") or {}).get("tokens")
    costs = [family.results["cost"].get(f"training.{stage.name}", {}) for stage in recipe.stages]
    together = all(objective.trains_family for objective in recipe.stage_objectives)
    if not run.finished("family") or not together or not tokens or any("flops" not in cost for cost in costs):
        return None
    space = family_space(run.family)
    if len(space.candidates) < 2:
        return None
    pairs = run.record("data")["pairs"]["train"]  # type: ignore[index]
    shape = (SENTENCES, round(tokens["source"] / pairs), round(tokens["target"] / pairs))
    model = load_model(run.family)
    taken: dict[Student, float] = dict.fromkeys(space.candidates, 0.0)
    for index, (stage, cost) in enumerate(zip(recipe.stages, costs, strict=True)):
        objective, seed = recipe.stage_objective(stage), stage_seed(recipe.seed, index)
        drawn = [objective.networks(space, seed, update) for update in range(1, min(DRAWS, stage.updates) + 1)]
        plan = model.shared_plan if recipe.training.mode == "shared" else exact_plan
        together_flops = sum(update_flops(model.config, plan(networks), *shape) for networks in drawn) / len(drawn)
        for student in space.candidates:
            taken[student] += cost["flops"] * _update_alone(model, student, space.teacher, shape) / together_flops
    flops = sum(cost["flops"] for cost in costs)
    seconds = sum(cost["seconds"] for cost in costs)
    return Alone({student: value / flops for student, value in taken.items()}, flops, seconds)


def _update_alone(model: ElasticModel, student: Student, teacher: Student, shape: tuple[int, int, int]) -> int:
    own = update_flops(model.config, model.shared_plan([student]), *shape)
    return own if student == teacher else own + forward_flops(model.config, model.shared_plan([teacher]), *shape)


# --- the section's parts ------------------------------------------------------------------------------------------


def cost_parts(families: Sequence[Family]) -> list[Part]:
    spent = [family for family in families if family.results["cost"]]
    if not spent:
        return [Gap("No stage's cost is recorded.")]
    parts: list[Part] = [_spent_table(spent)]
    compared = [(family, found) for family in spent if (found := alone(family)) is not None]
    if not compared:
        return [
            *parts,
            Gap(
                "No comparison with each student alone: it needs a finished AIO-KD family of several students whose "
                "FLOPs were counted."
            ),
        ]
    return [*parts, _alone_chart(compared, len(families) > 1), _HOW]


_HOW = (
    "The family's FLOPs and time were measured; those of each student alone are an estimate from them: the largest "
    "student trained by itself, then every other one on as many target tokens with it as a frozen teacher. FLOPs are "
    "the family's, times the share that an update of one student and a teacher's forward pass has of an update of the "
    "family, by the same formulas and on batches of the corpus's mean lengths; the time is at the same FLOPs a second. "
    "To compare with measured runs of single students, report them together with this one."
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


def _spent_table(families: Sequence[Family]) -> Table:
    stages = [(family, stage, cost) for family in families for stage, cost in family.results["cost"].items()]
    shown = [name for name in _FIGURES if any(name in cost for _, _, cost in stages)]
    several = len(families) > 1
    rows: list[list[Cell | str]] = []
    for family, stage, cost in stages:
        figures = [_FIGURES[name][1](cost[name]) if name in cost else "" for name in shown]
        rows.append([*([family.name] if several else []), stage.removeprefix("training."), *figures])
    for family in families:
        total = {
            name: sum(cost[name] for owner, _, cost in stages if owner is family and name in cost)
            for name in ("seconds", "cpu_seconds", "target_tokens", "flops", "energy_kwh")
        }
        figures = [_FIGURES[name][1](total[name]) if total.get(name) else "" for name in shown]
        cells = [Cell(text, "best") for text in ["all stages", *figures]]
        rows.append([*([Cell(family.name, "best")] if several else []), *cells])
    columns = [*(["run"] if several else []), "stage", *(_FIGURES[name][0] for name in shown)]
    note = "FLOPs are those of matrix products, counted in training."
    ways = dict.fromkeys(cost["energy_by"] for _, _, cost in stages if "energy_by" in cost)
    note += f" Energy of training by {' or '.join(ways)}." if ways else ""
    if "energy_kwh" not in shown:
        note += " Energy was not recorded."
    return Table("What each stage took", columns, rows, words=1 + several, note=note)


def _alone_chart(compared: Sequence[tuple[Family, Alone]], several: bool) -> Chart:
    rows: list[list[Cell | str]] = []
    values: list[dict[str, Any]] = []
    for family, found in compared:
        name = f"{family.name} " if several else ""
        together, apart = f"{name}together", f"{name}alone"
        counted, estimated = f"{count(found.flops)} FLOPs", f"{count(found.flops * found.total)} FLOPs"
        rows.append([together, str(len(found.shares)), counted, duration(found.seconds), "measured"])
        rows.append(
            [apart, str(len(found.shares)), estimated, duration(found.seconds * found.total), "estimated"],
        )
        values.append({"what": together, "student": "all", "flops": found.flops, "place": 0})
        values += [
            {"what": apart, "student": student.name, "flops": found.flops * share, "place": i}
            for i, (student, share) in enumerate(found.shares.items())
        ]
    exponent = int(math.log10(max(found.flops * max(1, found.total) for _, found in compared)))
    for value in values:
        value["shown"] = value["flops"] / 10**exponent
    factors = [f"{found.total:.1f} times as many" for _, found in compared]
    summary = (
        f"FLOPs of training {'the families' if several else 'the family'} (counted) and of distilling each student "
        f"alone (estimated): alone takes {' and '.join(factors)}."
    )
    spec = {
        "height": 48 * 2 * len(compared),
        "data": {"values": values},
        "mark": {"type": "bar", "style": "segment"},
        "encoding": {
            "y": {"field": "what", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 160}},
            "x": {
                "field": "shown",
                "type": "quantitative",
                "title": f"FLOPs × {power_of_ten(exponent)}",
                "axis": {"tickCount": 4},
            },
            "order": {"field": "place"},
            "tooltip": [{"field": "what"}, {"field": "student"}, {"field": "flops", "format": ".3e"}],
        },
    }
    table = Table("The family and each student alone", ["", "students", "FLOPs", "time", "figures are"], rows)
    return Chart("cost", "One run, or one for each student", summary, spec, table)
