"""How someone or something is: descriptions, comparisons, professions."""

from __future__ import annotations

from polystill.data.synthetic import filling, inflection, times
from polystill.data.synthetic import lexicon as lex
from polystill.data.synthetic.choice import Dice, Weighted
from polystill.data.synthetic.clauses import (
    Clause,
    Sentence,
    Slot,
    english_main,
    german_main,
)
from polystill.data.synthetic.inflection import ER, NOMINATIVE
from polystill.data.synthetic.phrases import (
    FIRST_NAMES,
    PERSONAL,
    POSSESSIVES,
    THE,
    TITLED_NAMES,
    A,
    Phrase,
    build,
    noun_phrase,
)
from polystill.data.synthetic.words import Noun


def being(dice: Dice, subject: Phrase, noun: Noun, tense: str) -> Clause:
    """A clause that says how something is, was or seems; `noun` says which adjectives suit it."""
    adjective = dice.pick(_MOODS if subject.pronoun and filling.is_person(noun) else lex.adjectives(noun))
    becomes = tense != "present" and adjective.german in _BECOMING and filling.is_person(noun) and dice.chance(0.2)
    verb = lex.BECOME if becomes else lex.BE
    clause = Clause(verb, tense, subject, subject)
    degree, grad = dice.pick(lex.DEGREE_ADVERBS) if adjective.superlative and dice.chance(0.45) else ("", "")
    if degree == "too" and adjective.german not in _EXCESSIVE:
        degree, grad = "very", "sehr"
    if dice.chance(0.12) and not subject.english.lower().startswith(filling.QUANTIFIED):
        clause.negated = clause.english_not = True
    if adjective.superlative is None and tense == "perfect":
        clause.tense = "past"
    clause.english_tail.append(f"{degree} {adjective.english}".strip())
    clause.slots.append((Slot.PREDICATE, f"{grad} {adjective.german}".strip()))
    return clause


_MOOD_NAMES = ("tired", "happy", "ill", "sad", "hungry", "angry", "nervous", "thirsty", "curious", "jealous")
_MOODS = Weighted([adjective for adjective in lex.ALL_ADJECTIVES if adjective.english in _MOOD_NAMES])
_EXCESSIVE = frozenset(
    [
        "alt",
        "klein",
        "groß",
        "jung",
        "teuer",
        "lang",
        "kurz",
        "schwer",
        "dunkel",
        "schwierig",
        "heiß",
        "kalt",
        "süß",
        "breit",
        "eng",
        "tief",
        "schnell",
        "langsam",
        "dick",
        "dünn",
        "gefährlich",
        "laut",
        "müde",
        "schwach",
    ]
)


_BECOMING = frozenset(["müde", "krank", "traurig", "durstig", "wütend", "berühmt", "reich", "hungrig", "nervös"])


_DESCRIBED = Weighted(
    [noun for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
    [max(1, len(lex.adjectives(noun).items)) for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
)


def description(dice: Dice) -> Sentence:
    """The soup is too hot. Last year the neighbour became ill."""
    noun = dice.pick(_DESCRIBED)
    if dice.chance(0.75):
        subject = noun_phrase(dice, noun, described=False)
    else:
        subject = filling.with_relative_clause(dice, noun, described=False)
    clause = being(dice, subject, noun, dice.among(("present", "present", "past", "past", "will")))
    if clause.tense != "present" and dice.chance(0.3):
        clause.time = times.point(dice, times.PAST if clause.tense == "past" else times.FUTURE)
        clause.front = clause.time if dice.chance(0.4) else None
    return english_main(clause), german_main(clause), "."


def comparison(dice: Dice) -> Sentence:
    """The dog is bigger than the cat; as big as; the biggest dog in the village."""
    noun = dice.pick(_DESCRIBED)
    choices = [adjective for adjective in lex.adjectives(noun).items if adjective.comparative]
    if not choices:
        return description(dice)
    adjective = dice.among(choices)
    subject = noun_phrase(dice, noun, plain=True, described=False)
    similar = [
        other for other in lex.members(noun.kind) if adjective in lex.adjectives(other).items and other is not noun
    ]
    other = build(dice.among((THE, POSSESSIVES["my"], POSSESSIVES["her"])), dice.among(similar) if similar else noun)
    if not similar:
        other = build(POSSESSIVES["my"] if not subject.english.startswith("my") else POSSESSIVES["their"], noun)
    clause = Clause(lex.BE, dice.among(("present", "present", "past")), subject, subject)
    if dice.chance(0.3):
        if dice.chance(0.4):
            clause.negated = clause.english_not = True
        clause.english_tail.append(f"as {adjective.english} as {other.english}")
        clause.slots.append((Slot.PREDICATE, f"so {adjective.german} wie {other.german(NOMINATIVE)}"))
    else:
        much, viel = dice.among((("", ""), ("", ""), ("much ", "viel "), ("a little ", "etwas ")))
        clause.english_tail.append(f"{much}{adjective.english_comparative} than {other.english}")
        clause.slots.append((Slot.PREDICATE, f"{viel}{adjective.comparative} als {other.german(NOMINATIVE)}"))
    return english_main(clause), german_main(clause), "."


def profession(dice: Dice) -> Sentence:
    """My brother wants to become a doctor: no article in German, but "ein guter Arzt"."""
    job = dice.pick(_MALE_JOBS)
    subject = dice.pick(_MALE_SUBJECTS)
    verb, tense = dice.among(
        ((lex.BE, "present"), (lex.BE, "past"), (lex.BECOME, "past"), (lex.BECOME, "want to"), (lex.BECOME, "will"))
    )
    clause = Clause(verb, tense, subject, subject)
    if dice.chance(0.35):
        adjective = dice.pick(lex.adjectives(job))
        predicate = build(A, job, adjectives=((adjective.english, adjective.stem),))
        german = predicate.german(NOMINATIVE)
    else:
        predicate = build(A, job)
        german = job.lemma
    clause.english_tail.append(predicate.english)
    clause.slots.append((Slot.PREDICATE, german))
    if tense in ("want to", "will") and dice.chance(0.3):
        clause.front = dice.pick(lex.SENTENCE_ADVERBS)
    return english_main(clause), german_main(clause), "."


_MALE_JOBS = Weighted([noun for noun in lex.members("professional") if noun.gender == inflection.MASCULINE])
_MALE_SUBJECTS = Weighted(
    [
        phrase
        for phrase in (*FIRST_NAMES.items, *TITLED_NAMES.items, *PERSONAL.items)
        if phrase.column == 0 and phrase.person == ER
    ]
    + [
        build(owner, noun)
        for noun in lex.members("relative")
        if noun.gender == 0 and noun.english not in ("boss", "friend", "guest")
        for owner in (POSSESSIVES["my"], POSSESSIVES["her"], POSSESSIVES["his"])
    ]
)
