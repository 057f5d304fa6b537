"""XLIFF files: what is read for training, and what is filled in, all other bytes being as they were."""

from __future__ import annotations

import re
from itertools import accumulate, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from polystill.documents import open_document
from polystill.documents.xliff_writing import XliffDocument
from polystill.errors import UserError
from polystill.placement import Span, Translation
from polystill.sources.base import RawPair
from polystill.sources.xliff import XliffSource

FIRST = """<?xml version='1.0' encoding="utf-8"?>
<!-- a <source> in a comment -->
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
  <file original='a > b.html' source-language="en-US" target-language="pt-BR"  datatype="html">
    <header><note>Note</note></header>
    <body>
      <trans-unit id="1">
        <source>Click <g id="1">here</g> &amp; wait.</source>
        <target>Clique <g id="1">aqui</g> &amp; espere.</target>
      </trans-unit>
      <trans-unit id='2' xml:space="preserve" >
        <source>Press <x id="1" equiv-text="&lt;b&gt;"/>Enter<x id='2' /> now</source>
        <note from="dev">Keep</note>
      </trans-unit>
      <group translate="no"><trans-unit id="3"><source>API</source></trans-unit></group>
      <trans-unit id="4"><source>Copied</source><target state="new" xml:lang="pt">Copied</target></trans-unit>
      <trans-unit id="5"><source>Review</source><target state="needs-review-translation">Revisar</target></trans-unit>
      <trans-unit id="6"><source>Machine</source><target state-qualifier="leveraged-mt">Maquina</target></trans-unit>
      <trans-unit id="7"><source><ph id="1">&lt;br/&gt;</ph></source><target/></trans-unit>
      <trans-unit id="8"><source><![CDATA[Tom & Jerry]]></source><target></target>
        <alt-trans><source>Tom</source><target>Tomás</target></alt-trans></trans-unit>
      <trans-unit id="9"><source>Two<x id="1" ctype="lb"/>lines</source>
        <target>Duas<x id="1" ctype="lb"/>linhas</target></trans-unit>
    </body>
  </file>
</xliff>
"""

SECOND = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en">
 <file id="f1">
  <unit id="u1">
   <originalData><data id="d1">&lt;b></data></originalData>
   <segment id="s1" state="translated"><source>Hello <pc id="1">world</pc>.</source>
    <target>Olá <pc id="1">mundo</pc>.</target></segment>
   <ignorable><source> </source></ignorable>
   <segment id="s2">
    <source>Save <ph id="2" dataRef="d1"/> file</source>
   </segment>
  </unit>
  <unit id="u2" translate="no"><segment><source>API</source></segment></unit>
 </file>
</xliff>
"""

SEGMENTED = """<?xml version="1.0" encoding="utf-8"?>
<xliff xmlns:sdl="http://sdl.com/FileTypes/SdlXliff/1.0" xmlns="urn:oasis:names:tc:xliff:document:1.2" version="1.2">
<file source-language="en" target-language="de"><body>
<trans-unit id="a"><source><g id="1">One dog. Two cats.</g></source>
<seg-source><g id="1"><mrk mtype="seg" mid="1">One dog.</mrk> <mrk mtype="seg" mid="2">Two cats.</mrk></g></seg-source>
<target><g id="1"><mrk mtype="seg" mid="1">Ein Hund.</mrk> <mrk mtype="seg" mid="2">Zwei Katzen.</mrk></g></target>
<sdl:seg-defs><sdl:seg id="1"/></sdl:seg-defs></trans-unit>
<trans-unit id="b"><source>A. B.</source>
<seg-source><mrk mtype="seg" mid="3">A.</mrk> <mrk mtype="seg" mid="4">B.</mrk></seg-source></trans-unit>
</body></file></xliff>
"""


def told(*texts: str | None) -> list[Translation | None]:
    return [None if text is None else Translation(text) for text in texts]


def write(folder: Path, content: str) -> Path:
    (folder / "a.xlf").write_bytes(content.encode())
    return folder / "a.xlf"


def pairs(path: Path, languages: tuple[str, str] = ("en", "pt")) -> list[RawPair]:
    return list(XliffSource(kind="xliff", path=path.name).read_pairs(path.parent, languages))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_finished_units_are_read_and_the_others_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "polystill"):
        assert pairs(write(tmp_path, FIRST)) == [
            ("Click here & wait.", "Clique aqui & espere."),
            ("Two lines", "Duas linhas"),
        ]
    skipped = "1 not to be translated, 1 to be reviewed, 1 translated by a machine, 4 untranslated"
    assert f"a.xlf: segments skipped: {skipped}" in caplog.text


def test_version_2_and_tools_segments(tmp_path: Path) -> None:
    assert pairs(write(tmp_path, SECOND)) == [("Hello world.", "Olá mundo.")]
    assert pairs(write(tmp_path, SEGMENTED), ("en", "de")) == [("One dog.", "Ein Hund."), ("Two cats.", "Zwei Katzen.")]


def test_the_file_tells_the_direction(tmp_path: Path) -> None:
    path = write(tmp_path, SEGMENTED)
    assert pairs(path, ("de", "en"))[0] == ("Ein Hund.", "One dog.")
    with pytest.raises(UserError, match=r"a\.xlf: is en to de, the recipe wants en to fr"):
        pairs(path, ("en", "fr"))


def test_a_unit_with_an_entity_of_the_files_own_is_left_out(tmp_path: Path) -> None:
    doctype = '<!DOCTYPE xliff [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    content = FIRST.replace("<!-- a <source> in a comment -->", doctype).replace("Duas", "Du&secret;as")
    assert pairs(write(tmp_path, content)) == [pair for pair in pairs(write(tmp_path, FIRST)) if pair[0] != "Two lines"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<xliff><file>", "not valid XML"),
        ("text", "not valid XML"),
        ("<tmx/>", "not an XLIFF file"),
        ("<xliff/>", "empty corpus"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: str, problem: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=problem) as caught:
        pairs(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    if problem != "empty corpus":
        with pytest.raises(UserError, match=problem):
            open_document(path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    unit = FIRST[FIRST.index("<trans-unit") : FIRST.index("</trans-unit>") + 13]
    path = write(tmp_path, FIRST.replace(unit, unit * 20_000))
    tracked: list[int] = []
    for i, _ in enumerate(XliffSource(kind="xliff", path=path.name).read_pairs(tmp_path, ("en", "pt"))):
        if i in (5_000, 19_000):
            status = Path("/proc/self/status").read_text()
            tracked.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))  # type: ignore[index]
    assert tracked[1] - tracked[0] < 10_000  # KiB; the whole tree takes far more


# --- filling in -------------------------------------------------------------------------------------------------------


def test_version_1_is_filled_in_and_marked(tmp_path: Path) -> None:
    document = open_document(write(tmp_path, FIRST))
    assert document.languages == ("en-US", "pt-BR")
    assert document.texts == ["Press Enter now", "Copied", "Tom & Jerry"]
    assert str(document.left) == "1 not to be translated, 4 translated, 1 without text"
    filled = document.filled(told("Pressione Enter agora", "Copiado", "Tom < Jerry"), "pt").decode()
    mark = 'state="needs-review-translation" state-qualifier="mt-suggestion"'
    source = """<source>Press <x id="1" equiv-text="&lt;b&gt;"/>Enter<x id='2' /> now</source>"""
    target = f"""<target {mark}>Pressione <x id="1" equiv-text="&lt;b&gt;"/>Enter<x id='2' /> agora</target>"""
    expected = (
        FIRST.replace(source, f"{source}\n        {target}")
        .replace('<target state="new" xml:lang="pt">Copied</target>', f'<target xml:lang="pt" {mark}>Copiado</target>')
        .replace("Jerry]]></source><target></target>", f"Jerry]]></source><target {mark}>Tom &lt; Jerry</target>")
    )
    assert filled == expected


def test_version_2_is_filled_in_and_marked(tmp_path: Path) -> None:
    document = open_document(write(tmp_path, SECOND))
    assert document.texts == ["Save file"]
    filled = document.filled(told("Salvar arquivo"), "pt").decode()
    assert filled == SECOND.replace(' srcLang="en">', ' srcLang="en" trgLang="pt">').replace(
        '<segment id="s2">\n    <source>Save <ph id="2" dataRef="d1"/> file</source>\n',
        '<segment id="s2" state="initial" subState="polystill:mt">\n    <source>Save <ph id="2" dataRef="d1"/> file'
        '</source>\n    <target>Salvar <ph id="2" dataRef="d1"/> arquivo</target>\n',
    )
    assert pairs(write(tmp_path, filled)) == [("Hello world.", "Olá mundo.")]  # no training learns from it
    assert open_document(tmp_path / "a.xlf").texts == []


def test_tools_segments_are_translated_each_in_its_place(tmp_path: Path) -> None:
    document = open_document(write(tmp_path, SEGMENTED))
    assert document.texts == ["A.", "B."]
    filled = document.filled(told("X.", "Y.")).decode()
    assert '<mrk mtype="seg" mid="3">X.</mrk> <mrk mtype="seg" mid="4">Y.</mrk></target></trans-unit>' in filled
    assert document.filled(told("X.", None)).decode() == SEGMENTED  # never half a unit


@pytest.mark.parametrize(
    "declarations",
    [
        '<!ENTITY brand "Foo">',
        '<!-- it\'s <source> ]> -->\n<!ENTITY brand \']> <g id="1">Foo</g>\'>\n<!ENTITY other "<source>">',
    ],
)
def test_entities_of_the_files_own_stay_where_others_are_filled_in(tmp_path: Path, declarations: str) -> None:
    doctype = f"<!DOCTYPE xliff [\n{declarations}\n<!ENTITY nbsp '&#160;'><!ENTITY notice 'N'>\n]>"
    plain = "<source>Save &amp;brand; &#128;</source>"
    units = [
        "<source>Open &brand; now</source>",
        '<source>Open <g id="1">&notice;</g></source><target state="new">Open <g id="1">&notice;</g></target>',
        "<source>Blank</source><target>&nbsp;</target>",
        plain,
        '<source>See <ph id="1">&brand;</ph></source>',  # within a code, which is copied
    ]
    body = "".join(f'<trans-unit id="{i}">{unit}</trans-unit>\n' for i, unit in enumerate(units))
    content = (
        f'<?xml version="1.0"?>\n{doctype}\n<xliff version="1.2"><file source-language="en" target-language="pt">'
        f"<body>{body}</body></file></xliff>"
    )
    document = XliffDocument(write(tmp_path, content))
    assert document.texts == ["Save &brand; \x80", "See "]
    assert str(document.left) == "1 translated, 2 with entities of the file's own"
    filled = document.filled(told("A & B < C ]]> &brand;", None)).decode()
    mark = 'state="needs-review-translation" state-qualifier="mt-suggestion"'
    target = f"<target {mark}>A &amp; B &lt; C ]]&gt; &amp;brand;</target>"
    assert filled == content.replace(plain, plain + target)
    etree.fromstring(document.filled(told("x", "Veja")))


@pytest.mark.parametrize("content", [FIRST, FIRST.replace("\n", "\r\n"), "\ufeff" + SECOND, SEGMENTED])
def test_a_file_with_nothing_to_fill_comes_out_byte_for_byte(tmp_path: Path, content: str) -> None:
    document = XliffDocument(write(tmp_path, content))
    assert document.filled([None] * len(document.texts), "pt") == content.encode()


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_other_encodings_stay(tmp_path: Path, encoding: str) -> None:
    content = FIRST.replace('encoding="utf-8"', f'encoding="{encoding}"').encode(encoding)
    (tmp_path / "a.xlf").write_bytes(content)
    document = XliffDocument(tmp_path / "a.xlf")
    assert document.filled([None] * 3) == content
    filled = document.filled(told("→ x", None, None))
    assert filled[:2] == content[:2]
    targets = [target.text for target in etree.fromstring(filled).iter("{*}target")]
    assert targets[1].startswith("→")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declaration", ["<?xml version='1.0'?>", ""])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str, declaration: str) -> None:
    text = FIRST.replace("<?xml version='1.0' encoding=\"utf-8\"?>", declaration).lstrip("\n")
    content = f"\ufeff{text}".encode(encoding)
    (tmp_path / "a.xlf").write_bytes(content)
    document = XliffDocument(tmp_path / "a.xlf")
    assert document.filled([None] * 3) == content


def test_the_language_is_stated_in_files_without_text_as_well(tmp_path: Path) -> None:
    unit = '<trans-unit id="1"><source>a</source></trans-unit>'
    empty, full = '<file source-language="en" original="a"/>', f'<file source-language="en"><body>{unit}</body></file>'
    path = write(tmp_path, f'<xliff version="1.2">{empty}{full}</xliff>')
    filled = etree.fromstring(XliffDocument(path).filled(told("b"), "pt"))
    assert [file.get("target-language") for file in filled.iter("file")] == ["pt", "pt"]


def test_codes_are_never_lost_and_stay_well_formed(tmp_path: Path) -> None:
    source = (
        'A <g id="1">bold <g id="2">and</g> <x id="3"/>italic</g> word, (<g id="4">see</g>) <bx id="5"/>end<ex id="6"/>'
    )
    unit = f'<trans-unit id="1"><source>{source}</source></trans-unit>'
    path = write(tmp_path, f'<xliff version="1.2"><file source-language="en"><body>{unit}</body></file></xliff>')
    document = XliffDocument(path)
    for translation in ("", "x", "uma palavra", "end see A bold", "一個詞語沒有空格", "a, b; c (d) e " * 9):
        filled = etree.fromstring(document.filled(told(translation), "pt"))
        target = next(filled.iter("target"))
        assert "".join(target.itertext()) == translation
        assert [e.get("id") for e in target.iter() if e is not target] == ["1", "2", "3", "4", "5", "6"]


# --- codes where words are aligned ------------------------------------------------------------------------------------


def aligned(source: str, translation: str, links: str) -> Translation:
    """Links of words, such as "0-1", as spans; a word has its signs with it."""
    sides = [[match.span() for match in re.finditer(r"\S+", text)] for text in (source, translation)]
    pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
    return Translation(translation, tuple(Span(sides[0][s], sides[1][t]) for s, t in pairs))


def fill(content: str, translation: str, links: str) -> str:
    """The target of a segment with this content."""
    element = f'<trans-unit id="1"><source>{content}</source></trans-unit>'
    with TemporaryDirectory() as folder:
        file = f'<xliff version="1.2"><file source-language="en"><body>{element}</body></file></xliff>'
        document = XliffDocument(write(Path(folder), file))
        filled = document.filled([aligned(text, translation, links) for text in document.texts]).decode()
    etree.fromstring(filled)
    found = re.search(r"<target[^>]*>(.*)</target>", filled, re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("content", "translation", "links", "expected"),
    [
        (
            'Click <g id="1">the red button</g> now',
            "Jetzt den roten Knopf klicken",
            "0-4 1-1 2-2 3-3 4-0",
            'Jetzt <g id="1">den roten Knopf</g> klicken',
        ),
        (
            '<pc id="1">Peter</pc> saw <pc id="2">the <pc id="3">old</pc> ship</pc>',
            "Das alte Schiff sah Peter",
            "0-4 1-3 2-0 3-1 4-2",
            '<pc id="2">Das <pc id="3">alte</pc> Schiff</pc> sah <pc id="1">Peter</pc>',
        ),
        # Pairs of codes, named by rid, id or startRef.
        (
            'Read <bpt id="1" rid="7">[b]</bpt>this<ept id="2" rid="7">[/b]</ept> first',
            "Zuerst dies lesen",
            "0-2 1-1 2-0",
            'Zuerst <bpt id="1" rid="7">[b]</bpt>dies<ept id="2" rid="7">[/b]</ept> lesen',
        ),
        ('a <bx id="1"/>b<ex id="1"/> c', "z y x", "0-2 1-1 2-0", 'z <bx id="1"/>y<ex id="1"/> x'),
        ('<sc id="1"/>a<ec startRef="1"/> b', "y x", "0-1 1-0", 'y <sc id="1"/>x<ec startRef="1"/>'),
        # A code by itself: a placeholder, and one whose partner is in another segment.
        ('one <x id="1"/>two three', "eins zwei drei", "0-0 1-1 2-2", 'eins <x id="1"/>zwei drei'),
        ('one two<ex id="9"/> three', "eins zwei drei", "0-0 1-1 2-2", 'eins zwei<ex id="9"/> drei'),
        # A line break between words, and text that is not to be translated.
        (
            'First line<x id="1" ctype="lb"/>second line',
            "Erste Zeile zweite Zeile",
            "0-0 1-1 2-2 3-3",
            'Erste Zeile <x id="1" ctype="lb"/>zweite Zeile',
        ),
        (
            'Start <mrk mtype="protected">Foo Bar</mrk> now',
            "Jetzt starten",
            "0-1 1-0",
            '<mrk mtype="protected">Foo Bar</mrk> Jetzt starten',
        ),
        (
            'Start <mrk mtype="protected">Foo Bar</mrk> now',
            "Starte jetzt",
            "0-0 1-1",
            'Starte <mrk mtype="protected">Foo Bar</mrk> jetzt',
        ),
        # Blanks around the text, within it, and several lines of it.
        (' <g id="1">a</g>  b ', " y x ", "0-1 1-0", ' y <g id="1">x</g> '),
        ('a b\n<g id="1">c</g> d', "y x\nw z", "0-1 1-0 2-3 3-2", 'y x\nw <g id="1">z</g>'),
        # All codes keep their order where pairs overlap with another or an element, or two need a part of one word.
        (
            '<bx id="1"/>a <bx id="2"/>b<ex id="1"/> c<ex id="2"/>',
            "z y x",
            "0-2 1-1 2-0",
            '<bx id="1"/>z <bx id="2"/>y<ex id="1"/> x<ex id="2"/>',
        ),
        (
            'a <bx id="1"/>b <g id="2">c <ex id="1"/>d</g> e f g h',
            "a d e f g h b c",
            "0-0 1-6 2-7 3-1 4-2 5-3 6-4 7-5",
            'a <bx id="1"/>d <g id="2">e <ex id="1"/>f</g> g h b c',
        ),
        ('<g id="1">d</g><g id="2">og</g> b', "y x", "0-1 1-0", '<g id="1">y</g><g id="2"></g> x'),
    ],
)
def test_codes_go_with_their_words(content: str, translation: str, links: str, expected: str) -> None:
    assert fill(content, translation, links) == expected


@pytest.mark.parametrize(("content", "has_codes"), [("Go", False), ("Go <x id='1'/>on", True)])
def test_a_document_says_whether_alignments_are_of_use(tmp_path: Path, content: str, has_codes: bool) -> None:
    unit = f'<trans-unit id="1"><source>{content}</source></trans-unit>'
    path = write(tmp_path, f'<xliff version="1.2"><file source-language="en"><body>{unit}</body></file></xliff>')
    assert open_document(path).has_codes == has_codes


def test_without_alignments_a_code_is_found_at_a_word_with_vowel_signs() -> None:
    assert fill('The <x id="1"/>हिन्दी text here', "यहाँ हिन्दी पाठ", "") == 'यहाँ <x id="1"/>हिन्दी पाठ'


def test_without_alignments_codes_keep_their_order() -> None:
    content = 'Click <g id="1">the red button</g> now'
    assert fill(content, "Jetzt den roten Knopf klicken", "").startswith("Jetzt <g")


WORDS = st.sampled_from(["go ", "and ", "then ", "\n", "é. ", "日本", "&amp;", "it"])
PARTNERS = [f"<{name} rid='{rid}'/>" for name in ("bx", "ex") for rid in (1, 2)]
SINGLE = st.sampled_from(["<x/>", "<ph>%s</ph>", "<it>(</it>", *PARTNERS])
CONTENT = st.recursive(
    st.lists(WORDS | WORDS | SINGLE, min_size=2, max_size=4).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        inner.map(lambda content: f"<g>{content}</g>"),
        inner.map(lambda content: f"<bpt rid='3'>[</bpt>{content}<ept rid='3'>]</ept>"),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    CONTENT,
    st.lists(st.integers(0, 99), max_size=5),
    st.sampled_from(["Eins zwei drei vier fünf.", " eins\nzwei ", "日本語", "x"]),
)
def test_each_code_is_written_once_and_nesting_is_kept(content: str, links: list[int], translation: str) -> None:
    numbers = count()
    content = re.sub(r"<(?!/)(\w+)", lambda code: f"<{code[1]} id='{next(numbers)}'", content)
    source = etree.fromstring(f"<source>{content}</source>")
    words = len(text_of(source).split())
    assume(words)
    pairs = " ".join(f"{link % words}-{t}" for t, link in enumerate(links[: len(translation.split())]))
    target = etree.fromstring(f"<target>{fill(content, translation, pairs)}</target>")
    assert text_of(target) == translation
    assert sorted(ids(target)) == sorted(ids(source))
    for element in source.iter("g"):
        (placed,) = target.iterfind(f".//g[@id='{element.get('id')}']")
        assert sorted(ids(placed)) == sorted(ids(element))
    assert min(accumulate(1 if code.tag == "bpt" else -1 for code in target.iter("bpt", "ept")), default=0) >= 0


def ids(element: Any) -> list[str]:
    return [code.get("id") for code in element.iterdescendants()]


def text_of(element: Any) -> str:
    """The text outside of codes."""
    return "".join(element.xpath(".//text()[not(ancestor::ph or ancestor::it or ancestor::bpt or ancestor::ept)]"))
