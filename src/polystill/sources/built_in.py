"""The built-in English-German corpus, as tools/corpus generated it. Needs no more than the core install.

A split is two compressed files with one sentence a line; no English sentence is in two splits.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")
LANGUAGES = ("en", "de")
SIZES = {"train": 40_000, "validation": 2_000, "test": 2_000}
"""Pairs of each split."""
MORE = "`python -m tools.corpus` in polystill's checkout makes more"


def file_name(split: str, language: str) -> str:
    return f"{split}.{language}.bz2"


def sentences(split: str, language: str) -> Iterator[str]:
    """One side of a split, in order."""
    with bz2.open(FOLDER / file_name(split, language), "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.removesuffix("\n")
