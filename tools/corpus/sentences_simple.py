"""Sentences of one main clause: statements, passives, causes, times, prices, weather,
descriptions, comparisons, professions.
"""

from __future__ import annotations

from dataclasses import replace

from tools.corpus import filling, inflection, phrases, times
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import Clause, Sentence, Slot, english_main, german_main
from tools.corpus.filling import clause_in, clause_with, subject_for
from tools.corpus.inflection import ACCUSATIVE, DATIVE, ER, GENITIVE, NOMINATIVE
from tools.corpus.phrases import Phrase, build
from tools.corpus.places import direction, location
from tools.corpus.words import Noun


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
    subject = phrases.noun_phrase(dice, noun)
    clause = Clause(verb, dice.pick(_PASSIVE_TENSES), subject, subject)
    if verb.english_particle:
        clause.english_tail.append(verb.english_particle)
    if dice.chance(0.15) and not subject.indefinite:
        clause.negated = clause.english_not = True
    if dice.chance(0.35):
        agent = phrases.noun_phrase(dice, dice.pick(lex.nouns(verb.subjects)), plain=True)
        clause.english_tail.append(f"by {agent.english}")
        clause.slots.append((Slot.MANNER, phrases.prepositional("von", agent, DATIVE)))
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
    adjectives = phrases.attributes(dice, noun, phrases.A)
    reason = build(phrases.THE, noun, adjectives=adjectives)
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
    clause.slots.append((Slot.PLACE, phrases.prepositional("mit", build(phrases.THE, noun), DATIVE)))
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
    determiner = phrases.NO if negated else phrases.NONE if plural else phrases.A
    adjectives = phrases.attributes(dice, noun, determiner) if noun.kind != "event" else ()
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
    subject = phrases.noun_phrase(dice, noun)
    tense = dice.among(("present", "will")) if subject.plural else dice.among(("present", "present", "past", "will"))
    clause = Clause(lex.COST, tense, subject, subject)
    amount, betrag = times.price(dice, high=noun.kind in ("device", "surface"))
    clause.english_tail.append(amount)
    clause.slots.append((Slot.PREDICATE, betrag))
    return english_main(clause), german_main(clause), "."


def schedule(dice: Dice) -> Sentence:
    """The concert begins at half past seven; the journey lasts three hours; the train leaves at 19.30."""
    noun = dice.pick(lex.nouns(("event", "show", "transport")))
    subject = phrases.noun_phrase(dice, noun, plain=True)
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
    owner = dice.pick(Weighted([phrases.POSSESSIVES[name] for name in ("my", "his", "her")], [4, 3, 3]))
    subject = build(owner, noun, plural=noun.plural is not None and dice.chance(0.4))
    tense = dice.among(("present", "perfect")) if subject.plural else dice.among(("present", "past"))
    clause = Clause(lex.HURT, tense, subject, subject)
    if dice.chance(0.6):
        clause.time = times.point(dice, times.PAST if tense == "past" else times.HABIT) if tense != "perfect" else None
        clause.front = clause.time if dice.chance(0.5) else None
    elif tense == "present":
        clause.adverb = dice.pick(lex.FREQUENCY_ADVERBS)
    return english_main(clause), german_main(clause), "."


# --- how someone or something is ----------------------------------------------------------------------------------


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


_MOOD_NAMES = frozenset(lex.word_list("moods"))
_MOODS = Weighted([adjective for adjective in lex.ALL_ADJECTIVES if adjective.english in _MOOD_NAMES])
_EXCESSIVE = frozenset(lex.word_list("excessive"))


_BECOMING = frozenset(lex.word_list("becoming"))


_DESCRIBED = Weighted(
    [noun for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
    [max(1, len(lex.adjectives(noun).items)) for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
)


def description(dice: Dice) -> Sentence:
    """The soup is too hot. Last year the neighbour became ill."""
    noun = dice.pick(_DESCRIBED)
    if dice.chance(0.75):
        subject = phrases.noun_phrase(dice, noun, described=False)
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
    subject = phrases.noun_phrase(dice, noun, plain=True, described=False)
    similar = [
        other for other in lex.members(noun.kind) if adjective in lex.adjectives(other).items and other is not noun
    ]
    other = build(
        dice.among((phrases.THE, phrases.POSSESSIVES["my"], phrases.POSSESSIVES["her"])),
        dice.among(similar) if similar else noun,
    )
    if not similar:
        other = build(
            phrases.POSSESSIVES["my"] if not subject.english.startswith("my") else phrases.POSSESSIVES["their"], noun
        )
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
        predicate = build(phrases.A, job, adjectives=((adjective.english, adjective.stem),))
        german = predicate.german(NOMINATIVE)
    else:
        predicate = build(phrases.A, job)
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
        for phrase in (*phrases.FIRST_NAMES.items, *phrases.TITLED_NAMES.items, *phrases.PERSONAL.items)
        if phrase.column == 0 and phrase.person == ER
    ]
    + [
        build(owner, noun)
        for noun in lex.members("relative")
        if noun.gender == 0 and noun.english not in ("boss", "friend", "guest")
        for owner in (phrases.POSSESSIVES["my"], phrases.POSSESSIVES["her"], phrases.POSSESSIVES["his"])
    ]
)
