"""Where sentence pairs come from: text files, TSV, Hugging Face data sets, mtdata, and the built-in corpus.

All of them stream. A side is None where its bytes are not UTF-8; nothing else is judged here. Files are plain, gzip or
zstd, told apart by their content, and have one sentence a line: lines end at LF or CRLF and nowhere else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from polystill.config import HuggingFaceSource, MtdataSource, Source, SyntheticSource, TextSource, TsvSource
from polystill.errors import UserError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

SentencePair = tuple[str, str]
RawPair = tuple[str | None, str | None]
"""A pair as read: None is a side that is not UTF-8."""

_BLOCK = 1 << 20
_LONGEST_LINE = 16 << 20
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


def read_pairs(source: Source, folder: Path, *, languages: tuple[str, str]) -> Iterator[RawPair]:
    """Stream the pairs of one source; its relative paths start at `folder`, `languages` are (source, target).

    Raises:
        UserError: a file is missing, unreadable, binary or damaged, the sides are of unequal length, a column or
            language is missing, a data set cannot be fetched, or there is not one pair.
    """
    reader = {
        TextSource: _read_text,
        TsvSource: _read_tsv,
        HuggingFaceSource: _read_huggingface,
        MtdataSource: _read_mtdata,
        SyntheticSource: _read_synthetic,
    }[type(source)]
    count = 0
    for pair in reader(source, Path(folder), languages):  # type: ignore[operator]
        yield pair
        count += 1
    if not count:
        raise UserError(f"{describe_source(source, folder)}: empty corpus, not one sentence pair")


def describe_source(source: Source, folder: Path) -> str:
    """The source's name in messages and reports: its first file, or what it is called where it comes from."""
    if isinstance(source, TextSource):
        return str(Path(folder) / source.source)
    if isinstance(source, TsvSource):
        return str(Path(folder) / source.path)
    if isinstance(source, HuggingFaceSource):
        return source.path
    if isinstance(source, MtdataSource):
        return f"mtdata {source.dataset}"
    return f"synthetic {source.split}"


# --- files --------------------------------------------------------------------------------------------------------


def _read_text(source: TextSource, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
    paths = (folder / source.source, folder / source.target)
    sides = [read_lines(path) for path in paths]
    count = 0
    while True:
        first, second = next(sides[0], None), next(sides[1], None)
        if first is None or second is None:
            break
        yield _decoded(first), _decoded(second)
        count += 1
    if first is not None or second is not None:
        counts = [
            count + (line is not None) + sum(1 for _ in rest) for line, rest in zip((first, second), sides, strict=True)
        ]
        raise UserError(
            f"{paths[0]}: {counts[0]} lines, but {paths[1]} has {counts[1]}; "
            "line n of one must translate line n of the other"
        )


def _read_tsv(source: TsvSource, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
    path = folder / source.path
    needed = max(source.source_column, source.target_column) + 1
    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split(b"\t")
        if len(columns) < needed:
            raise UserError(f"{path}: line {number}: {len(columns)} tab-separated columns, expected at least {needed}")
        yield _decoded(columns[source.source_column]), _decoded(columns[source.target_column])


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file without their ends; a byte order mark at its start is dropped."""
    rest, number, first = b"", 0, True
    for block in _blocks(path):
        if first:
            _refuse_binary(path, block)
            block, first = block.removeprefix(_BOM), False
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        number += len(lines)
        if len(rest) > _LONGEST_LINE:
            raise UserError(f"{path}: line {number + 1} is longer than {_LONGEST_LINE >> 20} MiB; expected sentences")
        for line in lines:
            yield line[:-1] if line.endswith(b"\r") else line
    if rest:
        yield rest.removesuffix(b"\r")


def _refuse_binary(path: Path, block: bytes) -> None:
    if b"\0" not in block:
        return
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: UTF-16 text; expected UTF-8 (`iconv -f utf-16 -t utf-8` converts it)")
    raise UserError(f"{path}: a binary file; expected UTF-8 text, plain, gzip or zstd")


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed. Several gzip members or zstd frames in one file follow one another."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head.startswith(_GZIP):
                yield from _decompressed(path, file, "gzip")
            elif head == _ZSTD:
                yield from _decompressed(path, file, "zstd")
            else:
                while block := file.read(_BLOCK):
                    yield block
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; expected a text file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _decompressed(path: Path, file: IO[bytes], kind: str) -> Iterator[bytes]:
    import zstandard

    def new() -> Any:
        return zlib.decompressobj(wbits=31) if kind == "gzip" else zstandard.ZstdDecompressor().decompressobj()

    state, started = new(), False
    try:
        while data := file.read(_BLOCK >> 4):
            while data:
                if block := state.decompress(data):
                    yield block
                started, data = True, b""
                if state.eof:
                    data, state, started = state.unused_data.lstrip(b"\0"), new(), False  # gzip allows zero padding.
    except (zlib.error, zstandard.ZstdError):
        raise UserError(f"{path}: damaged {kind} file") from None
    if started:
        raise UserError(f"{path}: {kind} file cut short; it ends in the middle of its data")


# --- data sets ----------------------------------------------------------------------------------------------------


def _read_huggingface(source: HuggingFaceSource, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
    from datasets.exceptions import DatasetsError

    try:
        for table in _open_huggingface(source, folder).with_format("arrow").iter(batch_size=1000):
            yield from _table_pairs(table, source, languages)
    except (OSError, ValueError, DatasetsError) as error:  # pyarrow's errors are of these kinds too.
        reason = " ".join(str(error).split())
        if (folder / source.path).exists() or Path(source.path).suffix in _READERS:
            raise UserError(f"{source.path}: cannot be loaded with `datasets`: {reason}") from None
        raise UserError(f"{source.path}: no folder at {folder / source.path}, and from the hub: {reason}") from None


def _open_huggingface(source: HuggingFaceSource, folder: Path) -> Any:
    from datasets import DatasetDict, load_dataset, load_from_disk

    path = folder / source.path
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        dataset = load_from_disk(str(path))
        if not isinstance(dataset, DatasetDict):
            return dataset
        if source.split not in dataset:
            raise UserError(f"{source.path}: no split {source.split!r}; it has: {', '.join(dataset)}")
        return dataset[source.split]
    if path.is_dir():
        return load_dataset(str(path), source.name, split=source.split, streaming=True)
    reader = _READERS.get(Path(source.path).suffix)
    if reader is None:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source.path):
            raise UserError(f"{path}: no such folder or file, and {source.path!r} is no name on the hub")
        return load_dataset(source.path, source.name, split=source.split, streaming=True)
    path = path.absolute()
    files = sorted(str(found) for found in Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not files:
        raise UserError(f"{path}: no such file")
    more = {"sep": "\t"} if path.suffix == ".tsv" else {}
    return load_dataset(reader, data_files=files, split="train", streaming=True, **more)


def _table_pairs(table: pa.Table, source: HuggingFaceSource, languages: tuple[str, str]) -> Iterable[RawPair]:
    columns = []
    for side, name, language in (
        ("source", source.source_column, languages[0]),
        ("target", source.target_column, languages[1]),
    ):
        wanted = name or "translation"
        if wanted not in table.column_names:
            missing = f"no column {wanted!r}" if name else f"no column 'translation'; set {side}_column"
            raise UserError(f"{source.path}: {missing}; it has: {', '.join(table.column_names)}")
        values = table.column(wanted).to_pylist()
        if name is None:
            values = [_translation(value, language, source.path) for value in values]
        columns.append([_one_line(value, wanted, source.path) for value in values])
    return zip(*columns, strict=True)


def _translation(value: Any, language: str, origin: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{origin}: column 'translation' holds {type(value).__name__}; expected language -> text")
    if language not in value:
        raise UserError(
            f"{origin}: no language {language!r} in column 'translation'{nearest(language, list(value))}; "
            f"it has: {', '.join(value)}"
        )
    return value[language]


def _one_line(value: Any, column: str, origin: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{origin}: column {column!r} holds {type(value).__name__}; expected text")
    return value.replace("\r\n", " ").replace("\n", " ")


def _read_mtdata(source: MtdataSource, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
    """Pairs from polystill.data.fetch, which runs in a process of its own, in an empty folder (mtdata imports modules
    that lie in the current one). Recipes of the user's own (mtdata.recipes*.yml) are looked for in `folder`."""
    command = [sys.executable, "-m", "polystill.data.fetch", source.dataset, *languages]
    environment = {
        "MTDATA_RECIPES": str(folder.absolute()),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=empty, env=environment)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                first, second = line.rstrip(b"\n").split(b"\t")
                yield _decoded(first), _decoded(second)
            status = process.wait()
        finally:
            process.kill()  # Where the reader stopped early; a finished process is past it.
            process.wait()
            process.stdout.close()
        if status != 0:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise UserError(f"mtdata {source.dataset}: cannot be fetched: {lines[-1]}")


def _read_synthetic(source: SyntheticSource, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
    if languages != ("en", "de"):
        wanted = " to ".join(languages)
        raise UserError(f"the synthetic corpus is English to German (en, de), the recipe wants {wanted}")
    from polystill.data.synthetic import generate

    yield from generate(source.pairs, seed=source.seed, split=source.split)
