"""The corpus sentence by sentence: one of all kinds, in both languages."""

from __future__ import annotations

from collections.abc import Callable

from polystill.data.synthetic.choice import Dice, Weighted
from polystill.data.synthetic.clauses import Pair, Sentence
from polystill.data.synthetic.sentences_being import comparison, description, profession
from polystill.data.synthetic.sentences_complex import (
    anaphora,
    attempt,
    condition,
    coordination,
    indirect_question,
    purpose,
    subordinate,
    that_clause,
)
from polystill.data.synthetic.sentences_questions import request, wh_question, yes_no_question
from polystill.data.synthetic.sentences_simple import (
    by_transport,
    cause,
    existence,
    pain,
    passive,
    price,
    relative,
    schedule,
    since,
    statement,
    weather,
)

Kind = Callable[[Dice], Sentence]
KIND_WEIGHTS: dict[Kind, int] = {
    statement: 260,
    subordinate: 140,
    relative: 85,
    that_clause: 55,
    anaphora: 45,
    purpose: 40,
    yes_no_question: 40,
    wh_question: 35,
    coordination: 35,
    passive: 35,
    description: 30,
    attempt: 25,
    indirect_question: 25,
    cause: 22,
    since: 18,
    comparison: 18,
    request: 18,
    condition: 16,
    by_transport: 16,
    schedule: 14,
    existence: 12,
    profession: 10,
    price: 10,
    weather: 8,
    pain: 7,
}
KINDS: Weighted[Kind] = Weighted(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))


def sentence(dice: Dice) -> Pair:
    """One sentence in English and German."""
    while True:
        text, german, mark = dice.pick(KINDS)(dice)
        if SHORTEST - 1 <= text.count(" ") < LONGEST:
            return _finish(text, mark), _finish(german, mark)


SHORTEST, LONGEST = 3, 25  # English words


def _finish(text: str, mark: str) -> str:
    """Capital and final mark; the comma that ends an inner clause goes where another mark or "und" stands."""
    text = (text + mark).replace(",,", ",").replace(f",{mark}", mark)
    return text[0].upper() + text[1:]
