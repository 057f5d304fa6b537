"""The built-in corpus as a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from polystill.errors import UserError
from polystill.sources.base import PairSource, RawPair
from polystill.sources.built_in import LANGUAGES, MORE, SIZES, sentences


class SyntheticSource(PairSource):
    """The built-in English-German corpus. Different splits never share a sentence."""

    kind: Literal["synthetic"]
    split: Literal["train", "validation", "test"] = "train"
    """The part that is read."""
    pairs: Annotated[int, Field(ge=1)] | None = None
    """The first so many of the split; all of them by default."""

    @field_validator("pairs")
    @classmethod
    def _check_size(cls, pairs: int | None, info: ValidationInfo) -> int | None:
        split = info.data.get("split")  # missing where it is wrong itself
        if pairs is not None and split is not None and pairs > SIZES[split]:
            raise ValueError(f"the built-in corpus has {SIZES[split]:,} pairs for {split}; {MORE}")
        return pairs

    def describe(self, folder: Path) -> str:
        return f"synthetic {self.split}"

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        if languages != LANGUAGES:
            wanted = " to ".join(languages)
            raise UserError(f"the synthetic corpus is English to German (en, de), the recipe wants {wanted}")
        sides = (sentences(self.split, language) for language in LANGUAGES)
        yield from islice(zip(*sides, strict=True), self.pairs)
