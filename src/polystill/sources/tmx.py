"""Sentence pairs from a translation memory in TMX, the exchange format of translation tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from polystill.errors import UserError
from polystill.sources.base import PairSource, RawPair

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class TmxSource(PairSource):
    """A translation memory (.tmx). Units without a segment in both languages are skipped; inline tags are removed."""

    kind: Literal["tmx"]
    path: str

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        from lxml import etree

        path = folder / self.path
        try:
            with path.open("rb") as file:
                # Entities could read other files or grow without end.
                units = etree.iterparse(file, tag="tu", resolve_entities=False, no_network=True)
                for _, unit in units:
                    segments = _segments(unit)
                    source, target = (_segment_in(language, segments) for language in languages)
                    if source is not None and target is not None:
                        yield source, target
                    unit.clear()
                    while unit.getprevious() is not None:  # units that are done would stay in memory
                        del unit.getparent()[0]
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except etree.XMLSyntaxError as error:
            raise UserError(f"{path}: not valid XML: {error}") from None


def _segments(unit: Any) -> dict[str, str]:
    """The text of a translation unit by language, in lower case."""
    segments = {}
    for variant in unit.iter("tuv"):
        language = variant.get(_LANGUAGE) or variant.get("lang")
        segment = variant.find("seg")
        if language and segment is not None:
            segments[language.lower()] = " ".join("".join(_text(segment)).split())
    return segments


def _text(segment: Any) -> Iterator[str]:
    """The translatable text of a segment: inline elements hold codes of the document's format, `hi` and `sub` text."""
    yield segment.text or ""
    for child in segment:
        if child.tag in ("hi", "sub"):
            yield from _text(child)
        yield child.tail or ""


def _segment_in(language: str, segments: dict[str, str]) -> str | None:
    """The segment of a language such as "de", which a memory may call "de-DE"."""
    wanted = language.lower()
    if wanted in segments:
        return segments[wanted]
    return next((text for name, text in segments.items() if name.split("-")[0] == wanted.split("-")[0]), None)
