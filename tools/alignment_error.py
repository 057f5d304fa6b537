"""The alignment error rate of a run's students on pairs aligned by hand: python -m tools.alignment_error RUN [GOLD]

GOLD (by default tests/data/gold_alignments.tsv, of the built-in corpus) has a source, its translation, and links of
words on each line, separated by tabs: `0-1` is sure, `0?1` possible.

    AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)    (Och & Ney 2003), with links A, sure S, possible P

Students are given the gold translation and align it. The aligner is the one of the data stage, which has not seen these
pairs unless they are in the training data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from polystill.data.aligner import Aligner
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.alignment import word_links
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import Alignment, Hypothesis, Links
from polystill.models.folder import load_supernets
from polystill.runs import Run
from polystill.runs.family import family_space

GOLD = Path(__file__).parents[1] / "tests" / "data" / "gold_alignments.tsv"


class GoldPair(NamedTuple):
    source: str
    target: str
    sure: set[tuple[int, int]]
    possible: set[tuple[int, int]]
    """With the sure ones."""


def read_gold(path: Path) -> list[GoldPair]:
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        source, target, links = line.split("\t")
        sure, unsure = (
            {(int(s), int(t)) for s, t in (link.split(mark) for link in links.split() if mark in link)} for mark in "-?"
        )
        pairs.append(GoldPair(source, target, sure, sure | unsure))
    return pairs


def error_rate(gold: Sequence[GoldPair], links: Sequence[Links]) -> float:
    found = [set(each) for each in links]
    right = sum(len(a & pair.sure) + len(a & pair.possible) for a, pair in zip(found, gold, strict=True))
    return 1 - right / sum(len(a) + len(pair.sure) for a, pair in zip(found, gold, strict=True))


def _hypotheses(tokenizer: Tokenizer, gold: Sequence[GoldPair], alignments: Sequence[Alignment]) -> list[Hypothesis]:
    targets = tokenizer.target_pieces([pair.target for pair in gold])
    rows = zip(gold, targets, alignments, strict=True)
    return [Hypothesis(pair.target, target[:-1], 0.0, alignment=alignment) for pair, target, alignment in rows]


def aligner_links(aligner: Aligner, tokenizer: Tokenizer, gold: Sequence[GoldPair]) -> list[Links]:
    """The links of words that an aligner finds."""
    sources = tokenizer.encode_source([pair.source for pair in gold])
    targets = tokenizer.encode_target([pair.target for pair in gold])
    rows = aligner.links([(np.array(s[:-1]), np.array(t[:-1])) for s, t in zip(sources, targets, strict=True)])
    pieces = tokenizer.source_pieces([pair.source for pair in gold])
    alignments = [Alignment(of, [(s, t) for s, t in row.tolist()]) for of, row in zip(pieces, rows, strict=True)]
    return [word_links(h) for h in _hypotheses(tokenizer, gold, alignments)]


def student_links(translator: TorchTranslator, gold: Sequence[GoldPair]) -> list[Links]:
    """The links of words that a student's attention gives for the gold translations."""
    tokenizer = translator.tokenizer
    sources = tokenizer.encode_source([pair.source for pair in gold])
    targets = tokenizer.target_pieces([pair.target for pair in gold])
    alignments = []
    for source, target in zip(sources, targets, strict=True):
        alignments += translator.align(torch.tensor([source], device=translator.device), [target[:-1]])
    return [word_links(h) for h in _hypotheses(tokenizer, gold, alignments)]


def rows(run: Run, gold: Sequence[GoldPair]) -> Iterator[tuple[str, float, float]]:
    """Names, their error rates against gold, and those against the aligner's links."""
    tokenizer = Tokenizer.load(run.data / "tokenizer")
    aligner = Aligner.learn(PackedDataset.open(run.data / "train"), tokenizer.vocabulary_size)
    aligned = aligner_links(aligner, tokenizer, gold)
    yield "aligner", error_rate(gold, aligned), 0.0
    own = [GoldPair(pair.source, pair.target, set(a), set(a)) for pair, a in zip(gold, aligned, strict=True)]
    supernets = load_supernets(run.family)
    for student in family_space(run.family).candidates:
        links = student_links(TorchTranslator(supernets[student.supernet], tokenizer, student), gold)
        yield student.name, error_rate(gold, links), error_rate(own, links)


def main(arguments: Sequence[str]) -> None:
    gold = read_gold(Path(arguments[1]) if len(arguments) > 1 else GOLD)
    print(f"{len(gold)} pairs\n{'':<12}{'AER':>8}{'AER to the aligner':>22}")
    for name, error, to_aligner in rows(Run.open(Path(arguments[0])), gold):
        print(f"{name:<12}{error:>8.3f}{to_aligner:>22.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
