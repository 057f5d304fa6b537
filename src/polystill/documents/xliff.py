"""XLIFF 1.2 and 2.x as a stream of units, for training. lxml reads it, with entities off.

Facts about the format that reading and writing share stand here. Tools' own dialects (.sdlxliff, .mqxliff, .mxliff) are
XLIFF 1.2 with further elements and attributes, which are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from polystill.documents.base import Skipped
from polystill.errors import UserError

SPANNING = ("g", "mrk", "pc")
"""Inline elements around text that is translated. All others hold or stand for codes of the document's format."""
UNTRANSLATED_STATES = ("new", "needs-translation")
"""XLIFF 1.2: there may be a target, but nobody has translated it."""
MACHINE_QUALIFIERS = ("mt-suggestion", "leveraged-mt")
"""XLIFF 1.2: what a state-qualifier says of a machine's translation."""
REVIEW_STATE, REVIEW_QUALIFIER = "needs-review-translation", "mt-suggestion"
"""XLIFF 1.2: the state of what is filled in."""
MACHINE_SUBSTATE = "polystill:mt"
"""XLIFF 2: the subState of what is filled in, beside the state "initial": nobody has approved it."""

OWN_ENTITIES = "with entities of the file's own"
"""Why a segment is left out. Such an entity stands for text in the file's DTD, which nobody resolves here."""


class Unit(NamedTuple):
    """A segment with its text in both languages, without codes."""

    languages: tuple[str | None, str | None]
    source: str
    target: str


def read_units(path: Path, skipped: Skipped) -> Iterator[Unit]:
    """All segments that a person has translated; the others are counted.

    Raises:
        UserError: the file cannot be read, or is no XLIFF.
    """
    from lxml import etree

    languages: tuple[str | None, str | None] = None, None
    is_xliff = False
    try:
        with path.open("rb") as file:
            wanted = [f"{{*}}{name}" for name in ("xliff", "file", "trans-unit", "unit")]
            for event, element in etree.iterparse(
                file, events=("start", "end"), tag=wanted, resolve_entities=False, no_network=True
            ):
                name = etree.QName(element).localname
                if event == "start":
                    is_xliff |= name == "xliff"
                    languages = languages_of(element.attrib, languages)
                elif name in ("trans-unit", "unit"):
                    for source, target in _translated(element, name, skipped):
                        yield Unit(languages, source, target)
                    _forget(element)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: not valid XML: {error}") from None
    if not is_xliff:
        raise UserError(f"{path}: not an XLIFF file; its XML has no element xliff")


def stated_languages(path: Path) -> tuple[str | None, str | None]:
    """The languages of a file, as its first elements state them. Raises UserError as `read_units`."""
    from lxml import etree

    languages: tuple[str | None, str | None] = None, None
    try:
        with path.open("rb") as file:
            wanted = ["{*}xliff", "{*}file"]
            for _, element in etree.iterparse(
                file, events=("start",), tag=wanted, resolve_entities=False, no_network=True
            ):
                languages = languages_of(element.attrib, languages)
                if etree.QName(element).localname == "file":
                    break
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: not valid XML: {error}") from None
    return languages


def languages_of(attributes: Any, before: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
    """The languages that an xliff or file element states; those from `before` where it states none."""
    source = attributes.get("source-language") or attributes.get("srcLang") or before[0]
    return source, attributes.get("target-language") or attributes.get("trgLang") or before[1]


def _forget(element: Any) -> None:
    """Free a unit that is done, and those before it; the tree would grow with the file."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def _translated(unit: Any, name: str, skipped: Skipped) -> Iterator[tuple[str, str]]:
    from lxml import etree

    if _inherited(unit, "translate") == "no":
        skipped.add("not to be translated")
        return
    segments = _segments_of_trans_unit(unit) if name == "trans-unit" else _segments_of_unit(unit)
    for source, target, state in segments:
        if any(side is not None and next(side.iter(etree.Entity), None) is not None for side in (source, target)):
            skipped.add(OWN_ENTITIES)
            continue
        source_text, target_text = (" ".join("".join(_text(side)).split()) for side in (source, target))
        if not target_text or state == "untranslated":
            skipped.add("untranslated")
        elif state == "machine":
            skipped.add("translated by a machine")
        elif state == "review":
            skipped.add("to be reviewed")
        elif source_text:
            yield source_text, target_text
        else:
            skipped.add("without text")


def _inherited(element: Any, attribute: str) -> str | None:
    while element is not None:
        if (value := element.get(attribute)) is not None:
            return str(value)
        element = element.getparent()
    return None


def _child(element: Any, name: str) -> Any:
    return next((child for child in element.iterchildren(f"{{*}}{name}")), None)


def _segments_of_trans_unit(unit: Any) -> Iterator[tuple[Any, Any, str]]:
    """XLIFF 1.2: the parts that a tool has cut a unit into, or the unit as a whole."""
    source, target, parts = (_child(unit, name) for name in ("source", "target", "seg-source"))
    state = _state_of_target(target)
    if parts is not None and target is not None:
        sources, targets = _parts(parts), _parts(target)
        if sources and sources.keys() == targets.keys():
            yield from ((sources[part], targets[part], state) for part in sources)
            return
    yield source, target, state


def _parts(element: Any) -> dict[str, Any]:
    return {part.get("mid"): part for part in element.iter("{*}mrk") if part.get("mtype") == "seg"}


def _state_of_target(target: Any) -> str:
    if target is None or target.get("state") in UNTRANSLATED_STATES:
        return "untranslated"
    if target.get("state-qualifier") in MACHINE_QUALIFIERS:
        return "machine"
    return "review" if (target.get("state") or "").startswith("needs-") else ""


def _segments_of_unit(unit: Any) -> Iterator[tuple[Any, Any, str]]:
    """XLIFF 2."""
    for segment in unit.iter("{*}segment"):
        state = "machine" if segment.get("subState") == MACHINE_SUBSTATE else ""
        yield _child(segment, "source"), _child(segment, "target"), state


def is_line_break(attributes: Mapping[str, str]) -> bool:
    """Whether a code is a line break, by its attributes in XLIFF 1.2 or 2."""
    return "lb" in (attributes.get("ctype"), (attributes.get("subType") or "").rpartition(":")[2])


def _text(element: Any) -> Iterator[str]:
    """The text of a segment without codes; a code for a line break counts as a blank."""
    if element is None:
        return
    yield element.text or ""
    for child in element:
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""  # a comment's tag is a function
        if name in SPANNING:
            yield from _text(child)
        elif is_line_break(child.attrib):
            yield " "
        yield child.tail or ""
