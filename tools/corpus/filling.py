"""Filling a clause: who does what to whom, where and when, within what the lexicon allows."""

from __future__ import annotations

from tools.corpus import inflection, phrases, times
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import TENSES, Clause, Slot, english_main, german_after_relative, german_final
from tools.corpus.inflection import ACCUSATIVE, DATIVE, DU, ER, ICH, IHR, PLURAL, RELATIVE, SIE, WIR
from tools.corpus.lexicon import Complement, Noun, Verb
from tools.corpus.phrases import Phrase
from tools.corpus.places import city_phrase, country_phrase, direction, free_location, location, two_way
from tools.corpus.tables import Pair

# --- subjects and objects -----------------------------------------------------------------------------------------


def subject_for(dice: Dice, kinds: tuple[str, ...], *, pronoun: float = 0.34, name: float = 0.16) -> Phrase:
    """A subject of one of these kinds: a pronoun, a name or a noun phrase."""
    if "person" in kinds:
        chance = dice.random()
        if chance < pronoun:
            return dice.pick(phrases.PERSONAL)
        if chance < pronoun + name:
            return dice.pick(phrases.FIRST_NAMES if dice.chance(0.65) else phrases.TITLED_NAMES)
        if chance > 0.97:
            return _pair(dice)
    noun = dice.pick(lex.nouns(kinds))
    if noun.kind == "animal" and dice.chance(0.12):
        return with_relative_clause(dice, noun)
    return phrases.noun_phrase(dice, noun)


def _pair(dice: Dice) -> Phrase:
    """Anna and her brother."""
    first = dice.pick(phrases.FIRST_NAMES)
    owner = phrases.POSSESSIVES["her" if first.column == inflection.FEMININE else "his"]
    return phrases.coordinate(first, phrases.build(owner, dice.pick(lex.nouns(("relative",)))))


def _object(dice: Dice, kinds: tuple[str, ...], subject: Phrase, pronoun: float) -> Phrase:
    if "person" in kinds:
        chance = dice.random()
        if chance < pronoun:
            phrase = dice.pick(phrases.PERSONAL)
            both = {phrase.person, subject.person}  # Not "I know us", "you know you".
            if not (both <= {ICH, WIR} or both <= {DU, IHR} or subject.formal):
                return phrase
        elif chance < pronoun + 0.15:
            phrase = dice.pick(phrases.FIRST_NAMES if dice.chance(0.65) else phrases.TITLED_NAMES)
            if phrase is not subject:
                return phrase
    if "city" in kinds and dice.chance(0.3):
        return city_phrase(dice)
    if "country" in kinds and dice.chance(0.2):
        return country_phrase(dice)
    if dice.chance(0.25):
        whole = phrases.genitive_phrase(dice, kinds)
        if whole is not None:
            return whole
    return phrases.noun_phrase(dice, dice.pick(lex.nouns(kinds)))


# --- complements --------------------------------------------------------------------------------------------------


def complete(dice: Dice, clause: Clause, *, gap: int | None = None, pronouns: bool = True, light: bool = False) -> None:
    """Fill all complements of the clause's verb but the one at `gap`, which a relative pronoun stands for.

    `light` allows no relative clauses inside. With an indefinite object, negation is kein instead of nicht.
    """
    verb = clause.verb
    if "v" in verb.marks:
        _turn_around(dice, clause)
        return
    for position, complement in enumerate(verb.complements):
        if position == gap:
            if complement.english:
                clause.english_tail.append(complement.english)
            if verb.english_particle and position == 0:
                clause.english_tail.append(verb.english_particle)
        else:
            _fill(dice, clause, complement, position, pronouns and len(verb.complements) == 1, light)
    roles = [complement.role for complement in verb.complements]
    if gap is not None and roles[gap : gap + 2] == ["D", "A"]:  # the man that she gave the book to
        clause.english_tail.append("to")


def _turn_around(dice: Dice, clause: Clause) -> None:
    """The English subject likes something; in German that something pleases (gefällt) it."""
    thing = phrases.noun_phrase(dice, dice.pick(lex.nouns(clause.verb.complements[0].kinds)))
    if clause.negated and thing.indefinite:
        assert thing.noun is not None
        thing = phrases.build(phrases.THE, thing.noun, plural=thing.plural)
    clause.german_subject = thing
    clause.english_tail.append(thing.english_object)
    if not clause.subject.pronoun:  # A pronoun goes where a reflexive goes.
        clause.slots.append((Slot.DATIVE, clause.subject.german(DATIVE)))


def _fill(dice: Dice, clause: Clause, complement: Complement, position: int, pronouns: bool, light: bool) -> None:
    role = complement.role
    if role == "TO":
        to, wohin = direction(dice, complement.kinds)
        clause.add(to, Slot.PREDICATE, wohin)
    elif role == "AT":
        where, wo = location(dice, complement.kinds)
        clause.add(where, Slot.PREDICATE, wo)
    elif role in ("ONTO", "ON"):
        text, german = two_way(dice, complement)
        clause.add(text, Slot.PREDICATE if role == "ONTO" else Slot.PLACE, german)
    elif role == "BARE":
        noun = dice.pick(lex.nouns(complement.kinds))
        article = "the " if noun.kind == "instrument" else ""
        clause.add(article + noun.english, Slot.PREDICATE, noun.lemma)
    else:
        phrase = _relative_or_plain(dice, clause, complement, pronouns, light)
        add_object(clause, complement, phrase, "" if position else clause.verb.english_particle)


def _relative_or_plain(dice: Dice, clause: Clause, complement: Complement, pronouns: bool, light: bool) -> Phrase:
    phrase = _object(dice, complement.kinds, clause.subject, 0.22 if pronouns else 0.0)
    noun = phrase.noun
    last = complement is clause.verb.complements[-1]
    if light or not last or noun is None or phrase.heavy or noun.kind in _NO_RELATIVE:
        return phrase
    if not dice.chance(RELATIVE_SHARE):
        return phrase
    phrase = with_relative_clause(dice, noun, clause.verb)
    clause.heavy = phrase.heavy
    return phrase


def add_object(clause: Clause, complement: Complement, phrase: Phrase, particle: str = "") -> None:
    """Put an object into both languages, negated with kein if it is indefinite."""
    english = f"{complement.english} {phrase.english_object}".strip()
    if particle:
        english = f"{particle} {english}" if phrase.heavy else f"{english} {particle}"
    german = phrase.german
    if phrase.quantity:  # "nicht vier Kühe" would be a contrast.
        clause.negated = clause.english_not = False
    if clause.negated and complement.role == "A" and phrase.kein is not None:
        german, clause.negated = phrase.kein, False
    if complement.role == "P":
        # an das Rätsel denken, but ans Meer fahren: "ans" is for places.
        contracted = (complement.german, complement.case) != ("an", ACCUSATIVE)
        text = phrases.prepositional(complement.german, phrase, complement.case)
        clause.add(english, Slot.PREPOSITIONAL, text if contracted else f"an {german(ACCUSATIVE)}")
    elif complement.role == "D":
        clause.add(english, Slot.DATIVE_PRONOUN if phrase.pronoun else Slot.DATIVE, german(DATIVE))
    elif phrase.pronoun:
        clause.add(english, Slot.ACCUSATIVE_PRONOUN, german(ACCUSATIVE))
    else:
        vague = phrase.indefinite or phrase.quantity
        clause.add(english, Slot.INDEFINITE_ACCUSATIVE if vague else Slot.ACCUSATIVE, german(ACCUSATIVE))


# --- tense, negation, circumstances -------------------------------------------------------------------------------

_TENSES = Weighted(list(TENSES), [tense.frequency for tense in TENSES.values()])


def pick_tense(dice: Dice, verb: Verb, subject: Phrase) -> str:
    """A tense that suits the verb; one whose English form does not tell present from past is avoided."""
    tense = dice.pick(_TENSES)
    if (TENSES[tense].modal or tense == "gern") and tense != "will":
        acts = "i" not in verb.marks and _acts(subject)
        stative = "s" in verb.marks and (tense == "gern" or "to" in tense)
        if not acts or stative:
            tense = dice.among(("present", "past", "perfect"))
    if tense == "since" and "d" not in verb.marks:
        tense = "past"
    return suitable(tense, verb, subject)


def suitable(tense: str, verb: Verb, subject: Phrase) -> str:
    """The nearest tense in which the verb is natural and its English form says which tense it is.

    States have no progressive and no perfect here. "They put" is present or past: the past becomes a perfect there.
    """
    if "s" in verb.marks:
        return {"progressive": "present", "perfect": "past", "pluperfect": "past"}.get(tense, tense)
    if tense == "past" and verb.english_is_syncretic and subject.person != ER:
        return "perfect"
    return tense


def time_for(dice: Dice, tense: str, verb: Verb) -> Pair | None:
    """A time expression that goes with the tense, if any does."""
    if tense == "since":
        return times.fill(dice, "since long" if "s" in verb.marks else "since")
    time = TENSES[tense].time
    if not time:
        return None
    if "s" in verb.marks:
        return times.fill(dice, "era lasting" if "d" in verb.marks else "era") if tense == "past" else None
    if "i" in verb.marks and tense == "present":
        return None
    if tense == "past" and "d" in verb.marks and dice.chance(0.2):
        return times.fill(dice, "duration")
    return times.point(dice, time)


def add_circumstances(dice: Dice, clause: Clause, *, time: float = 0.45, fronting: float = 0.35) -> None:
    """Time, adverb, manner and place, some of them; and one of them or none before the verb."""
    verb, tense = clause.verb, clause.tense
    if tense == "since" or dice.chance(time):
        clause.time = time_for(dice, tense, verb)
    adverbial = not clause.english_not
    if adverbial and tense == "perfect" and dice.chance(0.4):
        clause.adverb = dice.pick(lex.weighted("perfect"))
    elif adverbial and tense == "present" and clause.time is None and "s" not in verb.marks and dice.chance(0.35):
        clause.adverb = dice.pick(lex.weighted("frequency"))
    elif adverbial and _takes_manner(clause) and dice.chance(0.08):
        manner, weise = dice.pick(lex.weighted("manner"))
        if _manner_fits(manner, clause):
            clause.add(manner, Slot.MANNER, weise)
    if "l" in verb.marks and not clause.heavy and dice.chance(0.35):
        place, ort = free_location(dice)
        clause.add(place, Slot.PLACE, ort)
    if clause.heavy and clause.time:
        clause.front = clause.time
    elif dice.chance(fronting):
        clause.front = clause.time if clause.time and dice.chance(0.8) else _sentence_adverb(dice, tense)


def _manner_fits(manner: str, clause: Clause) -> bool:
    if manner == "by mistake":
        return clause.tense in ("past", "perfect")
    return manner != "together" or clause.subject.plural


def _takes_manner(clause: Clause) -> bool:
    doing = not clause.verb.marks & {"s", "i", "v"} and clause.tense != "gern"
    return doing and not clause.heavy and _acts(clause.subject)


def _sentence_adverb(dice: Dice, tense: str) -> Pair | None:
    adverb = dice.pick(lex.weighted("sentence"))
    return None if adverb[0] in _TENSE_OF_ADVERB and _TENSE_OF_ADVERB[adverb[0]] != tense else adverb


_TENSE_OF_ADVERB = {"suddenly": "past", "sooner or later": "will"}


def _acts(subject: Phrase) -> bool:
    return subject.noun is None or subject.noun.is_person


# --- whole clauses ------------------------------------------------------------------------------------------------

ACTIVE_VERBS = lex.verbs_where(lambda verb: True)
QUANTIFIED = ("every ", "all ", "both ", "many ")


def clause_with(
    dice: Dice,
    verb: Verb,
    subject: Phrase,
    tense: str,
    *,
    negation: float = 0.13,
    gap: int | None = None,
    light: bool = True,
) -> Clause:
    """A clause around a given verb and subject in a suitable tense, with its complements but no circumstances."""
    tense = suitable(tense, verb, subject)
    clause = Clause(verb, tense, subject, subject)
    negatable = "n" not in verb.marks and tense not in ("since", "gern") and not subject.english.startswith(QUANTIFIED)
    if negatable and dice.chance(negation):
        clause.negate()
    complete(dice, clause, gap=gap, light=light)
    return clause


def any_clause(dice: Dice, *, light: bool = False, pronoun: float = 0.34) -> Clause:
    """A clause of any verb, with its subject and complements."""
    verb = dice.pick(ACTIVE_VERBS)
    subject = subject_for(dice, verb.subjects, pronoun=pronoun)
    return clause_with(dice, verb, subject, pick_tense(dice, verb, subject), light=light)


def pick_verb(dice: Dice, choices: Weighted[Verb], tense: str, avoid: Verb | None = None) -> Verb:
    """A verb whose past can be told from its present if the tense is past, and that does not repeat another."""
    while True:
        verb = dice.pick(choices)
        repeats = avoid is not None and verb.english == avoid.english
        if not repeats and not (tense == "past" and verb.english_is_syncretic):
            return verb


def clause_about(dice: Dice, subject: Phrase, tense: str, *, noun: Noun | None, acting: bool) -> Clause:
    """A clause with a given pronoun as subject; `noun` says what it stands for, None if for a name."""
    people = VOLITIONAL_VERBS if acting else PERSON_VERBS
    verb = pick_verb(dice, people if noun is None or noun.is_person else lex.verbs_by_subject(noun), tense)
    return clause_with(dice, verb, subject, tense, negation=0.0 if acting else 0.08)


PERSON_VERBS = lex.verbs_where(lambda verb: "person" in verb.subjects)
VOLITIONAL_VERBS = lex.verbs_where(lambda verb: "person" in verb.subjects and not verb.marks & {"i", "s", "v"})

# --- relative clauses ---------------------------------------------------------------------------------------------

RELATIVE_SHARE = 0.12
_NO_RELATIVE = lex.ARTICLELESS | {"instrument", "body", "material"}
_RELATIVE_TENSES = Weighted(["present", "progressive", "past", "perfect", "will"], [30, 15, 40, 20, 6])


def with_relative_clause(dice: Dice, noun: Noun, avoid: Verb | None = None, described: bool = True) -> Phrase:
    """The man who lives in Berlin; the bus that she is waiting for; the woman whose dog bites the boy.

    The verb to `avoid` is that of the main clause.
    """
    plural = phrases.may_be_plural(noun) and dice.chance(0.25)
    determiner = phrases.THE if plural or noun.kind in lex.UNCOUNTABLE or dice.chance(0.75) else phrases.A
    column = PLURAL if plural else noun.gender
    kind = dice.random()
    if noun.is_person and kind < 0.12:
        tail = _whose(dice, column)
    elif kind < 0.5 and lex.verbs_by_subject(noun):
        tail = _subject_gap(dice, noun, column, avoid)
    else:
        tail = _object_gap(dice, noun, column, avoid)
    adjectives = phrases.attributes(dice, noun, phrases.A) if described else ()
    return phrases.build(determiner, noun, plural=plural, adjectives=adjectives, tail=tail)


def _subject_gap(dice: Dice, noun: Noun, column: int, avoid: Verb | None) -> Pair:
    verb = dice.pick(lex.verbs_by_subject(noun))
    if "v" in verb.marks or verb is avoid or verb.english in ("begin", "end", "take place"):
        return _object_gap(dice, noun, column, avoid)
    word = "who" if noun.is_person else "that"
    person = SIE if column == PLURAL else ER
    pronoun = Phrase(word, word, lambda case: RELATIVE[case][column], person, column, noun=noun, pronoun=True)
    clause = clause_with(dice, verb, pronoun, dice.pick(_RELATIVE_TENSES), negation=0.06)
    if dice.chance(0.25):
        clause.time = time_for(dice, clause.tense, verb)
    return f" {english_main(clause)}", f", {german_after_relative(clause)},"


def _object_gap(dice: Dice, noun: Noun, column: int, avoid: Verb | None) -> Pair:
    choices = lex.verbs_by_object(noun)
    if not choices or (verb := dice.pick(choices)) is avoid:
        return "", ""
    position = lex.object_position(verb, noun)
    assert position is not None
    complement = verb.complements[position]
    subject = subject_for(dice, verb.subjects, pronoun=0.5, name=0.25)
    if subject.heavy and "person" in verb.subjects:
        subject = dice.pick(phrases.FIRST_NAMES)
    clause = clause_with(dice, verb, subject, dice.pick(_RELATIVE_TENSES), negation=0.06, gap=position)
    relative = RELATIVE[complement.case][column]
    if complement.role == "P":
        relative = f"{complement.german} {relative}"
    return f" that {english_main(clause)}", f", {relative} {german_final(clause)},"


_WHOSE_KINDS = lex.nouns(("relative", "animal", "car"))


def _whose(dice: Dice, column: int) -> Pair:
    noun = dice.pick(_WHOSE_KINDS)
    word = RELATIVE[inflection.GENITIVE][column]
    subject = phrases.build(phrases.invariable("whose", word), noun)
    verb = dice.pick(lex.verbs_by_subject(noun))
    while verb.marks & {"v"} or verb.reflexive:  # German puts something else than dessen first with these.
        verb = dice.pick(lex.verbs_by_subject(noun))
    clause = clause_with(dice, verb, subject, dice.pick(_RELATIVE_TENSES), negation=0.0)
    return f" {english_main(clause)}", f", {german_final(clause)},"


def clause_in(dice: Dice, tense: str, *, acting: bool = False) -> Clause:
    """A clause of any person's verb in a given tense; of a verb of doing if `acting` or if the tense asks for it."""
    acting = acting or tense not in ("past", "present")
    choices = VOLITIONAL_VERBS if acting else PERSON_VERBS
    verb = pick_verb(dice, choices, tense)
    subject = subject_for(dice, verb.subjects, pronoun=0.25, name=0.2)
    return clause_with(dice, verb, subject, tense, light=dice.chance(0.7), negation=0.0 if acting else 0.1)
