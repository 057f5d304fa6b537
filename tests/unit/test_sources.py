import csv
import gzip
import io
import json
import os
import sys
from itertools import islice
from pathlib import Path

import pytest
import zstandard

from polystill.errors import UserError
from polystill.sources import built_in
from polystill.sources import lines as text_lines
from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.huggingface import HuggingFaceSource
from polystill.sources.mtdata import MtdataSource
from polystill.sources.registry import SOURCES
from polystill.sources.synthetic import SyntheticSource
from polystill.sources.text import TextSource
from polystill.sources.tsv import TsvSource

LANGUAGES = ("en", "de")


def read(source: PairSource, folder: Path) -> list[RawPair]:
    return list(source.read_pairs(folder, LANGUAGES))


def text(folder: Path, source: bytes, target: bytes) -> TextSource:
    (folder / "a.en").write_bytes(source)
    (folder / "a.de").write_bytes(target)
    return TextSource(kind="text", source="a.en", target="a.de")


def error_of(source, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(source, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- text ---------------------------------------------------------------------------------------------------------

CONTENT = "one\ntwo ü\n\nfour 😀\n".encode()
PAIRS = [(line, line.upper()) for line in CONTENT.decode().split("\n")[:-1]]
SKIPPED = bytes.fromhex("502a4d18 04000000 10000000")
"""A frame that a reader skips."""
COMPRESS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:5], mtime=0) + gzip.compress(data[5:], mtime=0),
    "zstd": zstandard.compress,
    "zstd frames": lambda data: zstandard.compress(data[:5]) + zstandard.compress(data[5:]),
    "gzip with padding": lambda data: gzip.compress(data, mtime=0) + b"\0" * 200_000,
    "zstd by pzstd": lambda data: SKIPPED + zstandard.compress(data[:5]) + SKIPPED + zstandard.compress(data[5:]),
}


@pytest.mark.parametrize("kind", COMPRESS)
def test_text_pairs_are_read_whatever_their_compression(tmp_path: Path, kind: str) -> None:
    source = text(tmp_path, COMPRESS[kind](CONTENT), COMPRESS[kind](CONTENT.decode().upper().encode()))
    assert read(source, tmp_path) == PAIRS


def test_lines_end_at_lf_or_crlf_alone(tmp_path: Path) -> None:
    odd = "a\u2028b\u0085c\vd\fe\x1cf\rg"
    source = text(tmp_path, f"{odd}\nx\r\ny".encode(), b"1\r\n2\n3\r")
    assert read(source, tmp_path) == [(odd, "1"), ("x", "2"), ("y", "3")]


def test_a_byte_order_mark_is_dropped_at_the_start_alone(tmp_path: Path) -> None:
    source = text(tmp_path, b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", b"\xef\xbb\xbfc\nd")
    assert read(source, tmp_path) == [("a", "c"), ("\ufeffb", "d")]


def test_invalid_utf8_marks_its_side_alone(tmp_path: Path) -> None:
    source = text(tmp_path, b"a\nb\xff\nc\n", b"\xc3\nB\nC\n")
    assert read(source, tmp_path) == [("a", Unreadable.INVALID_UTF8), (Unreadable.INVALID_UTF8, "B"), ("c", "C")]


def test_a_nul_byte_marks_its_side_alone(tmp_path: Path) -> None:
    source = text(tmp_path, b"one\nt\0wo\nthree\n", b"eins\nzwei\ndrei\0\n")
    assert read(source, tmp_path) == [
        ("one", "eins"),
        (Unreadable.NUL_BYTE, "zwei"),
        ("three", Unreadable.NUL_BYTE),
    ]


def test_lines_across_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_BLOCK", 16)
    lines = ["ä" * i for i in range(60)]
    source = text(tmp_path, "\n".join(lines).encode(), gzip.compress("\r\n".join(lines).encode(), mtime=0))
    assert read(source, tmp_path) == [(line, line) for line in lines]


def test_reading_streams(tmp_path: Path) -> None:
    source = text(tmp_path, b"a\n" * 3_000_000, b"b\n" * 3_000_001)  # The wrong count is found only at the end.
    pairs = source.read_pairs(tmp_path, LANGUAGES)
    assert list(islice(pairs, 3)) == [("a", "b")] * 3


@pytest.mark.parametrize(("first", "second"), [(3, 5), (5, 3), (0, 1), (1, 0), (4, 5)])
def test_sides_of_unequal_length_name_the_first_file_and_both_counts(tmp_path: Path, first: int, second: int) -> None:
    source = text(tmp_path, b"a\n" * first, b"b\n" * second)
    assert error_of(source, tmp_path) == (
        f"{tmp_path}/a.en: {first} lines, but {tmp_path}/a.de has {second}; "
        "line n of one must translate line n of the other"
    )


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"", mtime=0), zstandard.compress(b""), b"\xef\xbb\xbf"],
    ids=["nothing", "gzip", "zstd", "byte order mark"],
)
def test_an_empty_corpus(tmp_path: Path, content: bytes) -> None:
    assert error_of(text(tmp_path, content, content), tmp_path) == (
        f"{tmp_path}/a.en: empty corpus, not one sentence pair"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0\0", "a binary file; expected UTF-8 text, plain, gzip or zstd"),
        (gzip.compress(b"PK\x03\x04\0", mtime=0), "a binary file; expected UTF-8 text, plain, gzip or zstd"),
        ("a\nb\n".encode("utf-16"), "UTF-16 text; expected UTF-8 (`iconv -f utf-16 -t utf-8` converts it)"),
        (gzip.compress(CONTENT * 50, mtime=0)[:-12], "gzip file cut short; it ends in the middle of its data"),
        (gzip.compress(CONTENT, mtime=0)[:15], "gzip file cut short; it ends in the middle of its data"),
        (gzip.compress(CONTENT, mtime=0)[:-8] + b"wrongsum", "damaged gzip file"),
        (gzip.compress(CONTENT, mtime=0) + b"trailing", "damaged gzip file"),
        (zstandard.compress(CONTENT)[:-3], "zstd file cut short; it ends in the middle of its data"),
        (zstandard.compress(CONTENT)[:4] + b"\xff" * 40, "damaged zstd file"),
    ],
)
@pytest.mark.parametrize("side", ["en", "de"])
def test_a_binary_or_damaged_file(tmp_path: Path, side: str, content: bytes, message: str) -> None:
    source = text(tmp_path, CONTENT * 50, CONTENT * 50)
    (tmp_path / f"a.{side}").write_bytes(content)
    assert error_of(source, tmp_path) == f"{tmp_path}/a.{side}: {message}"


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_LONGEST_LINE", 1 << 20)
    source = text(tmp_path, b"short\n" + b"x" * (3 << 20), b"b\n")
    assert error_of(source, tmp_path) == f"{tmp_path}/a.en: line 2 is longer than 1 MiB; expected sentences"


@pytest.mark.parametrize("name", ["a.en", "a.de"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    source = text(tmp_path, b"a\n", b"b\n")
    (tmp_path / name).unlink()
    assert error_of(source, tmp_path) == f"{tmp_path}/{name}: no such file"


def test_a_folder_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert (
        error_of(TextSource(kind="text", source="x", target="x"), tmp_path)
        == f"{tmp_path}/x: a folder; expected a text file"
    )


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = text(tmp_path, b"a\n", b"b\n")
    (tmp_path / "a.de").chmod(0)
    if os.access(tmp_path / "a.de", os.R_OK):  # The superuser may read it all the same.
        opened = Path.open

        def refuse(path: Path, *arguments):
            if path.name == "a.de":
                raise PermissionError(13, "Permission denied")
            return opened(path, *arguments)

        monkeypatch.setattr(Path, "open", refuse)
    assert error_of(source, tmp_path) == f"{tmp_path}/a.de: no permission to read it"


def test_absolute_paths_win_over_the_folder(tmp_path: Path) -> None:
    text(tmp_path, b"a\n", b"b\n")
    source = TextSource(kind="text", source=str(tmp_path / "a.en"), target=str(tmp_path / "a.de"))
    assert read(source, Path("/nowhere")) == [("a", "b")]
    assert source.describe(Path("/nowhere")) == str(tmp_path / "a.en")


# --- TSV ----------------------------------------------------------------------------------------------------------


def test_tsv_takes_the_columns_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(zstandard.compress(b'x\t"a\ty\tb\r\nx\tc\ty\t\n'))
    source = TsvSource(kind="tsv", path="a.tsv", source_column=3, target_column=1)
    assert read(source, tmp_path) == [("b", '"a'), ("", "c")]


def test_broken_tsv_lines_leave_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"a\tb\nonly\n\nc\td\tmore\n\xff\te\n")
    assert read(TsvSource(kind="tsv", path="a.tsv"), tmp_path) == [
        ("a", "b"),
        ("only", Unreadable.BROKEN_ROW),
        ("", ""),
        ("c", "d"),
        (Unreadable.INVALID_UTF8, "e"),
    ]


# --- Hugging Face -------------------------------------------------------------------------------------------------

ROWS = [{"en": f"the dog {i}", "de": f"der Hund {i}"} for i in range(2500)]


def huggingface(path: str, **more) -> HuggingFaceSource:
    return HuggingFaceSource(kind="huggingface", path=path, **more)


@pytest.mark.parametrize("layout", ["folder", "file", "pattern", "saved", "saved with splits", "parquet", "absolute"])
def test_hugging_face_data_sets(tmp_path: Path, layout: str) -> None:
    from datasets import Dataset, DatasetDict

    dataset = Dataset.from_list([{"translation": row, "id": 1} for row in ROWS])
    (tmp_path / "set").mkdir()
    if layout in ("folder", "file", "pattern", "absolute"):
        half = len(ROWS) // 2
        for name, rows in (("train-1.jsonl", ROWS[:half]), ("train-2.jsonl", ROWS[half:])):
            lines = (json.dumps({"translation": row}) + "\n" for row in rows)
            (tmp_path / "set" / name).write_text("".join(lines))
    elif layout == "parquet":
        dataset.to_parquet(tmp_path / "set" / "rows.parquet")
    else:
        (dataset if layout == "saved" else DatasetDict(train=dataset)).save_to_disk(tmp_path / "set")
    path = {
        "file": "set/train-1.jsonl",
        "pattern": "set/train-*.jsonl",
        "parquet": "set/rows.parquet",
        "absolute": str(tmp_path / "set" / "train-*.jsonl"),
    }.get(layout, "set")
    expected = [(row["en"], row["de"]) for row in ROWS]
    assert read(huggingface(path), tmp_path) == (expected[:1250] if layout == "file" else expected)


def test_hugging_face_columns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": "one\\ntwo", "y": "eins"}\n{"x": "two", "y": null}\n')
    source = huggingface("a.jsonl", source_column="y", target_column="x")
    assert read(source, tmp_path) == [("eins", "one two"), ("", "two")]


@pytest.mark.parametrize(
    ("row", "more", "message"),
    [
        ({"x": "a", "y": "b"}, {}, "no column 'translation'; set source_column; it has: x, y"),
        ({"x": "a", "y": "b"}, {"source_column": "x", "target_column": "z"}, "no column 'z'; it has: x, y"),
        (
            {"translation": {"en": "a", "de_DE": "b"}},
            {},
            "no language 'de' in column 'translation' (did you mean 'de_DE'?); it has: en, de_DE",
        ),
        ({"translation": "a"}, {}, "column 'translation' holds str; expected language -> text"),
        ({"x": [3], "y": "b"}, {"source_column": "x", "target_column": "y"}, "column 'x' holds list; expected text"),
    ],
)
def test_hugging_face_columns_that_do_not_fit(tmp_path: Path, row: dict, more: dict, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert error_of(huggingface("a.jsonl", **more), tmp_path) == f"a.jsonl: {message}"


def test_hugging_face_mistakes(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    DatasetDict(train=Dataset.from_list(ROWS[:2])).save_to_disk(tmp_path / "saved")
    assert error_of(huggingface("saved", split="dev"), tmp_path) == "saved: no split 'dev'; it has: train"
    assert error_of(huggingface("a.jsonl"), tmp_path) == f"{tmp_path}/a.jsonl: no such file"
    assert error_of(huggingface("./a/b/c"), tmp_path) == (
        f"{tmp_path}/a/b/c: no such folder or file, and './a/b/c' is not a name on the hub"
    )
    (tmp_path / "bad.json").write_text('{"translation": {"en": ')
    assert error_of(huggingface("bad.json"), tmp_path).startswith("bad.json: cannot be loaded with `datasets`: ")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"translation": {"en": "a", "de": "b"}}\n')
    assert error_of(huggingface("set", split="dev"), tmp_path).startswith("set: cannot be loaded with `datasets`: ")


COLUMNS = {"source_column": "en", "target_column": "de"}
QUOTES = [('"One, he said.', "Eins."), ("two", '"zwei"'), ('say "hi"', "sag"), ('3" nail', "N'agel 3\"")]
WORDS = [("None", "Keine"), ("NA", "k. A."), ("null", "Null"), ("nan", "Oma"), ("", "leer"), ("true", "wahr")]
YEARS = [("1984", "1984"), ("007", "1e5"), ("1.10", "1,10"), ("2020-01-01", "2020-01-01 00:00:00")]


def written(folder: Path, name: str, rows: list[tuple[str, str]]) -> str:
    """A file of rows after a header, as Python's csv module and other people's programs write it."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if ".csv" in name:
        content = io.StringIO()
        csv.writer(content).writerows([("en", "de"), *rows])
        text = content.getvalue()
    elif ".tsv" in name:
        text = "".join(f"{source}\t{target}\n" for source, target in [("en", "de"), *rows])
    else:
        text = "".join(json.dumps({"en": source, "de": target}) + "\n" for source, target in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.tsv.gz", "set/train.tsv", "set/train.csv"])
@pytest.mark.parametrize("rows", [QUOTES, WORDS, YEARS], ids=["quotes", "words", "years"])
def test_text_in_tables_is_text(tmp_path: Path, name: str, rows: list[tuple[str, str]]) -> None:
    path = written(tmp_path, name, rows)
    folder = str(Path(path).parent)
    assert read(huggingface(path if folder == "." else folder, **COLUMNS), tmp_path) == rows


@pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
@pytest.mark.parametrize("rows", [WORDS, YEARS], ids=["words", "years"])
def test_text_is_text_where_pandas_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: list[tuple[str, str]]
) -> None:
    """As for a name on the hub, whose files are not local."""
    written(tmp_path, f"set/{name}", rows)
    monkeypatch.setattr("polystill.sources.huggingface._reader_of", lambda name: None)
    assert read(huggingface("set", **COLUMNS), tmp_path) == rows


def test_tsv_has_no_quoting_where_pandas_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "set/train.tsv", QUOTES)
    monkeypatch.setattr("polystill.sources.huggingface._reader_of", lambda name: None)
    assert read(huggingface("set", **COLUMNS), tmp_path) == QUOTES


@pytest.mark.parametrize("pattern", ["train-*.tsv", "*/train-*.tsv"])
def test_brackets_of_a_folder_are_literal_beside_wildcards(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "corpus [v2]"
    inner = folder / "x" if "/" in pattern else folder
    inner.mkdir(parents=True)
    for name, rows in (("train-1.tsv", WORDS[:1]), ("train-2.tsv", WORDS[1:])):
        written(inner, name, rows)
    (tmp_path / "corpus 2").mkdir()
    written(tmp_path / "corpus 2", "train-3.tsv", YEARS)  # what the brackets would match
    assert read(huggingface(f"corpus [v2]/{pattern}", **COLUMNS), tmp_path) == WORDS
    assert read(huggingface(str(folder / pattern), **COLUMNS), tmp_path) == WORDS


def test_a_csv_value_may_span_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'en,de\r\n"one\r\ntwo","a ""b"""\r\nthree,"x,y"\r\n')
    assert read(huggingface("a.csv", **COLUMNS), tmp_path) == [("one two", 'a "b"'), ("three", "x,y")]


def test_broken_rows_of_tables_leave_the_others_as_they_are(tmp_path: Path) -> None:
    broken, invalid = Unreadable.BROKEN_ROW, Unreadable.INVALID_UTF8
    (tmp_path / "a.csv").write_bytes(b'en,de\na,b\nonly\n"a"x,b\n\n\xff,c\nd,e,f\ng,h\0\n')
    assert read(huggingface("a.csv", **COLUMNS), tmp_path) == [
        *(("a", "b"), ("only", broken), (broken, broken), ("", "")),
        *((invalid, "c"), ("d", "e"), ("g", Unreadable.NUL_BYTE)),
    ]
    (tmp_path / "a.tsv").write_bytes(b"en\tde\na\tb\nonly\n\nc\td\te\n")
    assert read(huggingface("a.tsv", **COLUMNS), tmp_path) == [("a", "b"), ("only", broken), ("", ""), ("c", "d")]
    lines = [b'{"en": "a", "de": "b"}', b'{"en": "a"', b"[]", b'{"en": "c"}', b"\xff", b'{"en": "\\ud800", "de": "d"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert read(huggingface("a.jsonl", **COLUMNS), tmp_path) == [
        *(("a", "b"), (broken, broken), (broken, broken), ("c", ""), (invalid, invalid), (invalid, "d")),
    ]


def test_every_file_needs_the_columns(tmp_path: Path) -> None:
    (tmp_path / "1.tsv").write_text("en\tde\na\tb\n")
    (tmp_path / "2.tsv").write_text("en\tfr\na\tb\n")
    assert error_of(huggingface("*.tsv", **COLUMNS), tmp_path) == "*.tsv: no column 'de'; it has: en, fr"


def test_a_file_of_damaged_rows_alone_has_as_many(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"en": \n[]\n')
    assert read(huggingface("a.jsonl"), tmp_path) == [(Unreadable.BROKEN_ROW, Unreadable.BROKEN_ROW)] * 2


@pytest.mark.parametrize("rest", ["", "x,y\n" * 40_000])
def test_a_quotation_mark_that_does_not_close_is_named(tmp_path: Path, rest: str) -> None:
    (tmp_path / "a.csv").write_text('en,de\na,b\n"One, he said.,Eins.\ntwo,zwei\n' + rest)
    assert error_of(huggingface("a.csv", **COLUMNS), tmp_path) == (
        f"{tmp_path}/a.csv: line 3: a quotation mark opens here and does not close"
    )


def test_a_csv_value_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("en,de\na,b\nc," + "long " * 40_000 + "\n")
    assert error_of(huggingface("a.csv", **COLUMNS), tmp_path) == (
        f"{tmp_path}/a.csv: line 3: a value has more than 131,072 characters; expected sentences"
    )


@pytest.mark.parametrize("name", ["a[1].csv", "[old]/a.csv"])
def test_a_file_whose_name_has_brackets(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("en,de\na,b\n")
    assert read(huggingface(name, **COLUMNS), tmp_path) == [("a", "b")]


def test_numbers_in_json_lines_are_their_digits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"en": 1984, "de": 1.10}\n')
    assert read(huggingface("a.jsonl", **COLUMNS), tmp_path) == [("1984", "1.10")]


def test_a_hub_name_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*arguments, **more):
        assert (arguments, more) == (("some/set", None), {})
        raise ConnectionError("Couldn't reach 'some/set' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset_builder", unreachable)
    assert error_of(huggingface("some/set"), tmp_path) == (
        f"some/set: no folder at {tmp_path}/some/set, and from the hub: Couldn't reach 'some/set' on the Hub"
    )


# --- mtdata and the built-in corpus -------------------------------------------------------------------------------


def fake_fetch(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> MtdataSource:
    """Puts a program of our own where `python -m polystill.sources.mtdata` is looked for."""
    package = folder / "fake" / "polystill" / "sources"
    package.mkdir(parents=True)
    for init in (package / "__init__.py", package.parent / "__init__.py"):
        init.write_text("")
    (package / "mtdata.py").write_text(program)
    monkeypatch.setattr(sys, "path", [str(folder / "fake"), *sys.path])
    return MtdataSource(kind="mtdata", dataset="Some-set-1-eng-deu")


def test_mtdata_pairs_come_from_the_fetching_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys\nprint('noise', file=sys.stderr)\nprint(*sys.argv[1:3], sep='\\t')\nprint('b\\t')"
    source = fake_fetch(tmp_path, monkeypatch, program)
    assert read(source, tmp_path) == [("Some-set-1-eng-deu", "en"), ("b", "")]


def test_broken_mtdata_rows_leave_the_others_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = r"import sys; sys.stdout.buffer.write(b'a\tb\nonly\n\n\xff\tc\nd\te\0\n')"
    source = fake_fetch(tmp_path, monkeypatch, program)
    assert read(source, tmp_path) == [
        *(("a", "b"), ("only", Unreadable.BROKEN_ROW), ("", Unreadable.BROKEN_ROW)),
        *((Unreadable.INVALID_UTF8, "c"), ("d", Unreadable.NUL_BYTE)),
    ]


def test_a_failed_fetch_shows_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys\nprint('a\\tb')\nprint('log\\nno network', file=sys.stderr)\nsys.exit(1)"
    source = fake_fetch(tmp_path, monkeypatch, program)
    assert error_of(source, tmp_path) == "mtdata Some-set-1-eng-deu: cannot be fetched: no network"


def test_an_abandoned_fetch_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os\nprint(os.getpid(), flush=True, end='\\tx\\n')\nwhile True: pass"
    pairs = fake_fetch(tmp_path, monkeypatch, program).read_pairs(tmp_path, LANGUAGES)
    process = int(next(pairs)[0] or 0)
    os.kill(process, 0)
    pairs.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(("split", "pairs"), [("train", 20), ("test", 20), ("validation", None)])
def test_the_built_in_corpus_is_a_source(split: str, pairs: int | None, tmp_path: Path) -> None:
    source = SyntheticSource.model_validate({"kind": "synthetic", "split": split, "pairs": pairs})
    both = list(zip(*(built_in.sentences(split, language) for language in LANGUAGES), strict=True))
    assert len(both) == built_in.SIZES[split]
    assert read(source, tmp_path) == both[:pairs]


def test_every_kind_is_registered_under_its_name() -> None:
    assert list(SOURCES) == ["text", "tsv", "tmx", "xliff", "po", "huggingface", "mtdata", "synthetic"]
    assert all(source.__module__ == f"polystill.sources.{kind}" for kind, source in SOURCES.items())


def test_the_synthetic_corpus_is_english_to_german() -> None:
    source = SyntheticSource(kind="synthetic", pairs=5)
    with pytest.raises(UserError) as caught:
        list(source.read_pairs(Path(), ("en", "fr")))
    assert str(caught.value) == "the synthetic corpus is English to German (en, de), the recipe wants en to fr"
