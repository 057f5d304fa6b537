"""Read HTML as its tokens, byte for byte, and tell which of their text is to be translated.

Two parsers share the work. html.parser of the standard library tells where each token stands in the source, which no
parser that builds a tree does: those write another document than they have read. Which elements a text is in, only a
tree tells, because HTML lets authors leave end tags out and closes elements by rules of its own. So each text is
replaced by a marker, a browser's parser (Lexbor) builds the tree, and the markers are looked up there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser

from selectolax.lexbor import LexborHTMLParser, LexborNode

from polystill.placement import Tag

_INLINE = (
    "a abbr acronym b bdi bdo big cite data del dfn em font i img ins label mark picture q rp rt ruby s small span "
    "strike strong sub sup time tt u wbr"
)
_KEPT = "canvas code kbd math noscript object samp script select style svg template textarea var"
INLINE = frozenset(_INLINE.split())
"""Elements that may stand within a sentence. Every other one ends it."""
KEPT = frozenset(_KEPT.split())
"""Elements whose text is not translated, unless they or elements within them say translate="yes"."""
_NEVER = frozenset(("script", "style"))
_NAME = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")
_EMPTY = frozenset(("br", "img", "wbr", "input"))
_MARKED = re.compile(r"<!\[(temp|cdata|ignore|include|rcdata|if|else|endif)(?![-\w.])", re.IGNORECASE)
_MARKER = re.compile("\ue000([0-9]+)\ue001")
_TABLE_PARTS = {
    **dict.fromkeys(("caption", "colgroup", "thead", "tbody", "tfoot"), "<table>"),
    **{"col": "<table><colgroup>", "tr": "<table><tbody>", "td": "<table><tbody><tr>", "th": "<table><tbody><tr>"},
}
"""What has to stand before a part of a table, which HTML drops elsewhere."""


@dataclass(frozen=True)
class Token:
    raw: str
    is_text: bool = False
    """It is text, to be translated unless `is_fixed`."""
    is_fixed: bool = False
    """The token ends a run of sentences and stays as it is."""


def read_tokens(html: str) -> Iterator[Token]:
    """Yield all tokens in order; joined they are the source. In preformatted text a line break ends a run."""
    tokens = _Tokens().read(html)
    translated = _translated(tokens)
    preformatted = 0
    for number, token in enumerate(tokens):
        if match := re.match(r"<(/?)pre\b", token.raw, re.IGNORECASE):
            preformatted = max(0, preformatted + (-1 if match[1] else 1))
        if token.is_text and token.raw.strip() and number not in translated:
            yield replace(token, is_fixed=True)
        elif token.is_text and preformatted:
            lines = re.split(r"(\r?\n)", token.raw)
            yield from (replace(token, raw=raw, is_fixed=i % 2 == 1) for i, raw in enumerate(lines) if raw)
        else:
            yield token


def read_tag(at: int, raw: str) -> Tag:
    """An inline token that is no text, at a place in the text."""
    match = _NAME.match(raw)
    name = match[2].lower() if match else ""
    if match and match[1]:
        return Tag(at, raw, closes=name)
    return Tag(at, raw, opens="" if name in _EMPTY or raw.endswith("/>") else name)


# --- where elements end ---------------------------------------------------------------------------------------------


def _translated(tokens: Sequence[Token]) -> set[int]:
    """The numbers of those text tokens that stand where text is translated."""
    if not any(token.is_text for token in tokens):
        return set()
    marked = "".join(
        f"\ue000{number}\ue001" if token.is_text and token.raw.strip() else token.raw
        for number, token in enumerate(tokens)
    )
    first = re.search(r"<([a-z]+)", marked, re.IGNORECASE)
    before = _TABLE_PARTS.get(first[1].lower(), "") if first else ""
    return {
        int(marker)
        for text in _translated_texts(LexborHTMLParser(before + marked).root)
        for marker in _MARKER.findall(text)
    }


def _translated_texts(root: LexborNode | None) -> Iterator[str]:
    """The texts of a tree that are translated, in no order."""
    waiting = [] if root is None else [(root, True)]
    while waiting:
        node, is_translated = waiting.pop()
        is_translated = _is_translated(node, is_translated)
        child = node.child
        while child is not None:
            if child.tag == "-text":
                if is_translated:
                    yield child.text_content or ""
            else:
                waiting.append((child, is_translated))
            child = child.next


def _is_translated(node: LexborNode, inherited: bool) -> bool:
    """Whether an element's own text is translated. The innermost element that says something decides."""
    tag, attributes = node.tag or "", node.attributes
    if tag in _NEVER:
        return False
    said = attributes.get("translate", "inherit")
    said = "yes" if said is None else said.strip().lower()  # an attribute without a value means yes
    if said == "no" or "notranslate" in (attributes.get("class") or "").split():
        return False
    return said in ("yes", "") or (inherited and tag not in KEPT)


# --- the parts of a source ------------------------------------------------------------------------------------------


class _Tokens(HTMLParser):
    """Reads the start and kind of each token. A token is the source from its start to the next one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self._starts: list[tuple[int, bool, bool]] = []
        self._lines = [0]

    def read(self, html: str) -> list[Token]:
        # The parser counts only line feeds as line ends.
        self._lines += [match.end() for match in re.finditer("\n", html)]
        # Entities are text here. After a broken one the parser would take all that follows for text.
        self.feed(html.replace("&", "+"))
        if self.rawdata:  # a tag, comment or script without an end
            is_text = self.rawdata == "<"
            self._take(is_text=is_text, is_fixed=not is_text)
        starts = self._starts
        if html and (not starts or starts[0][0] > 0):
            starts = [(0, False, True), *starts]
        ends = [*(start for start, _, _ in starts[1:]), len(html)]
        return [Token(html[start:end], *kind) for (start, *kind), end in zip(starts, ends, strict=False)]

    def _take(self, *, is_text: bool = False, is_fixed: bool = False) -> None:
        line, column = self.getpos()
        self._starts.append((self._lines[line - 1] + column, is_text, is_fixed))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(is_fixed=tag not in INLINE)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        self._take(is_fixed=tag not in INLINE)

    def handle_data(self, data: str) -> None:
        self._take(is_text=True)

    def handle_comment(self, data: str) -> None:
        self._take()

    def handle_decl(self, decl: str) -> None:
        self._take(is_fixed=True)

    handle_pi = unknown_decl = handle_decl  # type: ignore[assignment]

    def parse_html_declaration(self, i: int) -> int:
        """Python 3.11's parser raises an AssertionError at a marked section with an unknown name."""
        if self.rawdata.startswith("<![", i) and not _MARKED.match(self.rawdata, i):
            return self.parse_bogus_comment(i)  # as HTML defines it
        return super().parse_html_declaration(i)
