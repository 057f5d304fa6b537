"""Sentences of two clauses: conjunctions, objects that are clauses, infinitives, conditions."""

from __future__ import annotations

from functools import cache

from tools.corpus import clauses, filling
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import Clause, Sentence, english_main, german_main
from tools.corpus.filling import clause_about, clause_in, clause_with, subject_for
from tools.corpus.inflection import ER, FINITE, NOMINATIVE, PLURAL, SIE
from tools.corpus.lexicon import Noun
from tools.corpus.phrases import FIRST_NAMES, PERSONAL, THE, A, build, pronoun_for
from tools.corpus.sentences_simple import being
from tools.corpus.tables import Pair, pairs, rows, word_list


def _second(dice: Dice, first: Clause, tense: str, *, states: bool = True) -> Clause:
    """A clause about the first one's subject, taken up by a pronoun, or about someone else.

    `states` allows it to say how someone or something is.
    """
    subject = first.subject
    noun = subject.noun
    person = noun is None or noun.is_person
    if dice.chance(0.72) and not (noun is None and subject.column == PLURAL and not subject.pronoun):
        again = pronoun_for(subject)
        state_tense = "will" if tense == "will" else "past" if tense in _BEFORE else "present"
        if noun is not None and not person and lex.adjectives(noun) and states and dice.chance(0.5):
            return being(dice, again, noun, state_tense)
        if noun is None or person or lex.verbs_by_subject(noun):
            if states and person and dice.chance(0.3):
                return being(dice, again, noun or _SOMEONE, state_tense)
            clause = clause_about(dice, again, tense, noun=noun, acting=not states)
            if clause.verb.english != first.verb.english:
                return clause
    choices = filling.PERSON_VERBS if states else filling.VOLITIONAL_VERBS
    verb = filling.pick_verb(dice, choices, tense, avoid=first.verb)
    other = subject_for(dice, ("person",))
    if other.pronoun and other.person == ER:
        other = dice.pick(FIRST_NAMES)
    return clause_with(dice, verb, other, tense, negation=0.1 if states else 0.0)


_BEFORE = ("past", "perfect", "pluperfect", "could", "had to", "wanted to")
_SOMEONE = lex.NOUN_BY_ENGLISH["woman"]


def subordinate(dice: Dice) -> Sentence:
    """Main and subordinate clause, the subordinate one first now and then: verb last, then verb first."""
    conjunction, german, _, marks, tenses = dice.pick(_CONJUNCTIONS)
    main_tense, sub_tense = dice.among(tenses.split()).replace("_", " ").split("+")
    main_first = "o" not in marks or dice.chance(0.62)
    first = clause_in(dice, main_tense if main_first else sub_tense, acting="a" in marks)
    second = _second(dice, first, sub_tense if main_first else main_tense, states="s" in marks)
    if main_first:
        if dice.chance(0.25):
            filling.add_circumstances(dice, first, time=0.6)
        english_text = f"{english_main(first)} {conjunction} {english_main(second)}"
        return english_text, f"{german_main(first)}, {german} {clauses.german_final(second)}", "."
    english_text = f"{conjunction} {english_main(first)}, {english_main(second)}"
    return english_text, f"{german} {clauses.german_final(first)}, {clauses.german_verb_first(second)}", "."


_CONJUNCTIONS = Weighted(rows("conjunctions"), [int(row[2]) for row in rows("conjunctions")])


def anaphora(dice: Dice) -> Sentence:
    """The woman bought the table because it was cheap: weil er billig war. Gender follows the German noun."""
    verb = dice.pick(_BUYING_VERBS)
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
    conjunction, german, negatable = dice.among(rows("reasons"))
    if negatable == "yes" and dice.chance(0.5) and tense != "present":
        clause.negate()
    filling.add_object(clause, complement, phrase, verb.english_particle)
    second = being(dice, pronoun_for(phrase), noun, "past" if tense == "past" else "present")
    text, satz = f"{english_main(clause)} {conjunction} {english_main(second)}", clauses.german_final(second)
    if conjunction == "but":
        text, satz = f"{english_main(clause)}, but {english_main(second)}", german_main(second)
    return text, f"{german_main(clause)}, {german} {satz}", "."


@cache
def _described_nouns(kinds: tuple[str, ...]) -> Weighted[Noun]:
    return Weighted([noun for noun in lex.nouns(kinds).items if lex.adjectives(noun) and not noun.is_person])


_BUYING_VERBS = lex.verbs_where(
    lambda verb: (
        len(verb.complements) == 1
        and verb.complements[0].role == "A"
        and "person" in verb.subjects
        and not verb.marks & {"v", "s", "n"}
        and "person" not in verb.complements[0].kinds
        and _described_nouns(verb.complements[0].kinds)
    )
)


def coordination(dice: Dice) -> Sentence:
    """Two main clauses with and or but; both verbs second."""
    tense = dice.among(("past", "past", "present", "perfect", "will"))
    first = clause_in(dice, tense)
    second = _second(dice, first, tense)
    word, german = dice.among(pairs("and"))
    if dice.chance(0.3):
        filling.add_circumstances(dice, first, time=0.8)
    comma = "," if word == "but" else ""
    text = f"{english_main(first)}{comma} {word} {english_main(second)}"
    return text, f"{german_main(first)}{comma} {german} {german_main(second)}", "."


def _tenses_after(tense: str) -> list[str]:
    """The tenses that a clause may have after one in the present or past."""
    return [name.replace("_", " ") for name in word_list(f"after {tense}")]


def that_clause(dice: Dice) -> Sentence:
    """The boy says that he has lost the key: dass er den Schlüssel verloren hat."""
    verb = dice.pick(lex.SAYING)
    subject = subject_for(dice, ("person",), pronoun=0.4)
    clause = Clause(verb, dice.among(("present", "past")), subject, subject)
    if clause.tense == "present" and verb.infinitive in ("wissen", "glauben") and dice.chance(0.25):
        clause.negate()
    inner = _second(dice, clause, dice.among(_tenses_after(clause.tense)))
    return _with_object(clause, ("that", "dass"), inner)


def _with_object(clause: Clause, conjunction: Pair, inner: Clause) -> Sentence:
    """A main clause whose object is a clause."""
    english = f"{english_main(clause)} {conjunction[0]} {english_main(inner)}"
    return english, f"{german_main(clause)}, {conjunction[1]} {clauses.german_final(inner)}", "."


def indirect_question(dice: Dice) -> Sentence:
    """I do not know where the man lives; she asked whether the train had left."""
    subject = subject_for(dice, ("person",), pronoun=0.5)
    tense = dice.among(("present", "past"))
    clause = Clause(dice.pick(lex.ASKING), tense, subject, subject)
    if clause.verb.infinitive == "wissen" and dice.chance(0.6):
        clause.negate()
    word = dice.pick(lex.weighted("indirect questions"))
    inner = filling.any_clause(dice, light=True, pronoun=0.3)
    inner.tense = filling.suitable(dice.among(_tenses_after(tense)[:3]), inner.verb, inner.subject)
    if inner.english_not:
        inner = clause_with(dice, inner.verb, inner.subject, inner.tense, negation=0.0)
    return _with_object(clause, word, inner)


def purpose(dice: Dice) -> Sentence:
    """… to learn German: um Deutsch zu lernen; without saying …: ohne … zu."""
    word, german = dice.pick(lex.weighted("infinitives"))
    main = clause_in(dice, dice.among(("past", "present", "perfect", "will", "want to", "past")))
    if main.verb.marks & {"s", "i"}:
        main = clause_with(dice, dice.pick(filling.VOLITIONAL_VERBS), main.subject, main.tense)
    inner = _infinitive(dice, main)
    if main.english_not:
        main = clause_with(dice, main.verb, main.subject, main.tense, negation=0.0)
    text = clauses.english_infinitive(inner) if german == "um" else clauses.english_gerund(inner)
    return f"{english_main(main)} {word} {text}", f"{german_main(main)}, {german} {clauses.german_zu(inner)}", "."


def _infinitive(dice: Dice, main: Clause) -> Clause:
    """What the subject of the main clause does, for an infinitive."""
    verb = dice.pick(filling.VOLITIONAL_VERBS)
    return clause_with(dice, verb, pronoun_for(main.subject), "present", negation=0.0)


def attempt(dice: Dice) -> Sentence:
    """She tries to open the door: versucht, die Tür zu öffnen."""
    verb = dice.pick(lex.TRYING)
    subject = subject_for(dice, ("person",))
    outer = Clause(verb, dice.among(("present", "past", "perfect", "past")), subject, subject)
    inner = _infinitive(dice, outer)
    joined = f"{english_main(outer)} to {clauses.english_infinitive(inner)}"
    return joined, f"{german_main(outer)}, {clauses.german_zu(inner)}", "."


def condition(dice: Dice) -> Sentence:
    """If I had more money, I would buy a house: Wenn ich mehr Geld hätte, würde ich ein Haus kaufen."""
    subject = dice.pick(PERSONAL if dice.chance(0.6) else FIRST_NAMES)
    section, verb, german = ("wealth", "had", "hätte") if dice.chance(0.65) else ("states", "were", "wäre")
    what, was = dice.among(pairs(section))
    would = clause_with(dice, dice.pick(_WISHES), pronoun_for(subject), "would", negation=0.1)
    wenn = f"wenn {subject.german(NOMINATIVE)} {was} {FINITE[german][subject.person]}"
    text = f"if {subject.english} {verb} {what}, {english_main(would)}"
    return text, f"{wenn}, {clauses.german_verb_first(would)}", "."


_WISHES = lex.verbs_where(lambda verb: verb.english in word_list("wishes") and "person" in verb.subjects)
