"""Clauses: one verb with what depends on it, put into English and German word order.

A `Clause` holds the choices; `english_*` and `german_*` write it down as a main clause, a question, a subordinate
clause or an infinitive. German order is finite verb second, first or last, with the rest of the verb (separable
prefix, participle, infinitive) in the right bracket, and between them the middle field sorted by `Slot`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

from tools.corpus import english, inflection
from tools.corpus.inflection import DATIVE, DU, ER, ICH, IHR, IRREGULAR, MOECHTE, NOMINATIVE, WIR, WUERDE
from tools.corpus.phrases import REFLEXIVES, Phrase
from tools.corpus.words import Forms, Verb

Pair = tuple[str, str]
Sentence = tuple[str, str, str]  # English, German, final mark


class Slot(IntEnum):
    """The order of the German middle field after the subject."""

    REFLEXIVE = 0
    ACCUSATIVE_PRONOUN = 1
    DATIVE_PRONOUN = 2
    DATIVE = 3
    TIME = 4
    ACCUSATIVE = 5
    ADVERB = 6
    NICHT = 7
    MANNER = 8
    PLACE = 9
    INDEFINITE_ACCUSATIVE = 10
    IDIOM = 11
    PREPOSITIONAL = 12
    PREDICATE = 13


@dataclass(slots=True)
class Clause:
    """What a clause says. `tense` is a key of TENSES; `english_tail` is all after the English verb, but the time.

    `negated` is what remains to be said with nicht, `english_not` whether the sense is negative. `heavy` means that the
    last object has a relative clause: then nothing can follow it in English without being read as part of that.
    """

    verb: Verb
    tense: str
    subject: Phrase
    german_subject: Phrase
    english_tail: list[str] = field(default_factory=list)
    slots: list[tuple[Slot, str]] = field(default_factory=list)
    adverb: Pair | None = None
    time: Pair | None = None
    negated: bool = False
    english_not: bool = False
    heavy: bool = False
    front: Pair | None = None


# --- tenses -------------------------------------------------------------------------------------------------------


def _irregular(infinitive: str, past: bool = False) -> Forms:
    return tuple(IRREGULAR[infinitive][past].split())


SEIN, WAR = _irregular("sein"), _irregular("sein", True)
HABEN, HATTE = _irregular("haben"), _irregular("haben", True)
WERDEN, WURDE = _irregular("werden"), _irregular("werden", True)
DARF = _irregular("dürfen")

# English auxiliaries before the subject in questions, by person, and what follows before the infinitive;
# the German finite verb of the infinitive.
_DO = ("do", "do", "does", "do", "do", "do")
_DID = ("did",) * 6


@dataclass(frozen=True, slots=True)
class Modal:
    """A modal verb: "kind" says how English asks and negates (aux: itself, do: with do, be: with be)."""

    kind: str
    english: str
    german: Forms
    past: bool = False


MODALS = {
    "can": Modal("aux", "can", _irregular("können")),
    "must": Modal("aux", "must", _irregular("müssen")),
    "should": Modal("aux", "should", _irregular("sollen", True)),
    "would like to": Modal("aux", "would", MOECHTE),
    "will": Modal("aux", "will", WERDEN),
    "would": Modal("aux", "would", WUERDE),
    "could": Modal("aux", "could", _irregular("können", True), past=True),
    "want to": Modal("do", "want", _irregular("wollen")),
    "have to": Modal("do", "have", _irregular("müssen")),
    "wanted to": Modal("do", "want", _irregular("wollen", True), past=True),
    "had to": Modal("do", "have", _irregular("müssen", True), past=True),
    "be going to": Modal("be", "going to", WERDEN),
    "be allowed to": Modal("be", "allowed to", DARF),
    "was allowed to": Modal("be", "allowed to", _irregular("dürfen", True), past=True),
}

SPOKEN_PERSONS = (ICH, DU, WIR, IHR)
# Verbs whose past is the Präteritum in speech too.
ALWAYS_PRETERITE = frozenset(("sein", "haben", "mögen", "kennen", "wissen", "denken"))


def says_perfekt(verb: Verb, subject: Phrase) -> bool:
    """Whether the English simple past is a Perfekt in German.

    It is in speech, with I, we and you; stories about others keep the Präteritum. So it follows from the English.
    """
    return (subject.person in SPOKEN_PERSONS or subject.formal) and verb.infinitive not in ALWAYS_PRETERITE


# --- English ------------------------------------------------------------------------------------------------------


def english_verb(clause: Clause, negated: bool) -> tuple[str, str]:
    """(auxiliary, rest) of the verb. Without auxiliary (simple present and past) the first is empty."""
    verb, person, tense = clause.verb, clause.subject.person, clause.tense
    if tense in MODALS:
        return _english_modal(verb.english, MODALS[tense], tense, person, negated)
    have = "has" if person == ER else "have"
    if tense in ("present", "gern", "past"):
        if verb.english == "be" or verb.english.startswith("be "):
            forms = english.BE_PAST if tense == "past" else english.BE_PRESENT
            return forms[person] + (" not" if negated else ""), verb.english[3:]
        if tense == "gern":
            base, third = f"like to {verb.english}", f"likes to {verb.english}"
        else:
            base, third = verb.english, verb.english_third
        if negated:
            return (_DID if tense == "past" else _DO)[person] + " not", base
        if tense == "past":
            return "", verb.english_past
        return "", third if person == ER else base
    not_ = " not" if negated else ""
    if tense == "progressive":
        return english.BE_PRESENT[person] + not_, verb.english_ing
    if tense == "since":
        return have + not_, verb.english_participle if "s" in verb.marks else f"been {verb.english_ing}"
    if tense == "perfect":
        return have + not_, verb.english_participle
    if tense == "pluperfect":
        return "had" + not_, verb.english_participle
    return _english_passive(verb.english_participle, tense, person, not_)


def _english_passive(participle: str, tense: str, person: int, not_: str) -> tuple[str, str]:
    if tense == "passive present":
        return english.BE_PRESENT[person] + not_, f"being {participle}"
    if tense == "passive past":
        return english.BE_PAST[person] + not_, participle
    if tense == "passive perfect":
        return ("has" if person == ER else "have") + not_, f"been {participle}"
    assert tense == "passive must", tense
    return "must" + not_, f"be {participle}"


def _english_modal(base: str, modal: Modal, tense: str, person: int, negated: bool) -> tuple[str, str]:
    not_ = " not" if negated else ""
    if modal.kind == "aux":
        auxiliary = "cannot" if negated and modal.english == "can" else modal.english + not_
        return auxiliary, f"like to {base}" if tense == "would like to" else base
    if modal.kind == "be":
        return (english.BE_PAST if modal.past else english.BE_PRESENT)[person] + not_, f"{modal.english} {base}"
    if negated:
        return (_DID if modal.past else _DO)[person] + not_, f"{modal.english} to {base}"
    if modal.past:
        return "", ("had" if modal.english == "have" else modal.english + "ed") + f" to {base}"
    third = english.third_person(modal.english)
    return "", f"{third if person == ER else modal.english} to {base}"


def _english_rest(clause: Clause) -> str:
    words = [*clause.english_tail]
    if clause.time and clause.front is not clause.time:
        words.append(clause.time[0])
    return " ".join(words)


def english_main(clause: Clause) -> str:
    """Subject, auxiliary, adverb, verb, the rest; what is fronted first, with a comma."""
    auxiliary, rest = english_verb(clause, clause.english_not)
    adverb = clause.adverb[0] if clause.adverb else ""
    if adverb and clause.tense in MODALS and not auxiliary:
        words = [clause.subject.english, adverb, rest]
    else:
        words = [clause.subject.english, auxiliary, adverb, rest]
    text = " ".join(word for word in (*words, _english_rest(clause)) if word)
    if clause.front:
        return f"{clause.front[0]} {text}" if clause.front[0] in _NO_COMMA else f"{clause.front[0]}, {text}"
    return text


_NO_COMMA = ("perhaps", "probably")


def english_question(clause: Clause) -> str:
    """Auxiliary (do, if there is none), subject, not, verb; for a wh-word to go before."""
    auxiliary, rest = english_verb(clause, False)
    if not auxiliary:
        person = clause.subject.person
        past = clause.tense == "past" or (clause.tense in MODALS and MODALS[clause.tense].past)
        auxiliary = (_DID if past else _DO)[person]
        if clause.tense == "gern":
            rest = f"like to {clause.verb.english}"
        elif clause.tense in MODALS:
            rest = f"{MODALS[clause.tense].english} to {clause.verb.english}"
        else:
            rest = clause.verb.english
    negation = "not" if clause.english_not else ""
    words = (auxiliary, clause.subject.english, negation, rest, _english_rest(clause))
    return " ".join(word for word in words if word)


def english_infinitive(clause: Clause) -> str:
    """The verb's base with what follows, for to, please or a gerund to be put before."""
    return " ".join(word for word in (clause.verb.english, _english_rest(clause)) if word)


def english_gerund(clause: Clause) -> str:
    return " ".join(word for word in (clause.verb.english_ing, _english_rest(clause)) if word)


# --- German -------------------------------------------------------------------------------------------------------


def german_verb(clause: Clause) -> tuple[str, str, str]:
    """(finite verb, right bracket, the whole verb at the end of a subordinate clause)."""
    verb, tense, person = clause.verb, clause.tense, clause.german_subject.person
    if tense in MODALS:
        forms = MODALS[tense].german
        if tense == "must" and clause.english_not:
            forms = DARF
        return _split(forms[person], verb.prefix + verb.infinitive)
    if tense == "past" and says_perfekt(verb, clause.german_subject):
        tense = "perfect"
    if tense in ("present", "progressive", "since", "gern"):
        return verb.present[person], verb.prefix, verb.prefix + verb.present[person]
    if tense == "past":
        return verb.past[person], verb.prefix, verb.prefix + verb.past[person]
    if tense == "perfect":
        return _split((SEIN if verb.uses_sein else HABEN)[person], verb.participle)
    if tense == "pluperfect":
        return _split((WAR if verb.uses_sein else HATTE)[person], verb.participle)
    if tense == "passive present":
        return _split(WERDEN[person], verb.participle)
    if tense == "passive past":
        return _split(WURDE[person], verb.participle)
    if tense == "passive perfect":
        return _split(SEIN[person], f"{verb.participle} worden")
    forms = DARF if clause.english_not else MODALS["must"].german
    return _split(forms[person], f"{verb.participle} werden")


def _split(finite: str, rest: str) -> tuple[str, str, str]:
    return finite, rest, f"{rest} {finite}"


def _middle(clause: Clause, without: Pair | None = None) -> list[str]:
    """The middle field without subject and reflexive, in order."""
    slots = list(clause.slots)
    if clause.time and clause.time is not without:
        slots.append((Slot.TIME, clause.time[1]))
    if clause.adverb:
        slots.append((Slot.TIME if clause.adverb[1] in _EARLY_ADVERBS else Slot.ADVERB, clause.adverb[1]))
    if clause.negated:
        slots.append((Slot.NICHT, "nicht"))
    if clause.tense == "gern":
        slots.append((Slot.MANNER, "gern"))
    if clause.verb.idiom:
        slots.append((Slot.IDIOM, clause.verb.idiom))
    slots.sort(key=_slot_of)
    return [text for _, text in slots]


# These go before a definite object, other adverbs after it.
_EARLY_ADVERBS = frozenset(("manchmal", "meistens", "immer noch", "gerade", "endlich"))


def _slot_of(entry: tuple[Slot, str]) -> Slot:
    return entry[0]


def _clitic(clause: Clause) -> str:
    """The weak pronoun that goes right after the verb or conjunction: a reflexive, or to whom something appeals."""
    if clause.verb.reflexive:
        return REFLEXIVES[clause.german_subject.person]
    if "v" in clause.verb.marks and clause.subject.pronoun:
        return clause.subject.german(DATIVE)
    return ""


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _bracket(middle: list[str], right: str) -> str:
    """The middle field and the right bracket; a relative clause at the end of the field moves behind the bracket."""
    if right and middle and middle[-1].endswith(","):
        head, comma, tail = middle[-1].partition(",")
        return _join(*middle[:-1], head, right) + comma + tail
    return _join(*middle, right)


def _subject_and_clitic(clause: Clause) -> str:
    """After a verb or conjunction the weak pronoun goes before a noun and after a pronoun."""
    subject, clitic = clause.german_subject.german(NOMINATIVE), _clitic(clause)
    return _join(subject, clitic) if clause.german_subject.pronoun else _join(clitic, subject)


def german_main(clause: Clause) -> str:
    """The finite verb second, after the subject or what is fronted."""
    if clause.front:
        return f"{clause.front[1]} {german_verb_first(clause)}"
    finite, right, _ = german_verb(clause)
    subject = clause.german_subject.german(NOMINATIVE)
    return _join(subject, finite, _clitic(clause), _bracket(_middle(clause), right))


def german_verb_first(clause: Clause) -> str:
    """The finite verb first: questions, and main clauses after something fronted."""
    finite, right, _ = german_verb(clause)
    return _join(finite, _subject_and_clitic(clause), _bracket(_middle(clause, clause.front), right))


def german_final(clause: Clause) -> str:
    """The finite verb last, after a conjunction."""
    return _join(_subject_and_clitic(clause), _bracket(_middle(clause), german_verb(clause)[2]))


def german_after_relative(clause: Clause) -> str:
    """The finite verb last, after a relative pronoun that is the subject."""
    subject = clause.german_subject.german(NOMINATIVE)
    return _join(subject, _clitic(clause), _bracket(_middle(clause), german_verb(clause)[2]))


def german_zu(clause: Clause) -> str:
    """The infinitive with zu at the end, without subject; the reflexive agrees with the subject."""
    infinitive = inflection.zu_infinitive(clause.verb.infinitive, clause.verb.prefix)
    return _join(_clitic(clause), _bracket(_middle(clause), infinitive))


def german_imperative(clause: Clause) -> str:
    """To du, ihr or Sie (the subject), with bitte where a time would stand."""
    verb, person = clause.verb, clause.german_subject.person
    if person == DU:
        finite = verb.imperative
    elif person == IHR:
        finite = verb.present[IHR]
    else:
        finite = f"{verb.present[person]} Sie"
    polite = replace(clause, time=("please", "bitte"))
    return _join(finite, _clitic(clause), _bracket(_middle(polite), verb.prefix))
