"""Sentence pairs from Hugging Face data sets."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polystill.errors import UserError, nearest
from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.tables import Row, read_tsv, reader_of, valid

_TRANSLATION = "translation"
_BUILDERS = {".json": "json", ".parquet": "parquet", ".arrow": "arrow"}
_BLOCK_ROWS = 1000

Block = tuple[list[str], list[Row]]
"""The columns that rows have, and the rows with at least those that are needed."""


class HuggingFaceSource(PairSource):
    """A Hugging Face dataset: a local folder or file set, or the name of one on the hub.

    With a `translation` column (the hub's custom) the languages are its keys; otherwise give the two column names.
    Local CSV, TSV and JSON Lines are read by `tables`, all else by `datasets`.
    """

    kind: Literal["huggingface"]
    path: str
    name: str | None = None
    split: str = "train"
    source_column: str | None = None
    target_column: str | None = None

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
        if reader := reader_of(self.path):
            return _text_blocks((reader, Path(file)) for file in _files(path))
        if builder := _BUILDERS.get(path.suffix):
            return self._built_blocks(builder, split="train", data_files=_files(path))
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.path):
            raise UserError(f"{path}: no such folder or file, and {self.path!r} is no name on the hub")
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
        known = [(reader, Path(file)) for file in local if (reader := reader_of(file)) and Path(file).is_file()]
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
        return valid(value.replace("\r\n", " ").replace("\n", " "))


def _files(path: Path) -> list[str]:
    """The files of a path with or without wildcards, in order."""
    path = path.absolute()
    files = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    if not files:
        raise UserError(f"{path}: no such file")
    return files


def _is_plain(config: Any, files: list[str]) -> bool:
    """Whether CSV files have commas, TSV files tabs, and both a header: what `tables` takes for granted."""
    separator = "\t" if reader_of(files[0]) is read_tsv else ","
    plain = {"sep": separator, "header": "infer", "names": None, "skiprows": None, "quotechar": '"', "encoding": None}
    return all(getattr(config, key, value) == value for key, value in plain.items())


def _text_blocks(files: Iterable[tuple[Callable[[Path], Iterator[Row]], Path]]) -> Iterator[Block]:
    for reader, path in files:
        rows = reader(path)
        while block := list(islice(rows, _BLOCK_ROWS)):
            yield list(dict.fromkeys(key for row in block if isinstance(row, dict) for key in row)), block
