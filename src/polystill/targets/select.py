"""Seq-Inter (Kim & Rush 2016, section 3.3): of each sentence's n-best list the candidate nearest to its reference.

    y = argmax over the candidates c of sim(c, reference), sim = smoothed sentence BLEU or chrF, both sacreBLEU's

The result is a folder of targets like the one that it was chosen from, with one hypothesis a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polystill.decoding.metrics import bleu_metric
from polystill.errors import UserError
from polystill.progress import Progress
from polystill.runs.provenance import provenance
from polystill.storage import atomic_folder, need_new_folder
from polystill.targets.filter import FilterReport
from polystill.targets.store import (
    FORMAT,
    MANIFEST,
    SHARDS,
    Candidate,
    Entry,
    TargetSet,
    plan_sha256,
    read_note,
    shard_path,
    write_manifest,
    write_shard,
)

Measure = Literal["bleu", "chrf"]
Similarity = Callable[[str, str], float]
SAMPLE_SEED = 1


def similarity(by: Measure, target_language: str) -> tuple[Similarity, str]:
    """sim(candidate, reference) and sacreBLEU's signature of it."""
    from sacrebleu import CHRF

    metric: Any = bleu_metric(target_language, effective_order=True) if by == "bleu" else CHRF()

    def score(candidate: str, reference: str) -> float:
        return float(metric.sentence_score(candidate, [reference]).score)

    score("a", "a")  # a metric without a call has no signature
    return score, metric.get_signature().format()


def nearest_candidate(candidates: Sequence[Candidate], reference: str, similar: Similarity) -> tuple[int, list[float]]:
    """The number of the nearest candidate (of equals the teacher's best) and the similarity of each."""
    scores = [similar(candidate.text, reference) for candidate in candidates]
    return max(range(len(scores)), key=lambda i: (scores[i], -i)), scores


def select_targets(folder: Path, out: Path, *, by: Measure, share: float = 1.0) -> dict[str, Any]:
    """Write the nearest candidate of every sentence, or of a drawn share of them, to `out`; returns its manifest.

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
    if targets.plan["n_best"] == 1:
        raise UserError(_nothing_to_choose(folder))
    similar, signature = similarity(by, targets.plan["languages"][1])
    selection = {"by": by, "signature": signature, "share": share}
    plan = {**targets.plan, "selected_from": plan_sha256(targets.plan), "selection": selection, "n_best": 1}
    chosen = _Selection(targets, similar, share)
    with atomic_folder(out) as temporary:
        (temporary / SHARDS).mkdir()
        shards = _write(temporary, chosen, plan)
        if chosen.longest_list == 1:
            raise UserError(_nothing_to_choose(folder))
        if not shards:
            raise UserError(f"{folder}: no sentence has a candidate left, or --share {share:g} leaves none")
        manifest = {
            "format": FORMAT,
            "finished": True,
            "plan": plan,
            "teachers": targets.manifest["teachers"],
            "selected_from": str(folder),
            "sentences": sum(shard["sentences"] for shard in shards),
            "selection": {**selection, **chosen.counts()},
            "shards": shards,
            "provenance": provenance().to_json(),
        }
        write_manifest(temporary, manifest)
        assert (temporary / MANIFEST).is_file()
    return manifest


def _nothing_to_choose(folder: Path) -> str:
    return f"{folder}: holds one candidate a sentence, so there is nothing to choose; generate with --n-best 35"


class _Selection:
    """Goes over all sentences once and chooses."""

    def __init__(self, targets: TargetSet, similar: Similarity, share: float) -> None:
        self._targets, self._similar = targets, similar
        sentences = targets.source["sentences"]
        drawn = np.random.default_rng(SAMPLE_SEED).permutation(sentences)[: max(1, round(share * sentences))]
        self._is_drawn = np.zeros(sentences, dtype=bool)
        self._is_drawn[drawn] = True
        self._chosen = self._without = self._changed = 0
        self.longest_list = 0
        """Most candidates that a sentence had, those that were filtered included."""
        self._total = self._total_first = 0.0

    def entries(self) -> Iterator[Entry]:
        progress = Progress("choosing", "sentence", int(self._is_drawn.sum()))
        for entry in self._targets.entries():
            self.longest_list = max(self.longest_list, len(entry.hypotheses) + entry.filtered)
            for i, reference in zip(entry.ids, entry.references, strict=True):
                if not self._is_drawn[i]:
                    continue
                progress.add()
                if not entry.hypotheses:
                    self._without += 1
                    continue
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
        """What came of it: sentences with and without candidates, and their mean similarity before and after."""
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
    checksum = plan_sha256(plan)
    shards: list[dict[str, Any]] = []
    while block := list(islice(entries, plan["shard_size"])):
        write_shard(folder, len(shards), checksum, block, FilterReport().as_dict())
        note = read_note(shard_path(folder, len(shards)))
        shards.append({key: note[key] for key in ("sources", "sentences", "source_sha256")})
    return shards
