"""The base of all sections of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A section: unknown keys are mistakes, a number is text where text is wanted, and every number is finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


Seed = Annotated[int, Field(ge=0, lt=2**32)]


def changed(section: BaseModel) -> list[str]:
    """The keys whose values are not their defaults."""
    return [name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default]
