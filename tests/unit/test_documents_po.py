"""PO files: what is read for training, and what is filled in, all other bytes being as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystill.documents import open_document
from polystill.documents.po import PoDocument
from polystill.errors import UserError
from polystill.placement import Translation
from polystill.sources.base import RawPair
from polystill.sources.po import PoSource

MESSAGES = r"""# Portuguese translations.
# Someone <someone@example.org>, 2024.
msgid ""
msgstr ""
"Project-Id-Version: demo 1.0\n"
"Language: pt_BR\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

#. The menu item
#: src/main.c:12   src/other.c:3
msgctxt "menu"
msgid "_Open"
msgstr "_Abrir"

#, c-format
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

# kept by hand:   two  blanks
#: src/main.c:20
#, c-format, no-wrap
msgctxt "menu"
msgid "Save \"%s\"\n"
"as a copy\n"
msgstr ""

#, fuzzy
#| msgid "Close"
msgid "Close all"
msgstr "Fechar"

#| msgid "Prin"
msgid "Print"
msgstr ""
""

msgid "Already done"
msgstr "Já feito"

#~ msgid "Old"
#~ msgstr "Velho"

#~ msgid "Older"
#~ msgstr ""
"""


def told(*texts: str | None) -> list[Translation | None]:
    return [None if text is None else Translation(text) for text in texts]


@pytest.fixture
def po(tmp_path: Path) -> Path:
    (tmp_path / "messages.po").write_bytes(MESSAGES.encode())
    return tmp_path / "messages.po"


def pairs(path: Path, languages: tuple[str, str] = ("en", "pt")) -> list[RawPair]:
    return list(PoSource(kind="po", path=path.name).read_pairs(path.parent, languages))


def test_finished_messages_are_read_and_the_others_counted(po: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "polystill"):
        assert pairs(po) == [("_Open", "_Abrir"), ("Already done", "Já feito")]
    assert "messages.po: messages skipped: 1 fuzzy, 2 obsolete, 2 untranslated, 1 with plural forms" in caplog.text


def test_a_message_of_several_lines_is_one_line(po: Path) -> None:
    po.write_text('msgid "One\\n"\n"two"\nmsgstr ""\n"Um\\n"\n"dois"\n')
    assert pairs(po) == [("One two", "Um dois")]


def test_the_header_tells_the_direction(po: Path) -> None:
    assert pairs(po, ("pt-BR", "en"))[0] == ("_Abrir", "_Open")
    assert pairs(po, ("eng", "por")) == pairs(po)
    with pytest.raises(UserError, match=r"messages\.po: is \(no language stated\) to pt_BR, the recipe wants en to de"):
        pairs(po, ("en", "de"))


def test_untranslated_messages_are_filled_in_and_marked(po: Path) -> None:
    document = open_document(po)
    assert document.texts == ['Save "%s"\nas a copy\n', "Print"]
    assert str(document.left) == "1 fuzzy, 2 obsolete, 2 translated, 1 with plural forms"
    filled = document.filled(told('Salvar "%s"\ncomo cópia\n', "Imprimir"), "pt").decode()
    expected = MESSAGES.replace(
        '#: src/main.c:20\n#, c-format, no-wrap\nmsgctxt "menu"\nmsgid "Save \\"%s\\"\\n"\n"as a copy\\n"\nmsgstr ""\n',
        "# machine translation by polystill\n#: src/main.c:20\n#, fuzzy, c-format, no-wrap\n"
        'msgctxt "menu"\nmsgid "Save \\"%s\\"\\n"\n"as a copy\\n"\n'
        'msgstr ""\n"Salvar \\"%s\\"\\n"\n"como cópia\\n"\n',
    ).replace(
        '#| msgid "Prin"\nmsgid "Print"\nmsgstr ""\n""\n',
        '# machine translation by polystill\n#, fuzzy\n#| msgid "Prin"\nmsgid "Print"\nmsgstr "Imprimir"\n',
    )
    assert filled == expected


@pytest.mark.parametrize("change", [lambda text: text, lambda text: text.replace("\n", "\r\n"), lambda text: text[:-1]])
def test_a_file_with_nothing_to_fill_comes_out_byte_for_byte(po: Path, change: object) -> None:
    content = change(MESSAGES.replace('msgstr ""\n\n#, fuzzy', 'msgstr "x"\n\n#, fuzzy')).encode()  # type: ignore[operator]
    po.write_bytes(content)
    document = PoDocument(po)
    assert document.filled([None] * len(document.texts)) == content


def test_what_was_filled_in_reads_as_a_translation_that_is_not_approved(po: Path) -> None:
    import polib

    po.write_bytes(PoDocument(po).filled(told("x" * 30 + " y" * 60 + "\n", 'quotes " and \\ slash')))
    entries = {entry.msgid: entry for entry in polib.pofile(str(po))}
    assert entries["Print"].msgstr == 'quotes " and \\ slash' and entries["Print"].fuzzy
    assert entries['Save "%s"\nas a copy\n'].msgstr == "x" * 30 + " y" * 60 + "\n"
    assert max(map(len, po.read_text().splitlines())) <= 80
    assert PoDocument(po).texts == []  # a second run leaves it alone
    assert [pair[0] for pair in pairs(po)] == ["_Open", "Already done"]  # and no training learns from it


def test_long_lines_stay_long_where_the_file_has_them(po: Path) -> None:
    po.write_text(f'msgid "{"long " * 30}"\nmsgstr ""\n')
    assert f'msgstr "{"y " * 60}"' in PoDocument(po).filled(told("y " * 60)).decode()


def test_crlf_and_a_missing_last_line_feed_stay(po: Path) -> None:
    po.write_bytes(b'msgid "One"\r\nmsgstr ""\r\n\r\nmsgid "Two"\r\nmsgstr ""')
    assert PoDocument(po).filled(told("Um", "Dois")) == (
        b'# machine translation by polystill\r\n#, fuzzy\r\nmsgid "One"\r\nmsgstr "Um"\r\n\r\n'
        b'# machine translation by polystill\r\n#, fuzzy\r\nmsgid "Two"\r\nmsgstr "Dois"'
    )


def test_a_byte_order_mark_stays(po: Path) -> None:
    po.write_bytes('\ufeffmsgid "One"\nmsgstr ""\n'.encode())
    filled = PoDocument(po).filled(told("Um")).decode()
    assert filled == '\ufeff# machine translation by polystill\n#, fuzzy\nmsgid "One"\nmsgstr "Um"\n'


def test_other_encodings_stay_and_lack_some_characters(po: Path) -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=ISO-8859-1\\n"\n'
    content = f'{header}\nmsgid "a"\nmsgstr "é"\n\nmsgid "b"\nmsgstr ""\n\nmsgid "c"\nmsgstr ""\n'.encode("latin-1")
    po.write_bytes(content)
    document = PoDocument(po)
    assert document.can_write("ç") and not document.can_write("→")
    filled = document.filled([*told("ç"), None])
    assert 'msgstr "ç"' in filled.decode("latin-1") and b'msgid "c"\nmsgstr ""' in filled


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'msgid "a"\nmsgstr "b"c"\n', r"cannot be read as a PO file \(line 2\)"),
        (b"no messages\n", r"cannot be read as a PO file \(line 1\)"),
        (b'msgid "\xff"\nmsgstr "b"\n', "is not UTF-8"),
        (b'# a\nmsgid "one"\nmsgstr "ei', r"\(line 3\): a quotation mark does not close"),
        (b'msgid "one\nmsgstr "eins"\n', r"\(line 1\): a quotation mark does not close"),
    ],
)
def test_bad_files_are_one_line(po: Path, content: bytes, problem: str) -> None:
    po.write_bytes(content)
    with pytest.raises(UserError, match=problem) as caught:
        pairs(po)
    assert str(caught.value).startswith(f"{po}: ") and "\n" not in str(caught.value)


def test_missing_files_and_empty_ones(po: Path) -> None:
    with pytest.raises(UserError, match=r"none\.po: no such file"):
        PoDocument(po.with_name("none.po"))
    po.write_text("")
    with pytest.raises(UserError, match="empty corpus"):
        pairs(po)
