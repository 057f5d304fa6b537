"""Sentences of two clauses: conjunctions, objects that are clauses, infinitives, conditions."""

from __future__ import annotations

from functools import cache

from tools.corpus import clauses, filling
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import Clause, Pair, Sentence, english_main, german_main
from tools.corpus.filling import clause_about, clause_in, clause_with, subject_for
from tools.corpus.inflection import ER, HAETTE, NOMINATIVE, PLURAL, SIE, WAERE
from tools.corpus.phrases import FIRST_NAMES, PERSONAL, THE, A, build, pronoun_for
from tools.corpus.sentences_simple import being
from tools.corpus.words import Noun


def _second(dice: Dice, first: Clause, tense: str, *, states: bool = True) -> Clause:
    """A clause about the first one's subject, taken up by a pronoun, or about someone else.

    `states` allows it to say how someone or something is.
    """
    subject = first.subject
    noun = subject.noun
    if dice.chance(0.72) and not (noun is None and subject.column == PLURAL and not subject.pronoun):
        again = pronoun_for(subject)
        if noun is not None and not filling.is_person(noun) and lex.adjectives(noun) and states and dice.chance(0.5):
            return being(dice, again, noun, _state_tense(tense))
        if noun is None or filling.is_person(noun) or lex.verbs_by_subject(noun):
            if states and (noun is None or filling.is_person(noun)) and dice.chance(0.3):
                return being(dice, again, noun or _SOMEONE, _state_tense(tense))
            clause = clause_about(dice, again, tense, noun=noun, acting=not states)
            if clause.verb.english != first.verb.english:
                return clause
    choices = filling.PERSON_VERBS if states else filling.VOLITIONAL_VERBS
    verb = filling.pick_verb(dice, choices, tense, avoid=first.verb)
    other = subject_for(dice, ("person",))
    if other.pronoun and other.person == ER:
        other = dice.pick(FIRST_NAMES)
    return clause_with(
        dice, verb, other, filling.suitable(tense, verb, other), light=True, negation=0.1 if states else 0.0
    )


def _state_tense(tense: str) -> str:
    if tense == "will":
        return "will"
    return "past" if tense in ("past", "perfect", "pluperfect", "could", "had to", "wanted to") else "present"


_SOMEONE = lex.NOUN_BY_ENGLISH["woman"]


def subordinate(dice: Dice) -> Sentence:
    """Main and subordinate clause, the subordinate one first now and then: verb last, then verb first."""
    conjunction, german, tenses = dice.pick(_CONJUNCTIONS)
    main_tense, sub_tense = dice.among(tenses)
    main_first = conjunction not in _ANYWHERE or dice.chance(0.62)
    first = clause_in(dice, main_tense if main_first else sub_tense, acting=conjunction in _ACTING)
    second = _second(dice, first, sub_tense if main_first else main_tense, states=conjunction in _STATES_AFTER)
    if main_first:
        if dice.chance(0.25):
            filling.add_circumstances(dice, first, time=0.6)
        english_text = f"{english_main(first)} {conjunction} {english_main(second)}"
        return english_text, f"{german_main(first)}, {german} {clauses.german_final(second)}", "."
    english_text = f"{conjunction} {english_main(first)}, {english_main(second)}"
    return english_text, f"{german} {clauses.german_final(first)}, {clauses.german_verb_first(second)}", "."


# Conjunction: English, German, pairs of tenses (main clause, subordinate clause).
_SAME = (("past", "past"), ("past", "past"), ("present", "present"), ("progressive", "present"), ("perfect", "past"))
_CONJUNCTIONS: Weighted[tuple[str, str, tuple[tuple[str, str], ...]]] = Weighted(
    [
        (
            "because",
            "weil",
            (*_SAME, ("will", "present"), ("past", "had to"), ("present", "want to"), ("could", "past")),
        ),
        ("although", "obwohl", (*_SAME, ("will", "present"), ("past", "wanted to"), ("want to", "present"))),
        ("when", "als", (("past", "past"),)),
        ("when", "wenn", (("present", "present"), ("will", "present"))),
        ("if", "wenn", (("will", "present"), ("can", "present"), ("will", "have to"), ("must", "want to"))),
        ("while", "während", (("past", "past"), ("progressive", "progressive"))),
        ("before", "bevor", (("past", "past"), ("will", "present"))),
        ("after", "nachdem", (("past", "pluperfect"),)),
        ("until", "bis", (("past", "past"), ("will", "present"))),
        ("so that", "damit", (("present", "can"), ("past", "could"), ("will", "can"))),
        ("as soon as", "sobald", (("will", "present"), ("past", "past"))),
    ],
    [30, 16, 16, 9, 14, 9, 9, 9, 6, 9, 6],
)
# These can open a sentence; then the clause about the named subject is the subordinate one.
_ANYWHERE = frozenset(("because", "although", "when", "if", "while", "before", "as soon as"))


_STATES_AFTER = frozenset(("because", "although", "when"))
_ACTING = frozenset(("so that", "while", "before", "until", "after"))


def anaphora(dice: Dice) -> Sentence:
    """The woman bought the table because it was cheap: weil er billig war. Gender follows the German noun."""
    choices = _BUYING_VERBS
    verb = dice.pick(choices)
    complement = verb.complements[0]
    noun = dice.pick(_described_nouns(complement.kinds))
    plural = noun.plural is not None and dice.chance(0.2)
    phrase = build(THE if plural or noun.kind in lex.UNCOUNTABLE or dice.chance(0.5) else A, noun, plural=plural)
    subject = subject_for(dice, ("person",), pronoun=0.2)
    if subject.person == SIE and phrase.plural:
        subject = dice.pick(FIRST_NAMES)
    tense = dice.among(("past", "past", "perfect", "want to", "would like to", "present"))
    tense = filling.suitable(tense, verb, subject)
    clause = Clause(verb, tense, subject, subject)
    conjunction, german, contrast = dice.among(_ANAPHORA)
    if contrast and dice.chance(0.5) and tense != "present":
        clause.negated = clause.english_not = True
    filling.add_object(clause, complement, phrase, verb.english_particle)
    second = being(dice, pronoun_for(phrase), noun, "past" if tense in ("past",) else "present")
    ending = german_main(second) if german == "aber" else clauses.german_final(second)
    comma = "," if german == "aber" else ""
    return (
        f"{english_main(clause)}{comma} {conjunction} {english_main(second)}",
        f"{german_main(clause)}, {german} {ending}",
        ".",
    )


_ANAPHORA = (("because", "weil", True), ("but", "aber", False), ("although", "obwohl", True), ("because", "weil", True))


@cache
def _described_nouns(kinds: tuple[str, ...]) -> Weighted[Noun]:
    chosen = [noun for noun in lex.nouns(kinds).items if lex.adjectives(noun) and not filling.is_person(noun)]
    return Weighted(chosen)


_BUYING_VERBS = lex.verbs_where(
    lambda verb: (
        len(verb.complements) == 1
        and verb.complements[0].role == "A"
        and "person" in verb.subjects
        and not verb.marks & {"v", "s", "n"}
        and "person" not in verb.complements[0].kinds
        and lex.nouns(verb.complements[0].kinds)
        and _described_nouns(verb.complements[0].kinds)
    )
)


def coordination(dice: Dice) -> Sentence:
    """Two main clauses with and or but; both verbs second."""
    tense = dice.among(("past", "past", "present", "perfect", "will"))
    first, second = clause_in(dice, tense), None
    second = _second(dice, first, tense)
    word, german = dice.among((("and", "und"), ("but", "aber")))
    if dice.chance(0.3):
        filling.add_circumstances(dice, first, time=0.8)
    comma = "," if german == "aber" else ""
    text = f"{english_main(first)}{',' if word == 'but' else ''} {word} {english_main(second)}"
    return text, f"{german_main(first)}{comma} {german} {german_main(second)}", "."


_TENSE_AFTER = {
    "present": ("present", "past", "perfect", "will", "can"),
    "past": ("past", "pluperfect", "could", "had to"),
}


def that_clause(dice: Dice) -> Sentence:
    """The boy says that he has lost the key: dass er den Schlüssel verloren hat."""
    verb = dice.pick(lex.SAYING)
    subject = subject_for(dice, ("person",), pronoun=0.4)
    tense = dice.among(("present", "past"))
    clause = Clause(verb, tense, subject, subject)
    if tense == "present" and verb.infinitive in ("wissen", "glauben") and dice.chance(0.25):
        clause.negated = clause.english_not = True
    inner = _second(dice, clause, dice.among(_TENSE_AFTER[tense]))
    return (
        f"{english_main(clause)} that {english_main(inner)}",
        f"{german_main(clause)}, dass {clauses.german_final(inner)}",
        ".",
    )


def indirect_question(dice: Dice) -> Sentence:
    """I do not know where the man lives; she asked whether the train had left."""
    subject = subject_for(dice, ("person",), pronoun=0.5)
    tense = dice.among(("present", "past"))
    clause = Clause(dice.pick(lex.ASKING), tense, subject, subject)
    if clause.verb.infinitive == "wissen" and dice.chance(0.6):
        clause.negated = clause.english_not = True
    word, german = dice.pick(_INDIRECT)
    inner = filling.any_clause(dice, light=True, pronoun=0.3)
    inner.tense = filling.suitable(dice.among(_TENSE_AFTER[tense][:3]), inner.verb, inner.subject)
    if inner.english_not:
        inner = clause_with(dice, inner.verb, inner.subject, inner.tense, negation=0.0, light=True)
    return (
        f"{english_main(clause)} {word} {english_main(inner)}",
        f"{german_main(clause)}, {german} {clauses.german_final(inner)}",
        ".",
    )


_INDIRECT: Weighted[Pair] = Weighted(
    [("whether", "ob"), ("why", "warum"), ("when", "wann"), ("if", "ob"), ("how often", "wie oft")], [9, 8, 6, 4, 2]
)


def purpose(dice: Dice) -> Sentence:
    """… to learn German: um Deutsch zu lernen; without saying …: ohne … zu."""
    word, german, gerund = dice.pick(_INFINITIVES)
    main = clause_in(dice, dice.among(("past", "present", "perfect", "will", "want to", "past")))
    if main.verb.marks & {"s", "i"}:
        main = replace_verb(dice, main)
    inner_verb = dice.pick(filling.VOLITIONAL_VERBS)
    subject = pronoun_for(main.subject)
    inner = clause_with(dice, inner_verb, subject, "present", negation=0.0, light=True)
    if main.english_not:
        main = clause_with(dice, main.verb, main.subject, main.tense, negation=0.0, light=True)
    text = clauses.english_gerund(inner) if gerund else clauses.english_infinitive(inner)
    return f"{english_main(main)} {word} {text}", f"{german_main(main)}, {german} {clauses.german_zu(inner)}", "."


_INFINITIVES: Weighted[tuple[str, str, bool]] = Weighted(
    [("in order to", "um", False), ("without", "ohne", True), ("instead of", "statt", True)], [70, 16, 14]
)


def replace_verb(dice: Dice, clause: Clause) -> Clause:
    """The same subject and tense with a verb of doing."""
    verb = dice.pick(filling.VOLITIONAL_VERBS)
    return clause_with(dice, verb, clause.subject, filling.suitable(clause.tense, verb, clause.subject), light=True)


def attempt(dice: Dice) -> Sentence:
    """She tries to open the door: versucht, die Tür zu öffnen."""
    verb = dice.pick(lex.TRYING)
    subject = subject_for(dice, ("person",))
    outer = Clause(verb, dice.among(("present", "past", "perfect", "past")), subject, subject)
    inner_verb = dice.pick(filling.VOLITIONAL_VERBS)
    inner = clause_with(dice, inner_verb, pronoun_for(subject), "present", negation=0.0, light=True)
    joined = f"{english_main(outer)} to {clauses.english_infinitive(inner)}"
    return joined, f"{german_main(outer)}, {clauses.german_zu(inner)}", "."


def condition(dice: Dice) -> Sentence:
    """If I had more money, I would buy a house: Wenn ich mehr Geld hätte, würde ich ein Haus kaufen."""
    subject = dice.pick(PERSONAL) if dice.chance(0.6) else dice.pick(FIRST_NAMES)
    again = pronoun_for(subject)
    has = dice.chance(0.65)
    if has:
        english_part, german_part = dice.among(_WEALTH)
        verb, forms = "had", HAETTE
    else:
        english_part, german_part = dice.among(_STATES)
        verb, forms = "were", WAERE
    would = clause_with(dice, dice.pick(_WISHES), again, "would", negation=0.1, light=True)
    if_clause = f"if {subject.english} {verb} {english_part}"
    wenn = f"wenn {subject.german(NOMINATIVE)} {german_part} {forms[subject.person]}"
    return f"{if_clause}, {english_main(would)}", f"{wenn}, {clauses.german_verb_first(would)}", "."


_WISH_NAMES = frozenset(lex.word_list("wishes"))
_WISHES = lex.verbs_where(lambda verb: verb.english in _WISH_NAMES and "person" in verb.subjects)
_WEALTH = (
    ("more money", "mehr Geld"),
    ("more time", "mehr Zeit"),
    ("enough time", "genug Zeit"),
    ("enough money", "genug Geld"),
    ("a car", "ein Auto"),
    ("a garden", "einen Garten"),
    ("no work", "keine Arbeit"),
    ("a big house", "ein großes Haus"),
)
_STATES = (
    ("rich", "reich"),
    ("younger", "jünger"),
    ("not so tired", "nicht so müde"),
    ("at home", "zu Hause"),
    ("in Berlin", "in Berlin"),
    ("in Italy", "in Italien"),
    ("stronger", "stärker"),
    ("not ill", "nicht krank"),
)
