"""Cleaning in columns keeps, repairs, drops and reports exactly what cleaning pair by pair does."""

from __future__ import annotations

import gzip
import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystill.config import Cleaning
from polystill.data.cleaning import Cleaner, CleaningReport, clean
from polystill.data.columns import BlockCleaner, NumberedBlock, hashes
from polystill.data.held_out import HeldOutText
from polystill.environment.threads import in_order
from polystill.errors import UserError
from polystill.sources.base import SentencePair
from polystill.sources.blocks import read_blocks
from polystill.sources.text import TextSource
from polystill.sources.tsv import TsvSource

ARTICLE = (Path(__file__).parents[1] / "texts" / "article-1.tsv").read_text(encoding="utf-8").splitlines()
TEXTS = [row.split("\t")[1] for row in ARTICLE]
ODD = (
    *("", " ", "  ", "\t", "\xa0", "\u2028", "\u200b", "\ufeff", "\xad", "\u200d", "\x85", "\x1c", "\u2581", "\ufffd"),
    *(
        "&amp;",
        "&lt;b&gt;",
        "&#10;",
        "&nbsp;",
        "&nosuchname;",
        "AT&T",
        "&#0;",
        "&",
        "FuÃŸball",
        "naÃ¯ve",
        "â€“",
        "Ã\xa0",
    ),
    *("РџСЂРёРІРµС‚", "ßü", "Œuvre", "œ.", "É“", "«а»", "5°C", "²³", "x" * 100, "y" * 101, "ä" * 101, "😀", "👍🏽"),
    *(
        "犬",
        "関数",
        "ที่",
        "ሰው፡ልጅ",
        "개가",
        "कुत्ता",
        "کتاب",
        "e\u0301",
        "µ",
        "ﬁ",
        "Ω",
        "%PRODUCTNAME",
        "$1",
        "…",
        "–",
        "„ja“",
    ),
    *("one two three", "The dog sleeps.", "Der Hund schläft.", "Собака спит", "a b c d e f g h", "Berlin", "12 345"),
)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"enabled": False},
    {"min_words": 2, "max_words": 7, "max_ratio": 1.5, "max_word_characters": 12},
    {"drop_identical": False, "min_script_share": 0, "max_word_characters": 1_500},
    {"min_script_share": 0.9},
]
LANGUAGES = [("en", "de"), ("ru", "en"), ("en", "ja"), ("xx", "ko"), ("el", "am")]


PLAIN = {
    **{"en": ["The dog", "sleeps,", "12"], "de": ["größer", "Hund.", "§ 5"], "ru": ["собака", "спит.", "Ёж"]},
    **{
        "el": ["σκύλος", "ἔχει"],
        "ko": ["개가", "자고"],
        "ja": ["犬が", "寝て", "Linux"],
        "am": ["ሰው", "ልጅ"],
        "xx": ["Что?"],
    },
}


def odd_pairs(generator: random.Random, count: int, languages: tuple[str, str] = ("en", "de")) -> list[SentencePair]:
    """Texts of odd parts, or of plain ones and perhaps one odd part, which may be any character."""

    def text(language: str) -> str:
        odd = [*ODD, *TEXTS, chr(generator.randrange(0x20, 0xD800))]
        parts = generator.choices(generator.choice([odd, PLAIN[language], PLAIN[language]]), k=generator.randint(1, 6))
        parts += generator.choices(["", generator.choice(odd)], [3, 1])
        generator.shuffle(parts)
        return generator.choice(["", " ", " ", "  "]).join(parts).replace("\n", "").replace("\0", "")

    sources = [text(languages[0]) for _ in range(count)]
    return [(source, source if generator.random() < 0.1 else text(languages[1])) for source in sources]


def written(folder: Path, pairs: list[tuple[bytes, bytes]], end: bytes = b"\n") -> TextSource:
    for name, side in zip(("a.en", "a.de"), zip(*pairs, strict=True), strict=True):
        (folder / name).write_bytes(b"".join(line + end for line in side))
    return TextSource(kind="text", source="a.en", target="a.de")


def by_blocks(
    source: TextSource | TsvSource, folder: Path, cleaner: BlockCleaner
) -> tuple[list[tuple[int, SentencePair]], CleaningReport]:
    kept: list[tuple[int, SentencePair]] = []
    report, before = CleaningReport(), 0
    for rows, parse in read_blocks(source, folder, ("en", "de")):
        block = cleaner.clean(NumberedBlock(parse, "corpus", before))
        report.add(block.report)
        sides = zip(block.sources.to_pylist(), block.targets.to_pylist(), strict=True)
        kept += zip(block.lines.tolist(), sides, strict=True)
        before += rows
    return kept, report


def compare(source: TextSource | TsvSource, folder: Path, settings: Cleaning, languages: tuple[str, str]) -> int:
    """The number of pairs kept, after both ways have done the same."""
    report = CleaningReport()
    pairs = source.read_pairs(folder, ("en", "de"))
    kept = list(clean(pairs, Cleaner(settings, languages), report, "corpus"))
    assert by_blocks(source, folder, BlockCleaner(settings, languages)) == (kept, report)
    return len(kept)


@pytest.mark.parametrize("languages", LANGUAGES, ids="-".join)
@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
def test_odd_text_is_cleaned_as_pair_by_pair(
    tmp_path: Path, settings: dict[str, Any], languages: tuple[str, str]
) -> None:
    pairs = [(one.encode(), other.encode()) for one, other in odd_pairs(random.Random(1), 1_500, languages)]
    assert 100 < compare(written(tmp_path, pairs), tmp_path, Cleaning(**settings), languages) < 1_500


def test_every_character_is_cleaned_as_pair_by_pair(tmp_path: Path) -> None:
    """Each at the start of a word, and behind a letter that may be the first half of mojibake."""
    characters = [chr(code) for code in (*range(1, 10), *range(11, 0x3000), *range(0xFB00, 0xFFFF), 0x1F600, 0x20000)]
    pairs = [(f"a {c}b".encode(), f"Ã{c} é{c}x".encode()) for c in characters]
    assert compare(written(tmp_path, pairs), tmp_path, Cleaning(), ("en", "de")) > 1_000
    pairs = [(f"{c} слово".encode(), f"с{c}в".encode()) for c in characters]
    assert compare(written(tmp_path, pairs), tmp_path, Cleaning(), ("ru", "bg")) > 1_000


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bytes_that_are_no_text_are_reported_as_pair_by_pair(tmp_path: Path, end: bytes) -> None:
    generator = random.Random(3)
    parts = (
        b"a b",
        b"x",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\0",
        b"\r",
        "ä€😀".encode(),
    )
    sides = [[b"".join(generator.choices(parts, k=generator.randint(0, 3))) for _ in range(3_000)] for _ in "ab"]
    pairs = [*zip(*sides, strict=True), (b"last", b"letzte")]
    compare(written(tmp_path, pairs, end), tmp_path, Cleaning(), ("en", "de"))
    for name in ("a.en", "a.de"):  # The last line has no end, and the file is compressed.
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(b"\xef\xbb\xbf" + content[:-1]))
    compare(TextSource(kind="text", source="a.en", target="a.de"), tmp_path, Cleaning(), ("en", "de"))


def test_other_sources_are_cleaned_as_pair_by_pair(tmp_path: Path) -> None:
    rows = [f"{one}\t{other}" if i % 9 else one for i, (one, other) in enumerate(odd_pairs(random.Random(5), 500))]
    (tmp_path / "a.tsv").write_bytes("\n".join(rows).encode() + b"\nx\0\ty\n\xff\ty\n")
    compare(TsvSource(kind="tsv", path="a.tsv"), tmp_path, Cleaning(), ("en", "de"))


def test_held_out_text_is_dropped_as_pair_by_pair(tmp_path: Path) -> None:
    pairs = list(odd_pairs(random.Random(7), 800))
    held_out = HeldOutText(islice(pairs, 0, None, 9))
    source = written(tmp_path, [(one.encode(), other.encode()) for one, other in pairs])
    report = CleaningReport()
    kept = clean(source.read_pairs(tmp_path, ("en", "de")), Cleaner(Cleaning(), ("en", "de")), report, "corpus")
    expected = list(held_out.without(kept, report, "corpus"))
    assert by_blocks(source, tmp_path, BlockCleaner(Cleaning(), ("en", "de"), held_out)) == (expected, report)
    assert report.dropped["held_out"] > 10


def test_long_lines_make_shorter_blocks(tmp_path: Path) -> None:
    pairs = [(b"a " * 200_000, b"b")] * 30
    source = written(tmp_path, pairs)
    rows = [block.rows for block in read_blocks(source, tmp_path, ("en", "de"))]
    assert sum(rows) == 30 and len(rows) > 2
    compare(source, tmp_path, Cleaning(max_words=10**6, max_ratio=10**6), ("en", "de"))


@pytest.mark.parametrize("most", [1, 5, 20])
def test_the_first_pairs_are_read_alone(tmp_path: Path, most: int) -> None:
    source = written(tmp_path, [(b"a", b"b")] * 20)
    (tmp_path / "a.de").write_bytes(b"b\n" * 20 + b"one more\n")
    assert sum(block.rows for block in read_blocks(source, tmp_path, ("en", "de"), most)) == most
    with pytest.raises(UserError, match=r"a\.en: 20 lines, but .*a\.de has 21; line n of one must translate"):
        list(read_blocks(source, tmp_path, ("en", "de")))


def test_an_empty_corpus_is_a_clear_error(tmp_path: Path) -> None:
    source = written(tmp_path, [(b"", b"")], b"")
    with pytest.raises(UserError, match=r"a\.en: empty corpus, not one sentence pair"):
        list(read_blocks(source, tmp_path, ("en", "de")))


def test_hashes_of_pairs_see_the_border_between_the_sides() -> None:
    sides = [["a b", "a", "a b c", "c", "", "a b"], ["c", "b c", "", "a b", "", "c"]]
    found = hashes(*(pa.array(side) for side in sides))
    assert found.dtype == np.uint64
    assert len(set(found.tolist())) == 5 and found[0] == found[5]
    sliced = hashes(*(pa.array(["x", *side]).slice(1) for side in sides))
    assert sliced.tolist() == found.tolist()


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_threads_give_results_in_order(items: list[int], threads: int) -> None:
    assert list(in_order(lambda item: item * item, iter(items), threads)) == [item * item for item in items]
