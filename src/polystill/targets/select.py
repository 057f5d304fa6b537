"""Choose among a teacher's translations: leave out what is no use as a target, and keep the best of a list.

`HypothesisFilter` judges every translation while targets are generated. Length ratio, copies, wrong script and the like
are judged as in the cleaning of pairs (`data.cleaning`). On top come repetitions, which a search that loops leaves
behind, and candidates with the same text.

`select_targets` keeps the best of each sentence's n-best list by a criterion (`targets.criteria`), such as Seq-Inter's
nearness to the reference, and writes a folder of targets like the one it was chosen from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polystill.config import Cleaning
from polystill.data.cleaning import EXAMPLES, MOST_REPEATS, Cleaner, Repetition
from polystill.data.cleaning import REASONS as PAIR_REASONS
from polystill.errors import UserError
from polystill.progress import Progress
from polystill.runs.provenance import provenance
from polystill.storage import atomic_folder, need_new_folder
from polystill.targets import store
from polystill.targets.criteria import By, Criterion, open_criterion
from polystill.targets.store import Candidate, Entry, TargetSet

# --- filter -------------------------------------------------------------------------------------------------------

_JUDGED = ("empty", "too_short", "too_long", "ratio", "long_word", "identical", "wrong_script")
REASONS = {
    "cut": "the source is longer than the teacher takes, or it had not ended when it was as long as it may be",
    "several_lines": "an answer of several lines, so more than a translation",
    **{reason: PAIR_REASONS[reason] for reason in _JUDGED},
    "repetition": f"a phrase more than {MOST_REPEATS} times in a row, or characters ten times; and not in the source",
    "same": "the same text as a better candidate of this source",
}
"""Why a hypothesis is left out. It is counted under the first reason that applies."""
_EXAMPLE_CHARACTERS = 100


@dataclass
class FilterReport:
    """Counts of hypotheses, over distinct sources. The reports of shards add up."""

    hypotheses: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    sources_without: int = 0
    """Sources that have no hypothesis left."""
    examples: dict[str, list[list[str]]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.hypotheses - sum(self.dropped.values())

    def drop(self, reason: str, source: str, hypothesis: str) -> None:
        self.dropped[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append([source[:_EXAMPLE_CHARACTERS], hypothesis[:_EXAMPLE_CHARACTERS]])

    def add(self, other: dict[str, Any]) -> None:
        """Add a shard's report (its `as_dict`)."""
        self.hypotheses += other["hypotheses"]
        self.sources_without += other["sources_without"]
        for reason, count in other["dropped"].items():
            self.dropped[reason] += count
        for reason, examples in other["examples"].items():
            known = self.examples.setdefault(reason, [])
            known += examples[: EXAMPLES - len(known)]

    def as_dict(self) -> dict[str, Any]:
        return {"hypotheses": self.hypotheses, "kept": self.kept, **vars(self)}


def left_out(dropped: dict[str, int]) -> str:
    """Format counts as one line, such as "identical 3, repetition 12"."""
    return ", ".join(f"{reason} {count:,}" for reason, count in dropped.items() if count) or "nothing"


class HypothesisFilter:
    """Judges translations by the recipe's `data.cleaning`. If that is off, only empty ones and doubles are left out."""

    def __init__(self, settings: Cleaning, languages: tuple[str, str]) -> None:
        self._enabled = settings.enabled
        self._cleaner = Cleaner(settings, languages)
        self._repetition = Repetition(languages)

    def keep(self, source: str, candidates: Sequence[Candidate], report: FilterReport) -> list[Candidate]:
        """Return the candidates to train on, in their order, and count the others in the report."""
        kept: dict[str, Candidate] = {}
        for candidate in candidates:
            report.hypotheses += 1
            reason = "same" if candidate.text in kept else self.reason(source, candidate)
            if reason is None:
                kept[candidate.text] = candidate
            else:
                report.drop(reason, source, candidate.text)
        report.sources_without += not kept
        return list(kept.values())

    def reason(self, source: str, candidate: Candidate) -> str | None:
        """Return why a hypothesis is left out (a key of REASONS), or None if it stays."""
        if self._enabled and candidate.cut:
            return "cut"
        if not {"\n", "\r"}.isdisjoint(candidate.text):
            return "several_lines"
        reason = self._cleaner.reason(source.strip(), candidate.text.strip())
        if reason is None and self._enabled and self._repetition.is_looping(source, candidate.text):
            return "repetition"
        return reason


# --- the best of each list ----------------------------------------------------------------------------------------

SAMPLE_SEED = 1


def select_targets(
    folder: Path,
    out: Path,
    *,
    by: By | None = None,
    scores: Path | None = None,
    scorer: str | None = None,
    keep: int = 1,
    share: float = 1.0,
) -> dict[str, Any]:
    """Write the `keep` best candidates of every sentence, or of a drawn share of them, to `out`; return its manifest.

    `by`, `scores` and `scorer` are as in `open_criterion`.

    Raises:
        UserError: `share` is not in (0, 1], the targets are unfinished, damaged, or have one candidate a sentence, they
            do not go with the criterion, or `out` holds something.
    """
    if not 0 < share <= 1:
        raise UserError(f"--share {share:g}: expected more than 0 and at most 1")
    need_new_folder(out)
    targets = TargetSet.open(folder)
    no_choice = UserError(
        f"{folder}: holds one candidate a sentence, so there is nothing to choose; generate with --n-best 35"
    )
    if targets.plan["n_best"] == 1:
        raise no_choice
    with atomic_folder(out) as temporary, open_criterion(targets, by, scores, scorer) as criterion:
        selection = {**criterion.about, "share": share}
        plan = {
            **targets.plan,
            "selected_from": store.plan_sha256(targets.plan),
            "selection": selection,
            "n_best": keep,
        }
        chosen = _Selection(targets, criterion, keep, share)
        (temporary / store.SHARDS).mkdir()
        shards = _write(temporary, chosen, plan)
        if chosen.longest_list == 1:
            raise no_choice
        if not shards:
            raise UserError(f"{folder}: no sentence has a candidate left, or --share {share:g} leaves none")
        manifest = {
            "format": store.FORMAT,
            "finished": True,
            "plan": plan,
            "teachers": targets.manifest["teachers"],
            "selected_from": str(folder),
            "sentences": sum(shard["sentences"] for shard in shards),
            "selection": {**selection, "name": criterion.name, **chosen.counts()},
            "shards": shards,
            "provenance": provenance().to_json(),
        }
        store.write_manifest(temporary, manifest)
    return manifest


def best_first(scores: Sequence[float]) -> list[int]:
    """Return the candidates' numbers, best first; among equals the teacher's order."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])


class _Selection:
    """Chooses candidates for each sentence, in one pass over the targets."""

    def __init__(self, targets: TargetSet, criterion: Criterion, keep: int, share: float) -> None:
        self._targets, self._criterion, self._keep = targets, criterion, keep
        sentences = targets.source["sentences"]
        drawn = np.random.default_rng(SAMPLE_SEED).permutation(sentences)[: max(1, round(share * sentences))]
        self._is_drawn = np.zeros(sentences, dtype=bool)
        self._is_drawn[drawn] = True
        self._chosen = self._without = self._changed = self._kept = 0
        self.longest_list = 0
        """The most candidates that a sentence had, with those that the filter left out."""
        self._total = self._total_first = 0.0

    def entries(self) -> Iterator[Entry]:
        progress = Progress("choosing", "sentence", int(self._is_drawn.sum()))
        for entry in self._targets.entries():
            self.longest_list = max(self.longest_list, len(entry.hypotheses) + entry.filtered)
            drawn = [k for k, i in enumerate(entry.ids) if self._is_drawn[i]]
            progress.add(len(drawn))
            self._without += 0 if entry.hypotheses else len(drawn)
            if entry.hypotheses:
                yield from self._chosen_of(entry, drawn)
        progress.close()

    def _chosen_of(self, entry: Entry, drawn: list[int]) -> Iterator[Entry]:
        """Choose for the drawn ones of the sentences that have this source: for each by itself, or once for all."""
        if self._criterion.by_reference:
            for k in drawn:
                reference = entry.references[k]
                yield self._best(entry, [k], self._criterion.scores(entry, reference))
        else:
            scores = self._criterion.scores(entry, None)  # also where none is drawn: scores may be read one by one
            if drawn:
                yield self._best(entry, drawn, scores)

    def _best(self, entry: Entry, sentences: list[int], scores: list[float]) -> Entry:
        order, n = best_first(scores)[: self._keep], len(sentences)
        self._chosen += n
        self._changed += n * (order[0] != 0)
        self._kept += n * len(order)
        self._total += n * scores[order[0]]
        self._total_first += n * scores[0]
        references = [entry.references[k] for k in sentences] if entry.references else []
        ids = [entry.ids[k] for k in sentences]
        return Entry(ids, entry.source, references, [entry.hypotheses[i] for i in order])

    def counts(self) -> dict[str, Any]:
        """Return the sentences with and without candidates, and the best's mean score beside the teacher's best's."""
        n = max(1, self._chosen)
        return {
            "sentences": self._chosen,
            "translations": self._kept,
            "without_candidates": self._without,
            "not_the_teachers_best": self._changed,
            "mean_score": self._total / n,
            "mean_score_of_the_teachers_best": self._total_first / n,
        }


def _write(folder: Path, chosen: _Selection, plan: dict[str, Any]) -> list[dict[str, Any]]:
    entries = chosen.entries()
    checksum = store.plan_sha256(plan)
    shards: list[dict[str, Any]] = []
    while block := list(islice(entries, plan["shard_size"])):
        store.write_shard(folder, len(shards), checksum, block, FilterReport().as_dict())
        shards.append(store.shard_summary(store.read_note(store.shard_path(folder, len(shards)))))
    return shards
