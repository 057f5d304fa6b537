"""Compare the cost of training a family in one run with that of training its members one by one.

    python tools/measure_one_by_one.py recipes/multi30k.yaml --set data.folder=multi30k --rounds 3 --precision bf16
    python tools/measure_one_by_one.py recipes/multi30k.yaml --set data.folder=multi30k --student e6d6,e4d4,small-e1d1

One by one: the teacher alone by likelihood, then every other student by Word-KD from it, frozen. In one run: the
recipe's own stages and mode, with the students that it draws. Both by our fused step, on the same batches, in turn.
What is reported is the quotient at equal updates; how good the students are after so many is for
`python -m experiments aio-kd` to say. Weights are random, since an update takes as long with any others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polystill.bench.rounds import interleaved, quotients, shown_spread, spread
from polystill.bench.train import Trial, Variant, Workload, load_workload
from polystill.cli.bench import prepared_data, tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.config import Students
from polystill.config.model import Shape
from polystill.objectives.word_kd import WordKd
from polystill.students import Student
from polystill.training.frozen import FrozenTeacher
from polystill.training.start import build_model


def word_kd(workload: Workload, student: Student, teacher: FrozenTeacher, alone: Variant) -> Trial:
    """A network of the student's shape that learns from the teacher."""
    recipe = workload.recipe
    shape = recipe.supernets[student.supernet] if student.supernet else recipe.model
    sizes = {name: getattr(shape, name) for name in Shape.model_fields}
    sizes |= {"encoder_layers": student.encoder_layers, "decoder_layers": student.decoder_layers}
    model = recipe.model.model_copy(update=sizes)
    recipe = recipe.model_copy(update={"model": model, "supernets": {}, "students": Students(only=[])})
    objective = WordKd(label_smoothing=recipe.objective.label_smoothing)
    return Trial(alone, replace(workload, recipe=recipe), objective, teacher)


def subjects(workload: Workload, students: Sequence[str] | None, precision: str) -> dict[str, Trial]:
    """By name: the teacher and the students one by one, and the family in every stage of the recipe."""
    recipe, alone = workload.recipe, Variant("teacher", "shared", precision)
    teacher = FrozenTeacher(build_model(recipe, workload.tokenizer), workload.networks[0][0])
    space = recipe.students.space(teacher.model.teacher, recipe.supernets)
    chosen = space.candidates if students is None else [space.get(name) for name in students]
    trials = {str(space.teacher): Trial(alone, workload)}
    trials |= {str(s): word_kd(workload, s, teacher, alone) for s in chosen if s != space.teacher}
    family = Variant("family", recipe.training.mode, precision)
    for stage in recipe.stages:
        objective = recipe.stage_objective(stage)
        networks, supernets = stage.networks, stage.supernets
        trials[f"family, {stage.name}"] = Trial(family, workload, objective, networks=networks, supernets=supernets)
    return trials


def measure(workload: Workload, rounds: int, students: Sequence[str] | None, precision: str) -> dict[str, Any]:
    """Seconds an update by subject, and how many times as much the students cost one by one."""
    stages, batches = workload.recipe.stages, len(workload.batches)
    trials = subjects(workload, students, precision)
    runs: dict[str, Callable[[], object]] = {name: trial.run for name, trial in trials.items()}
    seconds = interleaved(runs, rounds, log=say)
    families = [f"family, {stage.name}" for stage in stages]
    updates = {
        name: sum(stage.updates for stage in workload.recipe.stages_of(Student.parse(name).supernet))
        for name in seconds
        if name not in families
    }
    apart = [sum(seconds[name][i] * number for name, number in updates.items()) for i in range(rounds)]
    together = [
        sum(seconds[name][i] * stage.updates for name, stage in zip(families, stages, strict=True))
        for i in range(rounds)
    ]
    return {
        "updates": {stage.name: stage.updates for stage in stages},
        "mode": workload.recipe.training.mode,
        "precision": precision,
        "batches": batches,
        "rounds": rounds,
        "seconds_an_update": {name: spread([s / batches for s in taken]) for name, taken in seconds.items()},
        "one_by_one_to_family": quotients(apart, together),
        "hours": {
            what: statistics.median(taken) / batches / 3600
            for what, taken in (("apart", apart), ("together", together))
        },
    }


def report(result: dict[str, Any]) -> None:
    for name, taken in result["seconds_an_update"].items():
        milliseconds = {key: 1000 * seconds for key, seconds in taken.items()}
        print(f"{name:24} {shown_spread(milliseconds, 0):>16} ms an update")
    hours = result["hours"]
    print(
        f"one by one {shown_spread(result['one_by_one_to_family'], 2)} times the family: with as many updates each "
        f"{hours['apart']:.1f} hours against {hours['together']:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = tool_parser(__doc__, rounds=3)
    parser.add_argument("--batches", type=int, default=12, help="each with students of its own")
    parser.add_argument("--student", help="some of them, with commas between; all by default")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    given = parser.parse_args(arguments)
    with user_errors():
        check_new_file("--json", given.json)
        with prepared_data(given.recipe, given.set, None) as (recipe, data):
            workload = load_workload(recipe, data, recipe.objective.students_per_step, given.batches)
            students = given.student.split(",") if given.student else None
            result = measure(workload, given.rounds, students, given.precision)
        report(result)
        write_benchmark(given.json, "one-by-one", result)


if __name__ == "__main__":
    main()
