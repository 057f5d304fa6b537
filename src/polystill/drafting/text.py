"""The user's text: the files as sources of a recipe, their languages, what the text is like, and sets drawn from it."""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.config import Recipe
from polystill.data.cleaning import CleaningReport
from polystill.data.held_out import HeldOutText
from polystill.data.training_text import TrainingText, clean_training
from polystill.documents import PO_SUFFIXES, XLIFF_SUFFIXES
from polystill.errors import UserError
from polystill.languages import count_words, is_known, plain_code
from polystill.sources.base import SentencePair

KINDS = {".tsv": "tsv", ".tmx": "tmx", **dict.fromkeys(PO_SUFFIXES, "po"), **dict.fromkeys(XLIFF_SUFFIXES, "xliff")}
_COMPRESSED = (".gz", ".zst")
_NOT_TEXT = (".csv", ".json", ".jsonl", ".parquet", ".mo", ".xml", ".zip", ".docx", ".xlsx")
_EXPECTED = "expected two text files, or files of these kinds: " + " ".join(KINDS)
_CODE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
FEWEST = 50
"""Usable pairs; from fewer nothing can be held out."""
LARGEST_SET = 1_500
"""Pairs of a drawn set. Sets of this size tell differences of about one BLEU from luck."""


def sources_of(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Entries of a recipe's `data.train`, with absolute paths.

    Raises:
        UserError: a file is missing, or the files are neither of these kinds nor two text files.
    """
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; {_EXPECTED}")
        if path.suffix in _COMPRESSED and KINDS.get(_suffix(path)) in ("po", "xliff"):
            raise UserError(f"{path}: PO and XLIFF files are not read compressed; unpack it")
    kinds = [KINDS.get(_suffix(path)) for path in files]
    if all(kinds):
        return [{"kind": kind, "path": str(path.resolve())} for kind, path in zip(kinds, files, strict=True)]
    odd = next(path for path, kind in zip(files, kinds, strict=True) if kind is None)
    if any(kinds) or len(files) < 2 or _suffix(odd) in _NOT_TEXT:
        raise UserError(f"{odd}: {_EXPECTED}")
    if len(files) > 2:
        names = ", ".join(map(str, files))
        raise UserError(f"{names}: expected two text files; a comma joins the two of a set: --test new.en,new.de")
    if files[0].samefile(files[1]):
        raise UserError(f"{odd}: given twice; the second file holds the translations of the first one's lines")
    return [{"kind": "text", "source": str(files[0].resolve()), "target": str(files[1].resolve())}]


def languages_of(files: Sequence[Path], source: str | None, target: str | None) -> tuple[str, str]:
    """The languages: as given, or as a document or the names of two text files (train.en.gz) state them.

    Raises:
        UserError: one is unknown, or both are the same.
    """
    stated = _stated(files)
    languages = source or stated[0], target or stated[1]
    for option, language in zip(("--from", "--to"), languages, strict=True):
        if language is None:
            raise UserError(f"{files[0]}: does not state its languages; give {option}, such as {option} pt")
        if not _CODE.fullmatch(language):
            raise UserError(f"{option} {language}: not a language code; expected one such as pt or zh-Hant")
    first, second = (str(language).replace("_", "-") for language in languages)
    if first.lower() == second.lower():
        raise UserError(f"{first} to {second}: both sides are of the same language; give --from and --to")
    return first, second


def _stated(files: Sequence[Path]) -> tuple[str | None, str | None]:
    kind = KINDS.get(_suffix(files[0]))
    if kind == "po":
        from polystill.documents.po import language_of, read_po

        stated = language_of(read_po(files[0]))
        return None, None if stated is None else plain_code(stated)
    if kind == "xliff":
        from polystill.documents.xliff import stated_languages

        source, target = (None if code is None else plain_code(code) for code in stated_languages(files[0]))
        return source, target
    if kind is not None or len(files) != 2:
        return None, None
    codes = [suffix.removeprefix(".") for suffix in map(_suffix, files)]
    first, second = (code if _CODE.fullmatch(code) and is_known(code) else None for code in codes)
    return (None, None) if first == second else (first, second)


def _suffix(path: Path) -> str:
    """The last suffix before that of a compression, in lower case unless it is a language's."""
    name = path.with_suffix("") if path.suffix in _COMPRESSED else path
    return name.suffix.lower() if name.suffix.lower() in (*KINDS, *_NOT_TEXT) else name.suffix


# --- what it is like ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """The usable text: cleaned, without duplicates."""

    report: CleaningReport
    text: TrainingText
    words: tuple[float, float]
    """Of a source and a target, on average."""
    characters: int
    """Of both sides together."""
    alphabet: int
    """Different characters."""

    @property
    def pairs(self) -> int:
        return len(self.text)

    @property
    def target_words(self) -> float:
        return self.words[1] * self.pairs


def survey(recipe: Recipe, scratch: Path, log: Callable[[str], None]) -> Survey:
    """Read and clean the training text of a recipe.

    Raises:
        UserError: whatever is wrong with a corpus, or too little of it can be used.
    """
    report = CleaningReport()
    try:
        text = clean_training(recipe, scratch, report, log)
    except UserError:
        _check_scripts(recipe, report)
        raise
    _check_scripts(recipe, report)
    if len(text) < FEWEST:
        problem = f"{len(text)} of {report.total:,} pairs can be used; at least {FEWEST} are needed to hold some out"
        raise UserError(f"{problem} (dropped: {report.summary()})")
    words, characters, alphabet = [0, 0], 0, set[str]()
    for pair in text.pairs():
        for i, side in enumerate(pair):
            words[i] += count_words(side)
            characters += len(side)
            alphabet.update(side)
    return Survey(report, text, (words[0] / len(text), words[1] / len(text)), characters, len(alphabet))


def _check_scripts(recipe: Recipe, report: CleaningReport) -> None:
    wrong, data = report.dropped["wrong_script"], recipe.data
    if wrong > report.total / 2:
        raise UserError(
            f"{wrong:,} of {report.total:,} pairs are not in the scripts of {data.source_language} and "
            f"{data.target_language}; are --from and --to right, or the files the other way round?"
        )


def size_of_sets(pairs: int) -> int:
    """Pairs of each drawn set: a twentieth of the text."""
    return max(5, min(LARGEST_SET, pairs // 20))


def draw(text: TrainingText, size: int, seed: str, held_out: HeldOutText) -> list[SentencePair]:
    """Draw pairs at random, none of which has a side in `held_out`, and add them to it.

    The list is shorter than `size` if the text repeats itself so much.
    """
    rows = array("q", text.rows.tobytes())
    random.Random(seed).shuffle(rows)
    drawn: list[SentencePair] = []
    for row in rows:
        _, _, pair = text.store.row(row)
        if pair not in held_out:
            held_out.add(pair)
            drawn.append(pair)
        if len(drawn) == size:
            break
    return drawn
