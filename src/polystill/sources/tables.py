"""Rows of local CSV, TSV and JSON Lines files; plain, gzip or zstd. Every value stays the text that the file has.

CSV has quotation marks, TSV has none. A row is a mapping of columns to values; what cannot be read in it is
`Unreadable`, a column that a short row lacks included. A blank line is empty in all columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from polystill.errors import UserError
from polystill.sources.base import Unreadable
from polystill.sources.lines import decoded, read_lines

Row = dict[str, Any] | Unreadable


def reader_of(name: str) -> Callable[[Path], Iterator[Row]] | None:
    """The reader for a file with this name; None for other kinds of files."""
    return _READERS.get(Path(name.removesuffix(".gz").removesuffix(".zst")).suffix)


def read_tsv(path: Path) -> Iterator[Row]:
    """Stream the rows after the header.

    Raises:
        UserError: as `read_lines`.
    """
    lines = read_lines(path)
    names = next(lines, b"").decode("utf-8", "replace").split("\t")
    for line in lines:
        yield _row(names, map(decoded, line.split(b"\t")) if line else repeat(""))


def read_csv(path: Path) -> Iterator[Row]:
    """Stream the rows after the header. A value in quotation marks may span several lines.

    Raises:
        UserError: as `read_lines`, or a quotation mark opens and does not close.
    """
    # A byte that is not UTF-8 becomes a lone surrogate, which `valid` finds in its field.
    lines = (line.decode("utf-8", "surrogateescape").replace("\r", " ") + "\n" for line in read_lines(path))
    reader = csv.reader(lines, strict=True)
    rows = _csv_rows(path, reader)
    names = next(rows, None) or []
    for fields in rows:
        if fields is None:
            yield Unreadable.BROKEN_ROW
        else:
            yield _row(names, map(valid, fields) if fields else repeat(""))


def _csv_rows(path: Path, reader: Any) -> Iterator[list[str] | None]:
    """The fields of each row; None for a damaged one."""
    while True:
        start = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error) or "field larger than" in str(error):
                raise UserError(f"{path}: line {start}: a quotation mark opens here and does not close") from None
            yield None


def read_json_lines(path: Path) -> Iterator[Row]:
    """Stream the rows. Numbers are their digits, as text.

    Raises:
        UserError: as `read_lines`.
    """
    for line in read_lines(path):
        text = decoded(line)
        if isinstance(text, Unreadable):
            yield text
            continue
        try:
            row = json.loads(text, parse_int=str, parse_float=str) if text.strip() else {}
        except (ValueError, RecursionError):
            row = None
        yield row if isinstance(row, dict) else Unreadable.BROKEN_ROW


def valid(text: str) -> str | Unreadable:
    """The text, unless it holds lone surrogates, which no UTF-8 has."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Unreadable.INVALID_UTF8
    return text


def _row(names: list[str], values: Iterable[str | Unreadable]) -> dict[str, Any]:
    return dict(zip(names, chain(values, repeat(Unreadable.BROKEN_ROW)), strict=False))


_READERS = {".csv": read_csv, ".tsv": read_tsv, ".jsonl": read_json_lines}
