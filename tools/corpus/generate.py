"""Generate the built-in corpus: English sentences and their German translations, by two small grammars.

It is made for quick runs and tests: any number of pairs without a download. The German has what makes German hard for
small networks (gender, four cases, verb-second and verb-final order, separable verbs, agreement over a distance), and
the right word often depends on context (know: kennen or wissen; to: nach, zu, in or auf). The English alone decides
the German, by these conventions where a translator could choose:

* "you" is du and "your" dein, unless an address says otherwise ("Mr Weber, …": Sie, Ihr; "children, …": ihr, euer);
* a simple past is a Perfekt with I, we and you, as in speech, and a Präteritum with everyone else;
* what stands first in the English sentence (a time, an adverb) stands first in the German one.

Frequencies are Zipf-like. A pair's split is decided by a hash of the English sentence, so no English sentence is in
two splits, whatever the seeds. Duplicates within a call are not removed, so that memory stays constant; they are rare
among 40,000 pairs (short sentences such as "It is raining today.").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from zlib import crc32

from tools.corpus import sentences_complex, sentences_questions, sentences_simple
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import Sentence
from tools.corpus.tables import SECTIONS, Pair

SPLITS = ("train", "validation", "test")

# Of this many hash values, one belongs to validation, one to test, and all others to train.
_PARTS = 16


def split_of(english: str) -> str:
    """The only split that this English sentence can be in: train for 14 of 16 sentences."""
    part = (crc32(english.encode("utf-8")) * 2654435761 >> 16) % _PARTS
    return "validation" if part == 0 else "test" if part == 1 else "train"


def generate(pairs: int, *, seed: int, split: str) -> Iterator[tuple[str, str]]:
    """Yield (English, German) sentence pairs; the same ones for the same arguments, on every machine.

    `split` is one of SPLITS. Memory does not grow with `pairs`. A validation or test pair takes as long as 16 train
    pairs, as most sentences that come up belong to train.
    """
    assert split in SPLITS, split
    assert pairs >= 0, pairs
    return islice(_endless(f"{seed} {split}", split), pairs)


def _endless(seed: str, split: str) -> Iterator[tuple[str, str]]:
    dice = Dice(seed)
    while True:
        pair = sentence(dice)
        if split_of(pair[0]) == split:
            yield pair


# --- sentences ----------------------------------------------------------------------------------------------------

_FUNCTIONS = vars(sentences_simple) | vars(sentences_complex) | vars(sentences_questions)
_KIND_WEIGHTS = dict(line.split() for line in SECTIONS["kinds"])
KINDS: Weighted[Callable[[Dice], Sentence]] = Weighted(
    [_FUNCTIONS[name] for name in _KIND_WEIGHTS], [int(weight) for weight in _KIND_WEIGHTS.values()]
)
SHORTEST, LONGEST = 3, 25  # English words


def sentence(dice: Dice) -> Pair:
    """One sentence in English and German."""
    while True:
        text, german, mark = dice.pick(KINDS)(dice)
        if SHORTEST - 1 <= text.count(" ") < LONGEST:
            return _finish(text, mark), _finish(german, mark)


def _finish(text: str, mark: str) -> str:
    """Capital and final mark; the comma that ends an inner clause goes where another mark or "und" stands."""
    text = (text + mark).replace(",,", ",").replace(f",{mark}", mark)
    return text[0].upper() + text[1:]
