"""What all students of a family cost: trained as one family, or one by one.

Where only some were trained one by one, the others are estimated from those:

FLOPs                                an update's by the formulas of `models.flops`, in proportion to what was counted
                                     of the trained students of the same supernet
time, memory, bytes of the weights   a straight line over FLOPs through the trained students of the same supernet
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import linear_regression

import torch

from experiments.aio_kd_paper import PAPER, cost_times
from experiments.claims import Values
from polystill.models import ARCHITECTURES
from polystill.models.supernets import Supernets
from polystill.reporting.cost import mean_batch, update_alone
from polystill.runs import Run
from polystill.students import Student

FIGURES = ("flops", "cpu_seconds", "seconds", "peak_rss_bytes", "bytes_kept")
"""Of a training; of several their sums, also of peak memory, as the paper has it."""
Cost = dict[str, float]
TEACHER = "teacher"
"""The way that is one network: the largest one alone."""


def flops_of_updates(run: Run, taught: bool) -> dict[str, float]:
    """FLOPs of one update of every student of a family by itself, on a batch of the corpus's mean lengths.

    With `taught`, a frozen teacher's pass is part of it. Empty where the run has no record of its data. Weights are not
    needed.
    """
    data, recipe = run.record("data"), run.recipe
    if data is None:
        return {}
    models = []
    with torch.device("meta"):  # shapes without weights
        for shape in (recipe.model, *recipe.supernets.values()):
            architecture = ARCHITECTURES[shape.architecture]
            sizes = {"vocabulary_size": data["vocabulary_size"], "pad_id": 0, "eos_id": 1, **shape.sizes()}
            models.append(architecture.model_class(architecture.config_class(**sizes)))
    supernets = Supernets(models[0], dict(zip(recipe.supernets, models[1:], strict=True)))
    space, batch = recipe.student_space(recipe.model.teacher), mean_batch(data)
    teacher = space.teacher if taught else None
    return {str(student): update_alone(supernets, student, teacher, batch) for student in space.candidates}


def enough(trained: Collection[str], updates: Mapping[str, float]) -> bool:
    """Whether a line goes through the trained students of every supernet that has others.

    So there are two of them, whose updates differ in FLOPs.
    """
    known = {(_supernet(student), updates[student]) for student in trained}
    wanted = {_supernet(student) for student in updates if student not in trained}
    return all(sum(name == each for each, _ in known) > 1 for name in wanted)


def estimate(trained: Mapping[str, Cost], updates: Mapping[str, float]) -> tuple[dict[str, Cost], Cost]:
    """The cost of the students that were not trained, and how far off the same estimate of the trained ones is at most.

    Args:
        trained: costs by student, of `enough` students.
        updates: FLOPs of an update of all students.

    Returns:
        Costs by student, and by figure the largest relative error for the students that the estimate is made from. A
        line's error is known where a supernet has three of them: any line meets two points.
    """
    estimates: dict[str, Cost] = {}
    names = list(map(_supernet, trained))
    for supernet in dict.fromkeys(names):
        known = [student for student in trained if _supernet(student) == supernet]
        counted = sum(trained[student]["flops"] for student in known) / sum(updates[student] for student in known)
        flops = {student: counted * update for student, update in updates.items() if _supernet(student) == supernet}
        estimates |= {student: {"flops": value} for student, value in flops.items()}
        if len(known) < 2:  # the only student of its supernet
            continue
        for figure in FIGURES[1:]:
            line = linear_regression([flops[s] for s in known], [trained[s][figure] for s in known])
            for student, value in flops.items():
                estimates[student][figure] = line.intercept + line.slope * value
    tested = [student for student in trained if names.count(_supernet(student)) > 2]
    off: Cost = {}
    for figure in FIGURES:
        students = list(trained) if figure == "flops" else tested
        if students and all(trained[student][figure] for student in students):
            off[figure] = max(abs(estimates[student][figure] / trained[student][figure] - 1) for student in students)
    return {student: cost for student, cost in estimates.items() if student not in trained}, off


def _supernet(student: str) -> str:
    return Student.parse(student).supernet


def summed(costs: Sequence[Mapping[str, float]]) -> Values:
    """The sums of all figures, and of how many students they are."""
    return {"students": len(costs), **{figure: sum(cost[figure] for cost in costs) for figure in FIGURES}}


# --- the table --------------------------------------------------------------------------------------------------------

ABOUT = (
    "Each line sums over its trainings, including peak memory, as the paper does; each is one run. In brackets: "
    "relative to the family. One by one, the largest network is trained by likelihood, and teaches the others. Time "
    "includes validations. Students that were not trained are estimated: FLOPs by formula, in proportion to those "
    "counted; time, memory and weights on a straight line over FLOPs through the students that were trained. "
    f"Paper: Table 3, relative to AIO-KD, of {', '.join(PAPER['bleu'])}; there a student alone takes a quarter to a "
    "third of AIO-KD's updates."
)
HEADINGS = ["way", "students", "FLOPs", "CPU hours", "hours", "peak memory (GB)", "weights (MB)"]
HEADINGS += ["paper: GPU hours", "paper: memory"]
_TITLES_OF_WAYS = {
    **{"family": "the family", TEACHER: "its largest network alone", "alone": "one by one by likelihood"},
    **{"word-kd": "one by one by Word-KD", "selective-kd": "one by one by Selective-KD"},
}
_UNITS: dict[str, tuple[float, str]] = {"flops": (1, ".3g"), "cpu_seconds": (3600, ".2f"), "seconds": (3600, ".2f")}
_UNITS |= {"peak_rss_bytes": (1e9, ".1f"), "bytes_kept": (1e6, ".1f")}


def table_lines(ways: Mapping[str, Values]) -> list[list[str]]:
    """A line of each way's students together; before it those that were trained and those that are estimated."""
    lines = []
    for way, values in ways.items():
        title = _TITLES_OF_WAYS.get(way, f"the family {way}")
        parts = {part: values[part] for part in ("trained", "estimated") if "estimated" in values}
        for part, cost in parts.items():
            lines.append([f"{title}: {part}", str(cost["students"]), *_figures(cost), "", ""])
        times = values.get("times_family", {})
        paper = [cost_times(way, figure) for figure in ("hours", "gigabytes")] if times else ["", ""]
        students, flops = str(values["all"]["students"]), values["all"]["flops"]
        lines.append([title, students, *_figures(values["all"], times), *paper])
        if "teacher_flops" in values and times:
            left = flops - values["teacher_flops"]
            cell = f"{left:.3g} ({times['flops'] * left / flops:.2f})"
            lines.append([f"{title}, without the teacher's passes", students, cell, *[""] * (len(HEADINGS) - 3)])
    return lines


def about_estimates(ways: dict[str, Values]) -> str:
    """How good the estimates are, and where the trainings were."""
    names = {"flops": "FLOPs", "cpu_seconds": "CPU time", "seconds": "time", "peak_rss_bytes": "memory"}
    told = []
    for way, off in ((way, values["estimate_off_by"]) for way, values in ways.items() if "estimate_off_by" in values):
        told.append(f"{way} " + ", ".join(f"{name} {off[key]:.1%}" for key, name in names.items() if key in off))
    lines = []
    if told:
        about = "For the trained students, from which it is made, the estimate is off by at most"
        lines.append(f"{about} {'; '.join(told)}.")
    machines = sorted({machine for values in ways.values() for machine in values["machines"]})
    if len(machines) > 1:
        about = "The rows were trained on several machines, so do not compare their times"
        lines.append(f"{about}: {'; '.join(machines)}.")
    return " ".join(lines)


def _figures(cost: Values, times: Mapping[str, float] | None = None) -> list[str]:
    cells = {figure: f"{cost[figure] / unit:{form}}" for figure, (unit, form) in _UNITS.items()}
    return [cell + (f" ({times[f]:.2f})" if times and f in times else "") for f, cell in cells.items()]
