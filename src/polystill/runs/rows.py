"""What identifies a row of figures: which model, and how it was run.

Rows of RUN/results.json (test sets, robustness, devices) are replaced, matched, grouped and named by these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polystill.config import Recipe

Row = dict[str, Any]
WITH_SHORTLIST = "+list"
"""Behind a student's name: with its run's shortlist."""


def has_shortlist(row: Row) -> bool:
    """Whether a student was run with a shortlist; rows without the key were not."""
    return bool(row.get("shortlist"))


def artefact_key(row: Row) -> tuple[Any, ...]:
    """What a student was run as: engine, precision, shortlist."""
    return (row.get("engine"), row.get("precision"), has_shortlist(row))


def system_key(row: Row) -> tuple[Any, ...]:
    """One student of a run as one engine searches with it: model, engine, precision, shortlist, beam."""
    return (row.get("model"), *artefact_key(row), row.get("beam"))


def row_key(row: Row) -> tuple[Any, ...]:
    """What identifies a row of RUN/results.json, and one of robustness."""
    return (
        row.get("model_id"),
        row.get("test_set"),
        *artefact_key(row),
        row.get("beam"),
        row.get("length_penalty"),
    )


def device_key(row: Row) -> tuple[Any, ...]:
    """What identifies figures that were measured on a device."""
    return (row["device"], *system_key(row))


def package_key(row: Row) -> tuple[Any, ...]:
    """What identifies the size of a student's package in one format."""
    return (row["model"], row["format"], row["precision"])


def measured_as_recipe(row: Row, recipe: Recipe, precision: str = "", shortlist: bool = False) -> bool:
    """Whether a row was measured with the recipe's engine, length penalty and (or the given) precision.

    Those with a shortlist are others; the beam size is any.
    """
    settings = recipe.evaluation
    wanted = (settings.engine, precision or settings.precision, shortlist)
    return artefact_key(row) == wanted and row.get("length_penalty") == settings.length_penalty


def student_name(row: Row) -> str:
    """A row's student as it is shown: "e2d2", or "e2d2 +list" with a shortlist; "" where nobody knows."""
    return f"{row.get('model', '')}{f' {WITH_SHORTLIST}' * has_shortlist(row)}"


def artefact_name(engine: str, precision: str, shortlist: bool) -> str:
    """As a part of a file's name: "ctranslate2-int8", "ctranslate2-int8-shortlist"."""
    return f"{engine}-{precision}{'-shortlist' * shortlist}"
