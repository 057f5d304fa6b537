"""The steps of `polystill study aio-kd`: the claims of AIO-KD (Miao et al. 2023), each with the runs that test it.

family            as published; all other families differ from it in one thing and have as many updates
alone-e2d2        one network for likelihood; word-kd-e2d2: the same, taught by the teacher that was trained alone
no-detaching …    the strategies, one left out or changed
students-3        other numbers of students a step;  space-NAME: other spaces of students;  `changes`: any other setting
pretrained        a family from a trained teacher's Marian folder;  from-scratch: one from nothing, to compare curves
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polystill.config import BESIDE_START
from polystill.errors import UserError
from polystill.students import Student, StudentSpace
from polystill.studies.recipe import (
    AioKd,
    Alone,
    Part,
    check_left_out,
    check_method,
    check_names,
    check_steps,
    common,
    merged,
    row_id,
)
from polystill.studies.steps import Step, run_step

FAMILY, PRETRAINED, FROM_SCRATCH = "family", "pretrained", "from-scratch"
OUT_OF_REACH = 1e9
"""A threshold that no ratio of cross-entropies reaches: nothing is ever detached. Under 0 everything is."""
STRATEGIES: dict[str, str] = {
    "no-detaching": "gradients reach the teacher from every student",
    "always-detached": "gradients reach the teacher from no student",
    "mutual-from-start": "mutual learning from the first update",
    "stage-1-only": "no mutual learning, as many updates",
    "mutual-full": "mutual learning in both directions",
    "mutual-detaching": "mutual learning with the threshold",
}


def steps_of(study: AioKd) -> list[Step]:
    """All steps of a study, in an order in which they can be done.

    Raises:
        UserError: a row, a student or a part of a recipe is not known or does not work.
    """
    recipes = _recipes(study)
    steps = [run_step(name, recipe) for name, recipe in recipes.items()]
    steps += _pretrained(study, recipes)
    for seed, names in study.more_seeds.items():
        check_names(study, "more_seeds", names, list(recipes))
        steps += [run_step(row_id(study, name, seed), {**recipes[name], "seed": seed}) for name in names]
    check_steps(study, steps)
    return steps


def seedable(study: AioKd) -> list[str]:
    """The rows that can be trained with a further seed.

    Raises:
        UserError: as `steps_of`.
    """
    return list(_recipes(study))


def teacher_of(study: AioKd) -> Student:
    """The family's largest network."""
    return Step(FAMILY, (), Path(), _family(study)).parsed(study.origin).model.teacher


def _recipes(study: AioKd) -> dict[str, Part]:
    """All rows but those from a trained teacher."""
    wanted = list(STRATEGIES) if study.strategies is None else study.strategies
    check_names(study, "strategies", wanted, list(STRATEGIES))
    family = run_step(FAMILY, _family(study))
    check_method(study, family, "", "aio_kd")  # and all of it: its mistakes are not to come up in its variants
    count = getattr(family.parsed(study.origin).objective, "students_per_step", 0)
    if count in study.students_per_step:
        raise UserError(f"{study.origin}: students_per_step: {count} is what the family has itself")
    recipes = {FAMILY: _family(study), **{name: _strategy(study, name) for name in wanted}}
    for count in study.students_per_step:
        recipes[f"students-{count}"] = _throughout(study, "students_per_step", count)
    for name, space in study.spaces.items():
        recipes[f"space-{name}"] = {**_family(study), "students": space}
    alone = _alone(study)
    for name, change in study.changes.items():
        _check_change(study, name, change, {*recipes, *alone, PRETRAINED, FROM_SCRATCH})
        recipes[name] = merged(_family(study), change)
    return recipes | alone


# --- families ---------------------------------------------------------------------------------------------------------


def _family(study: AioKd) -> Part:
    own = {"model": study.model, "students": study.students, "stages": study.stages}
    return merged(common(study), {"objective": {"kind": "aio_kd"}}, {"objective": study.objective}, own)


def _throughout(study: AioKd, key: str, value: float) -> Part:
    """The family with a key of its objective changed, in stages that have it of their own as well."""
    family = _family(study)
    stages = [_with(stage, key, value) if key in (stage.get("objective") or {}) else stage for stage in study.stages]
    return {**_with(family, key, value), "stages": stages}


def _with(part: Part, key: str, value: Any) -> Part:
    """A recipe, or a stage of it, with a key of its objective changed."""
    return merged(part, {"objective": {key: value}})


def _check_change(study: AioKd, name: str, change: Part, taken: set[str]) -> None:
    where = f"{study.origin}: changes.{name}"
    if name in taken or name.startswith(("students-", "space-")):
        raise UserError(f"{where}: there is a row of that name, or there may be one; use another name")
    if not change:
        raise UserError(f"{where}: changes nothing")
    if "seed" in change:
        raise UserError(f"{where}.seed: a further seed has `more_seeds`, or --seed")


def _strategy(study: AioKd, name: str) -> Part:
    """The family with one thing changed."""
    family = _family(study)
    if name == "no-detaching":
        return _throughout(study, "detach_threshold", OUT_OF_REACH)
    if name == "always-detached":
        return _throughout(study, "detach_threshold", 0.0)
    if name == "stage-1-only":
        return {**family, "stages": [_with(stage, "mutual", "none") for stage in study.stages]}
    if name == "mutual-from-start":
        return {**family, "stages": [_with(stage, "mutual", "no_weight") for stage in study.stages]}
    kind = name.removeprefix("mutual-")
    stages = [_with(stage, "mutual", kind) if _learns_mutually(study, stage) else stage for stage in study.stages]
    return {**family, "stages": stages}


def _learns_mutually(study: AioKd, stage: Part) -> bool:
    own = stage.get("objective") or {}
    return own.get("mutual", study.objective.get("mutual", "none")) != "none"


# --- one by one -------------------------------------------------------------------------------------------------------


def _alone(study: AioKd) -> dict[str, Part]:
    if study.alone is None:
        return {}
    space = _space(study)
    teacher, names = space.teacher, _students_alone(study, study.alone, space)
    check_left_out(study, "alone.word_kd", study.alone.word_kd, ("kind", "teacher"))
    stages = study.alone.stages or _stages_alone(study)
    smoothing = {key: value for key, value in study.objective.items() if key == "label_smoothing"}
    recipes = {}
    for name in names:
        student = Student.parse(name)
        layers = {"encoder_layers": student.encoder_layers, "decoder_layers": student.decoder_layers}
        part = {**common(study), "model": {**study.model, **layers}, "stages": stages}
        recipes[f"alone-{name}"] = {**part, "objective": {"kind": "nll", **smoothing}}
        taught = {**smoothing, **study.alone.word_kd, "kind": "word_kd", "teacher": Path("runs") / f"alone-{teacher}"}
        recipes[f"word-kd-{name}"] = {**part, "objective": taught}
    return recipes


def _space(study: AioKd) -> StudentSpace:
    family = run_step(FAMILY, _family(study)).parsed(study.origin)
    return family.student_space(family.model.teacher)


def _students_alone(study: AioKd, alone: Alone, space: StudentSpace) -> list[str]:
    """Members of the family, its teacher among them."""
    try:
        names = [space.check(Student.parse(name)).name for name in alone.students]
    except UserError as error:
        raise UserError(f"{study.origin}: alone.students: {error}") from None
    if str(space.teacher) not in names:
        raise UserError(
            f"{study.origin}: alone.students: the teacher {space.teacher} is missing; Word-KD learns from it"
        )
    return names


def _stages_alone(study: AioKd) -> list[Part]:
    """The family's stages for one network, which has no use for most of the family's objective."""
    stages = []
    for stage in study.stages:
        objective = {key: value for key, value in (stage.get("objective") or {}).items() if key == "label_smoothing"}
        rest = {key: value for key, value in stage.items() if key != "objective"}
        stages.append({**rest, "objective": objective} if objective else rest)
    return stages


# --- from a trained teacher -------------------------------------------------------------------------------------------


def _pretrained(study: AioKd, recipes: dict[str, Part]) -> list[Step]:
    if study.pretrained is None:
        return []
    teacher = teacher_of(study)
    steps = []
    if f"alone-{teacher}" not in recipes:
        alone = {**common(study), "model": study.model, "objective": {"kind": "nll"}}
        alone["stages"] = _stages_alone(study)
        steps.append(run_step(f"alone-{teacher}", alone))
    folder = Path(PRETRAINED)
    export = ("export", Path("runs") / f"alone-{teacher}", "teacher", "--to", "hf", "--out", folder)
    family = {**_family(study), "stages": _with_curve(study, "stages", study.pretrained.stages)}
    scratch = _with_curve(study, "from_scratch", study.pretrained.from_scratch or [study.stages[0] | _BY_BLEU])
    model = {key: value for key, value in study.model.items() if key in {"architecture", *BESIDE_START}}
    data = {key: value for key, value in study.data.items() if key != "tokenizer"}
    started = {**family, "data": data, "model": {**model, "start": folder}}
    return [
        *steps,
        Step("marian-folder", export, folder),
        run_step(PRETRAINED, started),
        run_step(FROM_SCRATCH, {**_family(study), "stages": scratch}),
    ]


_BY_BLEU = {"select_by": "bleu"}


def _with_curve(study: AioKd, key: str, stages: list[Part]) -> list[Part]:
    """Stages that are selected by BLEU, so that there is a curve of it."""
    for i, stage in enumerate(stages):
        if stage.get("select_by", "bleu") != "bleu":
            raise UserError(
                f"{study.origin}: pretrained.{key}.{i}.select_by: {stage['select_by']}; curves are of `bleu`"
            )
    return [_BY_BLEU | stage for stage in stages]
