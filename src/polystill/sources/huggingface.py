"""Sentence pairs from Hugging Face data sets."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Literal

from polystill.errors import UserError, nearest
from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.lines import decoded, read_lines

_TRANSLATION = "translation"
_BUILDERS = {".json": "json", ".parquet": "parquet", ".arrow": "arrow"}
_BLOCK_ROWS = 1000

Row = dict[str, Any] | Unreadable
"""Values by column."""
Block = tuple[list[str], list[Row]]
"""The columns that rows have, and the rows with at least those that are needed."""


class HuggingFaceSource(PairSource):
    """A Hugging Face dataset: a local folder or file set, or the name of one on the hub.

    With a `translation` column (the hub's custom) the languages are its keys; otherwise give the two column names.
    Local CSV, TSV and JSON Lines, plain, gzip or zstd, are read here, all else by `datasets`.
    """

    kind: Literal["huggingface"]
    path: str
    """A local folder or file, or the data set's name on the hub."""
    name: str | None = None
    """The data set's configuration."""
    split: str = "train"
    """The split that is read."""
    source_column: str | None = None
    """By default both sides are in the column `translation`."""
    target_column: str | None = None
    """By default both sides are in the column `translation`."""

    def describe(self, folder: Path) -> str:
        return self.path

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        from datasets.exceptions import DatasetsError

        sides = ((self.source_column, languages[0]), (self.target_column, languages[1]))
        try:
            for columns, rows in self._blocks(folder):
                if columns:  # none where every row is damaged
                    self._check(columns, rows, languages)
                for row in rows:
                    source, target = (self._side(row, column, language) for column, language in sides)
                    yield source, target
        except (OSError, ValueError, DatasetsError) as error:  # pyarrow's errors are of these kinds too
            reason = " ".join(str(error).split())
            if (folder / self.path).exists() or Path(self.path).suffix in _BUILDERS:
                raise UserError(f"{self.path}: cannot be loaded with `datasets`: {reason}") from None
            raise UserError(f"{self.path}: no folder at {folder / self.path}, and from the hub: {reason}") from None

    # --- rows -----------------------------------------------------------------------------------------------------

    def _blocks(self, folder: Path) -> Iterator[Block]:
        path = folder / self.path
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return self._table_blocks(self._open_saved(path))
        if path.is_dir():
            return self._built_blocks(str(path))
        if reader := _reader_of(self.path):
            return _text_blocks((reader, Path(file)) for file in _files(path))
        if builder := _BUILDERS.get(path.suffix):
            return self._built_blocks(builder, split="train", data_files=_files(path))
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.path):
            raise UserError(f"{path}: no such folder or file, and {self.path!r} is not a name on the hub")
        return self._built_blocks(self.path)

    def _open_saved(self, path: Path) -> Any:
        """A folder that `save_to_disk` of `datasets` wrote."""
        from datasets import DatasetDict, load_from_disk

        dataset = load_from_disk(str(path))
        if not isinstance(dataset, DatasetDict):
            return dataset
        if self.split not in dataset:
            raise UserError(f"{self.path}: no split {self.split!r}; it has: {', '.join(dataset)}")
        return dataset[self.split]

    def _built_blocks(self, path: str, split: str | None = None, **files: Any) -> Iterator[Block]:
        """The rows of what `datasets` makes of a folder, of files or of a name on the hub."""
        from datasets import load_dataset_builder

        builder = load_dataset_builder(path, self.name, **files)
        split = split or self.split
        local = (builder.config.data_files or {}).get(split, [])
        known = [(reader, Path(file)) for file in local if (reader := _reader_of(file)) and Path(file).is_file()]
        if known and len(known) == len(local) and _is_plain(builder.config, local):
            return _text_blocks(known)
        if hasattr(builder.config, "quoting"):  # a CSV file on the hub, which pandas reads
            columns = (self.source_column, self.target_column)
            builder.config.na_filter = builder.config.keep_default_na = False
            builder.config.converters = {column: str for column in columns if column}
            builder.config.quoting = csv.QUOTE_NONE if builder.config.sep == "\t" else csv.QUOTE_MINIMAL
        return self._table_blocks(builder.as_streaming_dataset(split=split))

    def _table_blocks(self, dataset: Any) -> Iterator[Block]:
        needed = {self.source_column or _TRANSLATION, self.target_column or _TRANSLATION}
        for table in dataset.with_format("arrow").iter(batch_size=_BLOCK_ROWS):
            names = table.column_names
            yield names, table.select([name for name in names if name in needed]).to_pylist()

    # --- values ---------------------------------------------------------------------------------------------------

    def _check(self, columns: list[str], rows: list[Row], languages: tuple[str, str]) -> None:
        """Raise UserError if none of the rows has a column or a language."""
        names = (self.source_column, self.target_column)
        for side, name, language in zip(("source", "target"), names, languages, strict=True):
            if (name or _TRANSLATION) not in columns:
                missing = f"no column {name!r}" if name else f"no column {_TRANSLATION!r}; set {side}_column"
                raise UserError(f"{self.path}: {missing}; it has: {', '.join(columns)}")
            if name is None:
                self._check_language(language, rows)

    def _check_language(self, language: str, rows: list[Row]) -> None:
        values = (row.get(_TRANSLATION) for row in rows if isinstance(row, dict))
        known = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
        if known and language not in known:
            hint = nearest(language, known)
            raise UserError(
                f"{self.path}: no language {language!r} in column {_TRANSLATION!r}{hint}; it has: {', '.join(known)}"
            )

    def _side(self, row: Row, name: str | None, language: str) -> str | Unreadable:
        if isinstance(row, Unreadable):
            return row
        value = row.get(name or _TRANSLATION)
        if name is None and value is not None and not isinstance(value, Unreadable):
            if not isinstance(value, dict):
                kind = type(value).__name__
                raise UserError(f"{self.path}: column {_TRANSLATION!r} holds {kind}; expected language -> text")
            value = value.get(language)
        if value is None or isinstance(value, Unreadable):
            return value or ""
        if not isinstance(value, str):
            column = name or _TRANSLATION
            raise UserError(f"{self.path}: column {column!r} holds {type(value).__name__}; expected text")
        return _valid(value.replace("\r\n", " ").replace("\n", " "))


def _files(path: Path) -> list[str]:
    """The file of a path, or those that match its wildcards, in order.

    What exists is taken literally: names of folders and files may hold brackets.
    """
    path = path.absolute()
    if path.exists():
        return [str(path)]
    folder = next(parent for parent in path.parents if parent.exists())
    files = sorted(map(str, folder.glob(str(path.relative_to(folder)))))
    if not files:
        raise UserError(f"{path}: no such file")
    return files


def _is_plain(config: Any, files: list[str]) -> bool:
    """Whether CSV files have commas, TSV files tabs, and both a header: what `_text_blocks` takes for granted."""
    separator = "\t" if _reader_of(files[0]) is _read_tsv else ","
    plain = {"sep": separator, "header": "infer", "names": None, "skiprows": None, "quotechar": '"', "encoding": None}
    return all(getattr(config, key, value) == value for key, value in plain.items())


def _text_blocks(files: Iterable[tuple[Callable[[Path], Iterator[Row]], Path]]) -> Iterator[Block]:
    for reader, path in files:
        rows = reader(path)
        while block := list(islice(rows, _BLOCK_ROWS)):
            yield list(dict.fromkeys(key for row in block if isinstance(row, dict) for key in row)), block


# --- rows of local CSV, TSV and JSON Lines --------------------------------------------------------------------------
#
# Every value stays the text that the file has. CSV has quotation marks, TSV has none. What cannot be read is
# `Unreadable`, a column that a short row lacks included. A blank line is empty in all columns.


def _reader_of(name: str) -> Callable[[Path], Iterator[Row]] | None:
    """The reader for a file with this name; None for other kinds of files."""
    return _READERS.get(Path(name.removesuffix(".gz").removesuffix(".zst")).suffix)


def _read_tsv(path: Path) -> Iterator[Row]:
    """Stream the rows after the header.

    Raises:
        UserError: as `read_lines`.
    """
    lines = read_lines(path)
    names = next(lines, b"").decode("utf-8", "replace").split("\t")
    for line in lines:
        yield _row(names, map(decoded, line.split(b"\t")) if line else repeat(""))


def _read_csv(path: Path) -> Iterator[Row]:
    """Stream the rows after the header. A value in quotation marks may span several lines.

    Raises:
        UserError: as `read_lines`, or a quotation mark opens and does not close.
    """
    # A byte that is not UTF-8 becomes a lone surrogate, which `_valid` finds in its field.
    lines = (line.decode("utf-8", "surrogateescape").replace("\r", " ") + "\n" for line in read_lines(path))
    reader = csv.reader(lines, strict=True)
    rows = _csv_rows(path, reader)
    names = next(rows, None) or []
    for fields in rows:
        if fields is None:
            yield Unreadable.BROKEN_ROW
        else:
            yield _row(names, map(_valid, fields) if fields else repeat(""))


def _csv_rows(path: Path, reader: Any) -> Iterator[list[str] | None]:
    """The fields of each row; None for a damaged one."""
    while True:
        start = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            is_too_long = "field larger than" in str(error)
            if "unexpected end of data" in str(error) or (is_too_long and reader.line_num > start):
                raise UserError(f"{path}: line {start}: a quotation mark opens here and does not close") from None
            if is_too_long:
                most = csv.field_size_limit()
                raise UserError(
                    f"{path}: line {start}: a value has more than {most:,} characters; expected sentences"
                ) from None
            yield None


def _read_json_lines(path: Path) -> Iterator[Row]:
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


def _valid(text: str) -> str | Unreadable:
    """The text, unless it holds lone surrogates, which no UTF-8 has."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Unreadable.INVALID_UTF8
    return text


def _row(names: list[str], values: Iterable[str | Unreadable]) -> dict[str, Any]:
    return dict(zip(names, chain(values, repeat(Unreadable.BROKEN_ROW)), strict=False))


_READERS = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_json_lines}
