"""Drafts a recipe: surveys the text, chooses networks and updates, and times some updates on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import yaml

from polystill.bench.rounds import synchronize
from polystill.bench.train import Trial, Variant, load_workload
from polystill.config import Recipe, parse_recipe
from polystill.data.held_out import HeldOutText
from polystill.data.packing import PackedDataset
from polystill.data.prepare import prepare_data
from polystill.drafting.choice import FEWEST_EPOCHS, STAGES, Choice, choose, smaller_shape, with_vocabulary_that_fits
from polystill.drafting.recipe import Draft, recipe_text
from polystill.drafting.text import Survey, draw, languages_of, size_of_sets, sources_of, survey
from polystill.errors import UserError
from polystill.sources.base import SentencePair
from polystill.storage import atomic_folder, need_new_folder
from polystill.training.accelerator import best_precision
from polystill.training.validation import validate

Log = Callable[[str], None]

RECIPE = "recipe.yaml"
FEW = 10_000
"""Pairs; from fewer no network learns a language."""
_TIMED_PAIRS = 200_000
"""Pairs that are prepared to time updates."""
_WARM_UP, _FEWEST_UPDATES, _MOST_UPDATES = 2, 4, 32
"""Updates before the clock runs, and timed ones; batches differ in length, so that several are needed."""
_ENOUGH_SECONDS = 4.0
_SHARE_OF_VALIDATION = 8
"""An eighth of the validation set is timed."""
_SHOWN_TIME = ((3600, "h"), (60, "min"), (1, "s"))


class Request(NamedTuple):
    """What the user gives: files, and where wanted languages, held-out files and a limit of time."""

    files: Sequence[Path]
    source_language: str | None = None
    target_language: str | None = None
    validation: Sequence[Path] = ()
    test: Sequence[Path] = ()
    hours: float | None = None


def draft_recipe(request: Request, out: Path, log: Log) -> Path:
    """Write a new folder with a recipe, and with the validation and test sets that were drawn; returns the recipe.

    `log` takes lines on what was seen and chosen.

    Raises:
        UserError: the folder exists, a file is missing or of no known kind, the languages are unknown or the same, or
            the text cannot be used.
    """
    need_new_folder(out)
    train = sources_of(request.files)
    languages = languages_of(request.files, request.source_language, request.target_language)
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "_.-" else "-" for c in out.resolve().name) or "mine"
    with atomic_folder(out) as folder, TemporaryDirectory(prefix="polystill-") as scratch:
        given = {key: _given(key, files) for key, files in (("validation", request.validation), ("test", request.test))}
        draft = Draft(name, out.resolve(), languages, train, {}, {}, choose(0, 0, 0), {})
        seen = survey(_recipe_to_read(draft, given), Path(scratch) / "text.arrow", log)
        log(_text_line(seen, languages))
        draft, held_out = _with_held_out(draft, seen, given, folder, log)
        draft = _with_choice(draft, seen, held_out)
        draft = _with_times(draft, folder, Path(scratch), request.hours, seen, log)
        (folder / RECIPE).write_text(recipe_text(draft), encoding="utf-8")
    return out / RECIPE


def _given(key: str, files: Sequence[Path]) -> dict[str, Any] | None:
    """A held-out set of the user's own, as an entry of a recipe."""
    sources = sources_of(files) if files else []
    if len(sources) > 1:
        raise UserError(f"--{key} {files[1]}: one set only; join the files, or leave {files[1].name} out")
    return sources[0] if sources else None


def _recipe_to_read(draft: Draft, given: dict[str, dict[str, Any] | None]) -> Recipe:
    """A recipe by which the text is read and cleaned, before any set is drawn."""
    data = {
        "source_language": draft.languages[0],
        "target_language": draft.languages[1],
        "train": draft.train,
        "validation": given["validation"] or draft.train[0],
        "test": {"test": given["test"]} if given["test"] else {},
    }
    return parse_recipe({"data": data, "stages": [{"name": "none", "updates": 1}]}, "the text")


# --- what is held out -------------------------------------------------------------------------------------------------


def _with_held_out(
    draft: Draft, seen: Survey, given: dict[str, dict[str, Any] | None], folder: Path, log: Log
) -> tuple[Draft, HeldOutText]:
    """The draft with validation and test sets, and their text; what the user has not given is drawn into `folder`."""
    held_out, sets, notes = HeldOutText(), {}, []
    for name, source in given.items():
        if source is not None:
            pairs = _pairs_of(_recipe_to_read(draft, {"validation": source, "test": None}))
            for pair in pairs:
                held_out.add(pair)
            sets[name] = source
            notes.append(f"{len(pairs):,} given pairs for {name}")
    for name in given:
        if name not in sets:
            pairs = draw(seen.text, size_of_sets(seen.pairs), name, held_out)
            sets[name] = _write_set(folder, name, pairs, draft.languages)
            notes.append(f"{len(pairs):,} pairs for {name}, drawn at random")
    note = "; ".join(notes)
    log(f"held out  {note}")
    reasons = {**draft.reasons, "text": _text_line(seen, draft.languages).removeprefix("text").strip()}
    reasons["held_out"] = f"{note[:1].upper()}{note[1:]}"
    return replace(draft, validation=sets["validation"], test=sets["test"], reasons=reasons), held_out


def _pairs_of(recipe: Recipe) -> list[SentencePair]:
    data = recipe.data
    read = data.validation.read_pairs(Path(data.folder), (data.source_language, data.target_language))
    return [(one, other) for one, other in read if isinstance(one, str) and isinstance(other, str)]


def _write_set(folder: Path, name: str, pairs: list[SentencePair], languages: tuple[str, str]) -> dict[str, Any]:
    entry = {"kind": "text"}
    for i, (side, language) in enumerate(zip(("source", "target"), languages, strict=True)):
        entry[side] = f"{name}.{language}"
        lines = "".join(f"{pair[i]}\n" for pair in pairs)
        (folder / entry[side]).write_text(lines, encoding="utf-8", newline="\n")
    return entry


# --- sizes and updates ----------------------------------------------------------------------------------------------


def _with_choice(draft: Draft, seen: Survey, held_out: HeldOutText) -> Draft:
    choice = choose(seen.target_words, seen.characters, seen.alphabet)
    lines = (line for pair in seen.text.pairs() if pair not in held_out for line in pair)
    return replace(draft, choice=with_vocabulary_that_fits(choice, lines, seen.characters))


def _with_times(draft: Draft, folder: Path, scratch: Path, hours: float | None, seen: Survey, log: Log) -> Draft:
    """The draft with as many updates as suit the text and the user's hours, after timing some here."""
    data = scratch / "data"
    recipe = _recipe(draft, folder, first_pairs=_TIMED_PAIRS)
    record = prepare_data(recipe, data, log=lambda line: None)
    batches = record["batches"]["count"] * max(1.0, seen.report.total / record["pairs"]["read"])
    if record["dropped"]["held_out"]:
        log(f"          {record['dropped']['held_out']:,} training pairs are left out, as they repeat lines held out")
    choice = draft.choice.with_epochs(batches)
    while True:
        times = _measured_seconds(_recipe(replace(draft, choice=choice), folder), data)
        log(f"time      {_shown_shape(choice)}: {times.update:.3f} s an update, {times.validation:.1f} s a validation")
        limited = choice if hours is None else choice.within(hours * 3600, times.update, times.validation, batches)
        smaller = smaller_shape(choice)
        if limited.epochs >= min(FEWEST_EPOCHS, choice.epochs) or smaller is None:
            break
        choice = smaller
    return _explained(replace(draft, choice=limited), times, hours, seen, log)


def _explained(draft: Draft, times: _Seconds, hours: float | None, seen: Survey, log: Log) -> Draft:
    choice = draft.choice
    duration = _shown(choice.seconds(times.update, times.validation))
    threads = f"{times.threads} thread{'s' if times.threads > 1 else ''}"
    limit = f", limited to {hours:g} h" if hours is not None else ""
    each = f"{choice.updates:,} updates, {_times(choice.epochs)} the text{limit}; {times.update:.3f} s each"
    reasons = {
        "vocabulary": f"for {seen.characters / 1e6:.1f} million characters of text",
        "shape": f"for {seen.target_words:,.0f} words of {draft.languages[1]}",
        "updates": f"{each} on {threads} here make {duration}, then comes the evaluation.",
    }
    log(f"model     {_shown_shape(choice)}, vocabulary {choice.vocabulary:,}")
    log(f"training  {choice.updates:,} updates of {choice.batch_tokens:,} tokens, {_times(choice.epochs)} the text")
    log(f"          about {duration} on {threads} here{limit}; the evaluation comes after it")
    if choice.epochs < FEWEST_EPOCHS:
        log(f"warning: {_times(choice.epochs)} the text is too little to learn it; give more --hours")
    if seen.pairs < FEW:
        log(_few(seen))
    return replace(draft, reasons={**draft.reasons, **reasons})


def _few(seen: Survey) -> str:
    return (
        f"warning: {seen.pairs:,} pairs are too few to learn a language from. The students will repeat phrases that "
        f"they have seen and fail at others; a test set of {size_of_sets(seen.pairs):,} pairs tells only large "
        f"differences from luck. Add text, {FEW:,} pairs at least, or start from a trained model (docs/opus-mt.md)"
    )


def _recipe(draft: Draft, folder: Path, first_pairs: int | None = None) -> Recipe:
    """The recipe as it will be read, with sets that still lie in `folder`; its comments may be missing."""
    reasons = dict.fromkeys(("text", "held_out", "vocabulary", "shape", "updates"), "-") | draft.reasons
    values = yaml.safe_load(recipe_text(replace(draft, reasons=reasons)))
    values["data"] |= {"folder": str(folder), "first_pairs": first_pairs, "alignment": None}  # that is not timed
    return parse_recipe(values, RECIPE)


# --- times ----------------------------------------------------------------------------------------------------------


class _Seconds(NamedTuple):
    """Of an update, on average over all stages, and of a validation, and the threads that they were measured with."""

    update: float
    validation: float
    threads: int


def _measured_seconds(recipe: Recipe, data: Path) -> _Seconds:
    """Time some updates of each stage on its packed data, and a part of a validation of all members."""
    objective, variant = recipe.objective, Variant("family", recipe.training.mode, best_precision())
    workload = load_workload(recipe, data, objective.students_per_step, _WARM_UP + _MOST_UPDATES)
    seconds: dict[str, float] = {}
    for networks in dict.fromkeys(stage.networks for stage in recipe.stages):
        trial = Trial(variant, workload, networks=networks)
        seconds[networks] = _seconds_of_updates(trial, workload.device)
    start = time.perf_counter()
    validation_set, space = PackedDataset.open(data / "validation"), recipe.student_space(workload.sizes.teacher)
    validate(trial.model, validation_set, space, objective.label_smoothing, ranks=_SHARE_OF_VALIDATION)
    validation = (time.perf_counter() - start) * _SHARE_OF_VALIDATION
    update = sum(STAGES[stage.name] * seconds[stage.networks] for stage in recipe.stages)
    return _Seconds(update, validation, torch.get_num_threads())


def _seconds_of_updates(trial: Trial, device: torch.device) -> float:
    """Seconds of an update, on average."""
    for number in range(_WARM_UP):
        trial.update(number)
    synchronize(device)
    start, done, taken = time.perf_counter(), 0, 0.0
    while done < _FEWEST_UPDATES or (done < _MOST_UPDATES and taken < _ENOUGH_SECONDS):
        trial.update(_WARM_UP + done)
        synchronize(device)
        done, taken = done + 1, time.perf_counter() - start
    return taken / done


# --- words ------------------------------------------------------------------------------------------------------------


def _text_line(seen: Survey, languages: tuple[str, str]) -> str:
    means = " and ".join(f"{mean:.1f} words of {name}" for mean, name in zip(seen.words, languages, strict=True))
    return (
        f"text      {seen.report.total:,} pairs, of which {seen.pairs:,} can be used "
        f"(dropped: {seen.report.summary()}); on average {means}"
    )


def _shown_shape(choice: Choice) -> str:
    model = choice.shape.model
    return str(
        model.get("preset") or f"{model['encoder_layers']}+{model['decoder_layers']} layers of {model['d_model']}"
    )


def _times(epochs: float) -> str:
    """Such as "1.4 times" and "30 times"."""
    return f"{epochs:.2f} times" if epochs < 1 else f"{epochs:.1f} times" if epochs < 10 else f"{epochs:,.0f} times"


def _shown(seconds: float) -> str:
    """Such as "2 h 10 min"."""
    whole = round(seconds / 60) * 60 if seconds >= 600 else max(1, round(seconds))
    parts = []
    for unit, name in _SHOWN_TIME:
        if whole >= unit:
            parts.append(f"{whole // unit} {name}")
            whole %= unit
    return " ".join(parts[:2])
