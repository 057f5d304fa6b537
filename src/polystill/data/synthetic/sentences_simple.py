"""Sentences of one main clause: statements, passives, causes, times, prices, weather."""

from __future__ import annotations

from dataclasses import replace

from polystill.data.synthetic import filling, times
from polystill.data.synthetic import lexicon as lex
from polystill.data.synthetic.choice import Dice, Weighted
from polystill.data.synthetic.clauses import (
    Clause,
    Sentence,
    Slot,
    english_main,
    german_main,
)
from polystill.data.synthetic.filling import clause_with, subject_for
from polystill.data.synthetic.inflection import ACCUSATIVE, DATIVE, GENITIVE
from polystill.data.synthetic.phrases import (
    NO,
    NONE,
    POSSESSIVES,
    THE,
    A,
    attributes,
    build,
    noun_phrase,
    prepositional,
)
from polystill.data.synthetic.places import direction, location
from polystill.data.synthetic.sentences_complex import clause_in


def statement(dice: Dice) -> Sentence:
    clause = filling.any_clause(dice)
    filling.add_circumstances(dice, clause)
    return english_main(clause), german_main(clause), "."


def relative(dice: Dice) -> Sentence:
    """A statement whose subject has a relative clause."""
    verb = dice.pick(filling.ACTIVE_VERBS)
    noun = dice.pick(lex.nouns(verb.subjects))
    subject = filling.with_relative_clause(dice, noun, verb)
    clause = clause_with(dice, verb, subject, filling.pick_tense(dice, verb, subject), light=True)
    filling.add_circumstances(dice, clause, time=0.25, fronting=0.15)
    return english_main(clause), german_main(clause), "."


def passive(dice: Dice) -> Sentence:
    """The house was built in 1985 by the king."""
    verb = dice.pick(_PASSIVE_VERBS)
    noun = dice.pick(lex.nouns(verb.complements[0].kinds))
    subject = noun_phrase(dice, noun)
    clause = Clause(verb, dice.pick(_PASSIVE_TENSES), subject, subject)
    if verb.english_particle:
        clause.english_tail.append(verb.english_particle)
    if dice.chance(0.15) and not subject.indefinite:
        clause.negated = clause.english_not = True
    if dice.chance(0.35):
        agent = noun_phrase(dice, dice.pick(lex.nouns(verb.subjects)), plain=True)
        clause.english_tail.append(f"by {agent.english}")
        clause.slots.append((Slot.MANNER, prepositional("von", agent, DATIVE)))
    filling.add_circumstances(dice, clause, time=0.5)
    return english_main(clause), german_main(clause), "."


_PASSIVE_VERBS = lex.verbs_where(lambda verb: "p" in verb.marks and lex.nouns(verb.complements[0].kinds))
_PASSIVE_TENSES = Weighted(["passive past", "passive present", "passive perfect", "passive must"], [50, 15, 25, 10])


def cause(dice: Dice) -> Sentence:
    """Because of the rain …: Wegen des Regens, with verb second; despite …: trotz."""
    word, german = dice.among(
        (("because of", "wegen"), ("because of", "wegen"), ("despite", "trotz"), ("during", "während"))
    )
    kinds = ("event",) if word == "during" else ("cause",)
    noun = dice.pick(lex.nouns(kinds))
    adjectives = attributes(dice, noun, A)
    reason = build(THE, noun, adjectives=adjectives)
    clause = clause_in(dice, dice.among(("past", "past", "perfect", "had to", "must", "will")))
    clause.front = (f"{word} {reason.english}", f"{german} {reason.german(GENITIVE)}")
    if dice.chance(0.4):
        main = replace(clause, front=None)
        main.slots = [*clause.slots, (Slot.TIME, clause.front[1])]
        main.english_tail = [*clause.english_tail, clause.front[0]]
        return english_main(main), german_main(main), "."
    return english_main(clause), german_main(clause), "."


def since(dice: Dice) -> Sentence:
    """She has been waiting for the bus for two hours: Sie wartet seit zwei Stunden auf den Bus."""
    verb = dice.pick(_LASTING_VERBS)
    subject = subject_for(dice, verb.subjects)
    clause = clause_with(dice, verb, subject, "since", light=True)
    clause.time = times.since(dice, long="s" in verb.marks)
    if dice.chance(0.2):
        clause.front = clause.time
    return english_main(clause), german_main(clause), "."


_LASTING_VERBS = lex.verbs_where(lambda verb: "d" in verb.marks)


def by_transport(dice: Dice) -> Sentence:
    """He goes to Munich by train: Er fährt mit dem Zug nach München."""
    far = dice.chance(0.6)
    noun = dice.pick(lex.nouns(_FAR_TRANSPORT if far else _NEAR_TRANSPORT))
    verb = _DRIVE
    subject = subject_for(dice, ("person",))
    tense = filling.pick_tense(dice, verb, subject)
    clause = Clause(verb, tense, subject, subject)
    place, ort = direction(dice, ("city", "country") if far else ("stop", "shop"))
    clause.english_tail += [place, f"by {noun.english}"]
    clause.slots.append((Slot.PLACE, prepositional("mit", build(THE, noun), DATIVE)))
    clause.slots.append((Slot.PREDICATE, ort))
    filling.add_circumstances(dice, clause, time=0.6)
    return english_main(clause), german_main(clause), "."


_FAR_TRANSPORT = ("train_", "bus_", "ship_", "car_", "ferry_")


_NEAR_TRANSPORT = ("bus_", "bicycle_", "tram_", "underground_", "taxi_", "car_")


_DRIVE = next(verb for verb in lex.ALL_VERBS if verb.english == "go" and verb.infinitive == "fahren")


def existence(dice: Dice) -> Sentence:
    """There is a cinema in this city: es gibt with the accusative."""
    noun = dice.pick(lex.nouns(("venue", "shop", "animal", "plant", "event", "building")))
    plural = noun.plural is not None and dice.chance(0.5)
    negated = dice.chance(0.25)
    determiner = NO if negated else NONE if plural else A
    adjectives = attributes(dice, noun, determiner) if noun.kind != "event" else ()
    subject = build(determiner, noun, plural=plural, adjectives=adjectives)
    place, ort = location(dice, ("area", "city", "country") if noun.kind in ("venue", "shop") else _INSIDE)
    past = dice.chance(0.3)
    verb = ("was", "were")[plural] if past else ("is", "are")[plural]
    return (
        f"there {verb} {subject.english} {place}",
        f"{ort} {'gab' if past else 'gibt'} es {subject.german(ACCUSATIVE)}",
        ".",
    )


_INSIDE = ("area", "city", "ground", "shore", "country")


def price(dice: Dice) -> Sentence:
    """These shoes cost 49.50 euros: kosten 49,50 Euro."""
    noun = dice.pick(
        lex.nouns(("clothing", "upright", "device", "surface", "toy", "book_", "magazine_", "ring_", "ticket_"))
    )
    subject = noun_phrase(dice, noun)
    tense = dice.among(("present", "will")) if subject.plural else dice.among(("present", "present", "past", "will"))
    clause = Clause(lex.COST, tense, subject, subject)
    amount, betrag = times.price(dice, high=noun.kind in ("device", "surface"))
    clause.english_tail.append(amount)
    clause.slots.append((Slot.PREDICATE, betrag))
    return english_main(clause), german_main(clause), "."


def schedule(dice: Dice) -> Sentence:
    """The concert begins at half past seven; the journey lasts three hours; the train leaves at 19.30."""
    noun = dice.pick(lex.nouns(("event", "show", "transport")))
    subject = noun_phrase(dice, noun, plain=True)
    if noun.kind != "transport" and dice.chance(0.4):
        clause = Clause(lex.LAST, dice.among(("present", "past", "will")), subject, subject)
        span, dauer = times.length(dice, long=noun.english in _LONG_EVENTS)
        clause.english_tail.append(span)
        clause.slots.append((Slot.PREDICATE, dauer))
        return english_main(clause), german_main(clause), "."
    name = dice.among(("leave", "arrive", "stop")) if noun.kind == "transport" else dice.among(("begin", "end"))
    verb = next(v for v in lex.ALL_VERBS if v.english == name and noun.kind in v.subjects)
    clause = Clause(verb, dice.among(("present", "past", "will")), subject, subject)
    clause.time = times.clock(dice)
    if dice.chance(0.35):
        day, tag = dice.pick(lex.TIME_ADVERBS[times.PAST if clause.tense == "past" else times.FUTURE])
        clause.front = (day, tag) if day not in ("soon", "later") else None
    return english_main(clause), german_main(clause), "."


_LONG_EVENTS = ("journey", "course", "conference", "festival", "competition", "exhibition")


def weather(dice: Dice) -> Sentence:
    """It was raining yesterday, so …; it will be cold on Monday."""
    (now, jetzt), (then, damals), (soon, bald) = dice.among(_WEATHER)
    kind = dice.random()
    if kind < 0.35:
        when, wann = times.point(dice, times.PRESENT)
        text, german, verb = f"it {now}", jetzt, "nf"
    elif kind < 0.7:
        when, wann = times.point(dice, times.PAST)
        text, german, verb = f"it {then}", damals, "p"
    else:
        when, wann = times.point(dice, times.FUTURE)
        text, german, verb = f"it will {soon}", bald, "f"
    finite, _, rest = german.partition(" ")
    place, ort = location(dice, ("city", "country"))
    if dice.chance(0.4):
        place = ort = ""
    if dice.chance(0.5):
        return f"{when}, {text} {place}".strip(), _words(wann, finite, "es", ort, rest), "."
    assert verb
    return f"{text} {place} {when}".replace("  ", " "), _words("es", finite, wann, ort, rest), "."


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


_WEATHER = (
    (("is raining", "regnet"), ("rained", "regnete"), ("rain", "wird regnen")),
    (("is snowing", "schneit"), ("snowed", "schneite"), ("snow", "wird schneien")),
    (("is cold", "ist kalt"), ("was cold", "war kalt"), ("be cold", "wird kalt sein")),
    (("is very warm", "ist sehr warm"), ("was very warm", "war sehr warm"), ("be very warm", "wird sehr warm sein")),
    (("is too hot", "ist zu heiß"), ("was too hot", "war zu heiß"), ("be too hot", "wird zu heiß sein")),
    (("is foggy", "ist neblig"), ("was foggy", "war neblig"), ("be foggy", "wird neblig sein")),
)


def pain(dice: Dice) -> Sentence:
    """My back hurts: tut weh."""
    noun = dice.pick(lex.nouns(("body",)))
    owner = dice.pick(Weighted([POSSESSIVES[name] for name in ("my", "his", "her")], [4, 3, 3]))
    subject = build(owner, noun, plural=noun.plural is not None and dice.chance(0.4))
    tense = dice.among(("present", "perfect")) if subject.plural else dice.among(("present", "past"))
    clause = Clause(lex.HURT, tense, subject, subject)
    if dice.chance(0.6):
        clause.time = times.point(dice, times.PAST if tense == "past" else times.HABIT) if tense != "perfect" else None
        clause.front = clause.time if dice.chance(0.5) else None
    elif tense == "present":
        clause.adverb = dice.pick(lex.FREQUENCY_ADVERBS)
    return english_main(clause), german_main(clause), "."
