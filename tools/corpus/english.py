"""English morphology: plurals, verb forms, comparison, articles, and the auxiliaries of a clause. British spelling."""

from __future__ import annotations

VOWELS = "aeiou"
BE_PRESENT = ("am", "are", "is", "are", "are", "are")
BE_PAST = ("was", "were", "was", "were", "were", "were")
AN_ANYWAY = ("hour", "honest")
A_ANYWAY = ("uni", "use", "euro", "one")
DOUBLING_ANYWAY = ("begin", "forget", "prefer", "travel", "cancel")


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
    if word.startswith("unusual"):
        vowel = True
    return "an" if vowel else "a"


def third_person(verb: str) -> str:
    if verb in ("be", "have", "do", "go"):
        return {"be": "is", "have": "has", "do": "does", "go": "goes"}[verb]
    return plural(verb)


def _doubles(verb: str) -> bool:
    if verb in DOUBLING_ANYWAY:
        return True
    groups = sum(1 for i, c in enumerate(verb) if c in VOWELS and (i == 0 or verb[i - 1] not in VOWELS))
    closed = len(verb) > 2 and verb[-1] not in VOWELS + "wxy" and verb[-2] in VOWELS and verb[-3] not in VOWELS
    return groups == 1 and closed


def regular_past(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles(verb) else "") + "ed"


def ing(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and verb not in ("be", "see"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _doubles(verb) else "") + "ing"


def comparison(adjective: str) -> tuple[str, str]:
    """Comparative and superlative: bigger, happier, nicer, more difficult."""
    groups = sum(1 for i, c in enumerate(adjective) if c in VOWELS and (i == 0 or adjective[i - 1] not in VOWELS))
    if adjective.endswith("y") and groups < 3 and "-" not in adjective:
        return adjective[:-1] + "ier", adjective[:-1] + "iest"
    if adjective in ("clever", "narrow", "quiet"):
        return adjective + "er", adjective + "est"
    if adjective in ("simple", "strange", "large", "ripe", "white", "wide", "rare", "brave"):
        return adjective + "r", adjective + "st"
    if groups > 1 or adjective in ("tired", "ill", "right", "wrong"):
        return "more " + adjective, "most " + adjective
    stem = adjective + (adjective[-1] if _doubles(adjective) else "")
    return stem + "er", stem + "est"


def number_word(number: int, small: list[str], tens: list[str]) -> str:
    """0 to 99 in words."""
    if number < 20:
        return small[number]
    unit = number % 10
    return tens[number // 10] + (f"-{small[unit]}" if unit else "")
