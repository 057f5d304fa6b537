"""Choose among a teacher's translations: leave out what is no use as a target, and keep the nearest to a reference.

`HypothesisFilter` judges every translation while targets are generated. Length ratio, copies, wrong script and the like
are judged as in the cleaning of pairs (`data.cleaning`). On top come repetitions, which a search that loops leaves
behind, and candidates with the same text.

`select_targets` is Seq-Inter (Kim & Rush 2016, section 3.3). Of each sentence's n-best list it keeps

    y = argmax over the candidates c of sim(c, reference), sim = smoothed sentence BLEU or chrF, both sacreBLEU's

and writes a folder of targets like the one it was chosen from, with one hypothesis a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polystill.config import Cleaning
from polystill.data.cleaning import EXAMPLES, MOST_REPEATS, Cleaner, Repetition
from polystill.data.cleaning import REASONS as PAIR_REASONS
from polystill.decoding.metrics import bleu_metric
from polystill.errors import UserError
from polystill.progress import Progress
from polystill.runs.provenance import provenance
from polystill.storage import atomic_folder, need_new_folder
from polystill.targets import store
from polystill.targets.store import Candidate, Entry, TargetSet

# --- filter -------------------------------------------------------------------------------------------------------

_JUDGED = ("empty", "too_short", "too_long", "ratio", "long_word", "identical", "wrong_script")
REASONS = {
    "cut": "the source is longer than the teacher takes, or it had not ended when it was as long as it may be",
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
        reason = self._cleaner.reason(source.strip(), candidate.text.strip())
        if reason is None and self._enabled and self._repetition.is_looping(source, candidate.text):
            return "repetition"
        return reason


# --- Seq-Inter ----------------------------------------------------------------------------------------------------

Measure = Literal["bleu", "chrf"]
Similarity = Callable[[str, str], float]
SAMPLE_SEED = 1


def similarity(by: Measure, target_language: str) -> tuple[Similarity, str]:
    """Return sim(candidate, reference) and its sacreBLEU signature."""
    from sacrebleu import CHRF

    metric: Any = bleu_metric(target_language, effective_order=True) if by == "bleu" else CHRF()

    def score(candidate: str, reference: str) -> float:
        return float(metric.sentence_score(candidate, [reference]).score)

    score("a", "a")  # a metric has no signature before its first call
    return score, metric.get_signature().format()


def nearest_candidate(candidates: Sequence[Candidate], reference: str, similar: Similarity) -> tuple[int, list[float]]:
    """Return the nearest candidate's number (the teacher's best among equals) and the similarity of each."""
    scores = [similar(candidate.text, reference) for candidate in candidates]
    return max(range(len(scores)), key=lambda i: (scores[i], -i)), scores


def select_targets(folder: Path, out: Path, *, by: Measure, share: float = 1.0) -> dict[str, Any]:
    """Write the nearest candidate of every sentence, or of a drawn share of them, to `out` and return its manifest.

    Raises:
        UserError: `share` is not in (0, 1], the targets are unfinished, damaged, without references or with one
            candidate a sentence, or `out` holds something.
    """
    if not 0 < share <= 1:
        raise UserError(f"--share {share:g}: expected more than 0 and at most 1")
    need_new_folder(out)
    targets = TargetSet.open(folder)
    if targets.source["kind"] != "corpus":
        raise UserError(f"{folder}: was generated from text without references, so there is nothing to be near to")
    no_choice = UserError(
        f"{folder}: holds one candidate a sentence, so there is nothing to choose; generate with --n-best 35"
    )
    if targets.plan["n_best"] == 1:
        raise no_choice
    similar, signature = similarity(by, targets.plan["languages"][1])
    selection = {"by": by, "signature": signature, "share": share}
    plan = {**targets.plan, "selected_from": store.plan_sha256(targets.plan), "selection": selection, "n_best": 1}
    chosen = _Selection(targets, similar, share)
    with atomic_folder(out) as temporary:
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
            "selection": {**selection, **chosen.counts()},
            "shards": shards,
            "provenance": provenance().to_json(),
        }
        store.write_manifest(temporary, manifest)
    return manifest


class _Selection:
    """Chooses a candidate for each sentence, in one pass over the targets."""

    def __init__(self, targets: TargetSet, similar: Similarity, share: float) -> None:
        self._targets, self._similar = targets, similar
        sentences = targets.source["sentences"]
        drawn = np.random.default_rng(SAMPLE_SEED).permutation(sentences)[: max(1, round(share * sentences))]
        self._is_drawn = np.zeros(sentences, dtype=bool)
        self._is_drawn[drawn] = True
        self._chosen = self._without = self._changed = 0
        self.longest_list = 0
        """The most candidates that a sentence had, with those that the filter left out."""
        self._total = self._total_first = 0.0

    def entries(self) -> Iterator[Entry]:
        progress = Progress("choosing", "sentence", int(self._is_drawn.sum()))
        for entry in self._targets.entries():
            self.longest_list = max(self.longest_list, len(entry.hypotheses) + entry.filtered)
            for i, reference in zip(entry.ids, entry.references, strict=True):
                if self._is_drawn[i]:
                    progress.add()
                    self._without += not entry.hypotheses
                    if entry.hypotheses:
                        yield Entry([i], entry.source, [reference], [self._choose(entry, reference)])
        progress.close()

    def _choose(self, entry: Entry, reference: str) -> Candidate:
        best, scores = nearest_candidate(entry.hypotheses, reference, self._similar)
        self._chosen += 1
        self._changed += best != 0
        self._total += scores[best]
        self._total_first += scores[0]
        return entry.hypotheses[best]

    def counts(self) -> dict[str, Any]:
        """Return the sentences with and without candidates, and the mean similarity before and after."""
        n = max(1, self._chosen)
        return {
            "sentences": self._chosen,
            "without_candidates": self._without,
            "not_the_teachers_best": self._changed,
            "mean_similarity": self._total / n,
            "mean_similarity_of_the_teachers_best": self._total_first / n,
        }


def _write(folder: Path, chosen: _Selection, plan: dict[str, Any]) -> list[dict[str, Any]]:
    entries = chosen.entries()
    checksum = store.plan_sha256(plan)
    shards: list[dict[str, Any]] = []
    while block := list(islice(entries, plan["shard_size"])):
        store.write_shard(folder, len(shards), checksum, block, FilterReport().as_dict())
        shards.append(store.shard_summary(store.read_note(store.shard_path(folder, len(shards)))))
    return shards
