"""Translations filled into an XLIFF file, all other bytes of which stay as they are.

lxml checks the file first. It would write another one than it has read, with other quotes, entities and blanks in tags;
so changes are made in the file's text, at places that a small reader of tags finds. It relies on the check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from polystill.documents.base import Skipped
from polystill.documents.xliff import (
    MACHINE_SUBSTATE,
    OWN_ENTITIES,
    REVIEW_QUALIFIER,
    REVIEW_STATE,
    SPANNING,
    UNTRANSLATED_STATES,
    is_line_break,
    languages_of,
)
from polystill.errors import UserError
from polystill.placement import LETTER, Tag, Translation, is_of_word, out_of_words, placed_tags

_TAG = re.compile(
    r"(?P<other><!--.*?-->|<\?.*?\?>|<!DOCTYPE(?:[^>\[\"']|\"[^\"]*\"|'[^']*')*"
    r"(?:\[(?:<!--.*?-->|<\?.*?\?>|\"[^\"]*\"|'[^']*'|[^\]\"'])*\]\s*)?>)|<!\[CDATA\[(?P<characters>.*?)\]\]>"
    r"|<(?P<end>/)?(?P<name>[^\s/>]+)(?P<attributes>(?:[^>\"'/]|\"[^\"]*\"|'[^']*'|/(?!>))*)(?P<empty>/)?>",
    re.DOTALL,
)
_REFERENCE = re.compile(r"&(?:#x([0-9A-Fa-f]+)|#([0-9]+)|(amp|lt|gt|quot|apos));")
_OWN_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[^#]")
_CHARACTERS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_WORD = re.compile(r"\S+")
_NEXT, _LAST = re.compile(rf"{LETTER}{{2,}}"), re.compile(rf"{LETTER}{{2,}}$")
_STARTS = {"ept": "bpt", "ex": "bx", "ec": "sc", "em": "sm"}
"""Codes that end a pair, and those that begin it."""
_NAMES = ("rid", "startRef", "id")
"""Attributes by which the two find each other; the first one that is there counts."""
_ATTRIBUTE = re.compile(r"\s([^\s=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


@dataclass
class Node:
    """An element and where it stands in the text: tag from `start`, content from `inner` to `outer`, all to `end`."""

    name: str
    prefix: str
    attributes: dict[str, str]
    start: int
    inner: int
    outer: int = 0
    end: int = 0
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    characters: str | None = None
    """Of a CDATA section, which counts as a node without a name, as comments do."""

    def child(self, name: str) -> Node | None:
        return next((child for child in self.children if child.name == name), None)

    def all(self, name: str) -> Iterator[Node]:
        """Every node of the name below this one, in order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def inherited(self, attribute: str) -> str | None:
        node: Node | None = self
        while node is not None and attribute not in node.attributes:
            node = node.parent
        return None if node is None else node.attributes[attribute]


class _Segment(NamedTuple):
    """A piece of text to be translated: the node that holds it, its text, and the codes within."""

    node: Node
    text: str
    codes: list[Tag]


class _Gap(NamedTuple):
    """A place for a translation: the node of the unit or segment, the one that the target copies, and its texts."""

    holder: Node
    model: Node
    segments: list[_Segment]


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


class XliffDocument:
    """An XLIFF file to be filled in."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UserError: it cannot be read, is no XLIFF, or has files of several languages.
        """
        self._text, self._encoding = _read(path)
        self._root = _tree(self._text)
        self.languages = self._languages(path)
        self.left = Skipped()
        self._gaps = [*self._gaps_of_trans_units(), *self._gaps_of_units()]
        segments = [segment for gap in self._gaps for segment in gap.segments]
        self.texts = [segment.text for segment in segments]
        self.has_codes = any(segment.codes for segment in segments)

    def _languages(self, path: Path) -> tuple[str | None, str | None]:
        xliff = self._root.child("xliff")
        if xliff is None:
            raise UserError(f"{path}: not an XLIFF file; its XML begins with another element than xliff")
        whole = languages_of(xliff.attributes, (None, None))
        stated = {languages_of(file.attributes, whole) for file in xliff.all("file")} or {whole}
        if len(stated) > 1:
            raise UserError(f"{path}: holds files of several languages; split it into one file for each pair")
        return next(iter(stated))

    # --- what is to be translated ---

    def _gaps_of_trans_units(self) -> Iterator[_Gap]:
        """XLIFF 1.2."""
        for unit in self._root.all("trans-unit"):
            source, target = unit.child("source"), unit.child("target")
            if source is None:
                continue
            model = unit.child("seg-source") or source
            parts = [mark for mark in model.all("mrk") if mark.attributes.get("mtype") == "seg"] or [model]
            reason = self._why_left(unit, target, model)
            yield from self._gap(unit, model, parts, reason)

    def _gaps_of_units(self) -> Iterator[_Gap]:
        """XLIFF 2."""
        for unit in self._root.all("unit"):
            for segment in unit.all("segment"):
                source, target = segment.child("source"), segment.child("target")
                if source is not None:
                    yield from self._gap(segment, source, [source], self._why_left(segment, target, source))

    def _gap(self, holder: Node, model: Node, parts: list[Node], reason: str | None) -> Iterator[_Gap]:
        segments = [_Segment(part, *_without_codes(self._parts(part))) for part in parts]
        segments = [segment for segment in segments if segment.text.strip()]
        if reason is None and not segments:
            reason = "without text"
        if reason is None:
            yield _Gap(holder, model, segments)
        else:
            self.left.add(reason)

    def _why_left(self, holder: Node, target: Node | None, model: Node) -> str | None:
        if holder.inherited("translate") == "no":
            return "not to be translated"
        words = "" if target is None else self._words(target)
        if not words:
            if holder.attributes.get("approved") == "yes":
                return "approved"
        else:
            assert target is not None
            if target.attributes.get("state") not in UNTRANSLATED_STATES or words != self._words(model):
                return "translated"
        return OWN_ENTITIES if self._has_own_entity(model) else None

    def _words(self, node: Node) -> str:
        return " ".join(_without_codes(self._parts(node))[0].split())

    def _has_own_entity(self, node: Node) -> bool:
        """Whether a segment's text, apart from its codes, has an entity that only the file's DTD explains."""
        text, done = "", node.inner
        for child in node.children:
            if child.name in SPANNING and self._has_own_entity(child):
                return True
            text += self._text[done : child.start]
            done = child.end
        return _OWN_ENTITY.search(text + self._text[done : node.outer]) is not None

    def _parts(self, node: Node) -> Iterator[tuple[str, Tag | None]]:
        """A segment's text in parts, each with the code after it, whose place is yet to be counted."""
        done = node.inner
        for child in node.children:
            words = _unescaped(self._text[done : child.start])
            if child.characters is not None:
                yield words + child.characters, None
            elif child.name in SPANNING and child.inner < child.end and not _is_protected(child):
                element = f"element at {child.start}"
                yield words, Tag(0, self._text[child.start : child.inner], opens=element)
                yield from self._parts(child)
                yield "", Tag(0, self._text[child.outer : child.end], closes=element)
            else:
                pair = _pair(child)
                end = child.end + (pair == ("", "") and self._stands_between_blanks(child))
                yield words + self._blank_for(child), Tag(0, self._text[child.start : end], *pair)
                done = end
                continue
            done = child.end
        yield _unescaped(self._text[done : node.outer]), None

    def _blank_for(self, code: Node) -> str:
        """The blank that a line break is for a model, if there is none beside it."""
        around = self._text[code.start - 1], self._text[code.end]
        return " " if is_line_break(code.attributes) and not any(map(str.isspace, around)) else ""

    def _stands_between_blanks(self, code: Node) -> bool:
        """Then the second blank goes with the code, so that there are two of them wherever it stands."""
        return self._text[code.start - 1].isspace() and self._text[code.end] == " "

    # --- filling in ---

    def can_write(self, text: str) -> bool:
        return True  # as a reference to the character, where the encoding lacks it

    def filled(self, translations: Sequence[Translation | None], target_language: str | None = None) -> bytes:
        """The file with translations, marked as a machine's and not approved."""
        assert len(translations) == len(self.texts)
        remaining = iter(translations)
        edits: list[_Edit] = []
        for gap in self._gaps:
            given = [next(remaining) for _ in gap.segments]
            complete = [translation for translation in given if translation is not None]
            if len(complete) == len(given):
                edits += self._target(gap, complete)
        if edits and target_language is not None and self.languages[1] is None:
            edits += self._language(target_language)
        pieces, done = [], 0
        for edit in sorted(edits):
            pieces += [self._text[done : edit.start], edit.text]
            done = edit.end
        return "".join([*pieces, self._text[done:]]).encode(self._encoding, "xmlcharrefreplace")

    def _target(self, gap: _Gap, translations: Sequence[Translation]) -> Iterator[_Edit]:
        content, done = "", gap.model.inner
        for segment, translation in zip(gap.segments, translations, strict=True):
            codes = _placed(segment.codes, segment.text, translation)
            content += self._text[done : segment.node.inner] + _with_codes(translation.text, codes)
            done = segment.node.outer
        content += self._text[done : gap.model.outer]
        target = gap.holder.child("target")
        attributes = "" if target is None else self._attributes(target, "state", "state-qualifier")
        if gap.holder.name == "trans-unit":
            attributes += f' state="{REVIEW_STATE}" state-qualifier="{REVIEW_QUALIFIER}"'
        else:
            kept = self._attributes(gap.holder, "state", "subState")
            tag = f'<{gap.holder.prefix}segment{kept} state="initial" subState="{MACHINE_SUBSTATE}">'
            yield _Edit(gap.holder.start, gap.holder.inner, tag)
        name = f"{gap.model.prefix}target"
        element = f"<{name}{attributes}>{content}</{name}>"
        if target is not None:
            yield _Edit(target.start, target.end, element)
        else:
            source = gap.holder.child("source")
            assert source is not None
            yield _Edit(gap.model.end, gap.model.end, self._blank_before(source) + element)

    def _blank_before(self, node: Node) -> str:
        """The line break and indentation before a node, which the next one on its level needs as well."""
        before = self._text[max(0, node.start - 200) : node.start]
        return before[len(before.rstrip()) :]

    def _attributes(self, node: Node, *without: str) -> str:
        """The attributes of a node as they stand in its tag, but for some."""
        tag = self._text[node.start + 1 + len(node.prefix) + len(node.name) : node.inner].rstrip("/>").rstrip()
        return _ATTRIBUTE.sub(lambda match: "" if match[1] in without else match[0], tag)

    def _language(self, language: str) -> Iterator[_Edit]:
        """State the language of the translations, as the standard demands where there are any."""
        xliff = self._root.child("xliff")
        assert xliff is not None
        is_first = not xliff.attributes.get("version", "").startswith("2")
        for node in xliff.all("file") if is_first else [xliff]:
            at = node.inner - (2 if self._text[node.inner - 2] == "/" else 1)
            yield _Edit(at, at, f' {"target-language" if is_first else "trgLang"}="{escape(language)}"')


def _is_protected(node: Node) -> bool:
    """Whether a marker says that its text is not to be translated: it is kept as one code."""
    return node.name == "mrk" and (
        node.attributes.get("translate") == "no" or node.attributes.get("mtype") == "protected"
    )


def _read(path: Path) -> tuple[str, str]:
    """The file's text, and the encoding to write it in again."""
    from lxml import etree

    try:
        content = path.read_bytes()
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: not valid XML: {error}") from None
    encoding = str(root.getroottree().docinfo.encoding or "UTF-8")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # stays in the text, and is written again
        encoding = "UTF-16-LE" if content.startswith(b"\xff\xfe") else "UTF-16-BE"
    elif encoding.upper() in ("UTF-16", "UTF16"):
        encoding = "UTF-16-BE"
    try:
        return content.decode(encoding), encoding
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"{path}: cannot be read as {encoding} ({error})") from None


def _unescaped(text: str) -> str:
    """The text with XML's own references as characters. HTML has other entities, and reads some numbers otherwise."""
    return _REFERENCE.sub(_character, text)


def _character(reference: re.Match[str]) -> str:
    hexadecimal, decimal, name = reference.groups()
    return _CHARACTERS[name] if name else chr(int(hexadecimal, 16) if hexadecimal else int(decimal))


def _tree(text: str) -> Node:
    """All elements of a well-formed document, under a node without a name."""
    root = Node("", "", {}, 0, 0, len(text), len(text))
    node = root
    for match in _TAG.finditer(text):
        start, end = match.span()
        if match["other"] or match["characters"] is not None:
            node.children.append(Node("", "", {}, start, end, end, end, node, characters=match["characters"]))
        elif match["end"]:
            node.outer, node.end = start, end
            assert node.parent is not None
            node = node.parent
        else:
            prefix, colon, name = match["name"].rpartition(":")
            given = {key: _unescaped(one or two) for key, one, two in _ATTRIBUTE.findall(match["attributes"])}
            child = Node(name, prefix + colon, given, start, end, end, end, node)
            node.children.append(child)
            node = node if match["empty"] else child
    return root


# --- codes (tags, placeholders) within a text -----------------------------------------------------------------------


def _pair(code: Node) -> tuple[str, str]:
    """What a code opens and what it closes, if it is one of a pair."""
    name = next((code.attributes[attribute] for attribute in _NAMES if attribute in code.attributes), "")
    if code.name in _STARTS:
        return "", f"{_STARTS[code.name]} {name}"
    return f"{code.name} {name}" if code.name in _STARTS.values() else "", ""


def _without_codes(parts: Iterable[tuple[str, Tag | None]]) -> tuple[str, list[Tag]]:
    """Split parts of (text, the code after it) into the text as a whole and its codes."""
    text, codes = "", []
    for words, code in parts:
        text += words
        if code is not None:
            codes.append(code._replace(at=len(text)))
    return text, codes


def _with_codes(text: str, codes: Iterable[tuple[int, str]]) -> str:
    """The text, escaped, with the codes at their places, which ascend."""
    content, done = "", 0
    for place, markup in codes:
        content += escape(text[done:place]) + markup
        done = place
    return content + escape(text[done:])


def _placed(codes: Sequence[Tag], source: str, translation: Translation) -> list[tuple[int, str]]:
    """The codes of a source text with their places in its translation, each once; elements stay well-formed.

    Where words are aligned, elements and pairs of codes go around the translation of their words. Without alignments
    all codes keep their order, and also where pairs overlap or several codes need a part of one word.
    """
    before = len(source) - len(source.lstrip())
    words, text = source.strip(), translation.text.strip()
    moved, divided = out_of_words(words, [code._replace(at=code.at - before) for code in codes])
    if not translation.spans or divided or _overlap(codes):
        return _in_order(codes, source, translation.text)
    start = len(translation.text) - len(translation.text.lstrip())
    spans = [span.moved(-before, -start) for span in translation.spans]
    most = len(translation.text)
    return [(max(0, min(most, start + at)), markup) for at, markup in placed_tags(words, text, spans, moved)]


def _overlap(codes: Sequence[Tag]) -> bool:
    """Whether a pair of codes begins within another pair, or within an element, and ends outside of it."""
    opened: list[str] = []
    for i, code in enumerate(codes):
        if code.opens and any(later.closes == code.opens for later in codes[i + 1 :]):
            opened.append(code.opens)
        elif code.closes in opened and opened.pop() != code.closes:
            return True
    return False


def _in_order(codes: Sequence[Tag], source: str, translation: str) -> list[tuple[int, str]]:
    """The codes in their order, each where the word next to it is found again.

    Where it is not, a code goes to the word boundary that is nearest to its share of the text.
    """
    words = list(_WORD.finditer(translation))
    starts, ends = [word.start() for word in words], [word.end() for word in words]
    if len(words) < 2:  # no spaces between words
        starts = ends = list(range(len(translation) + 1))
    placed: list[tuple[int, str]] = []
    least = 0
    for code in codes:
        least = _place(code.at, source, translation, starts, ends, least)
        placed.append((least, code.markup))
    return placed


def _place(offset: int, source: str, translation: str, starts: Sequence[int], ends: Sequence[int], least: int) -> int:
    if not source[:offset].strip():
        return least
    if not source[offset:].strip():
        return len(translation)
    before_word = source[offset - 1].isspace() or (not source[offset].isspace() and not is_of_word(source[offset - 1]))
    boundaries = [place for place in (starts if before_word else ends) if place >= least]
    if not boundaries:
        return len(translation)
    known = _same_word(offset, source, translation, before_word)
    if known is not None and known >= least:
        return known
    share = offset / len(source) * len(translation)
    return min(boundaries, key=lambda place: abs(place - share))


def _same_word(offset: int, source: str, translation: str, before_word: bool) -> int | None:
    """Where the word next to the code stands in the translation, if it stands there once, unchanged."""
    match = _NEXT.match(source[offset:]) if before_word else _LAST.search(source[:offset])
    if match is None:
        return None
    found = list(re.finditer(rf"(?<!{LETTER}){re.escape(match[0])}(?!{LETTER})", translation))
    if len(found) != 1:
        return None
    return found[0].start() if before_word else found[0].end()
