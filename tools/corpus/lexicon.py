"""The lexicon as objects: the tables of *.txt read once, indexed by kind, with Zipf-like frequencies."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tools.corpus import english, inflection
from tools.corpus.choice import Weighted, zipf_weight
from tools.corpus.inflection import Forms
from tools.corpus.tables import SECTIONS, Pair, cells, pairs, read, rows

# Kinds that have no article and no plural: substances, and names of games, languages and subjects.
UNCOUNTABLE = frozenset(("dish", "drink", "material", "possession"))
ARTICLELESS = frozenset(("sport", "language", "subject"))

# Kinds whose members are names, not nouns.
NAMED = frozenset(("city", "country"))

# Kinds that need a genitive: the roof of the house. `phrases.genitive_phrase` makes them.
RELATIONAL = frozenset(("part", "feature", "authorship", "edge"))

# --- entries, with all their forms worked out ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A common noun. `gender` is a column of the article tables (0 m, 1 f, 2 n); forms are by case."""

    english: str
    english_plural: str
    lemma: str
    gender: int
    singular: Forms
    plural: Forms | None
    kind: str

    @property
    def is_person(self) -> bool:
        return self.kind in GROUPS["person"]


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """Stems take the endings of `inflection.ADJECTIVE_ENDINGS`; `german` is the predicate form."""

    english: str
    english_comparative: str
    english_superlative: str
    german: str
    stem: str
    comparative: str | None
    superlative: str | None
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Complement:
    """A complement that a verb governs besides its subject.

    role: "A" or "D" (objects), "P" (prepositional object), "BARE", "TO", "AT", "ONTO", "ON". `case` is that of the
    German noun phrase; `english` and `german` are the prepositions, possibly empty.
    """

    role: str
    english: str
    german: str
    case: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A verb in one meaning. Present and past are by person: ich, du, er, wir, ihr, sie."""

    english: str
    english_third: str
    english_past: str
    english_participle: str
    english_ing: str
    english_particle: str
    infinitive: str
    prefix: str
    idiom: str
    reflexive: bool
    present: Forms
    past: Forms
    participle: str
    imperative: str
    uses_sein: bool
    subjects: tuple[str, ...]
    complements: tuple[Complement, ...]
    marks: frozenset[str]

    @property
    def lemma(self) -> str:
        parts = ("sich" if self.reflexive else "", self.idiom, self.prefix + self.infinitive)
        return " ".join(part for part in parts if part)

    @property
    def english_is_syncretic(self) -> bool:
        """Whether present and past are spelled alike, as in put and read."""
        return self.english == self.english_past


CASES = {"A": inflection.ACCUSATIVE, "D": inflection.DATIVE, "G": inflection.GENITIVE}
GENDERS = {"m": inflection.MASCULINE, "f": inflection.FEMININE, "n": inflection.NEUTER, "w": inflection.MASCULINE}

GROUPS = {name: tuple(kinds.split()) for name, kinds in rows("groups")}
"""Kinds that stand for several others, and for single nouns ("cake_")."""

# --- nouns --------------------------------------------------------------------------------------------------------


def _read_noun(line: str, kind: str) -> Noun:
    match = _NOUN.fullmatch(line)
    assert match is not None, line
    (name, irregular, gender, lemma), forms = match.groups()[:4], match[5].split()
    if gender == "w":  # der Student, den Studenten
        singular, plural = (lemma, *forms * 3), forms[0]
    else:
        genitive = lemma if gender == "f" else forms.pop(0)
        singular, plural = (lemma, lemma, lemma, genitive), forms[0] if forms else ""
    return Noun(
        english=name,
        english_plural=irregular or english.plural(name),
        lemma=lemma,
        gender=GENDERS[gender],
        singular=singular,
        plural=inflection.decline_plural(plural) if plural else None,
        kind=kind,
    )


_NOUN = re.compile(r"([^/]+?)(?:/(.+?))?\s+([mfnw])\s+(\S+)(.*)")
"""English, irregular plural, gender, lemma, other forms."""
NOUNS_BY_KIND = {kind: [_read_noun(line, kind) for line in lines] for kind, lines in read("nouns.txt").items()}
ALL_NOUNS = [noun for nouns in NOUNS_BY_KIND.values() for noun in nouns]
_NOUN_WEIGHTS = {noun: zipf_weight(rank) for nouns in NOUNS_BY_KIND.values() for rank, noun in enumerate(nouns)}
NOUN_BY_ENGLISH: dict[str, Noun] = {}
for _noun in ALL_NOUNS:
    NOUN_BY_ENGLISH.setdefault(_noun.english, _noun)


@cache
def members(kind: str) -> tuple[Noun, ...]:
    """The nouns of a kind, a group of kinds, or the single noun that "name_" stands for."""
    if kind in GROUPS:
        return tuple(noun for part in GROUPS[kind] for noun in members(part))
    if kind in NAMED or kind in RELATIONAL:
        return ()
    if kind.endswith("_"):
        return (NOUN_BY_ENGLISH[kind[:-1].replace("_", " ")],)
    return tuple(NOUNS_BY_KIND[kind])


@cache
def nouns(kinds: tuple[str, ...]) -> Weighted[Noun]:
    """The nouns of several kinds, each as frequent as in its own kind."""
    chosen = list(dict.fromkeys(noun for kind in kinds for noun in members(kind)))
    return Weighted(chosen, [_NOUN_WEIGHTS[noun] for noun in chosen])


# --- adjectives ---------------------------------------------------------------------------------------------------


def _read_adjective(line: str) -> Adjective:
    names, forms, kinds = cells(line)
    name, *irregular = (word.strip() for word in names.split(","))
    predicate, comparative, superlative = forms.split()
    if comparative == "-":
        comparative, superlative = inflection.comparison(predicate)
    more, most = irregular or english.comparison(name)
    return Adjective(
        english=name,
        english_comparative=more,
        english_superlative=most,
        german=predicate,
        stem=inflection.adjective_stem(predicate),
        comparative=None if comparative == "x" else comparative,
        superlative=None if superlative == "x" else superlative,
        kinds=frozenset(kinds.split()),
    )


ALL_ADJECTIVES = [_read_adjective(line) for line in read("adjectives.txt")["adjectives"]]
_DESCRIBED = [frozenset(noun for kind in adj.kinds for noun in members(kind)) for adj in ALL_ADJECTIVES]


@cache
def adjectives(noun: Noun) -> Weighted[Adjective]:
    """The adjectives that can describe this noun; of two with one English form, the first."""
    chosen: dict[str, tuple[Adjective, int]] = {}
    for rank, (adjective, described) in enumerate(zip(ALL_ADJECTIVES, _DESCRIBED, strict=True)):
        if noun in described:
            chosen.setdefault(adjective.english, (adjective, zipf_weight(rank)))
    return Weighted([adjective for adjective, _ in chosen.values()], [weight for _, weight in chosen.values()])


# --- verbs --------------------------------------------------------------------------------------------------------


def _read_verb(line: str) -> Verb:
    names, forms, subjects, complements, marks = cells(line)
    first, *irregular = (name.strip() for name in names.split(","))
    base, _, particle = (part.strip() for part in first.partition("+"))
    head, _, phrase = base.partition(" ")
    phrase = f" {phrase}" if phrase else ""
    past = irregular[0] if irregular else english.regular_past(head)
    reflexive = forms.startswith("sich ")
    uses_sein = forms.endswith(" *")
    infinitive, *strong = forms.removeprefix("sich ").removesuffix(" *").split()
    idiom, _, infinitive = infinitive.rpartition(":")
    prefix, _, infinitive = infinitive.rpartition("/")
    present = inflection.conjugate_present(infinitive, strong[0] if strong else None)
    return Verb(
        english=base,
        english_third=english.third_person(head) + phrase,
        english_past=past + phrase,
        english_participle=(irregular[1] if len(irregular) > 1 else past) + phrase,
        english_ing=english.ing(head) + phrase,
        english_particle=particle,
        infinitive=infinitive,
        prefix=prefix,
        idiom=idiom,
        reflexive=reflexive,
        present=present,
        past=inflection.conjugate_past(infinitive, strong[1] if strong else None),
        participle=inflection.participle(infinitive, prefix, strong[2] if strong else None),
        imperative=inflection.imperative(infinitive, present),
        uses_sein=uses_sein,
        subjects=tuple(subjects.split()),
        complements=tuple(_read_complement(text.strip()) for text in complements.split(";") if text.strip()),
        marks=frozenset(marks),
    )


def _read_complement(text: str) -> Complement:
    frame, *kinds = text.split()
    preposition, equals, government = frame.partition("=")
    if equals:
        german, _, case = government.partition("+")
        return Complement("P" if german else case, preposition, german, CASES[case], tuple(kinds))
    return Complement(frame, "", "", CASES.get(frame, inflection.NOMINATIVE), tuple(kinds))


_VERBS = {section: [_read_verb(line) for line in lines] for section, lines in read("verbs.txt").items()}
ALL_VERBS = _VERBS["verbs"]
BE, BECOME, COST, LAST, HURT, KNOW = _VERBS["auxiliary"]
SAYING, ASKING, TRYING = (Weighted(_VERBS[section]) for section in ("saying", "asking", "trying"))
_VERB_WEIGHTS = {verb: zipf_weight(rank) for rank, verb in enumerate(ALL_VERBS)}


def verbs_where(test: Callable[[Verb], object]) -> Weighted[Verb]:
    """The verbs that pass a test, as frequent as among all verbs."""
    chosen = [verb for verb in ALL_VERBS if test(verb)]
    return Weighted(chosen, [_VERB_WEIGHTS[verb] for verb in chosen])


@cache
def verbs_by_subject(noun: Noun) -> Weighted[Verb]:
    """The verbs that this noun can be the subject of."""
    return verbs_where(lambda verb: any(noun in members(kind) for kind in verb.subjects))


@cache
def verbs_by_object(noun: Noun) -> Weighted[Verb]:
    """The verbs that this noun can be the accusative object or, with people, the dative object of."""
    return verbs_where(lambda verb: object_position(verb, noun) is not None)


def object_position(verb: Verb, noun: Noun) -> int | None:
    """The complement of a verb that this noun can fill, as an object or after a preposition."""
    if "v" in verb.marks:
        return None
    for position, complement in enumerate(verb.complements):
        if complement.role in ("A", "D", "P") and any(noun in members(kind) for kind in complement.kinds):
            return position
    return None


# --- words that do not inflect ------------------------------------------------------------------------------------


@cache
def weighted(section: str) -> Weighted[Pair]:
    """The pairs of a section by their weights, or by their rank where it gives none."""
    weights = [int(row[2]) for row in map(cells, SECTIONS[section]) if len(row) == 3]
    return Weighted([(row[0], row[1]) for row in rows(section)] if weights else pairs(section), weights)


def _times(tense: str) -> Weighted[Pair]:
    chosen = [(rank, row) for rank, row in enumerate(rows("times")) if tense in row[2]]
    return Weighted([(row[0], row[1]) for _, row in chosen], [zipf_weight(rank) for rank, _ in chosen])


TIME_ADVERBS = {tense: _times(tense) for tense in "pnfh"}
