"""Languages: English names, scripts, and the Unicode ranges of their letters."""

from __future__ import annotations

import re
import unicodedata
from math import ceil

from polystill.errors import UserError

_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


_RANGES = {
    "Latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua7ff"
    "\uab30-\uab64\ufb00-\ufb06\uff21-\uff3a\uff41-\uff5a",
    "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "Hebrew": "\u0590-\u05ff\ufb1d-\ufb4f", "Armenian": "\u0530-\u058f\ufb13-\ufb17",
    "Georgian": "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f", "Ethiopic": "\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f",
    "Devanagari": "\u0900-\u097f\ua8e0-\ua8ff", "Bengali": "\u0980-\u09ff", "Gurmukhi": "\u0a00-\u0a7f",
    "Gujarati": "\u0a80-\u0aff", "Oriya": "\u0b00-\u0b7f", "Tamil": "\u0b80-\u0bff", "Telugu": "\u0c00-\u0c7f",
    "Kannada": "\u0c80-\u0cff", "Malayalam": "\u0d00-\u0d7f", "Sinhala": "\u0d80-\u0dff", "Thai": "\u0e00-\u0e7f",
    "Lao": "\u0e80-\u0eff", "Tibetan": "\u0f00-\u0fff", "Myanmar": "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",
    "Khmer": "\u1780-\u17ff", "Mongolian": "\u1800-\u18af",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff",
    "Han": "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "Kana": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f",
}  # fmt: skip

_LANGUAGES = {
    "Latin": "af an ast az bs ca ceb co cs cy da de en eo es et eu fi fil fo fr fy ga gd gl gn ha haw hmn hr ht hu "
    "id ig is it jv ku la lb lt lv mg mi ms mt nb nds nl nn no nso ny oc om pl pt qu ro rw sk sl sm sn so "
    "sq sr st su sv sw tk tl tn to tr ts uz vi wo xh yo zu",
    "Cyrillic": "ab az ba be bg ce cv kk ky mk mn os ru sah sr tg tt tk uk uz",
    "Greek": "el", "Arabic": "ar arz az ckb fa ku ps sd ug ur", "Hebrew": "he iw yi", "Armenian": "hy",
    "Georgian": "ka", "Ethiopic": "am ti", "Devanagari": "hi mr ne sa bho mai", "Bengali": "bn as", "Gurmukhi": "pa",
    "Gujarati": "gu", "Oriya": "or", "Tamil": "ta", "Telugu": "te", "Kannada": "kn", "Malayalam": "ml",
    "Sinhala": "si", "Thai": "th", "Lao": "lo", "Tibetan": "bo dz", "Myanmar": "my", "Khmer": "km", "Mongolian": "mn",
    "Hangul": "ko", "Han": "zh ja yue ko", "Kana": "ja",
}  # fmt: skip

_BY_SUBTAG = {
    "Latn": "Latin", "Cyrl": "Cyrillic", "Grek": "Greek", "Arab": "Arabic", "Hebr": "Hebrew", "Armn": "Armenian",
    "Geor": "Georgian", "Ethi": "Ethiopic", "Deva": "Devanagari", "Beng": "Bengali", "Guru": "Gurmukhi",
    "Gujr": "Gujarati", "Orya": "Oriya", "Taml": "Tamil", "Telu": "Telugu", "Knda": "Kannada",
    "Mlym": "Malayalam", "Sinh": "Sinhala", "Thai": "Thai", "Laoo": "Lao", "Tibt": "Tibetan", "Mymr": "Myanmar",
    "Khmr": "Khmer", "Mong": "Mongolian", "Hang": "Hangul", "Kore": "Hangul Han", "Hans": "Han", "Hant": "Han",
    "Hani": "Han", "Jpan": "Han Kana",
}  # fmt: skip
"""Scripts by their ISO 15924 code, as in NLLB's names of languages: "deu_Latn"."""

_SHORT = {
    code: short
    for short, codes in {
        "af": "afr", "am": "amh", "ar": "ara arb", "as": "asm", "az": "aze azj", "be": "bel", "bg": "bul", "bn": "ben",
        "bo": "bod", "bs": "bos", "ca": "cat", "cs": "ces cze", "cy": "cym", "da": "dan", "de": "deu ger", "dz": "dzo",
        "el": "ell gre", "en": "eng", "eo": "epo", "es": "spa", "et": "est", "eu": "eus", "fa": "fas pes", "fi": "fin",
        "fo": "fao", "fr": "fra fre", "ga": "gle", "gl": "glg", "gu": "guj", "he": "heb", "hi": "hin", "hr": "hrv",
        "ht": "hat", "hu": "hun", "hy": "hye", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn", "ka": "kat",
        "kk": "kaz", "km": "khm", "kn": "kan", "ko": "kor", "ku": "kur", "ky": "kir", "lo": "lao", "lt": "lit",
        "lv": "lav lvs", "mg": "mlg", "mk": "mkd", "ml": "mal", "mn": "mon khk", "mr": "mar", "ms": "msa zsm",
        "mt": "mlt", "my": "mya", "ne": "nep npi", "nl": "nld dut", "nn": "nno", "no": "nor", "nb": "nob", "or": "ori",
        "pa": "pan", "pl": "pol", "ps": "pus", "pt": "por", "ro": "ron", "ru": "rus", "si": "sin", "sk": "slk",
        "sl": "slv", "so": "som", "sq": "sqi", "sr": "srp", "sv": "swe", "sw": "swa swh", "ta": "tam", "te": "tel",
        "tg": "tgk", "th": "tha", "ti": "tir", "tk": "tuk", "tl": "tgl", "tr": "tur", "tt": "tat", "ug": "uig",
        "uk": "ukr", "ur": "urd", "uz": "uzb uzn", "vi": "vie", "yi": "yid", "zh": "zho chi cmn", "zu": "zul",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Two-letter codes of languages by their three-letter ones (ISO 639-3)."""

_LETTERS_PER_WORD = {"Han": 2, "Kana": 3, "Thai": 4, "Lao": 4, "Khmer": 4, "Myanmar": 4, "Tibetan": 4}
"""Scripts without spaces between words, and how many of their letters, marks left out, stand for an English word. A
language that also has another script, as Korean does, writes spaces."""


def language_name(code: str) -> str:
    """The language's English name; the code itself for a language that is not common."""
    return _NAMES.get(code, code)


def scripts_of(language: str) -> list[str]:
    """The scripts of a language ("de", "deu", "zh-Hant", "deu_Latn"); [] for an unknown one."""
    base, *rest = re.split("[-_]", plain_code(language))
    for part in rest:
        if part.title() in _BY_SUBTAG:
            return _BY_SUBTAG[part.title()].split()
    base = _SHORT.get(base.lower(), base.lower())
    return [script for script, languages in _LANGUAGES.items() if base in languages.split()]


_SAME = {"no": "nb", "iw": "he", "fil": "tl"}
_KNOWN = frozenset(_NAMES).union(*(codes.split() for codes in _LANGUAGES.values()))


def check_pair(what: str, pair: tuple[str | None, str | None], wanted: tuple[str | None, str | None]) -> None:
    """Check that something for one language pair is for the wanted one, as far as both say.

    Codes that are not of one known language, such as "mul" or "ROMANCE", pass.

    Raises:
        UserError: it is for another pair; the message begins with `what`.
    """
    bases = [[base_of(code or "") for code in codes] for codes in (pair, wanted)]
    if any(one != other and {one, other} <= _KNOWN for one, other in zip(*bases, strict=True)):
        shown = "–".join(code or "?" for code in pair)
        expected = "–".join(code or own or "?" for code, own in zip(wanted, pair, strict=True))
        raise UserError(f"{what}: this is for {shown}, but {expected} is needed")


def base_of(language: str) -> str:
    """The code without its script or country, with two letters if there is such a one."""
    base = re.split("[-_@.]", language.lower())[0]
    base = _SHORT.get(base, base)
    return _SAME.get(base, base)


def is_known(language: str) -> bool:
    """Whether a code is of a language that is known here."""
    return base_of(language) in _KNOWN


def plain_code(stated: str) -> str:
    """A code as documents state it, in a recipe's form: "sr-Latn" of gettext's sr@latin, "en-US" of EN-US."""
    code, _, variant = stated.partition("@")
    base, *rest = re.split("[-_]", code.partition(".")[0])
    script = {"latin": ["Latn"], "cyrillic": ["Cyrl"]}.get(variant.lower(), [])
    return "-".join([base.lower(), *script, *rest])


# --- capitals -----------------------------------------------------------------------------------------------------

_DOTTED_I = ("tr", "az")
"""Languages in which the capital of i is İ, and that of ı is I."""
_TONOS = "\u0301"
"""The accent of Greek vowels, which capitals do not have."""


def lower(text: str, language: str | None) -> str:
    """The text in small letters, by the rules of its language."""
    dotted = language is not None and base_of(language) in _DOTTED_I
    return (text.replace("I", "ı").replace("İ", "i") if dotted else text).lower()


def upper(text: str, language: str | None) -> str:
    """The text in capitals, by the rules of its language."""
    base = base_of(language or "")
    if base == "el":
        plain = unicodedata.normalize("NFD", text).replace(_TONOS, "")
        return unicodedata.normalize("NFC", plain).upper()
    return (text.replace("i", "İ") if base in _DOTTED_I else text).upper()


def is_unspaced(language: str) -> bool:
    """Whether the language is written without spaces between words."""
    scripts = scripts_of(language)
    return bool(scripts) and _LETTERS_PER_WORD.keys() >= set(scripts)


# --- words --------------------------------------------------------------------------------------------------------

_UNSPACED_RUNS = {
    letters: re.compile(f"[{''.join(_RANGES[s] for s, n in _LETTERS_PER_WORD.items() if n == letters)}]+")
    for letters in set(_LETTERS_PER_WORD.values())
}
_UNSPACED_RUN = re.compile(f"[{''.join(map(_RANGES.__getitem__, _LETTERS_PER_WORD))}]+")
_WORD = re.compile(r"[^\W_]+")
_ETHIOPIC_SPACE = "\u1361"
"""Stands between words in older Amharic and Tigrinya."""
_SPACED = (range(0x21, 0x3000), range(0xA000, 0xD800), range(0xF900, 0x10000), range(0x1F000, 0x20000))
"""Where scripts with spaces, signs and emoji are."""
_FURTHER_EAST = re.compile("[\u0e00-\u1fff\u3000-\U000323af]")
"""Where `_ETHIOPIC_SPACE` and all scripts without spaces are: found missing in half the time."""


def count_words(text: str) -> int:
    """The words between spaces; in runs of scripts without spaces, an estimate from their letters."""
    if text.isascii() or not _FURTHER_EAST.search(text):
        return len(text.split())
    text = text.replace(_ETHIOPIC_SPACE, " ")
    if not _UNSPACED_RUN.search(text):
        return len(text.split())
    words = sum(_letters("".join(run.findall(text))) / letters for letters, run in _UNSPACED_RUNS.items())
    return max(1, ceil(words) + sum(map(_has_word, _UNSPACED_RUN.sub(" ", text).split())))


def has_longer_word(text: str, most: int) -> bool:
    """Whether a word between spaces has more than so many characters; runs of scripts without spaces are none."""
    if len(text) <= most or max(map(len, text.split()), default=0) <= most:
        return False
    return any(len(word) > most for word in _UNSPACED_RUN.sub(" ", text.replace(_ETHIOPIC_SPACE, " ")).split())


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _letters_of(scripts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"[{''.join(_RANGES[script] for script in scripts)}\u0300-\u036f]+")


def _has_word(chunk: str) -> bool:
    return any(map(str.isalnum, chunk))


def simple_characters(scripts: tuple[str, ...]) -> str:
    """Characters of texts whose words stand between spaces, and whose `ScriptShare` of these scripts is 1.

    Without scripts the letters of all that write spaces are among them.
    """
    spaced = _UNSPACED_RUN.sub("", "".join(map(chr, (code for codes in _SPACED for code in codes))))
    foreign = set(filter(str.isalpha, _letters_of(scripts).sub("", spaced))) if scripts else set()
    return "".join(sorted(set(spaced) - foreign - {_ETHIOPIC_SPACE}))


class ScriptShare:
    """Measures what share of a text's words is of a language's scripts."""

    def __init__(self, language: str):
        scripts = scripts_of(language)
        self.known = bool(scripts)
        self._latin = "Latin" in scripts
        self._run = _letters_of(tuple(scripts)) if scripts else None

    def __call__(self, text: str, other: str = "") -> float:
        """The share, from 0 to 1; 1 for a text without letters and for an unknown language.

        Words of another script do not count where `other`, the text's translation, has them too, as names and
        identifiers are; but a text with no word of its language's scripts has none of them: 0.
        """
        if self._run is None or (self._latin and text.isascii()):
            return 1.0
        rest = self._run.sub(" ", text)
        if self._latin and rest.isascii():
            return 1.0
        foreign = [chunk for chunk in rest.split() if _letters(chunk)]
        if not foreign:
            return 1.0
        words = count_words(" ".join(run for run in self._run.findall(text) if _letters(run)))
        others = sum(count_words(chunk) for chunk in foreign if not all(word in other for word in _WORD.findall(chunk)))
        return words / (words + others) if words else 0.0
