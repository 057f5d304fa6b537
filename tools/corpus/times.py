"""Expressions of time in both languages, filled from the templates of grammar.txt; and prices."""

from __future__ import annotations

import re

from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice
from tools.corpus.inflection import number_digits
from tools.corpus.phrases import number_words
from tools.corpus.tables import Pair, pairs, rows

PAST, PRESENT, FUTURE, HABIT = "p", "n", "f", "h"
_NUMBER = re.compile(r"(w?)(\d+)-(\d+)(?:\+(\d+))?(?:/(\d+))?")
_TEMPLATES = frozenset(("clock", "date", "a_year"))


def point(dice: Dice, tense: str) -> Pair:
    """When something happens: an adverb, weekday, date, clock time or distance from now that fits the tense."""
    return fill(dice, f"time {tense}")


def fill(dice: Dice, section: str) -> Pair:
    """An expression by one of the templates of a section, with what they ask to be drawn."""
    templates = rows(section)
    share = dice.random() if templates[0][0] else 0.0
    _, draws, english, german = next(row for row in templates if share < float(row[0] or 1))
    drawn = [_draw(dice, what) for what in draws.split()]
    return english.format(*(pair[0] for pair in drawn)).strip(), german.format(*(pair[1] for pair in drawn)).strip()


def _draw(dice: Dice, what: str) -> tuple[object, object]:
    """What a template asks for, in both languages."""
    if what in lex.TIME_ADVERBS:
        return dice.pick(lex.TIME_ADVERBS[what])
    if what in _TEMPLATES:
        return fill(dice, what)
    if number := _NUMBER.fullmatch(what):
        low, high, more, step = (int(digits or 0) for digits in number.groups()[1:])
        value = low + dice.between(0, (high - low) // (step or 1)) * (step or 1)
        if number[1]:
            return number_words(value)[0], number_words(value + more)[1]
        return value, value + more
    if what.startswith("units:"):
        return _span(dice, *map(int, what.split(":")[1:]))
    return dice.among(pairs(what))


def _span(dice: Dice, first: int, end: int) -> Pair:
    """One to twelve of a unit, the German in the dative."""
    number = dice.between(1, 12)
    unit, units, einer, einheiten = dice.among(rows("units")[first:end])
    if number == 1:
        return f"one {unit}", einer
    word, zahl = number_words(number)
    return f"{word} {units}", f"{zahl} {einheiten}"


def price(dice: Dice, *, high: bool) -> Pair:
    """12 euros: 12 Euro; 3.50 euros: 3,50 Euro; 1,200 euros: 1.200 Euro; in words now and then."""
    if not high:
        return fill(dice, "price")
    number = dice.between(10, 99) * dice.among((10, 10, 50))
    return f"{number:,} euros", f"{number_digits(number)} Euro"
