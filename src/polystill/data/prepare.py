"""The data stage: make the folder that training and evaluation read from a recipe's corpora.

The folder holds `tokenizer/`; packed data in `train/`, `targets/<name>/` and `validation/`, the first two with
alignments and domains if the recipe has them; `cleaning.json`; and the unchanged text of validation and test sets in
`validation.source.txt`, `validation.target.txt`, `test/<name>.source.txt` and `test/<name>.target.txt`, one sentence a
line, UTF-8, LF.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from polystill.config import GOLD, Data, Recipe
from polystill.data.alignment import align
from polystill.data.batching import BatchSchedule
from polystill.data.cleaning import CleaningReport
from polystill.data.columns import CleanedBlock
from polystill.data.domains import count_rows, domains_of, write_domains
from polystill.data.normalization import is_blank
from polystill.data.packing import BLOCK_PAIRS, Packed, PackedDataset, pack, pack_blocks
from polystill.data.repair import repaired
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.data.training_text import TrainingText, all_cleaned_away, clean_training, report_rows
from polystill.errors import UserError, mistakes_in
from polystill.sources.base import PairSource, SentencePair, Unreadable
from polystill.storage import checksums, scratch_folder, storage_errors, write_atomic, write_json

_OTHER_LINE_ENDS = re.compile("[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


class Targets(Protocol):
    """Generated targets, as `polystill.targets` reads them."""

    def check_source(self, sha256: str, sentences: int) -> None:
        """Raises UserError if they are not of the training text with this checksum and number of sentences."""
        ...

    @property
    def of_training_text(self) -> bool:
        """Whether these are translations of the training text."""
        ...

    def pairs(self) -> Iterator[tuple[int, SentencePair]]:
        """Training pairs of source and translation, each with the number of its sentence, in the training text if these
        are translations of it."""
        ...


def prepare_data(
    recipe: Recipe,
    folder: Path,
    *,
    tokenizer: Tokenizer | None = None,
    targets: Mapping[str, Targets] | None = None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Make the data folder and return its record: counts, what was dropped, padding, leakage, seconds, checksums.

    `folder` is empty or missing. A `tokenizer`, that of a pretrained start, is taken instead of training one. `targets`
    are those of `data.targets`, opened. `log` takes lines of progress. `leakage` counts for each held-out set the
    sentences whose source, and whose pair, is in the cleaned training data.

    Raises:
        UserError: whatever is wrong with a corpus; all pairs cleaned away; targets of another training text; a stage
            without a pair of its domains; an empty side in validation or test; a vocabulary that does not fit the
            corpus; no space or permission for the folder.
    """
    assert set(targets or {}) == set(recipe.data.targets)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder, "text-") as scratch:
            record = _prepare(recipe, folder, scratch, tokenizer, targets or {}, log)
        return {**record, "files": checksums(folder)}


def prepare_test_sets(recipe: Recipe, folder: Path) -> None:
    """Write the test sets that were added to the recipe since the data folder was made. Leakage is not counted.

    Raises:
        UserError: as `prepare_data`.
    """
    sets = {name: source for name, source in _held_out_sets(recipe).items() if name != "validation"}
    with storage_errors(folder):
        _write_held_out(recipe, folder, {n: s for n, s in sets.items() if not (folder / f"{n}.target.txt").is_file()})


def _prepare(
    recipe: Recipe,
    folder: Path,
    scratch: Path,
    tokenizer: Tokenizer | None,
    targets: Mapping[str, Targets],
    log: Callable[[str], None],
) -> dict[str, Any]:
    data, clock, report = recipe.data, _Clock(), CleaningReport()
    held_out = _write_held_out(recipe, folder, _held_out_sets(recipe))
    log(", ".join(f"{name}: {len(held.pairs):,} pairs" for name, held in held_out.items()))
    clock.lap("held_out")

    text = clean_training(recipe, scratch / "kept.arrow", report, log, _leakage_counter(held_out))
    source_sha256 = text.source_sha256()
    clock.lap("clean")
    log(
        f"cleaned: {report.kept:,} of {report.total:,} pairs kept; dropped: {report.summary()}; "
        f"repaired: {report.repairs()}"
    )
    for name, target in targets.items():
        with mistakes_in(f"data.targets.{name}"):
            target.check_source(source_sha256, len(text))

    tokenizer = tokenizer or _train_tokenizer(recipe, text, log)
    tokenizer = tokenizer.with_languages(recipe.data.source_language, recipe.data.target_language)
    tokenizer.save(folder / "tokenizer")
    clock.lap("tokenizer")

    packed = pack_blocks(text.blocks(BLOCK_PAIRS), tokenizer, folder / "train", data.max_tokens)
    report_rows(report, "too_many_tokens", text.rows[packed.too_long], text.store, recipe)
    validation = pack(held_out["validation"].pairs, tokenizer, folder / "validation", data.max_tokens, shorten=True)
    clock.lap("pack")
    write_json(folder / "cleaning.json", report.as_dict(), indent=1)
    if not report.kept:
        raise all_cleaned_away(report)
    corpora = text.corpora()
    domains = domains_of(data, corpora)
    generated = {
        name: _pack_targets(recipe, name, target, tokenizer, folder, domains, log) for name, target in targets.items()
    }
    clock.lap("targets")
    counts = _count_train(data, folder / "train", corpora, domains, packed, log)
    _check_stages(recipe, {GOLD: counts, **generated})
    if data.alignment is not None:
        align(data, folder, text, packed, tokenizer, log)
        clock.lap("alignment")

    batches = _measure_batches(recipe, folder, packed, log)
    clock.lap("batch")
    return {
        "pairs": {"read": report.total, "train": packed.rows}
        | {name: len(held.pairs) for name, held in held_out.items()},
        "source_sha256": source_sha256,
        **counts,
        "targets": generated,
        "dropped": report.dropped,
        "repaired": report.repaired,
        "tokens": {"source": packed.source_tokens, "target": packed.target_tokens},
        "vocabulary_size": tokenizer.vocabulary_size,
        "validation_shortened": len(validation.too_long),
        "leakage": _leakage(held_out, log),
        "batches": batches,
        "seconds": clock.laps,
    }


def _train_tokenizer(recipe: Recipe, text: TrainingText, log: Callable[[str], None]) -> Tokenizer:
    data = recipe.data
    log(f"training a vocabulary of {data.tokenizer.vocabulary_size:,}")
    lines = (line for pair in text.pairs() for line in pair)
    return train_tokenizer(lines, data.tokenizer, data.source_language, data.target_language, seed=recipe.seed)


def _leakage_counter(held_out: dict[str, _HeldOut]) -> Callable[[CleanedBlock], None]:
    """A function of training pairs that notes those in the held-out sets that have the same source."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sources = pa.array(sorted({source for held in held_out.values() for source in held.leaked}))

    def note(block: CleanedBlock) -> None:
        found = pc.is_in(block.sources, sources)
        columns = (side.filter(found).to_pylist() for side in (block.sources, block.targets))
        for source, target in zip(*columns, strict=True):
            for held in held_out.values():
                held.note(source, target)

    return note


def _pack_targets(
    recipe: Recipe,
    name: str,
    targets: Targets,
    tokenizer: Tokenizer,
    folder: Path,
    domains: np.ndarray | None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Pack generated pairs, which are filtered already, beside those of the corpora; returns counts.

    domains: (N,) of the sentences of the training text; those of another text have none.
    """
    folder, sentences = folder / "targets" / name, array("q")

    def pairs() -> Iterator[SentencePair]:
        for sentence, pair in targets.pairs():
            sentences.append(sentence)
            yield pair

    packed: Packed = pack(pairs(), tokenizer, folder, recipe.data.max_tokens)
    if not packed.rows:
        limit = f"at most {recipe.data.max_tokens} tokens on each side"
        raise UserError(f"data.targets.{name}: none of {len(packed.too_long):,} pairs has {limit}")
    log(f"targets {name}: {packed.rows:,} pairs, {packed.target_tokens:,} target tokens")
    counts = {
        "pairs": packed.rows,
        "too_many_tokens": len(packed.too_long),
        "source_tokens": packed.source_tokens,
        "target_tokens": packed.target_tokens,
    }
    if domains is None or not targets.of_training_text:
        return counts
    rows = np.delete(np.array(sentences), packed.too_long)
    return {**counts, "domains": _write_domains(f"targets {name}", folder, domains[rows], recipe.data, log)}


def _count_train(
    data: Data,
    folder: Path,
    corpora: np.ndarray,
    domains: np.ndarray | None,
    packed: Packed,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Count the packed pairs of the corpora by source and by domain; corpora and domains (N,) are of the sentences."""
    count = count_rows(folder, np.delete(corpora, packed.too_long), len(data.train))
    names = (source.describe(Path(data.folder)) for source in data.train)
    sources = [{"name": name, **counted} for name, counted in zip(names, count, strict=True)]
    if domains is None:
        return {"sources": sources}
    sources = [{**about, "domain": source.domain} for about, source in zip(sources, data.train, strict=True)]
    rows = np.delete(domains, packed.too_long)
    return {"sources": sources, "domains": _write_domains("train", folder, rows, data, log)}


def _write_domains(
    what: str, folder: Path, domains: np.ndarray, data: Data, log: Callable[[str], None]
) -> dict[str, dict[str, int]]:
    """Write the domains of packed rows (rows,); returns and logs how many each has."""
    counts = write_domains(folder, domains, data)
    shown = (f"{name} {n['pairs']:,} pairs, {n['target_tokens']:,} target tokens" for name, n in counts.items())
    log(f"domains of {what}: {'; '.join(shown)}")
    return counts


def _check_stages(recipe: Recipe, counts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError where a stage has nothing to learn from; `counts` are those of each targets."""
    for stage in recipe.stages:
        wanted = recipe.stage_domains(stage)
        found = [counts[name].get("domains") for name in recipe.stage_targets(stage)]
        if wanted is None or any(each is None or any(each[name]["pairs"] for name in wanted) for each in found):
            continue
        targets = " ".join(recipe.stage_targets(stage))
        raise UserError(
            f"stage {stage.name}: no pair of the domains ({' '.join(wanted)}) is left in the targets ({targets}); "
            "name a domain that has pairs, or clean less away"
        )


def _measure_batches(recipe: Recipe, folder: Path, packed: Packed, log: Callable[[str], None]) -> dict[str, Any]:
    """The number of batches in the first epoch, and their share of padding."""
    rows = PackedDataset.open(folder / "train")
    schedule = BatchSchedule(rows.source_lengths, rows.target_lengths, recipe.training.batch_tokens, recipe.seed)
    epoch = schedule.epoch(0)
    padding = schedule.padding(epoch)
    log(
        f"packed: {packed.rows:,} pairs, {packed.target_tokens:,} target tokens, {len(epoch):,} batches, "
        f"padding {padding['target']:.1%} of target and {padding['source']:.1%} of source"
    )
    return {"count": len(epoch), "padding": padding}


# --- held-out sets ------------------------------------------------------------------------------------------------


@dataclass
class _HeldOut:
    """A validation or test set, and which of its sources and pairs are in the training data.

    Both count as they are, and as cleaning has repaired them in the training data.
    """

    pairs: list[SentencePair]
    leaked: dict[str, bool] = field(default_factory=dict)
    leaked_pairs: dict[SentencePair, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for forms in map(_forms, self.pairs):
            self.leaked |= {source: False for source, _ in forms}
            self.leaked_pairs |= dict.fromkeys(forms, False)

    def note(self, source: str, target: str) -> None:
        """Take note of a training pair."""
        if source in self.leaked:
            self.leaked[source] = True
            if (source, target) in self.leaked_pairs:
                self.leaked_pairs[source, target] = True

    def leakage(self) -> dict[str, int]:
        forms = list(map(_forms, self.pairs))
        sources = sum(any(self.leaked[source] for source, _ in each) for each in forms)
        return {"sources": sources, "pairs": sum(any(map(self.leaked_pairs.__getitem__, each)) for each in forms)}


def _forms(pair: SentencePair) -> list[SentencePair]:
    """A pair as it may stand in the training data."""
    return [(source.strip(), target.strip()) for source, target in (pair, tuple(map(repaired, pair)))]


def _leakage(held_out: dict[str, _HeldOut], log: Callable[[str], None]) -> dict[str, dict[str, int]]:
    """Counts of leaked sources and pairs of each held-out set, with a warning about sources."""
    leakage = {name: held.leakage() for name, held in held_out.items()}
    for name, count in leakage.items():
        if count["sources"]:
            total = len(held_out[name].pairs)
            log(f"warning: {count['sources']:,} of {total:,} sources of {name} are in the training data")
    return leakage


def _held_out_sets(recipe: Recipe) -> dict[str, PairSource]:
    """ "validation" and every "test/<name>"."""
    sets: dict[str, PairSource] = {"validation": recipe.data.validation}
    return sets | {f"test/{name}": source for name, source in recipe.data.test.items()}


def _write_held_out(recipe: Recipe, folder: Path, sets: dict[str, PairSource]) -> dict[str, _HeldOut]:
    """Write the uncleaned text of held-out sets. Targets are written last: a set that has one is complete."""
    data = recipe.data
    (folder / "test").mkdir(exist_ok=True)
    held_out = {}
    for name, source in sets.items():
        pairs = _read_held_out(source, data.folder, (data.source_language, data.target_language))
        for side, text in (("source", [s for s, _ in pairs]), ("target", [t for _, t in pairs])):
            write_atomic(folder / f"{name}.{side}.txt", "".join(f"{line}\n" for line in text))
        held_out[name] = _HeldOut(pairs)
    return held_out


def _read_held_out(source: PairSource, folder: str, languages: tuple[str, str]) -> list[SentencePair]:
    pairs = []
    origin = source.describe(Path(folder))
    for line, sides in enumerate(source.read_pairs(Path(folder), languages), start=1):
        for side, text in zip(("source", "target"), sides, strict=True):
            if isinstance(text, Unreadable) or is_blank(text):
                problem = text.meaning if isinstance(text, Unreadable) else "is empty"
                raise UserError(
                    f"{origin}: line {line}: the {side} side {problem}; validation and test sets are not cleaned"
                )
        # One sentence a line for every reader, including those that end lines at U+2028 or a lone CR.
        first, second = (_OTHER_LINE_ENDS.sub(" ", text) for text in sides if isinstance(text, str))
        pairs.append((first, second))
    return pairs


# --- small things -------------------------------------------------------------------------------------------------


class _Clock:
    """Wall-clock seconds of each part."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 2)
        self._last = now
