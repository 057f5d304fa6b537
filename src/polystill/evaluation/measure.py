"""Exported folders measured on this device, as a file that the run takes up (`polystill merge`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from polystill.decoding.contract import DecodingOptions
from polystill.decoding.ctranslate2 import own_search, read_info
from polystill.errors import UserError
from polystill.evaluation.exported import check_model, describe
from polystill.evaluation.speed_rounds import Subject, measure_in_turn
from polystill.runs.provenance import provenance
from polystill.sources import built_in

Row = dict[str, Any]
FORMAT = 1
EVALUATION = "evaluation"
"""In devices.yaml the machine of `polystill evaluate`, so no device's name; also in `config.devices`, which needs more
than the core install."""


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
    """Measure every folder with every beam size, as `measure_in_turn`. `text` says what the lines are.

    Raises:
        UserError: a folder has no CTranslate2 model that loads, or a beam size is out of range.
    """
    described = {folder: describe(folder) for folder in folders}
    penalties = {folder: own_search(folder).length_penalty for folder in folders}
    subjects = [
        Subject(folder, lines, DecodingOptions(beam, length_penalty=penalties[folder]), threads=threads)
        for folder in folders
        for beam in beams
    ]
    found = measure_in_turn(subjects, rounds=rounds, log=log, speed=True)
    rows = [
        {
            "folder": str(subject.folder),
            **described[subject.folder],
            "engine": "ctranslate2",
            "beam": subject.options.beam_size,
            **measured,
        }
        for subject, measured in zip(subjects, found, strict=True)
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


def check_device_name(where: str, name: str) -> None:
    """`where` goes into the error.

    Raises:
        UserError: the name means something else in a devices file.
    """
    if name == EVALUATION:
        raise UserError(
            f"{where}: no name for a device: in a devices file `measured_on: {EVALUATION}` is the machine of polystill "
            "evaluate; give another"
        )


def built_in_lines(folders: Sequence[Path], count: int) -> list[str]:
    """Sentences of the built-in corpus in the language that all the models translate from.

    Raises:
        UserError: a folder has no model, they do not say which language it is, it is not one for all of them, or the
            corpus does not have it or so many.
    """
    for folder in folders:
        check_model(folder)
    languages = {folder: read_info(folder).get("source_language") for folder in folders}
    for folder, language in languages.items():
        if language not in built_in.LANGUAGES:
            known = " and ".join(built_in.LANGUAGES)
            what = f"translates from {language}" if language else "does not say what it translates from"
            raise UserError(f"{folder}: {what}, and the built-in sentences are {known}; give your own with --text FILE")
    if len(set(languages.values())) > 1:
        raise UserError("the folders translate from different languages; measure those of one language at a time")
    most = built_in.SIZES["test"]
    if count > most:
        raise UserError(
            f"--sentences {count}: there are {most:,} built-in ones; for more give your own with --text FILE"
        )
    return list(islice(built_in.sentences("test", str(next(iter(languages.values())))), count))
