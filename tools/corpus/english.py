"""English morphology: plurals, verb forms, comparison, articles, and the auxiliaries of a clause. British spelling."""

from __future__ import annotations

from tools.corpus.tables import SECTIONS, rows, word_list

VOWELS = "aeiou"
AUXILIARIES = {name: forms.split() for name, forms in rows("english auxiliaries")}
"""Forms by person of the auxiliaries that change."""
THIRD_PERSON = dict(line.split() for line in SECTIONS["third person"])
AN_ANYWAY, A_ANYWAY = tuple(word_list("an")), tuple(word_list("a"))


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def indefinite_article(following: str) -> str:
    """The article before this word: a house, an hour, a university."""
    word = following.lower()
    vowel = word.startswith(AN_ANYWAY) or (word[0] in VOWELS and not word.startswith(A_ANYWAY))
    return "an" if vowel else "a"


def third_person(verb: str) -> str:
    return THIRD_PERSON.get(verb) or plural(verb)


def _syllables(word: str) -> int:
    """The number of groups of vowels in a word."""
    return sum(1 for before, letter in zip(" " + word, word, strict=False) if letter in VOWELS and before not in VOWELS)


def _doubled(word: str) -> str:
    """The word as it is before an ending: stopp-ed, bigg-er, but travel as travell-ed."""
    closed = len(word) > 2 and word[-1] not in VOWELS + "wxy" and word[-2] in VOWELS and word[-3] not in VOWELS
    doubles = word in word_list("doubling") or (closed and _syllables(word) == 1)
    return word + word[-1] if doubles else word


def regular_past(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def ing(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and verb not in ("be", "see"):
        return verb[:-1] + "ing"
    return _doubled(verb) + "ing"


def comparison(adjective: str) -> tuple[str, str]:
    """Comparative and superlative: bigger, happier, nicer, more difficult."""
    syllables = _syllables(adjective)
    if adjective.endswith("y") and syllables < 3 and "-" not in adjective:
        stem = adjective[:-1] + "i"
    elif adjective in word_list("comparison er"):
        stem = adjective
    elif adjective in word_list("comparison r"):
        stem = adjective[:-1]
    elif syllables > 1 or adjective in word_list("comparison more"):
        return f"more {adjective}", f"most {adjective}"
    else:
        stem = _doubled(adjective)
    return stem + "er", stem + "est"
