"""Sentence pairs from a translation memory in TMX, the exchange format of translation tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

from polystill.errors import UserError
from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.lines import decoded, read_blocks

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_BREAKS = ("lb", "pb")
"""Types of inline codes that stand between words: breaks of lines and pages."""
_UNIT_END = re.compile(rb"(?<=</tu>)")
_LONGEST_UNIT = 1 << 20
_SUSPECT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&(?!(?:amp|lt|gt|quot|apos);)")
_UNIT_ERRORS = ("ERR_INVALID_CHAR", "ERR_INVALID_ENCODING", "ERR_UNDECLARED_ENTITY")
"""Errors after which the parser reads on as if they had not been: one unit's text is wrong."""

Segments = list[tuple[str, str | Unreadable]]
"""Languages and texts of a translation unit."""


class TmxSource(PairSource):
    """A translation memory; plain, .gz or .zst. Units without a segment in both languages are skipped.

    Inline codes are removed (`bpt`, `ept`, `it`, `ph`, `ut`, with the `sub` in them, which is text of another flow);
    the text of `hi` stays. No entity is resolved but XML's own: a segment with another one cannot be read.
    """

    kind: Literal["tmx"]
    path: str

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        path = folder / self.path
        known: dict[str, None] = {}
        empty = True
        for segments in _units(path):
            known.update((language, None) for language, _ in segments)
            for source, target in product(*(_segments_in(language, segments) for language in languages)):
                yield source, target
                empty = False
        if empty and known:
            raise UserError(
                f"{path}: no unit with a segment in both {' and '.join(languages)}; it has: {', '.join(known)}"
            )


class _Damage(Exception):
    """The XML is damaged in more than the characters of single units."""


def _units(path: Path) -> Iterator[Segments]:
    """The segments of each translation unit, of which few at a time are in memory."""
    reader, rest = _Reader(), b""
    try:
        for block in read_blocks(path):
            *units, rest = _UNIT_END.split(rest + block)
            for unit in units:
                yield from reader.read(unit)
            if len(rest) > _LONGEST_UNIT:  # UTF-16, which the pattern does not match
                yield from reader.read(rest)
                rest = b""
        yield from reader.read(rest, last=True)
    except _Damage as damage:
        raise UserError(f"{path}: not valid XML: {damage}") from None


class _Reader:
    """Reads XML piece by piece. A unit with characters that XML has not, or with unknown entities, is unreadable."""

    def __init__(self) -> None:
        from lxml import etree

        # Entities could read other files or grow without end. With `recover` the parser goes on after an error and
        # writes it to its log, which is copied whenever it is looked at: only after bytes that may be wrong.
        self._parser = etree.XMLPullParser(
            tag="{*}tu", resolve_entities=False, no_network=True, recover=True, remove_comments=True, remove_pis=True
        )
        self._known_errors = 0
        self._is_suspect = False

    def read(self, piece: bytes, last: bool = False) -> list[Segments]:
        """The units that end in a piece of the file.

        Raises:
            _Damage: there is an error that is not one unit's, or the file has no end.
        """
        if piece:
            self._parser.feed(piece)
        if last:
            self._close()
        units = [_taken(unit) for _, unit in self._parser.read_events()]
        self._is_suspect = self._is_suspect or last or _may_be_wrong(piece)
        if self._is_suspect and self._has_new_errors():
            if len(units) > 1 or last:
                raise _Damage(self._parser.feed_error_log[-1].message)
            units = [[(language, Unreadable.BROKEN_ROW) for language, _ in unit] for unit in units]
        self._is_suspect = self._is_suspect and not units
        return units

    def _close(self) -> None:
        from lxml import etree

        try:
            self._parser.close()
        except etree.XMLSyntaxError as error:
            raise _Damage(str(error)) from None

    def _has_new_errors(self) -> bool:
        """Whether the log has more errors than with the last unit; raises _Damage for those of the file's structure."""
        log = self._parser.feed_error_log
        new = log[self._known_errors :] if len(log) > self._known_errors else []
        self._known_errors = len(log)
        for error in new:
            if error.type_name not in _UNIT_ERRORS:
                raise _Damage(f"line {error.line}: {error.message.strip()}")
        return bool(new)


def _may_be_wrong(piece: bytes) -> bool:
    return bool(_SUSPECT.search(piece)) or isinstance(decoded(piece), Unreadable)


def _taken(unit: Any) -> Segments:
    """A unit's segments. The unit, and those before it, are taken out of the tree."""
    segments = _segments(unit)
    unit.clear()
    while unit.getprevious() is not None:
        del unit.getparent()[0]
    return segments


def _segments(unit: Any) -> Segments:
    segments: Segments = []
    for variant in unit.iter("{*}tuv"):
        language = variant.get(_LANGUAGE) or variant.get("lang")
        segment = variant.find("{*}seg")
        if language and segment is not None:
            parts = list(_text(segment))
            is_whole = all(isinstance(part, str) for part in parts)
            text = " ".join("".join(parts).split()) if is_whole else Unreadable.BROKEN_ROW
            segments.append((language, text))
    return segments


def _text(segment: Any) -> Iterator[Any]:
    """The translatable text of a segment, and `Unreadable` for an entity."""
    yield segment.text or ""
    for child in segment:
        if not isinstance(child.tag, str):
            yield Unreadable.BROKEN_ROW
        elif child.tag.rpartition("}")[2] == "hi":
            yield from _text(child)
        elif child.get("type") in _BREAKS:
            yield " "
        yield child.tail or ""


def _segments_in(language: str, segments: Segments) -> list[str | Unreadable]:
    """The texts of a language: those of exactly this one, or else those of the first that it goes with.

    "de" goes with "de-DE" and the other way round, but "pt-BR" does not with "pt-PT".
    """
    wanted = _subtags(language)
    best: list[str] | None = None
    for name, _ in segments:
        subtags = _subtags(name)
        shorter = min(len(wanted), len(subtags))
        if wanted == subtags or (best is None and wanted[:shorter] == subtags[:shorter]):
            best = subtags
    return [text for name, text in segments if best is not None and _subtags(name) == best]


def _subtags(language: str) -> list[str]:
    return language.lower().replace("_", "-").split("-")
