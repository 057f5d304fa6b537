"""The rows that test the claims of AIO-KD (Miao et al. 2023).

family            as the recipe has it; all other families differ from it in one thing and have as many updates
alone-e2d2        one network for likelihood; word-kd-e2d2, selective-kd-e2d2: the same, taught by alone-TEACHER
no-detaching …    the strategies, one left out or changed
students-3        other numbers of students a step;  space-NAME: other spaces of students;  `changes`: other settings
common            the first stages of `branches`, each of which goes on from its weights
pretrained        a family from a trained teacher's Marian folder;  from-scratch: one from nothing, to compare curves
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from experiments.study import (
    Name,
    Part,
    Positive,
    Row,
    Shows,
    Study,
    check_left_out,
    check_method,
    check_names,
    check_rows,
    layers_of,
    merged,
    started,
)
from polystill.config.model import TRANSFORMER_ONLY, Shape
from polystill.config.training import Training
from polystill.errors import UserError
from polystill.objectives.aio_kd import AioKd as FamilyObjective
from polystill.schema import Strict
from polystill.students import Student, StudentSpace, are_chosen


class Alone(Strict):
    """Students that are trained one by one: for likelihood, and by Word-KD from the teacher that was so trained."""

    students: list[str] = Field(min_length=1)
    """Of any supernet; the teacher's own shape is among them."""
    word_kd: Part = Field(default_factory=dict)
    """Keys of `objective`."""
    selective_kd: Part | None = None
    """Keys of `objective`, for rows that are taught by Selective-KD as well."""
    stages: list[Part] | None = Field(None, min_length=1)
    """By default the family's that train the student's supernet: the same updates, learning rates and schedules."""
    families: list[str] = Field(default_factory=list)
    """Some of `changes` that are compared with these students as the family is."""


class Branches(Strict):
    """Families that go on from one training, each with a fresh optimizer."""

    stages: list[Part] = Field(min_length=1)
    """Of row `common`, the family without what the branches add."""
    continued: dict[Name, Part] = Field(min_length=2)
    """By row: its further stages, and other keys in which it differs from the family. The others are compared with the
    first one. `named` and `shows` are as in `changes`."""


class Pretrained(Strict):
    """A family that starts from a trained teacher's Marian folder, beside one that starts from nothing."""

    stages: list[Part] = Field(min_length=1)
    from_scratch: list[Part] | None = Field(None, min_length=1)
    """By default the family's first stage, selected by greedy validation BLEU, so that there is a curve of it."""
    usable: float = Field(0.9, gt=0, le=1)
    """A student is usable when its greedy validation BLEU is this share of the teacher's best."""


class AioKd(Study):
    """The recipe of the study."""

    model: Part
    supernets: dict[Name, Part] = Field(default_factory=dict)
    """Further supernets of every family."""
    students: Part = Field(default_factory=dict)
    objective: Part = Field(default_factory=dict)
    stages: list[Part] = Field(min_length=1)
    """As published: first without mutual learning, then with it."""
    alone: Alone | None = None
    strategies: list[str] | None = None
    """Some of STRATEGIES; all by default."""
    students_per_step: list[Positive] = Field(default_factory=list)
    """Other numbers than the family's own."""
    spaces: dict[Name, Part] = Field(default_factory=dict)
    """Other spaces of students, as keys of `students`."""
    changes: dict[Name, Part] = Field(default_factory=dict)
    """Other families by their rows' names: the keys of a recipe in which each differs from the family, or from that
    other change that its key `of` names. Its keys `named` and `shows` are for its claim: what it is, after the words
    "the family", and what the comparison is to show (`Shows`)."""
    branches: Branches | None = None
    pretrained: Pretrained | None = None

    def tuned_with(self, row: Row) -> str:
        """All families share the tuning of `family`."""
        return row.kind if row.kind in ONE_BY_ONE else FAMILY


FAMILY, ALONE, WORD_KD, PRETRAINED, FROM_SCRATCH = "family", "alone", "word-kd", "pretrained", "from-scratch"
STRATEGY, STUDENTS, SPACE, CHANGE, EXPORT = "strategy", "students", "space", "change", "export"
SELECTIVE_KD, COMMON, BRANCH = "selective-kd", "common", "branch"
"""Kinds of rows. A row of kind family, common, pretrained or from-scratch has its kind as its label."""
ONE_BY_ONE = (ALONE, WORD_KD, SELECTIVE_KD)
"""Kinds of rows that train one network."""
OUT_OF_REACH = 1e9
"""A threshold that no ratio of cross-entropies reaches: nothing is ever detached. Under 0 everything is."""
STRATEGIES: dict[str, tuple[str, str, Any, bool]] = {
    "no-detaching": ("whose teacher gets gradients from every student", "detach_threshold", OUT_OF_REACH, True),
    "always-detached": ("whose teacher gets gradients from no student", "detach_threshold", 0.0, True),
    "mutual-from-start": ("with mutual learning from the first update", "mutual", "no_weight", True),
    "stage-1-only": ("without mutual learning", "mutual", "none", True),
    "mutual-full": ("with mutual learning in both directions", "mutual", "full", False),
    "mutual-detaching": ("with the detaching threshold in mutual learning as well", "mutual", "detaching", False),
}
"""What each is in words, and what it changes: a key of the objective, its value, and whether in all stages or only
where it is not "none"."""


def rows_of(study: AioKd) -> list[Row]:
    """All rows of a study.

    Raises:
        UserError: a row, a student or a part of a recipe is not known or does not work.
    """
    rows = _seedable(study)
    labels = {row.label: row for row in rows}
    if study.pretrained is not None:
        rows += _pretrained(study, study.pretrained, f"{ALONE}-{teacher_of(study)}" in labels)
    for seed, names in study.more_seeds.items():
        check_names(study, "more_seeds", names, list(labels))
        if any(labels[name].kind == BRANCH for name in names):
            names = list(dict.fromkeys([*names, COMMON]))
        rows += [_with_seed(study, labels[name], seed, names) for name in names]
    check_rows(study, rows)
    return rows


def _with_seed(study: AioKd, row: Row, seed: int, others: Sequence[str]) -> Row:
    """A row with a further seed; `others` are all rows that are trained with it."""
    recipe = {**(row.recipe or {}), "seed": seed}
    if row.kind == BRANCH:
        recipe = merged(recipe, {"model": {"start": _family_of(study, COMMON, seed)}})
    if row.kind in (WORD_KD, SELECTIVE_KD) and (teacher := f"{ALONE}-{teacher_of(study)}") in others:
        recipe = merged(recipe, {"objective": {"teacher": Path("runs") / study.named(teacher, seed)}})
    return study.run(row.label, row.kind, recipe, seed, claim=row.claim, shows=row.shows, against=row.against)


def seedable(study: AioKd) -> list[str]:
    """The rows that can be trained with a further seed.

    Raises:
        UserError: as `rows_of`.
    """
    return [row.label for row in _seedable(study)]


def _seedable(study: AioKd) -> list[Row]:
    """All rows but those from a trained teacher."""
    wanted = list(STRATEGIES) if study.strategies is None else study.strategies
    check_names(study, "strategies", wanted, list(STRATEGIES))
    family = study.run(FAMILY, FAMILY, _family(study))
    check_method(study, family, "", "aio_kd")  # and all of it: its mistakes are not to come up in its variants
    objective = family.parsed.objective
    assert isinstance(objective, FamilyObjective)
    if (own := objective.students_per_step) in study.students_per_step:
        raise study.mistake(f"students_per_step: {own} is what the family has itself")

    rows = [family]
    for name in wanted:
        named, *setting = STRATEGIES[name]
        rows.append(study.run(name, STRATEGY, _changed(study, *setting), **_claim("the family", f"the family {named}")))
    for count in study.students_per_step:
        recipe = _changed(study, "students_per_step", count)
        named = f"with {count} student{'s' * (count > 1)} a step"
        claim = _claim("the family", f"the family {named}")
        rows.append(study.run(f"students-{count}", STUDENTS, recipe, **claim))
    for name, space in study.spaces.items():
        row = study.run(f"space-{name}", SPACE, {**_family(study), "students": space}, shows="as good")
        number = len(space_of(row).candidates)
        text = f"In the space {name} of {number} students, the family's own students are as good as in the family"
        rows.append(replace(row, claim=text))
    alone = list(_alone(study, study.alone)) if study.alone else []
    taken = {row.label for row in (*rows, *alone)} | {COMMON, PRETRAINED, FROM_SCRATCH}
    rows += _changes(study, taken)
    rows += _branches(study, study.branches, taken | set(study.changes)) if study.branches else []
    return [*rows, *alone]


def _changes(study: AioKd, taken: set[str]) -> Iterator[Row]:
    for name, change in study.changes.items():
        _check_part(study, f"changes.{name}", change, taken)
        recipe, base = _change(study, name, ()), change.get("of", FAMILY)
        claim = _claim(called(study, base), called(study, name), change.get("shows", "worse"))
        row = study.run(name, CHANGE, recipe, **claim, against=(base,))
        check_method(study, row, f"changes.{name}.", "aio_kd")
        yield row


def called(study: AioKd, label: str) -> str:
    """The family of a row in words."""
    if label == FAMILY:
        return "the family"
    change = study.changes[label]
    base = change.get("of", FAMILY)
    return f"{called(study, base)}{' and' * (base != FAMILY)} {change.get('named', f'of row {label}')}"


def _claim(base: str, row: str, shows: Shows = "worse", before: str = "") -> dict[str, Any]:
    """What the comparison of a row with its base is to show, both in words, after the words `before`."""
    texts: dict[Shows, str] = {
        "worse": f"{base} is better than {row}",
        "better": f"{row} is better than {base}",
        "as good": f"{row} is as good as {base}",
        "no better": f"{base} is as good as {row}",
    }
    text = before + texts[shows]
    return {"claim": text[0].upper() + text[1:], "shows": shows}


_FOR_CLAIMS = {"named", "shows"}
"""Keys of a change that are none of a recipe."""


def _change(study: AioKd, name: str, changed: tuple[str, ...]) -> Part:
    """The recipe of a change, which those of `changed` are changes of."""
    if name == FAMILY:
        return _family(study)
    change = study.changes[name]
    check_names(study, f"changes.{name}.of", [base := change.get("of", FAMILY)], [FAMILY, *study.changes])
    if base in (*changed, name):
        raise study.mistake(f"changes.{name}.of: {base} is itself a change of {name}; one of them needs another base")
    own = {key: value for key, value in change.items() if key not in {"of", *_FOR_CLAIMS}}
    return merged(_change(study, base, (*changed, name)), own)


def _check_part(study: AioKd, key: str, part: Part, taken: set[str]) -> None:
    name = key.rpartition(".")[2]
    if name in taken or name.startswith(("students-", "space-")):
        raise study.mistake(f"{key}: there is a row of that name, or there may be one; use another name")
    if not part.keys() - {"of", *_FOR_CLAIMS}:
        raise study.mistake(f"{key}: changes nothing")
    if not isinstance(part.get("named", ""), str):
        raise study.mistake(f"{key}.named: say in words what it is, such as: without distillation")
    if part.get("shows", "worse") not in get_args(Shows):
        raise study.mistake(f"{key}.shows: {part['shows']!r}; it is one of: {', '.join(get_args(Shows))}")
    if "seed" in part:
        raise study.mistake(f"{key}.seed: a further seed has `more_seeds`, or --seed")


def _branches(study: AioKd, branches: Branches, taken: set[str]) -> Iterator[Row]:
    """The common training, and what goes on from it."""
    if study.supernets:
        raise study.mistake("branches: further supernets would begin anew in each; leave `supernets` out")
    yield study.run(COMMON, COMMON, {**_family(study), "stages": branches.stages})
    first = next(iter(branches.continued))
    for name, part in branches.continued.items():
        _check_part(study, f"branches.continued.{name}", part, taken)
        if "stages" not in part:
            raise study.mistake(f"branches.continued.{name}.stages: missing; they follow those of {COMMON}")
        own = {key: value for key, value in part.items() if key not in _FOR_CLAIMS}
        recipe = merged(started(_family(study), _family_of(study, COMMON, study.seed)), own)
        here, base = (f"going on {branches.continued[row].get('named', f'as row {row}')}" for row in (name, first))
        claim = {} if name == first else _claim(base, here, part.get("shows", "worse"), "after the same first stage, ")
        yield study.run(name, BRANCH, recipe, **claim, against=(first,))


# --- families ---------------------------------------------------------------------------------------------------------


def _family(study: AioKd) -> Part:
    own = {"model": study.model, "students": study.students, "stages": study.stages}
    supernets = {"supernets": study.supernets} if study.supernets else {}
    return merged(study.common(), {"objective": {"kind": "aio_kd"}}, {"objective": study.objective}, own, supernets)


def _family_of(study: AioKd, label: str, seed: int) -> Path:
    """The folder of a row's family."""
    return Path("runs") / study.named(label, seed) / "family"


def teacher_of(study: AioKd) -> Student:
    """The family's largest network."""
    return study.run(FAMILY, FAMILY, _family(study)).parsed.model.teacher


def space_of(row: Row) -> StudentSpace:
    """The students of a row's family."""
    return row.parsed.student_space(row.parsed.model.teacher)


def _changed(study: AioKd, key: str, value: Any, everywhere: bool = True) -> Part:
    """The family with a key of its objective changed: everywhere, or where it is given and not "none"."""

    def changed(part: Part, given: bool) -> Part:
        before = (part.get("objective") or {}).get(key)
        here = before is not None or given if everywhere else before not in (None, "none")
        return merged(part, {"objective": {key: value}}) if here else part

    stages = [changed(stage, given=False) for stage in study.stages]
    return {**changed(_family(study), given=True), "stages": stages}


# --- one by one -------------------------------------------------------------------------------------------------------


def _alone(study: AioKd, alone: Alone) -> Iterator[Row]:
    check_names(study, "alone.families", alone.families, list(study.changes))
    teacher = teacher_of(study)
    smoothing = _smoothing(study.objective)
    objectives = {ALONE: {"kind": "nll", **smoothing}}
    for kind, key, part in ((WORD_KD, "word_kd", alone.word_kd), (SELECTIVE_KD, "selective_kd", alone.selective_kd)):
        if part is not None:
            check_left_out(study, f"alone.{key}", part, "kind", "teacher")
            objectives[kind] = {**smoothing, **part, "kind": key, "teacher": Path("runs") / f"{ALONE}-{teacher}"}
    for name in _students_alone(study, alone, teacher):
        for kind, objective in objectives.items():
            yield study.run(f"{kind}-{name}", kind, {**_network(study, alone, name), "objective": objective})


def _network(study: AioKd, alone: Alone, student: str) -> Part:
    """One network by itself: of its supernet's shape, at the learning rates that the supernet has in the family.

    The modes `shared` and `exact` are alike for it, and left out.
    """
    name = Student.parse(student).supernet
    supernet, stages = study.supernets.get(name), alone.stages or _stages_alone(study, name)
    evaluation = {key: value for key, value in study.evaluation.items() if key != "students"}
    settings = {key: value for key, value in study.training.items() if (key, value) not in _ALIKE_FOR_ONE}
    common = {**study.common(), "training": settings, "evaluation": evaluation}
    if supernet is None:
        return {**common, "model": {**study.model, **layers_of(student)}, "stages": stages}
    factor = float(supernet.get("learning_rate_factor", 1.0))
    shape = {key: value for key, value in supernet.items() if key in Shape.model_fields}
    own = set(Shape.model_fields) | (TRANSFORMER_ONLY if shape.get("architecture") == "lstm" else set())
    shared = {key: value for key, value in study.model.items() if key not in own}
    training, *stages = (_times(factor, part) for part in ({**_RATE, **settings}, *stages))
    return {
        **common,
        "training": training,
        "model": {**shared, **shape, **layers_of(student)},
        "stages": stages,
    }


_ALIKE_FOR_ONE = (("mode", "shared"), ("mode", "exact"))
_RATE = {"learning_rate": Training.model_fields["learning_rate"].default}


def _times(factor: float, part: Part) -> Part:
    """The same settings with another learning rate, if they have one."""
    try:
        return {**part, "learning_rate": float(part["learning_rate"]) * factor}
    except (KeyError, TypeError, ValueError):  # none; or no number, as the check of the row says
        return part


def _students_alone(study: AioKd, alone: Alone, teacher: Student) -> list[str]:
    """Members of the family, its teacher among them."""
    space = space_of(study.run(FAMILY, FAMILY, _family(study)))
    try:
        names = [space.check(Student.parse(name)).name for name in alone.students]
    except UserError as error:
        raise study.mistake(f"alone.students: {error}") from None
    if str(teacher) not in names:
        raise study.mistake(f"alone.students: the teacher {teacher} is missing; Word-KD learns from it")
    return names


def _smoothing(objective: Part | None) -> Part:
    """The part of the family's objective that a network takes that learns alone."""
    return {key: value for key, value in (objective or {}).items() if key == "label_smoothing"}


def _stages_alone(study: AioKd, supernet: str = "") -> list[Part]:
    """The family's stages that train a supernet, for one network of it."""
    stages = []
    for stage in study.stages:
        if are_chosen(stage.get("supernets", "all"), supernet):
            objective = {"objective": _smoothing(stage["objective"])} if _smoothing(stage.get("objective")) else {}
            stages.append({key: x for key, x in stage.items() if key not in ("objective", "supernets")} | objective)
    return stages


# --- from a trained teacher -------------------------------------------------------------------------------------------


def _pretrained(study: AioKd, settings: Pretrained, has_teacher: bool) -> list[Row]:
    teacher, folder = f"{ALONE}-{teacher_of(study)}", Path(PRETRAINED)
    alone = {**study.common(), "model": study.model, "objective": {"kind": "nll"}, "stages": _stages_alone(study)}
    command = ("export", Path("runs") / teacher, "teacher", "--to", "hf", "--out", folder)
    stages = _with_curve(study, "stages", settings.stages)
    scratch = _with_curve(study, "from_scratch", settings.from_scratch or [study.stages[0] | _BY_BLEU])
    return [
        *([] if has_teacher else [study.run(teacher, ALONE, alone)]),
        Row("marian-folder", command, folder, EXPORT),
        study.run(PRETRAINED, PRETRAINED, started({**_family(study), "stages": stages}, folder)),
        study.run(FROM_SCRATCH, FROM_SCRATCH, {**_family(study), "stages": scratch}),
    ]


_BY_BLEU = {"select_by": "bleu"}


def _with_curve(study: AioKd, key: str, stages: list[Part]) -> list[Part]:
    """Stages that are selected by BLEU, so that there is a curve of it."""
    for i, stage in enumerate(stages):
        if stage.get("select_by", "bleu") != "bleu":
            raise study.mistake(f"pretrained.{key}.{i}.select_by: {stage['select_by']}; curves are of `bleu`")
        for part in ("networks", "supernets"):
            if stage.get(part, "all") != "all":
                raise study.mistake(f"pretrained.{key}.{i}.{part}: {stage[part]}; curves are of all students")
    return [_BY_BLEU | stage for stage in stages]
