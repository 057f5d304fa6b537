"""Which of a run's students are run, and how: what was asked for, and else what the recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polystill.decoding.contract import need_precision
from polystill.errors import UserError, nearest
from polystill.runs import Run
from polystill.runs.rows import Row, artefact_name
from polystill.students import Student

ENGINES = ("ctranslate2", "torch")


@dataclass(frozen=True)
class How:
    """An engine in a precision, with the run's shortlist or without."""

    engine: str
    precision: str
    shortlist: bool

    def identity(self) -> Row:
        """Its part of a row."""
        listed = {"shortlist": True} if self.shortlist else {}
        return {"engine": self.engine, "precision": self.precision, **listed}

    def file_name(self, beam: int, length_penalty: float) -> str:
        """Of what one search writes, behind the model's."""
        artefact = artefact_name(self.engine, self.precision, self.shortlist)
        return f"{artefact}.beam{beam}.penalty{length_penalty:g}"


def chosen(
    run: Run,
    students: Sequence[str] | None = None,
    *,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
) -> tuple[list[Student], How]:
    """Checked before anything is loaded; without `students` the recipe's, or all candidates. "default" is float32.

    Raises:
        UserError: unknown student, engine or precision; no family, or one that the engine does not have; a shortlist
            for an engine without.
    """
    from polystill.models.folder import family_space, need_transformer

    settings = run.recipe.evaluation
    space = family_space(run.family)
    names = students if students is not None else settings.students
    members = [space.get(name) for name in names] if names is not None else list(space.candidates)
    engine = engine or settings.engine
    if engine not in ENGINES:
        raise UserError(f"engine {engine!r}: unknown{nearest(engine, list(ENGINES))}; there are: {' '.join(ENGINES)}")
    precision = precision or settings.precision
    precision = "float32" if precision == "default" else precision
    need_precision(engine, precision)
    if shortlist and engine != "ctranslate2":
        raise UserError(f"--shortlist: the engine {engine} has none; use --engine ctranslate2")
    if engine == "ctranslate2":
        need_transformer(run.family, "CTranslate2")
    return members, How(engine, precision, shortlist)


def model_id(run: Run, student: Student) -> str:
    """Such as "aio_kd-gold-e4d2"."""
    return f"{run.recipe.method}-{run.recipe.targets_label}-{student}"
