"""German morphology: articles, adjective endings, noun and verb forms, as rules over the tables of inflection.txt.

Cases index the rows of every table, genders (and plural) the columns.
"""

from __future__ import annotations

from tools.corpus.tables import SECTIONS, rows, word_list

NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE = range(4)
MASCULINE, FEMININE, NEUTER, PLURAL = range(4)
ICH, DU, ER, WIR, IHR, SIE = range(6)

Forms = tuple[str, ...]
Table = tuple[Forms, ...]


def _table(section: str) -> Table:
    """Rows by case; "-" is an empty cell."""
    return tuple(tuple("" if cell == "-" else cell for cell in row.split()) for row in SECTIONS[section])


DEFINITE, RELATIVE = _table("definite"), _table("relative")
ARTICLE_ENDINGS = {name: _table(f"article {name}") for name in ("strong", "ein")}
ADJECTIVE_ENDINGS = {name: _table(f"adjective {name}") for name in ("strong", "weak", "mixed")}
CONTRACTIONS = {separate: short for separate, short in rows("contractions")}


def contract(preposition: str, definite_phrase: str) -> str:
    """Join a preposition and a phrase that starts with the definite article: in dem Haus → im Haus."""
    article, _, rest = definite_phrase.partition(" ")
    short = CONTRACTIONS.get(f"{preposition} {article}")
    return f"{short} {rest}" if short else f"{preposition} {definite_phrase}"


def with_endings(stem: str, endings: Table) -> Table:
    """All forms of an article-like word; euer loses its e before an ending (eure, eurem)."""
    short = "eur" if stem == "euer" else stem
    return tuple(tuple((short + ending) if ending else stem for ending in row) for row in endings)


def adjective_stem(predicate: str) -> str:
    """The stem before endings: müde → müd-, teuer → teur-, dunkel → dunkl-, hoch → hoh-."""
    if predicate == "hoch":
        return "hoh"
    if predicate.endswith("el") or predicate.endswith(("auer", "euer")):
        return predicate[:-2] + predicate[-1]
    return predicate.removesuffix("e")


def comparison(predicate: str) -> tuple[str, str]:
    """Comparative and superlative stems without umlaut: klein → kleiner, kleinst; interessant → interessantest."""
    comparative = predicate + ("r" if predicate.endswith("e") else "er")
    sibilant = predicate.endswith(("t", "d", "s", "ß", "z", "x", "sch")) and not predicate.endswith("end")
    return comparative, predicate + ("est" if sibilant else "st")


def decline_plural(plural: str) -> Forms:
    """The plural by case: the dative adds n, except to -n and -s."""
    dative = plural if plural.endswith(("n", "s")) else plural + "n"
    return (plural, plural, dative, plural)


def genitive_name(name: str) -> str:
    """Anna → Annas. Names in s, ß, x, z (Thomas') are not in the lexicon."""
    assert not name.endswith(("s", "ß", "x", "z"))
    return name + "s"


# --- verbs --------------------------------------------------------------------------------------------------------

IRREGULAR = {verb: (tuple(present.split()), tuple(past.split())) for verb, present, past in rows("irregular")}
IRREGULAR_PARTICIPLES = {"haben": "gehabt", "sein": "gewesen"}
FINITE = {forms[ER]: forms for tenses in IRREGULAR.values() for forms in tenses}
FINITE |= {forms[ER]: forms for forms in (tuple(line.split()) for line in SECTIONS["subjunctive"])}
"""The forms by person of what can be an auxiliary, by the third person singular: kann, wurde, möchte."""


def verb_stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def _needs_e(stem: str) -> bool:
    """Whether an e goes before -st and -t: arbeit-e-t, öffn-e-t, zeichn-e-t, but lern-t, wohn-t."""
    if stem.endswith(("t", "d")):
        return True
    return stem.endswith(("chn", "ckn")) or (stem.endswith(("m", "n")) and stem[-2] not in "aeiouäöülrhmn")


def conjugate_present(infinitive: str, third: str | None = None) -> Forms:
    """Present by person; `third` is the 3rd person singular of a verb whose vowel changes (sehen: sieht)."""
    if infinitive in IRREGULAR:
        return IRREGULAR[infinitive][0]
    stem = verb_stem(infinitive)
    regular = stem + ("et" if _needs_e(stem) else "t")
    if third is None or third == regular:
        third, singular, link = regular, stem, "e" if _needs_e(stem) else ""
    else:
        # The t of hält and lädt is the stem's own or has swallowed the ending: hältst, lädst, trittst.
        keeps_t = stem.endswith("t")
        singular, link = (third if keeps_t else third[:-1]), ""
    second = singular + ("t" if singular.endswith(("s", "ß", "z", "x")) else link + "st")
    first = (stem[:-2] + "l" if infinitive.endswith("eln") else stem) + "e"
    return (first, second, third, infinitive, regular, infinitive)


def conjugate_past(infinitive: str, third: str | None = None) -> Forms:
    """Präteritum by person; `third` is the form of a strong or mixed verb (sah, dachte)."""
    if infinitive in IRREGULAR:
        return IRREGULAR[infinitive][1]
    stem = verb_stem(infinitive)
    third = third or stem + ("ete" if _needs_e(stem) else "te")
    if third.endswith("e"):
        return (third, third + "st", third, third + "n", third + "t", third + "n")
    link = "e" if third.endswith(("t", "d", "s", "ß", "z")) else ""
    plural_link = "e" if third.endswith(("t", "d")) else ""
    return (third, third + link + "st", third, third + "en", third + plural_link + "t", third + "en")


def participle(infinitive: str, prefix: str = "", strong: str | None = None) -> str:
    """The past participle, with the separable prefix before ge-: angerufen, eingekauft, studiert, besucht."""
    form = strong or IRREGULAR_PARTICIPLES.get(infinitive)
    if form is None:
        stem = verb_stem(infinitive)
        form = stem + ("et" if _needs_e(stem) else "t")
        if not infinitive.endswith("ieren") and not infinitive.startswith(tuple(word_list("inseparable"))):
            form = "ge" + form
    return prefix + form


def imperative(infinitive: str, present: Forms) -> str:
    """To one friend (du): mach, warte, gib, fahr, sammle. Only the change from e to i stays."""
    if infinitive == "sein":
        return "sei"
    if infinitive in IRREGULAR:
        return verb_stem(infinitive)
    stem = verb_stem(infinitive)
    third = present[ER]
    if "e" in stem and not third.startswith(stem) and "i" in third:
        return third if stem.endswith("t") and third.endswith("tt") else third[:-1]
    if infinitive.endswith("eln"):
        return stem[:-2] + "le"
    return stem + ("e" if _needs_e(stem) else "")


def zu_infinitive(infinitive: str, prefix: str = "") -> str:
    """anrufen → anzurufen, lesen → zu lesen."""
    return f"{prefix}zu{infinitive}" if prefix else f"zu {infinitive}"


def number_digits(number: int) -> str:
    """12500 → 12.500."""
    return f"{number:,}".replace(",", ".")
