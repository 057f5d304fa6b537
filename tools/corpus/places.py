"""Places and directions: the preposition follows from the kind of place, in both languages."""

from __future__ import annotations

from tools.corpus import inflection, phrases
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.inflection import ACCUSATIVE, DATIVE, ER, FEMININE, NEUTER, PLURAL, SIE
from tools.corpus.lexicon import Complement
from tools.corpus.phrases import Phrase, build
from tools.corpus.tables import Pair, rows

_COUNTRIES = Weighted(rows("countries"))


def city_phrase(dice: Dice) -> Phrase:
    city, stadt = dice.pick(lex.weighted("cities"))
    return Phrase(city, city, lambda case: stadt, ER, NEUTER)


def country_phrase(dice: Dice) -> Phrase:
    country, land, article = dice.pick(_COUNTRIES)
    if article == "n":
        return Phrase(country, country, lambda case: land, ER, NEUTER)
    column = FEMININE if article == "f" else PLURAL
    noun_forms = inflection.decline_plural(land) if article == "p" and not land.isupper() else (land,) * 4
    return Phrase(
        country,
        country,
        lambda case: f"{inflection.DEFINITE[case][column]} {noun_forms[case]}",
        ER if article == "f" else SIE,
        column,
        definite_article=True,
    )


_PLACES = {kind: (where, wo, wohin, int(case)) for kind, where, wo, wohin, case in rows("places of a kind")}
_PLACE_DETERMINERS = Weighted(
    [phrases.THE, phrases.A, phrases.POSSESSIVES["my"], phrases.POSSESSIVES["his"], phrases.POSSESSIVES["our"]],
    [70, 8, 3, 3, 3],
)


def _place(dice: Dice, kinds: tuple[str, ...]) -> Phrase:
    noun = dice.pick(lex.nouns(kinds))
    determiner = dice.pick(_PLACE_DETERMINERS) if noun.kind == "room" else phrases.THE
    described = phrases.A if determiner is phrases.THE else determiner
    return build(determiner, noun, adjectives=phrases.attributes(dice, noun, described))


def location(dice: Dice, kinds: tuple[str, ...]) -> Pair:
    """Where something is: in the kitchen, by the lake, in Berlin, in Switzerland."""
    named = _named_place(dice, kinds)
    if named is not None:
        return f"in {named.english}", phrases.prepositional("in", named, DATIVE)
    place = _place(dice, kinds)
    assert place.noun is not None
    preposition, german, _, _ = _PLACES[place.noun.kind]
    return f"{preposition} {place.english}", phrases.prepositional(german, place, DATIVE)


def direction(dice: Dice, kinds: tuple[str, ...]) -> Pair:
    """Where something goes: to the station (zum), to the kitchen (in die), to Berlin (nach)."""
    named = _named_place(dice, kinds)
    if named is not None:
        german = phrases.prepositional("in", named, ACCUSATIVE) if named.definite_article else f"nach {named.german(0)}"
        return f"to {named.english}", german
    place = _place(dice, kinds)
    assert place.noun is not None
    _, _, preposition, case = _PLACES[place.noun.kind]
    return f"to {place.english}", phrases.prepositional(preposition, place, case)


def _named_place(dice: Dice, kinds: tuple[str, ...]) -> Phrase | None:
    names = [kind for kind in kinds if kind in lex.NAMED]
    if not names or not dice.chance(len(names) / min(len(kinds), 3)):
        return None
    return city_phrase(dice) if dice.among(names) == "city" else country_phrase(dice)


def two_way(dice: Dice, complement: Complement) -> Pair:
    """On, under, into…: with the accusative for ONTO, the dative for ON."""
    moves = complement.role == "ONTO"
    noun = dice.pick(lex.nouns(complement.kinds))
    if noun.kind == "surface":
        preposition, german = dice.pick(lex.weighted("around"))
        if noun.english == "carpet" and preposition in ("behind", "in front of"):
            preposition, german = "on", "auf"
    else:
        preposition, german = ("into" if moves else "in"), "in"
    determiner, plural = phrases.determiner_for(dice, noun)
    if plural or determiner is phrases.NONE:
        determiner, plural = phrases.THE, False
    place = build(determiner, noun, adjectives=phrases.attributes(dice, noun, determiner))
    return f"{preposition} {place.english}", phrases.prepositional(german, place, ACCUSATIVE if moves else DATIVE)


_HERE = ("room", "area", "venue", "shore", "ground", "open", "city")


def free_location(dice: Dice) -> Pair:
    return dice.pick(lex.weighted("places")) if dice.chance(0.3) else location(dice, _HERE)
