"""Expressions of time in both languages: days, dates, clock times, durations; and prices."""

from __future__ import annotations

from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice
from tools.corpus.inflection import number_digits
from tools.corpus.phrases import number_words

Pair = tuple[str, str]

PAST, PRESENT, FUTURE, HABIT = "p", "n", "f", "h"

# English singular and plural; German dative singular with ein, nominative plural, dative plural.
_UNITS = {
    "minute": ("minute", "minutes", "einer Minute", "Minuten", "Minuten"),
    "hour": ("hour", "hours", "einer Stunde", "Stunden", "Stunden"),
    "day": ("day", "days", "einem Tag", "Tage", "Tagen"),
    "week": ("week", "weeks", "einer Woche", "Wochen", "Wochen"),
    "month": ("month", "months", "einem Monat", "Monate", "Monaten"),
    "year": ("year", "years", "einem Jahr", "Jahre", "Jahren"),
}
_UNIT_NAMES = list(_UNITS)


def point(dice: Dice, tense: str) -> Pair:
    """When something happens: an adverb, weekday, date, clock time or distance from now that fits the tense."""
    kind = dice.random()
    if kind < 0.62 or tense == PRESENT:
        return dice.pick(lex.TIME_ADVERBS[tense])
    if tense == HABIT:
        return _habit(dice, kind)
    if kind < 0.72:
        return _weekday(dice)
    if kind < 0.80:
        return date(dice, tense)
    if kind < 0.87:
        return clock(dice)
    if kind < 0.91:
        month, monat = dice.among(lex.MONTH_NAMES)
        return f"in {month}", f"im {monat}"
    if kind < 0.95 and tense == PAST:
        year = dice.between(1900, 2024)
        return f"in {year}", str(year)
    return ago(dice) if tense == PAST else ahead(dice)


def _habit(dice: Dice, kind: float) -> Pair:
    if kind < 0.76:
        day, tag = dice.among(lex.WEEKDAY_NAMES)
        return f"on {day}s", f"{tag.lower()}s"
    if kind < 0.88:
        season, jahreszeit = dice.among(lex.SEASON_NAMES)
        return f"in {season}", f"im {jahreszeit}"
    return clock(dice)


def _weekday(dice: Dice) -> Pair:
    day, tag = dice.among(lex.WEEKDAY_NAMES)
    part, tageszeit = dice.among(
        (("", ""), ("", ""), (" morning", "morgen"), (" afternoon", "nachmittag"), (" evening", "abend"))
    )
    return f"on {day}{part}", f"am {tag}{tageszeit}"


def date(dice: Dice, tense: str = PAST) -> Pair:
    """On 3 May 2019: am 3. Mai 2019; the year only now and then, and only in the past."""
    month, monat = dice.among(lex.MONTH_NAMES)
    day = dice.between(1, 28)
    year = f" {dice.between(1950, 2024)}" if tense == PAST and dice.chance(0.5) else ""
    return f"on {day} {month}{year}", f"am {day}. {monat}{year}"


def clock(dice: Dice) -> Pair:
    """A time of day: at half past seven: um halb acht; at 7:30 pm: um 19.30 Uhr; at five to three."""
    kind, hour = dice.random(), dice.between(2, 11)
    word, stunde = number_words(hour)
    naechste = number_words(hour + 1)[1]
    if kind < 0.35:
        return f"at {word} o'clock", f"um {stunde} Uhr"
    if kind < 0.5:
        return f"at half past {word}", f"um halb {naechste}"
    if kind < 0.6:
        return f"at a quarter past {word}", f"um Viertel nach {stunde}"
    if kind < 0.7:
        return f"at a quarter to {word}", f"um Viertel vor {stunde}"
    minute = dice.among((5, 10, 15, 20, 30, 40, 45, 50))
    if kind < 0.8:
        ten, zehn = number_words(dice.among((5, 10, 20)))
        return (f"at {ten} past {word}", f"um {zehn} nach {stunde}")
    if kind < 0.9:
        return f"at {hour}:{minute:02d} am", f"um {hour}.{minute:02d} Uhr"
    return f"at {hour}:{minute:02d} pm", f"um {hour + 12}.{minute:02d} Uhr"


def _amount(dice: Dice, units: list[str], most: int) -> tuple[int, tuple[str, ...], Pair]:
    number = dice.between(1, most)
    return number, _UNITS[dice.among(units)], ("one", "ein") if number == 1 else number_words(number)


def ago(dice: Dice) -> Pair:
    number, unit, (word, zahl) = _amount(dice, _UNIT_NAMES, 12)
    if number == 1:
        return f"one {unit[0]} ago", f"vor {unit[2]}"
    return f"{word} {unit[1]} ago", f"vor {zahl} {unit[4]}"


def ahead(dice: Dice) -> Pair:
    number, unit, (word, zahl) = _amount(dice, _UNIT_NAMES, 12)
    if number == 1:
        return f"in one {unit[0]}", f"in {unit[2]}"
    return f"in {word} {unit[1]}", f"in {zahl} {unit[4]}"


def era(dice: Dice, *, lasting: bool) -> Pair:
    """When a state was, in the past, or if it is a `lasting` one, for how long."""
    kind = dice.random()
    if kind < 0.35 or (kind >= 0.7 and not lasting):
        year = dice.between(1900, 2024)
        return f"in {year}", str(year)
    if kind < 0.7:
        return dice.among((("last year", "letztes Jahr"), ("back then", "damals")))
    number = dice.between(2, 12)
    word, zahl = number_words(number)
    return f"for {word} years", f"{zahl} Jahre lang"


def since(dice: Dice, *, long: bool = False) -> Pair:
    """How long something has been going on, with the German present: for three years: seit drei Jahren.

    `long` for what lasts: weeks at least.
    """
    if dice.chance(0.3):
        if long:
            year = dice.between(1960, 2023)
            return f"since {year}", f"seit {year}"
        day, tag = dice.among(lex.WEEKDAY_NAMES)
        return f"since {day}", f"seit {tag}"
    number, unit, (word, zahl) = _amount(dice, _UNIT_NAMES[3:] if long else _UNIT_NAMES[1:4], 12)
    if number == 1:
        return f"for one {unit[0]}", f"seit {unit[2]}"
    return f"for {word} {unit[1]}", f"seit {zahl} {unit[4]}"


def duration(dice: Dice) -> Pair:
    """How long something went on, in the past: for three years: drei Jahre lang."""
    number = dice.between(2, 12)
    unit = _UNITS[dice.among(_UNIT_NAMES)]
    word, zahl = number_words(number)
    return f"for {word} {unit[1]}", f"{zahl} {unit[3]} lang"


def length(dice: Dice, *, long: bool) -> Pair:
    """A bare length of time: three hours: drei Stunden; `long` in days or weeks."""
    unit = _UNITS[dice.among(_UNIT_NAMES[2:4] if long else _UNIT_NAMES[:2])]
    number = dice.between(20, 50) if unit[0] == "minute" else dice.between(2, 10)
    word, zahl = number_words(number)
    return f"{word} {unit[1]}", f"{zahl} {unit[3]}"


def price(dice: Dice, *, high: bool) -> Pair:
    """12 euros: 12 Euro; 3.50 euros: 3,50 Euro; 1,200 euros: 1.200 Euro; in words now and then."""
    if not high and dice.chance(0.4):
        word, zahl = number_words(dice.between(2, 99))
        return f"{word} euros", f"{zahl} Euro"
    if not high:
        amount = f"{dice.between(2, 60)}.{dice.between(1, 19) * 5:02d}"
        return f"{amount} euros", f"{amount.replace('.', ',')} Euro"
    number = dice.between(10, 99) * dice.among((10, 10, 50))
    return f"{number:,} euros", f"{number_digits(number)} Euro"
