"""German morphology against the standard paradigms."""

import pytest

from tools.corpus import english, inflection, phrases
from tools.corpus import lexicon as lex
from tools.corpus.lexicon import Verb

CASES = range(4)


def verb(english_name: str, infinitive: str) -> Verb:
    return next(v for v in lex.ALL_VERBS if v.english == english_name and v.infinitive == infinitive)


@pytest.mark.parametrize(
    ("determiner", "noun", "plural", "expected"),
    [
        (phrases.THE, "man", False, ["der alte Mann", "den alten Mann", "dem alten Mann", "des alten Mannes"]),
        (phrases.THE, "woman", False, ["die alte Frau", "die alte Frau", "der alten Frau", "der alten Frau"]),
        (phrases.THE, "child", False, ["das alte Kind", "das alte Kind", "dem alten Kind", "des alten Kindes"]),
        (phrases.THE, "child", True, ["die alten Kinder", "die alten Kinder", "den alten Kindern", "der alten Kinder"]),
        (phrases.A, "man", False, ["ein alter Mann", "einen alten Mann", "einem alten Mann", "eines alten Mannes"]),
        (phrases.A, "woman", False, ["eine alte Frau", "eine alte Frau", "einer alten Frau", "einer alten Frau"]),
        (phrases.A, "child", False, ["ein altes Kind", "ein altes Kind", "einem alten Kind", "eines alten Kindes"]),
        (phrases.NO, "child", True, ["keine alten Kinder"] * 2 + ["keinen alten Kindern", "keiner alten Kinder"]),
        (phrases.NONE, "cheese", False, ["alter Käse", "alten Käse", "altem Käse", "alten Käses"]),
        (phrases.NONE, "milk", False, ["alte Milch", "alte Milch", "alter Milch", "alter Milch"]),
        (phrases.NONE, "bread", False, ["altes Brot", "altes Brot", "altem Brot", "alten Brotes"]),
        (phrases.NONE, "dog", True, ["alte Hunde", "alte Hunde", "alten Hunden", "alter Hunde"]),
        (phrases.EVERY, "student", False, ["jeder alte Student", "jeden alten Studenten", "jedem alten Studenten"]),
        (phrases.POSSESSIVES["our"], "friend", True, ["unsere alten Freunde"] * 2 + ["unseren alten Freunden"]),
    ],
)
def test_article_adjective_and_noun_agree(
    determiner: phrases.Determiner, noun: str, plural: bool, expected: list[str]
) -> None:
    phrase = phrases.build(determiner, lex.NOUN_BY_ENGLISH[noun], plural=plural, adjectives=(("old", "alt"),))
    assert [phrase.german(case) for case in CASES][: len(expected)] == expected


def test_adjective_endings_are_the_standard_tables() -> None:
    # Columns: masculine, feminine, neuter, plural; rows: nominative, accusative, dative, genitive.
    assert inflection.ADJECTIVE_ENDINGS == {
        "strong": (("er", "e", "es", "e"), ("en", "e", "es", "e"), ("em", "er", "em", "en"), ("en", "er", "en", "er")),
        "weak": (("e", "e", "e", "en"), ("en", "e", "e", "en"), ("en",) * 4, ("en",) * 4),
        "mixed": (("er", "e", "es", "en"), ("en", "e", "es", "en"), ("en",) * 4, ("en",) * 4),
    }


@pytest.mark.parametrize(
    ("predicate", "stem"), [("teuer", "teur"), ("dunkel", "dunkl"), ("hoch", "hoh"), ("müde", "müd"), ("neu", "neu")]
)
def test_adjective_stems(predicate: str, stem: str) -> None:
    assert inflection.adjective_stem(predicate) == stem


@pytest.mark.parametrize(
    ("verb_", "present", "past", "participle", "imperative"),
    [
        (verb("buy", "kaufen"), "kaufe kaufst kauft kaufen kauft kaufen", "kaufte", "gekauft", "kauf"),
        (verb("work", "arbeiten"), "arbeite arbeitest arbeitet arbeiten arbeitet arbeiten", "arbeitete", "gearbeitet",
         "arbeite"),
        (verb("open", "öffnen"), "öffne öffnest öffnet öffnen öffnet öffnen", "öffnete", "geöffnet", "öffne"),
        (verb("draw", "zeichnen"), "zeichne zeichnest zeichnet zeichnen zeichnet zeichnen", "zeichnete", "gezeichnet",
         "zeichne"),
        (verb("learn", "lernen"), "lerne lernst lernt lernen lernt lernen", "lernte", "gelernt", "lern"),
        (verb("collect", "sammeln"), "sammle sammelst sammelt sammeln sammelt sammeln", "sammelte", "gesammelt",
         "sammle"),
        (verb("play", "spielen"), "spiele spielst spielt spielen spielt spielen", "spielte", "gespielt", "spiel"),
        (verb("dance", "tanzen"), "tanze tanzt tanzt tanzen tanzt tanzen", "tanzte", "getanzt", "tanz"),
        (verb("give", "geben"), "gebe gibst gibt geben gebt geben", "gab", "gegeben", "gib"),
        (verb("read", "lesen"), "lese liest liest lesen lest lesen", "las", "gelesen", "lies"),
        (verb("eat", "essen"), "esse isst isst essen esst essen", "aß", "gegessen", "iss"),
        (verb("stop", "halten"), "halte hältst hält halten haltet halten", "hielt", "angehalten", "halte"),
        (verb("invite", "laden"), "lade lädst lädt laden ladet laden", "lud", "eingeladen", "lade"),
        (verb("enter", "betreten"), "betrete betrittst betritt betreten betretet betreten", "betrat", "betreten",
         "betritt"),
        (verb("know", "kennen"), "kenne kennst kennt kennen kennt kennen", "kannte", "gekannt", "kenn"),
        (verb("study", "studieren"), "studiere studierst studiert studieren studiert studieren", "studierte",
         "studiert", "studier"),
        (verb("have", "haben"), "habe hast hat haben habt haben", "hatte", "gehabt", "hab"),
    ],
)  # fmt: skip
def test_verb_forms(verb_: Verb, present: str, past: str, participle: str, imperative: str) -> None:
    assert verb_.present == tuple(present.split())
    assert verb_.past[inflection.ER] == past
    assert verb_.participle == participle
    assert verb_.imperative == imperative


def test_past_by_person() -> None:
    assert inflection.conjugate_past("gehen", "ging") == ("ging", "gingst", "ging", "gingen", "gingt", "gingen")
    assert inflection.conjugate_past("finden", "fand") == ("fand", "fandest", "fand", "fanden", "fandet", "fanden")
    assert inflection.conjugate_past("lernen") == ("lernte", "lerntest", "lernte", "lernten", "lerntet", "lernten")


def test_participle_and_zu_go_between_separable_prefix_and_verb() -> None:
    assert inflection.participle("kaufen", "ein") == "eingekauft"
    assert inflection.participle("suchen") == "gesucht"
    assert inflection.participle("besuchen") == "besucht"
    assert inflection.participle("reparieren") == "repariert"
    assert inflection.zu_infinitive("rufen", "an") == "anzurufen"
    assert inflection.zu_infinitive("lesen") == "zu lesen"


@pytest.mark.parametrize(
    ("preposition", "phrase", "expected"),
    [("in", "dem Wald", "im Wald"), ("zu", "der Schule", "zur Schule"), ("an", "das Meer", "ans Meer"),
     ("von", "dem Arzt", "vom Arzt"), ("auf", "dem Tisch", "auf dem Tisch"), ("in", "den Wald", "in den Wald")],
)  # fmt: skip
def test_contractions(preposition: str, phrase: str, expected: str) -> None:
    assert inflection.contract(preposition, phrase) == expected


def test_numbers() -> None:
    assert phrases.number_words(21) == ("twenty-one", "einundzwanzig")
    assert phrases.number_words(76) == ("seventy-six", "sechsundsiebzig")
    assert phrases.number_words(17) == ("seventeen", "siebzehn")
    assert inflection.number_digits(12500) == "12.500"


def test_english_forms() -> None:
    assert [english.plural(word) for word in ("box", "city", "boy", "bus")] == ["boxes", "cities", "boys", "buses"]
    assert [english.ing(word) for word in ("write", "put", "lie", "see", "visit", "travel")] == [
        "writing", "putting", "lying", "seeing", "visiting", "travelling",
    ]  # fmt: skip
    assert [english.regular_past(word) for word in ("tidy", "love", "plan", "play")] == [
        "tidied", "loved", "planned", "played",
    ]  # fmt: skip
    assert [english.indefinite_article(word) for word in ("apple", "hour", "university", "unusual", "uniform")] == [
        "an", "an", "a", "an", "a",
    ]  # fmt: skip
    assert [english.comparison(word)[0] for word in ("big", "happy", "large", "expensive", "narrow")] == [
        "bigger", "happier", "larger", "more expensive", "narrower",
    ]  # fmt: skip
