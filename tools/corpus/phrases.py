"""Noun phrases in both languages: articles, adjectives, numbers, names, pronouns, and what follows a noun.

A phrase knows its English form, its four German cases, and what the clause needs for agreement and word order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.corpus import english, inflection
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.inflection import ER, FEMININE, GENITIVE, MASCULINE, PLURAL, SIE, Table, with_endings
from tools.corpus.words import Adjective, Forms, Noun

EMPTY: Table = (("",) * 4,) * 4


@dataclass(frozen=True, slots=True)
class Determiner:
    """What stands before the adjectives. `forms` is empty text where German has no word."""

    english: str
    forms: Table
    endings: Table
    definite_article: bool = False
    indefinite: bool = False
    quantity: bool = False


STRONG, WEAK, MIXED = (inflection.ADJECTIVE_ENDINGS[name] for name in ("strong", "weak", "mixed"))

THE = Determiner("the", inflection.DEFINITE, WEAK, definite_article=True)
A = Determiner("a", with_endings("ein", inflection.EIN_ENDINGS), MIXED, indefinite=True)
NO = Determiner("no", with_endings("kein", inflection.EIN_ENDINGS), MIXED)
THIS = Determiner("this", with_endings("dies", inflection.STRONG_ENDINGS), WEAK)
THESE = Determiner("these", THIS.forms, WEAK)
EVERY = Determiner("every", with_endings("jed", inflection.STRONG_ENDINGS), WEAK)
ALL = Determiner("all", with_endings("all", inflection.STRONG_ENDINGS), WEAK)
MANY = Determiner("many", with_endings("viel", inflection.STRONG_ENDINGS), STRONG, quantity=True)
SOME = Determiner("some", with_endings("einig", inflection.STRONG_ENDINGS), STRONG, quantity=True)
BOTH = Determiner("both", with_endings("beid", inflection.STRONG_ENDINGS), WEAK)
WHICH = Determiner("which", with_endings("welch", inflection.STRONG_ENDINGS), WEAK)
NONE = Determiner("", EMPTY, STRONG, indefinite=True)

POSSESSIVES = {
    name: Determiner(name, with_endings(stem, inflection.EIN_ENDINGS), MIXED)
    for name, stem in zip(
        ("my", "your", "his", "her", "our", "their"), ("mein", "dein", "sein", "ihr", "unser", "ihr"), strict=True
    )
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


def _pronoun(subject: str, object_: str, forms: str, person: int, column: int, formal: bool = False) -> Phrase:
    cases = forms.split()
    return Phrase(subject, object_, lambda case: cases[case], person, column, pronoun=True, formal=formal)


I = _pronoun("I", "me", "ich mich mir", inflection.ICH, MASCULINE)  # noqa: E741
YOU = _pronoun("you", "you", "du dich dir", inflection.DU, MASCULINE)
YOU_PLURAL = _pronoun("you", "you", "ihr euch euch", inflection.IHR, PLURAL)
YOU_FORMAL = _pronoun("you", "you", "Sie Sie Ihnen", SIE, PLURAL, formal=True)
HE = _pronoun("he", "him", "er ihn ihm", ER, MASCULINE)
SHE = _pronoun("she", "her", "sie sie ihr", ER, FEMININE)
WE = _pronoun("we", "us", "wir uns uns", inflection.WIR, PLURAL)
THEY = _pronoun("they", "them", "sie sie ihnen", SIE, PLURAL)
# English "it" for a German noun of each gender.
IT = (
    _pronoun("it", "it", "er ihn ihm", ER, MASCULINE),
    _pronoun("it", "it", "sie sie ihr", ER, FEMININE),
    _pronoun("it", "it", "es es ihm", ER, inflection.NEUTER),
)
PERSONAL = Weighted([I, HE, SHE, WE, THEY, YOU], [10, 7, 7, 6, 4, 3])

REFLEXIVES = ("mich", "dich", "sich", "uns", "euch", "sich")


def pronoun_for(phrase: Phrase) -> Phrase:
    """The pronoun that takes up a phrase again, with natural gender for people and grammatical for things."""
    if phrase.pronoun:
        return phrase
    if phrase.plural:
        return THEY
    human = phrase.noun is None or phrase.noun.kind in lex.GROUPS["person"]
    if not human or (phrase.noun is not None and phrase.noun.english in ("child", "baby")):
        return IT[phrase.column]
    if phrase.noun is not None and phrase.noun.english == "girl":
        return SHE
    return SHE if phrase.column == FEMININE else HE


def _name(english_name: str, nominative: str, other: str, column: int) -> Phrase:
    return Phrase(
        english_name, english_name, lambda case: nominative if case == inflection.NOMINATIVE else other, ER, column
    )


FIRST_NAMES = Weighted(
    [
        _name(name, name, name, column)
        for pair in zip(lex.word_list("women"), lex.word_list("men"), strict=True)
        for name, column in zip(pair, (FEMININE, MASCULINE), strict=True)
    ]
)
TITLED_NAMES = Weighted(
    [
        phrase
        for name in lex.word_list("surnames")
        for phrase in (
            _name(f"Mr {name}", f"Herr {name}", f"Herrn {name}", MASCULINE),
            _name(f"Mrs {name}", f"Frau {name}", f"Frau {name}", FEMININE),
        )
    ]
)


def _possessor(phrase: Phrase) -> Determiner:
    name = inflection.genitive_name(phrase.english)
    return Determiner(f"{phrase.english}'s", ((name,) * 4,) * 4, STRONG)


NAME_POSSESSIVES = Weighted([_possessor(phrase) for phrase in FIRST_NAMES.items])

# --- numerals -----------------------------------------------------------------------------------------------------

_NUMERALS = lex.word_list("numbers"), lex.word_list("tens")
_ENGLISH_NUMERALS = lex.word_list("english_numbers"), lex.word_list("english_tens")


def number_words(number: int) -> tuple[str, str]:
    """2 to 99 in English and German words."""
    return english.number_word(number, *_ENGLISH_NUMERALS), inflection.number_word(number, *_NUMERALS)


def _numeral(english_word: str, german_word: str) -> Determiner:
    return Determiner(english_word, ((german_word,) * 4,) * 4, STRONG, quantity=True)


NUMERALS = Weighted(
    [_numeral(*number_words(number)) for number in (*range(2, 13), 15, 20, 21, 25, 34, 40, 57, 68, 79, 80, 93)]
)
DIGITS = [_numeral(str(number), str(number)) for number in range(13, 100)]


# --- phrases around a noun ----------------------------------------------------------------------------------------

Tail = tuple[str, str]


def build(
    determiner: Determiner,
    noun: Noun,
    *,
    plural: bool = False,
    adjectives: tuple[tuple[str, str], ...] = (),
    tail: Tail = ("", ""),
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


_SINGULAR = Weighted([THE, A, THIS, EVERY], [54, 22, 6, 2])
_PLURALS = Weighted([THE, NONE, THESE, MANY, ALL, SOME, BOTH], [40, 24, 7, 7, 5, 6, 3])
_SUBSTANCE = Weighted([NONE, THE], [60, 40])
_OWNERS = Weighted(list(POSSESSIVES.values()), [10, 4, 8, 8, 5, 4])
_OWNED = frozenset(("relative", "clothing", "small", "text", "toy", "car", "device", "room", "idea", "body"))
# Of these a person has one.
_ONE_EACH = frozenset(("mother", "father", "husband", "wife", "boss", "grandmother", "grandfather"))
_SPOUSES = {
    "husband": [POSSESSIVES[name] for name in ("my", "your", "her")],
    "wife": [POSSESSIVES[name] for name in ("my", "your", "his")],
}
_RELATIVE_PLURALS = Weighted([THE, THESE, ALL, SOME], [60, 12, 12, 8])


def may_be_plural(noun: Noun) -> bool:
    return noun.plural is not None and noun.kind not in lex.UNCOUNTABLE and noun.english not in _ONE_EACH


def determiner_for(dice: Dice, noun: Noun) -> tuple[Determiner, bool]:
    """A determiner that suits a noun, and whether the noun is plural."""
    if noun.kind in lex.ARTICLELESS:
        return NONE, False
    if noun.kind in lex.UNCOUNTABLE:
        return dice.pick(_SUBSTANCE), False
    if noun.kind == "instrument" or (noun.plural is None and noun.kind != "animal"):
        return THE, False
    related = noun.kind == "relative"
    owned = 0.8 if related else 0.2 if noun.kind in _OWNED else 0.0
    plural = may_be_plural(noun) and dice.chance(0.22)
    if owned and dice.chance(owned):
        if noun.english in _SPOUSES:
            return dice.among(_SPOUSES[noun.english]), False
        return dice.pick(NAME_POSSESSIVES if dice.chance(0.2) else _OWNERS), plural
    if plural and dice.chance(0.17):
        return dice.pick(NUMERALS) if dice.chance(0.8) else dice.among(DIGITS), True
    if plural and related:
        return dice.pick(_RELATIVE_PLURALS), True
    return dice.pick(_PLURALS if plural else _SINGULAR), plural


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
            return (dice.pick(lex.ORDINAL_WORDS),)
    if dice.chance(0.1):
        second = dice.pick(choices)
        if _combine(adjective, second):
            return ((adjective.english, adjective.stem), (second.english, second.stem))
    return ((adjective.english, adjective.stem),)


_SIZE = ("klein", "groß", "alt", "neu", "jung", "schön", "teuer", "billig", "gut")


def _combine(first: Adjective, second: Adjective) -> bool:
    """Whether two adjectives sound natural in this order: size or age, then colour or nationality."""
    return first.german in _SIZE and second.superlative is None and first.german != second.german


def noun_phrase(dice: Dice, noun: Noun, *, plain: bool = False, described: bool = True) -> Phrase:
    """A phrase around a noun: `plain` without anything after it, not `described` without adjectives."""
    determiner, plural = determiner_for(dice, noun)
    adjectives = attributes(dice, noun, determiner) if described else ()
    tail = _noun_tail(dice, noun) if determiner is THE and not plain and dice.chance(0.12) else ("", "")
    return build(determiner, noun, plural=plural, adjectives=adjectives, tail=tail)


_MATERIAL_KINDS = frozenset(("surface", "container", "toy", "upright"))


def _noun_tail(dice: Dice, noun: Noun) -> Tail:
    """What follows a noun of a fitting kind: (the man) from Berlin, (a table) made of wood, (the book) of the man."""
    if noun.kind in ("people", "professional"):
        city, stadt = dice.pick(lex.CITY_NAMES)
        return f" from {city}", f" aus {stadt}"
    if noun.kind in _MATERIAL_KINDS:
        material = dice.pick(lex.nouns(("material",)))
        return f" made of {material.english}", f" aus {material.lemma}"
    if noun.kind in ("text", "car", "building", "room", "story", "idea", "relative"):
        owner_kinds = ("professional", "people", "relative")
        owner = noun_phrase(dice, dice.pick(lex.nouns(owner_kinds)), plain=True)
        if not owner.indefinite and "'s " not in owner.english:
            return f" of {owner.english}", " " + owner.german(GENITIVE)
    return "", ""


# Kinds of things that belong to others, and to what.
_HEADS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("part", ("house_", "church_", "castle_", "tower_", "hut_")),
    ("feature", ("car", "clothing", "surface")),
    ("authorship", ("story", "book_", "article_")),
    ("edge", ("river_", "lake_")),
)


def genitive_phrase(dice: Dice, kinds: tuple[str, ...]) -> Phrase | None:
    """A thing with its owner or whole in the genitive (the roof of the house), if such things are of these kinds."""
    choices = [(head, whole) for head, whole in _HEADS if head in kinds]
    if not choices:
        return None
    head, whole = dice.among(choices)
    noun = dice.among(_HEAD_NOUNS[head])
    owner = noun_phrase(dice, dice.pick(lex.nouns(whole)), plain=True)
    if owner.indefinite or "'s " in owner.english:
        return None
    return build(THE, noun, tail=(f" of {owner.english}", " " + owner.german(GENITIVE)))


_HEAD_NOUNS = {kind: lex.NOUNS_BY_KIND[kind] for kind in lex.RELATIONAL}


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
