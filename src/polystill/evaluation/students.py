"""The students of a run that are evaluated, with which engine, and how they are named in results and files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from polystill.decoding import ENGINES, find_engine
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.results import Variant
from polystill.students import Student, StudentSpace

_log = logging.getLogger(__name__)

MOST = 30
"""Students that are evaluated by default. A family of one supernet, as published, has fewer."""


def choose_students(
    run: Run,
    students: Sequence[str] | None = None,
    *,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
) -> dict[Student, Variant]:
    """The students to run and how, checked before anything is loaded.

    Defaults are the recipe's; without `students` there either, all candidates, or of a large family a `spread`. Without
    an engine there either, each student runs in the first one that has its architecture. Precision "default" is
    float32.

    Raises:
        UserError: an unknown student, engine or precision; no family, or one that the engine does not support; or a
            shortlist for an engine without.
    """
    from polystill.runs.family import family_space, read_family

    settings = run.recipe.evaluation
    space = family_space(run.family)
    names = students if students is not None else settings.students
    if names is not None:
        members = [space.get(name) for name in names]
    else:
        family = read_family(run.family)
        members = spread(space, family["parameters"], family.get("validation", {}).get("cross_entropy", {}))
        if len(members) < len(space.candidates):
            _log.info(
                "takes %d of %d students, the extremes and those nearest to the front of size and validation loss; "
                "--student NAME takes others: %s",
                *(len(members), len(space.candidates), " ".join(map(str, members))),
            )
    variants = {}
    for member in members:
        if member.supernet not in variants:
            variants[member.supernet] = _variant(run, member, engine, precision or settings.precision, shortlist)
    return {member: variants[member.supernet] for member in members}


def _variant(run: Run, member: Student, engine: str | None, precision: str, shortlist: bool) -> Variant:
    """How a student runs, and all others of its supernet."""
    from polystill.runs.family import supernet_folder

    architecture = run.recipe.architecture_of(member.supernet)
    chosen = find_engine(engine or run.recipe.evaluation.engine_for(architecture))
    precision = "float32" if precision == "default" else precision
    try:
        chosen.check_precision(precision)
        if shortlist and not chosen.shortlist:
            others = " or ".join(other.name for other in ENGINES.values() if other.shortlist)
            raise UserError(f"--shortlist: the engine {chosen.name} has no shortlists; use --engine {others}")
    except UserError as error:
        if engine is None and len(run.recipe.architectures) > 1:  # the engines of other students may have it
            raise UserError(f"{error}; {member} runs in this engine, so choose other students with --student") from None
        raise
    chosen.check_model(supernet_folder(run.family, member.supernet))
    return Variant(chosen.name, precision, shortlist)


def spread(
    space: StudentSpace, parameters: Mapping[str, int], loss: Mapping[str, float], most: int = MOST
) -> list[Student]:
    """At most `most` candidates, in their order; all of them where they are no more.

    Each supernet's smallest and largest candidates are among them. The others are those nearest to the front of size
    and validation loss: whose loss exceeds the lowest of all candidates of at most their size by the smallest share.
    """
    candidates = list(space.candidates)
    if len(candidates) <= most:
        return candidates
    chosen = {student for members in space.supernets for student in (members.candidates[0], members.largest)}

    def excess(student: Student) -> float:
        at_most = parameters[student.name]
        return loss[student.name] / min(loss[c.name] for c in candidates if parameters[c.name] <= at_most) - 1

    nearest_first = sorted((c for c in candidates if c not in chosen), key=lambda c: (excess(c), parameters[c.name]))
    chosen.update(nearest_first[: max(0, most - len(chosen))])
    return [student for student in candidates if student in chosen]


# --- names ----------------------------------------------------------------------------------------------------------


def model_id(run: Run, student: Student) -> str:
    """Such as "aio_kd-gold-e4d2"."""
    return f"{run.recipe.method}-{run.recipe.targets_label}-{student}"


def file_name(run: Run, student: Student, variant: Variant, options: DecodingOptions) -> str:
    """The name, without suffix, of a file with one student's translations by one search."""
    search = f"beam{options.beam_size}.penalty{options.length_penalty:g}"
    return f"{model_id(run, student)}.{variant.file_name}.{search}"
