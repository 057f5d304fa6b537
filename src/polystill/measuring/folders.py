"""Exported folders measured on this device, as a file that the run takes up (`polystill merge`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polystill.decoding.contract import DecodingOptions
from polystill.decoding.ctranslate2 import own_search, read_info
from polystill.errors import UserError
from polystill.measuring.artefact import check_model, describe
from polystill.measuring.figures import figures
from polystill.provenance import provenance

Row = dict[str, Any]
FORMAT = 1
BUILT_IN_LANGUAGES = {"en": 0, "de": 1}
"""Languages of the built-in corpus, and which side of a pair is theirs."""
_MEDIANS = ("words_per_second", "latency_p50_ms", "latency_p95_ms")


def measure_folders(
    folders: Sequence[Path],
    lines: Sequence[str],
    *,
    text: str,
    device: str,
    beams: Sequence[int],
    threads: int,
    rounds: int,
    log: Callable[[str], object],
) -> Row:
    """Measure every folder with every beam size, each time in a fresh process, all of them in turn in each round.

    Figures are medians over the rounds, peak memory the largest. `text` says what the lines are.

    Raises:
        UserError: a folder has no CTranslate2 model that loads, or a beam size is out of range.
    """
    described = {folder: describe(folder) for folder in folders}
    penalties = {folder: own_search(folder).length_penalty for folder in folders}
    subjects = [
        (folder, DecodingOptions(beam, length_penalty=penalties[folder])) for folder in folders for beam in beams
    ]
    found: dict[tuple[Path, int], list[Row]] = {}
    for number in range(rounds):
        for folder, options in subjects:
            one = figures(folder, lines, options=options, threads=threads, speed=True)
            found.setdefault((folder, options.beam_size), []).append(one)
        log(f"round {number + 1} of {rounds}")
    rows = [
        {"folder": str(folder), **described[folder], "engine": "ctranslate2", "beam": beam, **_summary(each)}
        for (folder, beam), each in found.items()
    ]
    sentences = {"text": text, "sentences": len(lines), "words": sum(len(line.split()) for line in lines)}
    how = {**sentences, "threads": threads, "rounds": rounds}
    return {
        "format": FORMAT,
        "device": device,
        "rows": [{**row, "threads": threads} for row in rows],
        "settings": how,
        "provenance": provenance(),
    }


def _summary(rounds: Sequence[Row]) -> Row:
    medians = {name: statistics.median(row[name] for row in rounds) for name in _MEDIANS}
    return {**rounds[0], **medians, "peak_memory_bytes": max(row["peak_memory_bytes"] for row in rounds)}


def built_in_lines(folders: Sequence[Path], count: int) -> list[str]:
    """Sentences of the built-in corpus in the language that all the models translate from.

    Raises:
        UserError: a folder has no model, they do not say which language it is, it is not one for all of them, or the
            corpus does not have it.
    """
    from polystill.data.synthetic import generate

    for folder in folders:
        check_model(folder)
    languages = {folder: read_info(folder).get("source_language") for folder in folders}
    for folder, language in languages.items():
        if language not in BUILT_IN_LANGUAGES:
            known = " and ".join(BUILT_IN_LANGUAGES)
            what = f"translates from {language}" if language else "does not say what it translates from"
            raise UserError(f"{folder}: {what}, and the built-in sentences are {known}; give your own with --text FILE")
    if len(set(languages.values())) > 1:
        raise UserError("the folders translate from different languages; measure those of one language at a time")
    side = BUILT_IN_LANGUAGES[str(next(iter(languages.values())))]
    return [pair[side] for pair in generate(count, seed=1, split="test")]
