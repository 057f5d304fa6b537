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
_UNIT_START, _UNIT_END = re.compile(rb"<tu[\s>]"), re.compile(rb"(?<=</tu>)")
_DECLARATION, _ROOT = re.compile(rb"<\?xml\s[^>]*\?>"), re.compile(rb"<(tmx)(?:\s[^>]*)?>")
_LONGEST_UNIT = 1 << 20
_SUSPECT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&(?!(?:amp|lt|gt|quot|apos);)")
_UNIT_ERRORS = ("ERR_INVALID_CHAR", "ERR_INVALID_ENCODING", "ERR_UNDECLARED_ENTITY")
"""Errors that are those of one unit's characters. Others are of the file's structure."""

Segments = list[tuple[str, str | Unreadable]]
"""Languages and texts of a translation unit."""


class TmxSource(PairSource):
    """A translation memory; plain, .gz or .zst. Units without a segment in both languages are skipped.

    Inline codes are removed (`bpt`, `ept`, `it`, `ph`, `ut`, with the `sub` in them, which is text of another flow);
    the text of `hi` stays. No entity is resolved but XML's own: a unit with another one cannot be read.
    """

    kind: Literal["tmx"]
    path: str
    """The file."""

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


def _units(path: Path) -> Iterator[Segments]:
    """The segments of each translation unit, of which few at a time are in memory."""
    from lxml import etree

    reader, rest = _Reader(), b""
    try:
        for block in read_blocks(path):
            *units, rest = _UNIT_END.split(rest + block)
            for unit in units:
                yield from reader.read(unit)
            if len(rest) > _LONGEST_UNIT:  # UTF-16, which the pattern does not match
                yield from reader.read(rest)
                rest = b""
        yield from reader.read(rest)
        reader.close()
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: not valid XML: {' '.join(str(error.msg).split())}") from None


class _Reader:
    """Reads XML piece by piece. A unit with characters that XML has not, or with unknown entities, is unreadable.

    Such a unit is kept from the parser: after an error it would go on, but without the `&amp;` of all later units.
    """

    def __init__(self) -> None:
        from lxml import etree

        # Entities could read other files or grow without end.
        self._options = {"resolve_entities": False, "no_network": True, "remove_comments": True, "remove_pis": True}
        self._parser = etree.XMLPullParser(tag="{*}tu", **self._options)
        self._before, self._after = b"", b""

    def read(self, piece: bytes) -> list[Segments]:
        """The units that end in a piece of the file. Raises XMLSyntaxError where its structure is damaged."""
        if not self._after and (root := _ROOT.search(piece)):
            declaration = _DECLARATION.search(piece)
            self._before = (declaration[0] if declaration else b"") + root[0]
            self._after = b"</%s>" % root[1]
        start = _UNIT_START.search(piece)
        if start and piece.endswith(b"</tu>") and (damaged := self._damaged(unit := piece[start.start() :])):
            self._parser.feed(piece[: start.start()] + b"\n" * unit.count(b"\n") + b" ")
            return [damaged]
        if piece:
            self._parser.feed(piece)
        return [_taken(unit) for _, unit in self._parser.read_events()]

    def close(self) -> None:
        """Raise XMLSyntaxError where the file has no end."""
        self._parser.close()

    def _damaged(self, unit: bytes) -> Segments:
        """The segments of a unit with wrong characters, all of them unreadable; none of another one."""
        from lxml import etree

        if not _may_be_wrong(unit):
            return []
        parser = etree.XMLParser(recover=True, **self._options)
        root = etree.fromstring(self._before + unit + self._after, parser)
        errors = {error.type_name for error in parser.error_log}
        if root is None or not errors or not errors <= set(_UNIT_ERRORS):
            return []
        return [(language, Unreadable.BROKEN_ROW) for language, _ in _segments(root)]


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
