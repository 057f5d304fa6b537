"""Sentence pairs from Hugging Face data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polystill.errors import UserError, nearest
from polystill.sources.base import PairSource, RawPair

if TYPE_CHECKING:
    import pyarrow as pa

_READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


class HuggingFaceSource(PairSource):
    """A Hugging Face dataset: a local folder or file set, or the name of one on the hub.

    With a `translation` column (the hub's custom) the languages are its keys; otherwise give the two column names.
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

        try:
            for table in self._open(folder).with_format("arrow").iter(batch_size=1000):
                sources = self._column(table, "source", self.source_column, languages[0])
                targets = self._column(table, "target", self.target_column, languages[1])
                yield from zip(sources, targets, strict=True)
        except (OSError, ValueError, DatasetsError) as error:  # pyarrow's errors are of these kinds too
            reason = " ".join(str(error).split())
            if (folder / self.path).exists() or Path(self.path).suffix in _READERS:
                raise UserError(f"{self.path}: cannot be loaded with `datasets`: {reason}") from None
            raise UserError(f"{self.path}: no folder at {folder / self.path}, and from the hub: {reason}") from None

    def _open(self, folder: Path) -> Any:
        from datasets import load_dataset

        path = folder / self.path
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return self._open_saved(path)
        if path.is_dir():
            return load_dataset(str(path), self.name, split=self.split, streaming=True)
        reader = _READERS.get(Path(self.path).suffix)
        if reader is None:
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.path):
                raise UserError(f"{path}: no such folder or file, and {self.path!r} is no name on the hub")
            return load_dataset(self.path, self.name, split=self.split, streaming=True)
        path = path.absolute()
        files = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
        if not files:
            raise UserError(f"{path}: no such file")
        more = {"sep": "\t"} if path.suffix == ".tsv" else {}
        return load_dataset(reader, data_files=files, split="train", streaming=True, **more)

    def _open_saved(self, path: Path) -> Any:
        """A folder that `save_to_disk` of `datasets` wrote."""
        from datasets import DatasetDict, load_from_disk

        dataset = load_from_disk(str(path))
        if not isinstance(dataset, DatasetDict):
            return dataset
        if self.split not in dataset:
            raise UserError(f"{self.path}: no split {self.split!r}; it has: {', '.join(dataset)}")
        return dataset[self.split]

    def _column(self, table: pa.Table, side: str, name: str | None, language: str) -> list[str]:
        column = name or "translation"
        if column not in table.column_names:
            missing = f"no column {column!r}" if name else f"no column 'translation'; set {side}_column"
            raise UserError(f"{self.path}: {missing}; it has: {', '.join(table.column_names)}")
        values = table.column(column).to_pylist()
        if name is None:
            values = [self._translation(value, language) for value in values]
        return [self._one_line(value, column) for value in values]

    def _translation(self, value: Any, language: str) -> Any:
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise UserError(f"{self.path}: column 'translation' holds {kind}; expected language -> text")
        if language not in value:
            hint = nearest(language, list(value))
            raise UserError(
                f"{self.path}: no language {language!r} in column 'translation'{hint}; it has: {', '.join(value)}"
            )
        return value[language]

    def _one_line(self, value: Any, column: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise UserError(f"{self.path}: column {column!r} holds {type(value).__name__}; expected text")
        return value.replace("\r\n", " ").replace("\n", " ")
