"""Clauses: one verb with what depends on it, put into English and German word order.

A `Clause` holds the choices; `english_*` and `german_*` write it down as a main clause, a question, a subordinate
clause or an infinitive. German order is finite verb second, first or last, with the rest of the verb (separable
prefix, participle, infinitive) in the right bracket, and between them the middle field sorted by `Slot`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from operator import itemgetter

from tools.corpus import english, inflection
from tools.corpus.inflection import DATIVE, DU, ER, FINITE, ICH, IHR, NOMINATIVE, WIR
from tools.corpus.lexicon import Verb
from tools.corpus.phrases import REFLEXIVES, Phrase
from tools.corpus.tables import Pair, rows

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
    """A clause. `tense` is a key of TENSES; `english_tail` is all after the English verb, but the time.

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

    def add(self, text: str, slot: Slot, german: str) -> None:
        """Say something more: at the end in English, in its slot in German."""
        self.english_tail.append(text)
        self.slots.append((slot, german))

    def negate(self) -> None:
        self.negated = self.english_not = True


# --- tenses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tense:
    """A row of the table of tenses in grammar.txt."""

    frequency: int
    time: str
    auxiliary: str
    english: str
    finite: str
    bracket: str

    @property
    def modal(self) -> bool:
        return self.bracket == "INFINITIVE"


TENSES = {name: Tense(int(frequency), *others) for name, frequency, *others in rows("tenses")}

SPOKEN_PERSONS = (ICH, DU, WIR, IHR)
# Verbs whose past is the Präteritum in speech too.
ALWAYS_PRETERITE = frozenset(("sein", "haben", "mögen", "kennen", "wissen", "denken"))


def says_perfekt(verb: Verb, subject: Phrase) -> bool:
    """Whether the English simple past is a Perfekt in German.

    It is in speech, with I, we and you; stories about others keep the Präteritum. So it follows from the English.
    """
    return (subject.person in SPOKEN_PERSONS or subject.formal) and verb.infinitive not in ALWAYS_PRETERITE


def join(*words: str) -> str:
    """The words that are not empty, with spaces between them."""
    return " ".join(word for word in words if word)


# --- English ------------------------------------------------------------------------------------------------------


def english_verb(clause: Clause, *, with_do: bool) -> tuple[str, str]:
    """(auxiliary, rest) of the verb; without `with_do`, the first is empty in simple present and past."""
    verb, tense, person = clause.verb, TENSES[clause.tense], clause.subject.person
    if tense.english == "VERB" and tense.auxiliary in _DO and (verb.english + " ").startswith("be "):
        return english.AUXILIARIES[_DO[tense.auxiliary]][person], verb.english[3:]
    text = "PARTICIPLE" if clause.tense == "since" and "s" in verb.marks else tense.english
    first, space, others = text.partition(" ")
    auxiliary = english.AUXILIARIES.get(tense.auxiliary, [tense.auxiliary] * 6)[person]
    if tense.auxiliary in _DO and not with_do:
        auxiliary, first = "", _inflected(first, verb, tense.auxiliary == "did", person)
    rest = first + space + others
    forms = {"VERB": verb.english, "ING": verb.english_ing, "PARTICIPLE": verb.english_participle}
    return auxiliary, " ".join(forms.get(word, word) for word in rest.split(" "))


_DO = {"do": "be", "did": "was"}
"""The auxiliaries of simple tenses, and what be has in their place."""


def _inflected(word: str, verb: Verb, past: bool, person: int) -> str:
    """The verb itself, or want, have or like before it, in the simple present or past."""
    if past:
        return verb.english_past if word == "VERB" else "had" if word == "have" else english.regular_past(word)
    if person != ER:
        return word
    return verb.english_third if word == "VERB" else english.third_person(word)


def _english_rest(clause: Clause) -> str:
    words = [*clause.english_tail]
    if clause.time and clause.front is not clause.time:
        words.append(clause.time[0])
    return " ".join(words)


def english_main(clause: Clause) -> str:
    """Subject, auxiliary, adverb, verb, the rest; what is fronted first, with a comma."""
    auxiliary, rest = english_verb(clause, with_do=clause.english_not)
    if clause.english_not:
        auxiliary = "cannot" if auxiliary == "can" else f"{auxiliary} not"
    adverb = clause.adverb[0] if clause.adverb else ""
    text = join(clause.subject.english, auxiliary, adverb, rest, _english_rest(clause))
    if clause.front:
        return f"{clause.front[0]} {text}" if clause.front[0] in _NO_COMMA else f"{clause.front[0]}, {text}"
    return text


_NO_COMMA = ("perhaps", "probably")


def english_question(clause: Clause) -> str:
    """Auxiliary (do, if there is none), subject, not, verb; for a wh-word to go before."""
    auxiliary, rest = english_verb(clause, with_do=True)
    negation = "not" if clause.english_not else ""
    return join(auxiliary, clause.subject.english, negation, rest, _english_rest(clause))


def english_infinitive(clause: Clause) -> str:
    """The verb's base with what follows, for to, please or a gerund to be put before."""
    return join(clause.verb.english, _english_rest(clause))


def english_gerund(clause: Clause) -> str:
    return join(clause.verb.english_ing, _english_rest(clause))


# --- German -------------------------------------------------------------------------------------------------------


def german_verb(clause: Clause) -> tuple[str, str, str]:
    """(finite verb, right bracket, the whole verb at the end of a subordinate clause)."""
    verb, person = clause.verb, clause.german_subject.person
    spoken = clause.tense == "past" and says_perfekt(verb, clause.german_subject)
    tense = TENSES["perfect" if spoken else clause.tense]
    if tense.finite in ("PRESENT", "PAST"):
        finite = (verb.present if tense.finite == "PRESENT" else verb.past)[person]
        return finite, verb.prefix, verb.prefix + finite
    auxiliary = tense.finite
    if verb.uses_sein:
        auxiliary = {"hat": "ist", "hatte": "war"}.get(auxiliary, auxiliary)
    if tense.auxiliary == "must" and clause.english_not:
        auxiliary = "darf"
    finite = FINITE[auxiliary][person]
    rest = tense.bracket.replace("INFINITIVE", verb.prefix + verb.infinitive).replace("PARTICIPLE", verb.participle)
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
    slots.sort(key=itemgetter(0))
    return [text for _, text in slots]


# These go before a definite object, other adverbs after it.
_EARLY_ADVERBS = frozenset(("manchmal", "meistens", "immer noch", "gerade", "endlich"))


def _clitic(clause: Clause) -> str:
    """The weak pronoun that goes right after the verb or conjunction: a reflexive, or to whom something appeals."""
    if clause.verb.reflexive:
        return REFLEXIVES[clause.german_subject.person]
    if "v" in clause.verb.marks and clause.subject.pronoun:
        return clause.subject.german(DATIVE)
    return ""


def _bracket(middle: list[str], right: str) -> str:
    """The middle field and the right bracket; a relative clause at the end of the field moves behind the bracket."""
    if right and middle and middle[-1].endswith(","):
        head, comma, tail = middle[-1].partition(",")
        return join(*middle[:-1], head, right) + comma + tail
    return join(*middle, right)


def _subject_and_clitic(clause: Clause) -> str:
    """After a verb or conjunction the weak pronoun goes before a noun and after a pronoun."""
    subject, clitic = clause.german_subject.german(NOMINATIVE), _clitic(clause)
    return join(subject, clitic) if clause.german_subject.pronoun else join(clitic, subject)


def german_main(clause: Clause) -> str:
    """The finite verb second, after the subject or what is fronted."""
    if clause.front:
        return f"{clause.front[1]} {german_verb_first(clause)}"
    finite, right, _ = german_verb(clause)
    subject = clause.german_subject.german(NOMINATIVE)
    return join(subject, finite, _clitic(clause), _bracket(_middle(clause), right))


def german_verb_first(clause: Clause) -> str:
    """The finite verb first: questions, and main clauses after something fronted."""
    finite, right, _ = german_verb(clause)
    return join(finite, _subject_and_clitic(clause), _bracket(_middle(clause, clause.front), right))


def german_final(clause: Clause) -> str:
    """The finite verb last, after a conjunction."""
    return join(_subject_and_clitic(clause), _bracket(_middle(clause), german_verb(clause)[2]))


def german_after_relative(clause: Clause) -> str:
    """The finite verb last, after a relative pronoun that is the subject."""
    subject = clause.german_subject.german(NOMINATIVE)
    return join(subject, _clitic(clause), _bracket(_middle(clause), german_verb(clause)[2]))


def german_zu(clause: Clause) -> str:
    """The infinitive with zu at the end, without subject; the reflexive agrees with the subject."""
    infinitive = inflection.zu_infinitive(clause.verb.infinitive, clause.verb.prefix)
    return join(_clitic(clause), _bracket(_middle(clause), infinitive))


def german_imperative(clause: Clause) -> str:
    """To du, ihr or Sie (the subject), with bitte where a time would stand."""
    verb, person = clause.verb, clause.german_subject.person
    finite = verb.imperative if person == DU else verb.present[person]
    if person not in (DU, IHR):
        finite += " Sie"
    polite = replace(clause, time=("please", "bitte"))
    return join(finite, _clitic(clause), _bracket(_middle(polite), verb.prefix))
