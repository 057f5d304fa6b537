"""Sentences of one main clause: statements, passives, causes, times, prices, weather,
descriptions, comparisons, professions.
"""

from __future__ import annotations

from tools.corpus import filling, inflection, phrases, times
from tools.corpus import lexicon as lex
from tools.corpus.choice import Dice, Weighted
from tools.corpus.clauses import Clause, Sentence, Slot, english_main, german_main, join
from tools.corpus.filling import clause_in, clause_with, subject_for
from tools.corpus.inflection import ACCUSATIVE, DATIVE, ER, GENITIVE, NOMINATIVE
from tools.corpus.lexicon import Noun
from tools.corpus.phrases import POSSESSIVES, Phrase, build
from tools.corpus.places import direction, location
from tools.corpus.tables import pairs, rows, word_list


def said(clause: Clause) -> Sentence:
    return english_main(clause), german_main(clause), "."


def statement(dice: Dice) -> Sentence:
    clause = filling.any_clause(dice)
    filling.add_circumstances(dice, clause)
    return said(clause)


def relative(dice: Dice) -> Sentence:
    """A statement whose subject has a relative clause."""
    verb = dice.pick(filling.ACTIVE_VERBS)
    subject = filling.with_relative_clause(dice, dice.pick(lex.nouns(verb.subjects)), verb)
    clause = clause_with(dice, verb, subject, filling.pick_tense(dice, verb, subject))
    filling.add_circumstances(dice, clause, time=0.25, fronting=0.15)
    return said(clause)


def passive(dice: Dice) -> Sentence:
    """The house was built in 1985 by the king."""
    verb = dice.pick(_PASSIVE_VERBS)
    subject = phrases.noun_phrase(dice, dice.pick(lex.nouns(verb.complements[0].kinds)))
    clause = Clause(verb, dice.pick(_PASSIVE_TENSES), subject, subject)
    if verb.english_particle:
        clause.english_tail.append(verb.english_particle)
    if dice.chance(0.15) and not subject.indefinite:
        clause.negate()
    if dice.chance(0.35):
        agent = phrases.noun_phrase(dice, dice.pick(lex.nouns(verb.subjects)), plain=True)
        clause.add(f"by {agent.english}", Slot.MANNER, phrases.prepositional("von", agent, DATIVE))
    filling.add_circumstances(dice, clause, time=0.5)
    return said(clause)


_PASSIVE_VERBS = lex.verbs_where(lambda verb: "p" in verb.marks and lex.nouns(verb.complements[0].kinds))
_PASSIVE_TENSES = Weighted(["passive past", "passive present", "passive perfect", "passive must"], [50, 15, 25, 10])


def cause(dice: Dice) -> Sentence:
    """Because of the rain …: Wegen des Regens, with verb second; despite …: trotz."""
    word, german, kind = dice.among(rows("causes"))
    noun = dice.pick(lex.nouns((kind,)))
    reason = build(phrases.THE, noun, adjectives=phrases.attributes(dice, noun, phrases.A))
    clause = clause_in(dice, dice.among(("past", "past", "perfect", "had to", "must", "will")))
    why, warum = f"{word} {reason.english}", f"{german} {reason.german(GENITIVE)}"
    if dice.chance(0.4):
        clause.add(why, Slot.TIME, warum)
    else:
        clause.front = why, warum
    return said(clause)


def since(dice: Dice) -> Sentence:
    """She has been waiting for the bus for two hours: Sie wartet seit zwei Stunden auf den Bus."""
    verb = dice.pick(_LASTING_VERBS)
    clause = clause_with(dice, verb, subject_for(dice, verb.subjects), "since")
    clause.time = filling.time_for(dice, "since", verb)
    if dice.chance(0.2):
        clause.front = clause.time
    return said(clause)


_LASTING_VERBS = lex.verbs_where(lambda verb: "d" in verb.marks)


def by_transport(dice: Dice) -> Sentence:
    """He goes to Munich by train: Er fährt mit dem Zug nach München."""
    far = dice.chance(0.6)
    noun = dice.pick(lex.nouns(("far",) if far else ("near",)))
    subject = subject_for(dice, ("person",))
    clause = Clause(_DRIVE, filling.pick_tense(dice, _DRIVE, subject), subject, subject)
    place, ort = direction(dice, ("city", "country") if far else ("stop", "shop"))
    clause.add(place, Slot.PREDICATE, ort)
    clause.add(f"by {noun.english}", Slot.PLACE, phrases.prepositional("mit", build(phrases.THE, noun), DATIVE))
    filling.add_circumstances(dice, clause, time=0.6)
    return said(clause)


_DRIVE = next(verb for verb in lex.ALL_VERBS if verb.english == "go" and verb.infinitive == "fahren")


def existence(dice: Dice) -> Sentence:
    """There is a cinema in this city: es gibt with the accusative."""
    noun = dice.pick(lex.nouns(("existing",)))
    plural = noun.plural is not None and dice.chance(0.5)
    negated = dice.chance(0.25)
    determiner = phrases.NO if negated else phrases.NONE if plural else phrases.A
    adjectives = phrases.attributes(dice, noun, determiner) if noun.kind != "event" else ()
    subject = build(determiner, noun, plural=plural, adjectives=adjectives)
    wide = noun.kind in ("venue", "shop")
    place, ort = location(dice, ("area", "city", "country", *(() if wide else ("ground", "shore"))))
    past = dice.chance(0.3)
    verb = ("was", "were")[plural] if past else ("is", "are")[plural]
    german = f"{ort} {'gab' if past else 'gibt'} es {subject.german(ACCUSATIVE)}"
    return f"there {verb} {subject.english} {place}", german, "."


def price(dice: Dice) -> Sentence:
    """These shoes cost 49.50 euros: kosten 49,50 Euro."""
    noun = dice.pick(lex.nouns(("priced",)))
    subject = phrases.noun_phrase(dice, noun)
    tense = dice.among(("present", "will")) if subject.plural else dice.among(("present", "present", "past", "will"))
    clause = Clause(lex.COST, tense, subject, subject)
    amount, betrag = times.price(dice, high=noun.kind in ("device", "surface"))
    clause.add(amount, Slot.PREDICATE, betrag)
    return said(clause)


def schedule(dice: Dice) -> Sentence:
    """The concert begins at half past seven; the journey lasts three hours; the train leaves at 19.30."""
    noun = dice.pick(lex.nouns(("timed",)))
    subject = phrases.noun_phrase(dice, noun, plain=True)
    if noun.kind != "transport" and dice.chance(0.4):
        clause = Clause(lex.LAST, dice.among(("present", "past", "will")), subject, subject)
        span, dauer = times.fill(dice, "length long" if noun.english in word_list("long events") else "length")
        clause.add(span, Slot.PREDICATE, dauer)
        return said(clause)
    name = dice.among(("leave", "arrive", "stop")) if noun.kind == "transport" else dice.among(("begin", "end"))
    verb = next(v for v in lex.ALL_VERBS if v.english == name and noun.kind in v.subjects)
    clause = Clause(verb, dice.among(("present", "past", "will")), subject, subject)
    clause.time = times.fill(dice, "clock")
    if dice.chance(0.35):
        day = dice.pick(lex.TIME_ADVERBS[times.PAST if clause.tense == "past" else times.FUTURE])
        clause.front = day if day[0] not in ("soon", "later") else None
    return said(clause)


def weather(dice: Dice) -> Sentence:
    """It was raining yesterday, so …; it will be cold on Monday."""
    now, jetzt, then, damals, soon, bald = dice.among(rows("weather"))
    kind = dice.random()
    if kind < 0.35:
        tense, text, german = times.PRESENT, now, jetzt
    elif kind < 0.7:
        tense, text, german = times.PAST, then, damals
    else:
        tense, text, german = times.FUTURE, soon, bald
    when, wann = times.point(dice, tense)
    finite, _, rest = german.partition(" ")
    place, ort = location(dice, ("city", "country"))
    if dice.chance(0.4):
        place = ort = ""
    if dice.chance(0.5):
        return join(f"{when}, it", text, place), join(wann, finite, "es", ort, rest), "."
    return join("it", text, place, when), join("es", finite, wann, ort, rest), "."


def pain(dice: Dice) -> Sentence:
    """My back hurts: tut weh."""
    noun = dice.pick(lex.nouns(("body",)))
    owner = dice.pick(Weighted([POSSESSIVES[name] for name in ("my", "his", "her")], [4, 3, 3]))
    subject = build(owner, noun, plural=noun.plural is not None and dice.chance(0.4))
    tense = dice.among(("present", "perfect" if subject.plural else "past"))
    clause = Clause(lex.HURT, tense, subject, subject)
    if dice.chance(0.6):
        clause.time = times.point(dice, times.PAST if tense == "past" else times.HABIT) if tense != "perfect" else None
        clause.front = clause.time if dice.chance(0.5) else None
    elif tense == "present":
        clause.adverb = dice.pick(lex.weighted("frequency"))
    return said(clause)


# --- how someone or something is ----------------------------------------------------------------------------------


def being(dice: Dice, subject: Phrase, noun: Noun, tense: str) -> Clause:
    """A clause that says how something is, was or seems; `noun` says which adjectives suit it."""
    adjective = dice.pick(_MOODS if subject.pronoun and noun.is_person else lex.adjectives(noun))
    may_become = tense != "present" and adjective.german in word_list("becoming") and noun.is_person
    clause = Clause(lex.BECOME if may_become and dice.chance(0.2) else lex.BE, tense, subject, subject)
    degree, grad = dice.pick(lex.weighted("degree")) if adjective.superlative and dice.chance(0.45) else ("", "")
    if degree == "too" and adjective.german not in word_list("excessive"):
        degree, grad = "very", "sehr"
    if dice.chance(0.12) and not subject.english.lower().startswith(filling.QUANTIFIED):
        clause.negate()
    if adjective.superlative is None and tense == "perfect":
        clause.tense = "past"
    clause.add(join(degree, adjective.english), Slot.PREDICATE, join(grad, adjective.german))
    return clause


_MOODS = Weighted([adjective for adjective in lex.ALL_ADJECTIVES if adjective.english in word_list("moods")])
_DESCRIBED = Weighted(
    [noun for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
    [len(lex.adjectives(noun).items) for noun in lex.ALL_NOUNS if lex.adjectives(noun)],
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
    return said(clause)


def comparison(dice: Dice) -> Sentence:
    """The dog is bigger than the cat; as big as; the biggest dog in the village."""
    noun = dice.pick(_DESCRIBED)
    choices = [adjective for adjective in lex.adjectives(noun).items if adjective.comparative]
    if not choices:
        return description(dice)
    adjective = dice.among(choices)
    subject = phrases.noun_phrase(dice, noun, plain=True, described=False)
    others = [other for other in lex.members(noun.kind) if other is not noun]
    similar = [other for other in others if adjective in lex.adjectives(other).items]
    owner = dice.among((phrases.THE, POSSESSIVES["my"], POSSESSIVES["her"]))
    if similar:
        other = build(owner, dice.among(similar))
    else:
        other = build(POSSESSIVES["their" if subject.english.startswith("my") else "my"], noun)
    clause = Clause(lex.BE, dice.among(("present", "present", "past")), subject, subject)
    than, als = other.english, other.german(NOMINATIVE)
    if dice.chance(0.3):
        if dice.chance(0.4):
            clause.negate()
        clause.add(f"as {adjective.english} as {than}", Slot.PREDICATE, f"so {adjective.german} wie {als}")
    else:
        much, viel = dice.among(pairs("much"))
        german = join(viel, f"{adjective.comparative} als {als}")
        clause.add(join(much, f"{adjective.english_comparative} than {than}"), Slot.PREDICATE, german)
    return said(clause)


def profession(dice: Dice) -> Sentence:
    """My brother wants to become a doctor: no article in German, but "ein guter Arzt"."""
    job = dice.pick(_MALE_JOBS)
    subject = dice.pick(_MALE_SUBJECTS)
    tense = dice.among(("is", "was", "past", "want to", "will"))
    if tense in ("is", "was"):
        clause = Clause(lex.BE, "present" if tense == "is" else "past", subject, subject)
    else:
        clause = Clause(lex.BECOME, tense, subject, subject)
    predicate, german = build(phrases.A, job), job.lemma
    if dice.chance(0.35):
        adjective = dice.pick(lex.adjectives(job))
        predicate = build(phrases.A, job, adjectives=((adjective.english, adjective.stem),))
        german = predicate.german(NOMINATIVE)
    clause.add(predicate.english, Slot.PREDICATE, german)
    if tense in ("want to", "will") and dice.chance(0.3):
        clause.front = dice.pick(lex.weighted("sentence"))
    return said(clause)


_NAMES = (*phrases.FIRST_NAMES.items, *phrases.TITLED_NAMES.items, *phrases.PERSONAL.items)
_MALE_JOBS = Weighted([noun for noun in lex.members("professional") if noun.gender == inflection.MASCULINE])
_MALE_SUBJECTS = Weighted(
    [phrase for phrase in _NAMES if phrase.column == inflection.MASCULINE and phrase.person == ER]
    + [
        build(POSSESSIVES[owner], noun)
        for noun in lex.members("relative")
        if noun.gender == inflection.MASCULINE and noun.english not in ("boss", "friend", "guest")
        for owner in ("my", "her", "his")
    ]
)
