"""A recipe's `data`: its sources, and how their text is cleaned, tokenised and limited."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from polystill.schema import Strict
from polystill.sources.registry import Source


class Cleaning(Strict):
    """Limits of training pairs; what exceeds them is dropped. Lengths are in words; where a script writes no spaces
    between them, they are estimated from its letters."""

    enabled: bool = True
    """False keeps every pair that has text on both sides."""
    min_words: int = Field(1, ge=1)
    """Pairs with fewer words on a side are dropped."""
    max_words: int = Field(150, ge=1)
    """Pairs with more words on a side are dropped."""
    max_ratio: float = Field(4.0, gt=1)
    """The longer side may have so many times the words of the shorter one; applied from 8 words on."""
    max_word_characters: int = Field(100, ge=1)
    """Pairs with a longer word, such as an address, are dropped."""
    drop_duplicates: bool = True
    """Drop pairs that come again."""
    drop_identical: bool = True
    """Drop pairs whose two sides are the same."""
    drop_held_out: bool = False
    """Drop training pairs of which a side is in a validation or test set, whatever its capitals and signs."""
    min_script_share: float = Field(0.5, ge=0, le=1)
    """Least share of a side's words that are of its language's script; 0 turns the check off. Words of other scripts do
    not count where both sides have them."""
    max_unreadable: float = Field(0.001, ge=0, le=1)
    """Largest share of a corpus' lines that may be unreadable, rounded up: not UTF-8, with a NUL byte, or damaged rows.
    They are dropped; if there are more, the corpus is refused."""


class TokenizerSettings(Strict):
    vocabulary_size: int = Field(8_000, ge=20)
    """Rows of the joint vocabulary, `<pad>` included."""
    byte_fallback: bool = True
    """Spell a character without a piece in bytes, 256 of the rows; otherwise it is `<unk>`."""
    character_coverage: float | None = Field(None, gt=0.9, le=1)
    """Share of the text whose characters get a piece each: by default 0.9999, so that training sees rare characters in
    bytes, and 1 without `byte_fallback`."""
    normalization: Literal["nfc", "nfkc"] = "nfc"
    """Keep text as it is written, or fold both sides: `nfkc` writes `m²` as `m2`, `5½` as `51⁄2` and `，` as `,`."""
    sample_lines: int = Field(2_000_000, ge=1)
    """Lines (both sides together) that SentencePiece is trained on at most."""

    @property
    def coverage(self) -> float:
        """The `character_coverage` in use."""
        if self.character_coverage is not None:
            return self.character_coverage
        return 0.9999 if self.byte_fallback else 1.0


class IbmAlignment(Strict):
    """Alignments that polystill learns from the pairs themselves (`polystill.data.aligner`)."""

    kind: Literal["ibm"]


class PharaohAlignment(Strict):
    """Alignments of words, such as `0-0 1-2`, in one file for each source of `train`, line by line."""

    kind: Literal["pharaoh"]
    files: list[str] = Field(min_length=1)
    """One for each source of `train`, in order."""


ALIGNMENTS: dict[str, type[Strict]] = {"ibm": IbmAlignment, "pharaoh": PharaohAlignment}
"""The class of each `kind`."""
Alignment = Annotated[IbmAlignment | PharaohAlignment, Field(discriminator="kind")]
GOLD = "gold"
TargetsName = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
DrawWeights = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]
"""How often the pairs of each kind of targets are drawn in an epoch, or those of each domain: 2 takes each twice, 0.5
half of them."""


class Data(Strict):
    folder: str = "."
    """Relative paths of the sources below start here."""
    source_language: str = "en"
    """Language of the source side, such as `en` (ISO 639)."""
    target_language: str = "de"
    """Language of the target side, such as `de` (ISO 639)."""
    train: list[Source] = Field(min_length=1)
    """The training text, read one source after another."""
    first_pairs: int | None = Field(None, ge=1)
    """Read only so many pairs of `train`, the first ones: shows what a method does with little text."""
    validation: Source
    """The validation set, which chooses the best checkpoints."""
    test: dict[str, Source] = Field(default_factory=dict)
    """Test sets by name."""
    targets: dict[TargetsName, str] = Field(default_factory=dict)
    """Further targets for the sources of `train`: folders that `polystill generate` or `select` wrote. The corpus' own
    targets are called gold."""
    cleaning: Cleaning = Cleaning()
    """Which training pairs are dropped."""
    tokenizer: TokenizerSettings = TokenizerSettings()
    """The joint vocabulary of both languages."""
    max_tokens: int = Field(256, ge=8)
    """Training pairs with more tokens on either side (end mark included) are dropped and counted."""
    alignment: Alignment | None = None
    """Word alignments of the training pairs, which a head of every student's attention then learns."""

    @property
    def domains(self) -> list[str]:
        """The domains of `train`, in the order of their first source; none where the sources have none."""
        return list(dict.fromkeys(source.domain for source in self.train if source.domain is not None))

    @model_validator(mode="after")
    def _check_held_out_domains(self) -> Data:
        for name, source in {"validation": self.validation, **{f"test.{n}": s for n, s in self.test.items()}}.items():
            if source.domain is not None:
                raise ValueError(f"{name}.domain: of no use, only sources of train are drawn by domain; leave it out")
        return self

    @model_validator(mode="after")
    def _check_alignment_files(self) -> Data:
        if isinstance(self.alignment, PharaohAlignment) and len(self.alignment.files) != len(self.train):
            given, wanted = len(self.alignment.files), len(self.train)
            raise ValueError(f"alignment.files: {given} for {wanted} sources of train; give one for each, in order")
        return self

    @field_validator("test")
    @classmethod
    def _check_test(cls, sets: dict[str, Any]) -> dict[str, Any]:
        if "validation" in sets:
            raise ValueError("'validation' is the name of the validation set; choose another name")
        if wrong := [name for name in sets if not re.fullmatch(r"[A-Za-z0-9_.-]+", name)]:
            raise ValueError(f"{wrong[0]!r} is not a name for a test set; use letters, digits and _ . -")
        return sets

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, folders: dict[str, str]) -> dict[str, str]:
        if GOLD in folders:
            raise ValueError(f"{GOLD!r} is the name of the corpus' own targets; choose another name")
        return folders
