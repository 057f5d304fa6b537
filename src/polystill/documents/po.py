"""gettext's PO files: polib reads them; a translation changes the lines of its entry and no others.

polib could write a file too, but wraps and orders its lines anew. So what is filled in is put into the file's lines
where polib says that the entry stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polystill.documents.base import MARK, Skipped
from polystill.errors import UserError
from polystill.placement import Translation

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_WIDTH = 78
"""What gettext's programs wrap lines at, unless they are told not to."""
_BYTE_ORDER_MARK = "\ufeff"


def read_po(path: Path) -> Any:
    """The file as polib has it.

    Raises:
        UserError: it cannot be read, or is no PO file.
    """
    import polib

    if not path.is_file():  # polib would take the name for the content
        raise UserError(f"{path}: {'a folder; expected a PO file' if path.is_dir() else 'no such file'}")
    try:
        po = polib.pofile(str(path))
        lines = re.split(r"\r\n|\n|\r", path.read_bytes().decode(po.encoding).removeprefix(_BYTE_ORDER_MARK))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not {error.encoding.upper()}, the encoding of its header or the default") from None
    except (OSError, ValueError) as error:
        found = re.search(r"\(?line (\d+)\)?", str(error))
        where = f" (line {found[1]})" if found else ""
        raise UserError(
            f"{path}: cannot be read as a PO file{where}: {getattr(error, 'strerror', None) or 'syntax error'}"
        ) from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#") and not line.endswith('"'):  # polib drops the last character instead
            raise UserError(f"{path}: cannot be read as a PO file (line {number}): a quotation mark does not close")
    return po


def language_of(po: Any) -> str | None:
    """The language of the translations, as the header states it."""
    return (po.metadata.get("Language") or "").strip() or None


def translated_pairs(po: Any, skipped: Skipped) -> Iterator[tuple[str, str]]:
    """Pairs of message and translation, each on one line, of all entries that a person has finished."""
    for entry in po:
        reason = _why_not_training(entry)
        if reason is None:
            yield " ".join(entry.msgid.split()), " ".join(entry.msgstr.split())
        else:
            skipped.add(reason)


def _why_not_training(entry: Any) -> str | None:
    if entry.obsolete:
        return "obsolete"
    if entry.msgid_plural:
        return "with plural forms"
    if not entry.msgstr.strip():
        return "untranslated"
    return "fuzzy" if "fuzzy" in entry.flags else None


class PoDocument:
    """A PO file to be filled in."""

    has_codes = False

    def __init__(self, path: Path) -> None:
        """Read the file. Raises UserError as `read_po`."""
        po = read_po(path)
        self._path, self._encoding = path, po.encoding
        text = path.read_bytes().decode(po.encoding)
        self._mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        self._lines = _LINE.findall(text.removeprefix(_BYTE_ORDER_MARK))
        self._width = _width(self._lines)
        self.languages: tuple[str | None, str | None] = (None, language_of(po))
        self.left = Skipped()
        self._entries = []
        for entry in po:
            reason = _why_left(entry)
            if reason is None:
                self._entries.append(entry)
            else:
                self.left.add(reason)
        self.texts: list[str] = [entry.msgid for entry in self._entries]

    def can_write(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True

    def filled(self, translations: Sequence[Translation | None], target_language: str | None = None) -> bytes:
        """The file with translations as fuzzy entries. A header stays as it is, whatever language it states."""
        assert len(translations) == len(self._entries)
        lines = list(self._lines)
        for entry, translation in reversed(list(zip(self._entries, translations, strict=True))):
            if translation is not None:
                start = max(0, entry.linenum - 1)  # polib counts the first entry as 0
                end = _message_end(lines, start)
                lines[start:end] = self._filled_entry(lines[start:end], translation.text)
        return "".join([self._mark, *lines]).encode(self._encoding)

    def _filled_entry(self, lines: list[str], translation: str) -> list[str]:
        """The lines of an entry, from its first one to the last of msgstr, with a translation."""
        end_of_line = "\r\n" if lines[0].endswith("\r\n") else "\n"
        at = next(i for i, line in enumerate(lines) if _is_message(line))
        last = "" if not re.search(r"[\r\n]$", lines[-1]) else end_of_line  # a file may end without a line feed
        new = [line + end_of_line for line in self._message(translation)]
        new[-1] = new[-1].removesuffix(end_of_line) + last
        head = lines[:at]
        comment = next((i for i, line in enumerate(head) if not _is_comment(line)), len(head))
        flags = next((i for i, line in enumerate(head) if line.startswith("#,")), None)
        if flags is None:
            before = next(i for i, line in enumerate(head) if re.match(r"\s*(#\||msg)", line))
            head.insert(before, f"#, fuzzy{end_of_line}")
        elif not re.search(r"\bfuzzy\b", head[flags]):
            head[flags] = head[flags].replace("#,", "#, fuzzy,", 1)
        head.insert(comment, f"# {MARK}{end_of_line}")
        return [*head, *new]

    def _message(self, translation: str) -> list[str]:
        """The lines of a msgstr, escaped and wrapped by polib."""
        import polib

        lines = polib.POEntry(msgid="x", msgstr=translation).__unicode__(self._width).split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith("msgstr"))
        return [line for line in lines[at:] if line]


def _why_left(entry: Any) -> str | None:
    if entry.obsolete:
        return "obsolete"
    if entry.msgid_plural:
        return "with plural forms"
    if entry.msgstr:
        return "fuzzy" if "fuzzy" in entry.flags else "translated"
    return None if entry.msgid.strip() else "without text"


def _width(lines: Sequence[str]) -> int:
    """The width at which the file's text is wrapped; 0 if it is not."""
    longest = max(
        (len(line.rstrip()) for line in lines if line.startswith(('"', "msg")) and " " in line[8:]), default=0
    )
    return 0 if longest > _WIDTH + 2 else _WIDTH


def _message_end(lines: Sequence[str], start: int) -> int:
    """The end of the msgstr of the entry that begins at a line."""
    end = next(i for i in range(start, len(lines)) if _is_message(lines[i])) + 1
    while end < len(lines) and lines[end].lstrip().startswith('"'):
        end += 1
    return end


def _is_comment(line: str) -> bool:
    """Whether a line is a translator's comment, or blank, as before an entry."""
    return not line.strip() or re.match(r"#(\s|#|$)", line) is not None


def _is_message(line: str) -> bool:
    return line.lstrip().startswith("msgstr")
