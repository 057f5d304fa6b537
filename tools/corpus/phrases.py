"""Noun phrases in both languages: articles, adjectives, numbers, names, pronouns, and what follows a noun.

A phrase knows its English form, its four German cases, and what the clause needs for agreement and word order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.corpus import english, inflection
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.inflection import ER, FEMININE, GENITIVE, MASCULINE, PLURAL, SIE, Forms, Table, with_endings
from tools.corpus.lexicon import Adjective, Noun
from tools.corpus.tables import SECTIONS, Pair, pairs, rows, word_list


@dataclass(frozen=True, slots=True)
class Determiner:
    """What stands before the adjectives. `forms` is empty text where German has no word."""

    english: str
    forms: Table
    endings: Table
    definite_article: bool = False
    indefinite: bool = False
    quantity: bool = False


def invariable(english_word: str, german_word: str, *, indefinite: bool = False, quantity: bool = False) -> Determiner:
    """A determiner without endings, or no word at all; adjectives after it have the strong ones."""
    forms = ((german_word,) * 4,) * 4
    return Determiner(
        english_word, forms, inflection.ADJECTIVE_ENDINGS["strong"], indefinite=indefinite, quantity=quantity
    )


THE = Determiner("the", inflection.DEFINITE, inflection.ADJECTIVE_ENDINGS["weak"], definite_article=True)
NONE = invariable("", "", indefinite=True)
DETERMINERS = {"the": THE, "-": NONE} | {
    name: Determiner(
        name,
        with_endings(stem, inflection.ARTICLE_ENDINGS[endings]),
        inflection.ADJECTIVE_ENDINGS[after],
        indefinite="a" in marks,
        quantity="q" in marks,
    )
    for name, stem, endings, after, marks in rows("determiners")
}
A, NO, EVERY, WHICH = (DETERMINERS[name] for name in ("a", "no", "every", "which"))
POSSESSIVES = {
    name: Determiner(name, with_endings(stem, inflection.ARTICLE_ENDINGS["ein"]), inflection.ADJECTIVE_ENDINGS["mixed"])
    for name, stem, _ in rows("possessives")
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase in both languages.

    person: 0 to 5 as in a conjugation table, for both languages (formal "you" is SIE). column: gender or plural, as in
    the article tables. `kein` gives the German forms under negation, if the phrase is indefinite. A `quantity` (three,
    many, some) is no definite object either. `heavy` phrases have something after the noun.
    """

    english: str
    english_object: str
    german: Callable[[int], str]
    person: int
    column: int
    noun: Noun | None = None
    pronoun: bool = False
    definite_article: bool = False
    kein: Callable[[int], str] | None = None
    quantity: bool = False
    heavy: bool = False
    formal: bool = False

    @property
    def indefinite(self) -> bool:
        return self.kein is not None

    @property
    def plural(self) -> bool:
        return self.column == PLURAL


# --- pronouns and names -------------------------------------------------------------------------------------------


def _pronoun(name: str, subject: str, object_: str, german: str, person: str, column: str, _: str) -> Phrase:
    cases, formal = german.split(), name == "you formal"
    return Phrase(subject, object_, lambda case: cases[case], int(person), int(column), pronoun=True, formal=formal)


PRONOUNS = {row[0]: _pronoun(*row) for row in rows("pronouns")}
I, HE, SHE, WE, THEY, YOU, YOU_PLURAL, YOU_FORMAL, *IT = PRONOUNS.values()  # noqa: E741
"""IT is the English "it" for a German noun of each gender."""
_FREQUENT = {PRONOUNS[row[0]]: int(row[-1]) for row in rows("pronouns") if row[-1] != "0"}
PERSONAL = Weighted(list(_FREQUENT), list(_FREQUENT.values()))

REFLEXIVES = ("mich", "dich", "sich", "uns", "euch", "sich")


def pronoun_for(phrase: Phrase) -> Phrase:
    """The pronoun that takes up a phrase again, with natural gender for people and grammatical for things."""
    if phrase.pronoun:
        return phrase
    if phrase.plural:
        return THEY
    noun = phrase.noun
    if noun is not None and (not noun.is_person or noun.english in ("child", "baby")):
        return IT[phrase.column]
    return SHE if phrase.column == FEMININE or (noun is not None and noun.english == "girl") else HE


def _name(english_name: str, nominative: str, other: str, column: int) -> Phrase:
    return Phrase(
        english_name, english_name, lambda case: nominative if case == inflection.NOMINATIVE else other, ER, column
    )


FIRST_NAMES = Weighted(
    [
        _name(name, name, name, column)
        for pair in zip(word_list("women"), word_list("men"), strict=True)
        for name, column in zip(pair, (FEMININE, MASCULINE), strict=True)
    ]
)
TITLED_NAMES = Weighted(
    [
        phrase
        for name in word_list("surnames")
        for phrase in (
            _name(f"Mr {name}", f"Herr {name}", f"Herrn {name}", MASCULINE),
            _name(f"Mrs {name}", f"Frau {name}", f"Frau {name}", FEMININE),
        )
    ]
)


NAME_POSSESSIVES = Weighted(
    [invariable(f"{name.english}'s", inflection.genitive_name(name.english)) for name in FIRST_NAMES.items]
)

# --- numerals -----------------------------------------------------------------------------------------------------


def number_words(number: int) -> Pair:
    """2 to 99 in English and German words: twenty-one, einundzwanzig."""
    if number < 20:
        return pairs("numbers")[number]
    (ten, zehn), (unit, einheit) = pairs("tens")[number // 10], pairs("numbers")[number % 10]
    if not number % 10:
        return ten, zehn
    return f"{ten}-{unit}", f"{'ein' if unit == 'one' else einheit}und{zehn}"


_IN_WORDS = (*range(2, 13), 15, 20, 21, 25, 34, 40, 57, 68, 79, 80, 93)
NUMERALS = Weighted([invariable(*number_words(number), quantity=True) for number in _IN_WORDS])
DIGITS = [invariable(str(number), str(number), quantity=True) for number in range(13, 100)]


# --- phrases around a noun ----------------------------------------------------------------------------------------


def build(
    determiner: Determiner,
    noun: Noun,
    *,
    plural: bool = False,
    adjectives: tuple[tuple[str, str], ...] = (),
    tail: Pair = ("", ""),
) -> Phrase:
    """A noun phrase from its parts. `adjectives` are pairs of an English form and a German stem; `tail` follows."""
    column = PLURAL if plural else noun.gender
    forms = noun.plural if plural else noun.singular
    assert forms is not None
    words = [word for word, _ in adjectives] + [noun.english_plural if plural else noun.english]
    first = english.indefinite_article(words[0]) if determiner is A else determiner.english
    text = " ".join([first, *words] if first else words) + tail[0]
    stems = [stem for _, stem in adjectives]
    return Phrase(
        english=text,
        english_object=text,
        german=_declension(determiner, stems, forms, column, tail[1]),
        person=SIE if plural else ER,
        column=column,
        noun=noun,
        definite_article=determiner.definite_article,
        kein=_declension(NO, stems, forms, column, tail[1]) if determiner.indefinite else None,
        quantity=determiner.quantity,
        heavy=bool(tail[0]),
    )


def _declension(determiner: Determiner, stems: list[str], forms: Forms, column: int, tail: str) -> Callable[[int], str]:
    """A phrase's German text by case."""

    def german(case: int) -> str:
        article = determiner.forms[case][column]
        parts = [article] if article else []
        if stems:
            ending = determiner.endings[case][column]
            parts += [stem + ending for stem in stems]
        parts.append(forms[case])
        return " ".join(parts) + tail

    return german


def _weighted(section: str) -> Weighted[Determiner]:
    names, weights = zip(*(line.split() for line in SECTIONS[section]), strict=True)
    return Weighted([DETERMINERS[name] for name in names], [int(weight) for weight in weights])


_SINGULAR, _PLURAL, _SUBSTANCE = _weighted("singular"), _weighted("plural"), _weighted("substance")
_RELATIVE_PLURAL = _weighted("plural relatives")
_OWNERS = Weighted(list(POSSESSIVES.values()), [int(row[-1]) for row in rows("possessives")])
_SPOUSES = {
    spouse: [POSSESSIVES[name] for name in ("my", "your", third)]
    for spouse, third in (("husband", "her"), ("wife", "his"))
}


def may_be_plural(noun: Noun) -> bool:
    return noun.plural is not None and noun.kind not in lex.UNCOUNTABLE and noun.english not in word_list("one each")


def determiner_for(dice: Dice, noun: Noun) -> tuple[Determiner, bool]:
    """A determiner that suits a noun, and whether the noun is plural."""
    if noun.kind in lex.ARTICLELESS:
        return NONE, False
    if noun.kind in lex.UNCOUNTABLE:
        return dice.pick(_SUBSTANCE), False
    if noun.kind == "instrument" or (noun.plural is None and noun.kind != "animal"):
        return THE, False
    related = noun.kind == "relative"
    owned = 0.8 if related else 0.2 if noun.kind in word_list("owned") else 0.0
    plural = may_be_plural(noun) and dice.chance(0.22)
    if owned and dice.chance(owned):
        if noun.english in _SPOUSES:
            return dice.among(_SPOUSES[noun.english]), False
        return dice.pick(NAME_POSSESSIVES if dice.chance(0.2) else _OWNERS), plural
    if plural and dice.chance(0.17):
        return dice.pick(NUMERALS) if dice.chance(0.8) else dice.among(DIGITS), True
    if plural and related:
        return dice.pick(_RELATIVE_PLURAL), True
    return dice.pick(_PLURAL if plural else _SINGULAR), plural


def attributes(dice: Dice, noun: Noun, determiner: Determiner) -> tuple[tuple[str, str], ...]:
    """None, one or two adjectives, sometimes a superlative or an ordinal after the definite article."""
    choices = lex.adjectives(noun)
    if noun.kind in lex.ARTICLELESS or not choices or not dice.chance(0.27):
        return ()
    adjective = dice.pick(choices)
    if determiner is THE and noun.kind not in lex.UNCOUNTABLE:
        if adjective.superlative and dice.chance(0.12):
            return ((adjective.english_superlative, adjective.superlative),)
        if dice.chance(0.08):
            return (dice.pick(lex.weighted("ordinals")),)
    if dice.chance(0.1):
        second = dice.pick(choices)
        if _combine(adjective, second):
            return ((adjective.english, adjective.stem), (second.english, second.stem))
    return ((adjective.english, adjective.stem),)


def _combine(first: Adjective, second: Adjective) -> bool:
    """Whether two adjectives sound natural in this order: size or age, then colour or nationality."""
    return (
        first.german in word_list("first adjectives") and second.superlative is None and first.german != second.german
    )


def noun_phrase(dice: Dice, noun: Noun, *, plain: bool = False, described: bool = True) -> Phrase:
    """A phrase around a noun: `plain` without anything after it, not `described` without adjectives."""
    determiner, plural = determiner_for(dice, noun)
    adjectives = attributes(dice, noun, determiner) if described else ()
    tail = _noun_tail(dice, noun) if determiner is THE and not plain and dice.chance(0.12) else ("", "")
    return build(determiner, noun, plural=plural, adjectives=adjectives, tail=tail)


def _noun_tail(dice: Dice, noun: Noun) -> Pair:
    """What follows a noun of a fitting kind: (the man) from Berlin, (a table) made of wood, (the book) of the man."""
    if noun.kind in ("people", "professional"):
        city, stadt = dice.pick(lex.weighted("cities"))
        return f" from {city}", f" aus {stadt}"
    if noun.kind in word_list("made"):
        material = dice.pick(lex.nouns(("material",)))
        return f" made of {material.english}", f" aus {material.lemma}"
    if noun.kind in word_list("has an owner"):
        return _genitive(dice, ("professional", "people", "relative")) or ("", "")
    return "", ""


def _genitive(dice: Dice, kinds: tuple[str, ...]) -> Pair | None:
    """An owner or whole of these kinds (of the man, of the house), if one comes up that has a definite determiner."""
    owner = noun_phrase(dice, dice.pick(lex.nouns(kinds)), plain=True)
    if owner.indefinite or "'s " in owner.english:
        return None
    return f" of {owner.english}", " " + owner.german(GENITIVE)


def genitive_phrase(dice: Dice, kinds: tuple[str, ...]) -> Phrase | None:
    """A thing with its owner or whole in the genitive (the roof of the house), if such things are of these kinds."""
    choices = [(head, tuple(wholes.split())) for head, wholes in rows("wholes") if head in kinds]
    if not choices:
        return None
    head, wholes = dice.among(choices)
    noun = dice.among(lex.NOUNS_BY_KIND[head])
    tail = _genitive(dice, wholes)
    return build(THE, noun, tail=tail) if tail else None


def coordinate(first: Phrase, second: Phrase) -> Phrase:
    """Two phrases joined with and: plural."""
    return Phrase(
        english=f"{first.english} and {second.english}",
        english_object=f"{first.english_object} and {second.english_object}",
        german=lambda case: f"{first.german(case)} und {second.german(case)}",
        person=SIE,
        column=PLURAL,
        heavy=True,
        definite_article=first.definite_article,
    )


# --- prepositions -------------------------------------------------------------------------------------------------


def prepositional(preposition: str, phrase: Phrase, case: int) -> str:
    """The German preposition with its phrase, contracted with a definite article."""
    text = phrase.german(case)
    return inflection.contract(preposition, text) if phrase.definite_article else f"{preposition} {text}"
