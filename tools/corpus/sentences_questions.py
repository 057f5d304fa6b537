"""Questions and requests; an address decides between du, ihr and Sie."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tools.corpus import clauses, filling
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice
from tools.corpus.clauses import Clause, Sentence, Slot, english_main, german_main
from tools.corpus.filling import clause_with, subject_for
from tools.corpus.inflection import ARTICLE_ENDINGS, ER, NOMINATIVE, with_endings
from tools.corpus.lexicon import Verb
from tools.corpus.phrases import FIRST_NAMES, TITLED_NAMES, WHICH, YOU, YOU_FORMAL, YOU_PLURAL, I, Phrase, build
from tools.corpus.tables import Pair, pairs


def yes_no_question(dice: Dice) -> Sentence:
    """Does the man know Berlin? With an address: Mr Weber, do you …?: Herr Weber, kennen Sie …?"""
    if dice.chance(0.35):
        return _addressed(dice, _question_to)
    verb = dice.pick(filling.PERSON_VERBS)
    return _question(dice, verb, _asked_about(dice, verb))


def _question_to(dice: Dice, subject: Phrase) -> Sentence:
    return _question(dice, dice.pick(filling.PERSON_VERBS), subject)


def _question(dice: Dice, verb: Verb, subject: Phrase) -> Sentence:
    clause = clause_with(dice, verb, subject, _question_tense(dice, verb, subject), negation=0.08, light=False)
    if dice.chance(0.35):
        clause.time = filling.time_for(dice, clause.tense, verb)
    return clauses.english_question(clause), clauses.german_verb_first(clause), "?"


def _asked_about(dice: Dice, verb: Verb) -> Phrase:
    subject = subject_for(dice, verb.subjects)
    return YOU if subject is I else subject


def _question_tense(dice: Dice, verb: Verb, subject: Phrase) -> str:
    tense = filling.pick_tense(dice, verb, subject)
    if tense == "since" or (tense == "present" and dice.chance(0.6)):
        tense = "present" if "s" in verb.marks else "progressive"
    return tense


def _address(dice: Dice) -> tuple[Pair, Phrase]:
    """Whom a question or request is put to; decides between du, ihr and Sie."""
    kind = dice.random()
    if kind < 0.45:
        phrase = dice.pick(FIRST_NAMES)
        return (phrase.english, phrase.english), YOU
    if kind < 0.8:
        phrase = dice.pick(TITLED_NAMES)
        return (phrase.english, phrase.german(NOMINATIVE)), YOU_FORMAL
    return dice.among(pairs("several addressed")), YOU_PLURAL


def wh_question(dice: Dice) -> Sentence:
    """Why, when, where; which bus; whom."""
    if dice.chance(0.4):
        return _which_question(dice)
    verb = dice.pick(filling.PERSON_VERBS)
    subject = _asked_about(dice, verb)
    clause = clause_with(dice, verb, subject, _question_tense(dice, verb, subject), negation=0.06, light=False)
    where = "l" in verb.marks and dice.chance(0.5)
    word, german = dice.pick(lex.weighted("questions of place" if where else "questions"))
    if word in ("how often", "when") and clause.tense == "perfect":
        clause.tense = "past"
    if word == "how often" and clause.tense == "progressive":
        clause.tense = "present"
    return f"{word} {clauses.english_question(clause)}", f"{german} {clauses.german_verb_first(clause)}", "?"


def _which_question(dice: Dice) -> Sentence:
    """Which bus is she waiting for?: Auf welchen Bus wartet sie? Who …?: Wer …?"""
    if dice.chance(0.35):
        verb = dice.pick(filling.PERSON_VERBS)
        who = Phrase("who", "whom", lambda case: ("wer", "wen", "wem", "wessen")[case], ER, 0, pronoun=True)
        clause = clause_with(dice, verb, who, _question_tense(dice, verb, who), negation=0.05, light=False)
        return english_main(clause), _turned(clause) if "v" in verb.marks else german_main(clause), "?"
    verb = dice.pick(_OBJECT_VERBS)
    complement = verb.complements[0]
    noun = dice.pick(lex.nouns(complement.kinds))
    subject = _asked_about(dice, verb)
    plural = noun.plural is not None and dice.chance(0.25)
    which = build(WHICH, noun, plural=plural)
    clause = clause_with(dice, verb, subject, _question_tense(dice, verb, subject), negation=0.0, gap=0)
    german = which.german(complement.case)
    if complement.role == "P":
        german = f"{complement.german} {german}"
    return f"{which.english} {clauses.english_question(clause)}", f"{german} {clauses.german_verb_first(clause)}", "?"


def _turned(clause: Clause) -> str:
    """Who likes the song?: Wem gefällt das Lied?"""
    slots = [entry for entry in clause.slots if entry[0] not in (Slot.DATIVE, Slot.DATIVE_PRONOUN)]
    return f"wem {clauses.german_verb_first(replace(clause, subject=clause.german_subject, slots=slots))}"


def _has_countable_object(verb: Verb) -> bool:
    """Whether one may ask a person which one they do it to."""
    if "person" not in verb.subjects or "v" in verb.marks or not verb.complements:
        return False
    things = lex.nouns(verb.complements[0].kinds).items
    countable = all(noun.kind not in lex.ARTICLELESS | lex.UNCOUNTABLE for noun in things)
    return verb.complements[0].role in ("A", "P", "D") and bool(things) and countable


_OBJECT_VERBS = lex.verbs_where(_has_countable_object)


def request(dice: Dice) -> Sentence:
    """Anna, please open the door: Anna, öffne bitte die Tür; Mr Weber, please …: … Sie."""
    return _addressed(dice, _request_to)


def _request_to(dice: Dice, subject: Phrase) -> Sentence:
    clause = clause_with(dice, dice.pick(filling.VOLITIONAL_VERBS), subject, "present", negation=0.0)
    return f"please {clauses.english_infinitive(clause)}", clauses.german_imperative(clause), "."


def _addressed(dice: Dice, say: Callable[[Dice, Phrase], Sentence]) -> Sentence:
    """What is said to someone, after their name: with "your" as they are addressed, and no further "you"."""
    (name, anrede), subject = _address(dice)
    english, german, mark = say(dice, subject)
    while subject is not YOU and len(_YOU.findall(english)) > (mark == "?"):
        english, german, mark = say(dice, subject)
    your = {YOU.german(0): {}, YOU_PLURAL.german(0): _EUER, YOU_FORMAL.german(0): _IHR}[subject.german(0)]
    german = " ".join(your.get(word, word) for word in german.split(" "))
    return f"{name}, {english}", f"{anrede}, {german}", mark


def _instead_of_dein(stem: str) -> dict[str, str]:
    forms = zip(*(with_endings(word, ARTICLE_ENDINGS["ein"]) for word in ("dein", stem)), strict=True)
    return {dein: other for row in forms for dein, other in zip(*row, strict=True)}


_YOU = re.compile(r"\byou\b")
_EUER, _IHR = _instead_of_dein("euer"), _instead_of_dein("Ihr")
