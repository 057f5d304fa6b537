"""Language codes as BCP 47 means them: en-US, EN, eng and eng_Latn all ask for English."""

from __future__ import annotations

from langcodes import Language
from langcodes.tag_parser import LanguageTagError

from polystill.languages import language_name

_OLD_CODES = {"zt": "zh-Hant", "pb": "pt-BR"}
"""Codes of LibreTranslate's that are in no standard; its clients still send them."""
_SAME_LANGUAGE = {"no": "nb"}
_SAME_SCRIPT = {"Hang": "Kore"}
_SCRIPT_NAMES = {"Hans": "simplified", "Hant": "traditional", "Latn": "Latin", "Cyrl": "Cyrillic", "Arab": "Arabic"}


def standard_code(code: str) -> str:
    """The shortest code that means the same: "de" for "deu_Latn", "zh-Hans" for "zho_Hans". An unknown code stays."""
    language = _read(code)
    return code if language is None else language.simplify_script().to_tag()


def base_code(code: str) -> str:
    """The language alone: "zh" for "zh-Hans"."""
    language = _read(code)
    return code if language is None or language.language is None else language.language


def full_name(code: str) -> str:
    """The English name, with the script or region where the code has one: "Chinese (simplified)"."""
    language = _read(code)
    if language is None:
        return language_name(code)
    language = language.simplify_script()
    more = [_SCRIPT_NAMES.get(language.script, language.script)] if language.script else []
    more += [language.territory] if language.territory else []
    name = language_name(base_code(code))
    return f"{name} ({', '.join(more)})" if more else name


def asks_for(code: str, served: str) -> bool:
    """Whether a request for `code` gets what is served: the same language in the same script, of whatever region.

    A code without a script means the one that its language and region are mostly written in, so "zh" asks for zh-Hans
    and "zh-TW" for zh-Hant.
    """
    return _language_and_script(code) == _language_and_script(served)


def _language_and_script(code: str) -> tuple[str, str | None]:
    language = _read(code)
    if language is None or language.language is None:
        return code.lower(), None
    script = language.maximize().script
    return _SAME_LANGUAGE.get(language.language, language.language), _SAME_SCRIPT.get(script or "", script)


def _read(code: str) -> Language | None:
    """The parts of a code, with two letters for the language where it has two; None if it is no language code."""
    try:
        return Language.get(_OLD_CODES.get(code.lower(), code)).prefer_macrolanguage()
    except LanguageTagError:
        return None
