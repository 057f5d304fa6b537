import errno
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polystill.config import Recipe, TokenizerSettings, parse_recipe
from polystill.data import prepare
from polystill.data.batching import BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.data.prepare import prepare_data
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.data.training_text import TextStore
from polystill.environment import threads
from polystill.errors import UserError
from polystill.sources import text

GENERATOR = random.Random(7)


def sentences(letters: str, count: int) -> list[str]:
    words = ["".join(GENERATOR.choices(letters, k=GENERATOR.randint(2, 7))) for _ in range(70)]
    return [" ".join(GENERATOR.choices(words, k=GENERATOR.randint(3, 9))) for _ in range(count)]


TRAIN = list(zip(sentences("abcdeghost", 400), sentences("abdeinrtzäß", 400), strict=True))
HELD = list(zip(sentences("abcdeghost", 20), sentences("abdeinrtzäß", 20), strict=True))


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    for i, side in enumerate(("en", "de")):
        (folder / f"{name}.{side}").write_bytes("".join(pair[i] + "\n" for pair in pairs).encode())
    return {"kind": "text", "source": f"{name}.en", "target": f"{name}.de"}


def recipe(folder: Path, train: Any = TRAIN, held: Any = HELD, test: Any = None, **data: Any) -> Recipe:
    values = {
        "folder": str(folder),
        "train": [write(folder, "train", train)],
        "validation": write(folder, "held", held),
        "test": {name: write(folder, name, pairs) for name, pairs in (test or {}).items()},
        "tokenizer": {"vocabulary_size": 90, "byte_fallback": False},
        **data,
    }
    return parse_recipe({"data": values, "stages": [{"name": "only", "updates": 1}]}, "recipe.yaml")


def run(given: Recipe, folder: Path, tokenizer: Tokenizer | None = None) -> dict[str, Any]:
    return prepare_data(given, folder, tokenizer=tokenizer, log=lambda line: None)


def error_of(given: Recipe, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        run(given, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def decoded(folder: Path, part: str) -> list[tuple[str, str]]:
    tokenizer = Tokenizer.load(folder / "tokenizer")
    rows = list(PackedDataset.open(folder / part))
    sides = ([row[side].tolist() for row in rows] for side in (0, 1))
    return list(zip(*map(tokenizer.decode, sides), strict=True))


def test_the_whole_stage(tmp_path: Path) -> None:
    dirty = [*TRAIN[:200], ("", "leer"), TRAIN[3], ("Berlin", "Berlin"), *TRAIN[200:], TRAIN[3]]
    given = recipe(tmp_path, dirty, test={"news": HELD[:5]})
    out = tmp_path / "data"
    record = run(given, out)
    assert {path.name for path in out.iterdir()} == {
        "tokenizer",
        "train",
        "validation",
        "test",
        "cleaning.json",
        "validation.source.txt",
        "validation.target.txt",
    }
    assert decoded(out, "train") == TRAIN
    assert decoded(out, "validation") == HELD
    assert (out / "validation.source.txt").read_bytes() == "".join(f"{s}\n" for s, _ in HELD).encode()
    assert (out / "test/news.target.txt").read_bytes() == "".join(f"{t}\n" for _, t in HELD[:5]).encode()
    assert record["pairs"] == {"read": 404, "train": 400, "validation": 20, "test/news": 5}
    assert record["tokens"]["target"] == PackedDataset.open(out / "train").target_lengths.sum()
    assert record["vocabulary_size"] == 90
    cleaning = json.loads((out / "cleaning.json").read_text())
    assert cleaning["dropped"] == record["dropped"]
    assert {k: v for k, v in cleaning["dropped"].items() if v} == {"empty": 1, "duplicate": 2, "identical": 1}
    assert (cleaning["total"], cleaning["kept"]) == (404, 400)
    places = [(example["corpus"], example["line"], example["source"]) for example in cleaning["examples"]["duplicate"]]
    assert places == [(f"{tmp_path}/train.en", 202, TRAIN[3][0]), (f"{tmp_path}/train.en", 404, TRAIN[3][0])]
    assert json.loads(json.dumps(record)) == record


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    given = recipe(tmp_path)
    for name in "ab":
        run(given, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_blocks_and_corpora_join_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BLOCK_LINES", 37)
    monkeypatch.setattr(prepare, "BLOCK_PAIRS", 41)
    two = write(tmp_path, "two", TRAIN[100:])
    given = recipe(tmp_path, TRAIN[:250])
    data = given.data.model_dump()
    given = parse_recipe({**given.model_dump(), "data": {**data, "train": [*data["train"], two]}}, "recipe.yaml")
    record = run(given, tmp_path / "data")
    assert decoded(tmp_path / "data", "train") == TRAIN
    assert record["dropped"]["duplicate"] == 150
    examples = json.loads((tmp_path / "data/cleaning.json").read_text())["examples"]["duplicate"]
    assert [(example["corpus"], example["line"]) for example in examples] == [
        (f"{tmp_path}/two.en", line) for line in (1, 2, 3)
    ]


def test_the_number_of_threads_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BLOCK_LINES", 17)
    monkeypatch.setattr(prepare, "BLOCK_PAIRS", 19)
    given = recipe(tmp_path, [*TRAIN, ("", "leer"), TRAIN[3], ("&lt;", "FuÃŸ")] * 2)
    records = []
    for count in (1, 5):
        monkeypatch.setattr(threads, "available_cores", lambda count=count: count)
        records.append({**run(given, tmp_path / str(count)), "seconds": {}})
    assert records[0] == records[1]  # with the checksums of all files


def test_first_pairs_are_counted_over_all_corpora(tmp_path: Path) -> None:
    parts = [write(tmp_path, "one", TRAIN[:150]), write(tmp_path, "two", TRAIN[150:])]
    for count in (170, 100):
        given = recipe(tmp_path, first_pairs=count).model_dump()
        given["data"]["train"] = parts
        record = run(parse_recipe(given, "recipe.yaml"), tmp_path / str(count))
        assert record["pairs"]["read"] == count
        assert decoded(tmp_path / str(count), "train") == TRAIN[:count]


def test_duplicates_stay_when_asked_to(tmp_path: Path) -> None:
    given = recipe(tmp_path, TRAIN + TRAIN[:50], cleaning={"drop_duplicates": False})
    assert run(given, tmp_path / "data")["pairs"]["train"] == 450


def test_batches_and_padding_are_those_of_training(tmp_path: Path) -> None:
    given = recipe(tmp_path)
    record = run(given, tmp_path / "data")
    packed = PackedDataset.open(tmp_path / "data/train")
    schedule = BatchSchedule(packed.source_lengths, packed.target_lengths, given.training.batch_tokens, given.seed)
    assert record["batches"] == {"count": len(schedule.epoch(0)), "padding": schedule.padding(schedule.epoch(0))}


def test_leakage_counts_held_out_sentences_in_the_training_data(tmp_path: Path) -> None:
    held = [*HELD[:3], (TRAIN[0][0], "anders"), (f" {TRAIN[1][0]}", TRAIN[1][1]), (TRAIN[1][0], "auch anders")]
    record = run(recipe(tmp_path, held=held, test={"clean": HELD}), tmp_path / "data")
    assert record["leakage"] == {"validation": {"sources": 3, "pairs": 1}, "test/clean": {"sources": 0, "pairs": 0}}


def test_too_many_tokens_are_dropped_from_training_and_shortened_in_validation(tmp_path: Path) -> None:
    train = TRAIN[:2] + TRAIN[:2] + TRAIN[2:]  # Duplicates before them must not shift the lines of the examples.
    record = run(recipe(tmp_path, train, max_tokens=16), tmp_path / "data")
    packed = PackedDataset.open(tmp_path / "data/train")
    assert max(packed.source_lengths.max(), packed.target_lengths.max()) <= 16
    assert 0 < record["dropped"]["too_many_tokens"] == 400 - len(packed)
    assert record["validation_shortened"] > 0
    assert len(PackedDataset.open(tmp_path / "data/validation")) == len(HELD)
    cleaning = json.loads((tmp_path / "data/cleaning.json").read_text())
    assert cleaning["kept"] == len(packed)
    tokenizer = Tokenizer.load(tmp_path / "data/tokenizer")
    for example in cleaning["examples"]["too_many_tokens"]:
        pair = train[example["line"] - 1]
        assert pair == (example["source"], example["target"])
        assert max(len(ids) for ids in tokenizer.encode_source(list(pair))) > 16


def test_a_given_tokenizer_is_used(tmp_path: Path) -> None:
    lines = [line for pair in TRAIN for line in pair]
    tokenizer = train_tokenizer(lines, TokenizerSettings(vocabulary_size=70, byte_fallback=False), "en", "de")
    record = run(recipe(tmp_path), tmp_path / "data", tokenizer)
    assert record["vocabulary_size"] == 70
    assert Tokenizer.load(tmp_path / "data/tokenizer").pieces == tokenizer.pieces
    assert decoded(tmp_path / "data", "train") == TRAIN


def test_held_out_text_stays_one_line_a_sentence_for_every_reader(tmp_path: Path) -> None:
    held = [("a\u2028b\rc", "d\x85e"), *HELD]
    run(recipe(tmp_path, held=held), tmp_path / "data")
    assert (tmp_path / "data/validation.source.txt").read_text().splitlines() == ["a b c", *(s for s, _ in HELD)]
    assert (tmp_path / "data/validation.target.txt").read_text().splitlines() == ["d e", *(t for _, t in HELD)]


def test_no_scratch_files_stay(tmp_path: Path) -> None:
    run(recipe(tmp_path), tmp_path / "data")
    error_of(recipe(tmp_path, [("", "x")]), tmp_path / "failed")
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("text-") or path.name == "kept.arrow"]


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_all_cleaned_away_says_why(tmp_path: Path) -> None:
    pairs = [("", "x")] * 1200 + [("same", "same")] * 3
    assert error_of(recipe(tmp_path, pairs), tmp_path / "data") == (
        "data.train: all 1,203 pairs were cleaned away: empty 1,200, identical 3"
    )


def test_all_too_long_says_why(tmp_path: Path) -> None:
    long = [pair for pair in TRAIN if len(pair[0]) > 40]
    assert error_of(recipe(tmp_path, long + long[:2], max_tokens=8), tmp_path / "data") == (
        f"data.train: all {len(long) + 2} pairs were cleaned away: duplicate 2, too_many_tokens {len(long)}"
    )


@pytest.mark.parametrize(
    ("pair", "problem"),
    [(("", "x"), "the source side is empty"), (("x", " \t"), "the target side is empty")],
)
def test_an_empty_side_in_a_held_out_set(tmp_path: Path, pair: tuple[str, str], problem: str) -> None:
    end = f"{problem}; validation and test sets are not cleaned"
    given = recipe(tmp_path, held=[*HELD[:4], pair])
    assert error_of(given, tmp_path / "a") == f"{tmp_path}/held.en: line 5: {end}"
    given = recipe(tmp_path, test={"news": [pair]})
    assert error_of(given, tmp_path / "b") == f"{tmp_path}/news.en: line 1: {end}"


def test_invalid_utf8_in_a_held_out_set(tmp_path: Path) -> None:
    given = recipe(tmp_path)
    (tmp_path / "held.de").write_bytes(b"x\xff\n" * 20)
    assert error_of(given, tmp_path / "data") == (
        f"{tmp_path}/held.en: line 1: the target side is not UTF-8; validation and test sets are not cleaned"
    )


def test_broken_rows_of_a_held_out_set_are_refused(tmp_path: Path) -> None:
    given = recipe(tmp_path, validation={"kind": "tsv", "path": "held.tsv"})
    for row, problem in (
        (b"only", "the target side is missing from its row, or the row is damaged"),
        (b"a\tb\0", "the target side has a NUL byte"),
    ):
        (tmp_path / "held.tsv").write_bytes(b"a\tb\n" + row + b"\n")
        assert error_of(given, tmp_path / "data") == (
            f"{tmp_path}/held.tsv: line 2: {problem}; validation and test sets are not cleaned"
        )


def test_broken_rows_are_dropped_counted_and_named(tmp_path: Path) -> None:
    rows = ["\t".join(pair).encode() for pair in TRAIN]
    damaged = [*rows[:50], b"only", *rows[50:60], b"", *rows[60:]]
    (tmp_path / "more.tsv").write_bytes(b"\n".join(damaged) + b"\n")
    given = recipe(tmp_path, train=TRAIN[:5]).model_dump()
    given["data"]["train"].append({"kind": "tsv", "path": "more.tsv"})
    log: list[str] = []
    out = tmp_path / "data"
    record = prepare_data(parse_recipe(given, "recipe.yaml"), out, log=log.append)
    counts = {reason: count for reason, count in record["dropped"].items() if count}
    assert counts == {"broken_row": 1, "empty": 1, "duplicate": 5}
    assert decoded(out, "train") == TRAIN
    assert f"warning: {tmp_path}/more.tsv: 1 of 402 lines cannot be read: broken_row 1 (line 51)" in log
    example = json.loads((out / "cleaning.json").read_text())["examples"]["broken_row"]
    assert example == [{"corpus": f"{tmp_path}/more.tsv", "line": 51, "source": "only", "target": None}]
    given["data"]["cleaning"] = {"max_unreadable": 0}
    assert error_of(parse_recipe(given, "recipe.yaml"), tmp_path / "other") == (
        f"{tmp_path}/more.tsv: 1 of 402 lines cannot be read: broken_row 1 (line 51); mend the file, "
        "or raise data.cleaning.max_unreadable (0)"
    )


def test_repairs_are_counted_and_logged(tmp_path: Path) -> None:
    log: list[str] = []
    odd = [("a &amp;amp; b", "c &lt; d"), ("abc cba", "FuÃŸ")]
    record = prepare_data(recipe(tmp_path, [*odd, *TRAIN]), tmp_path / "data", log=log.append)
    assert record["repaired"] == {"html_entities": 1, "mojibake": 1}
    assert any(line.endswith("dropped: nothing; repaired: html_entities 1, mojibake 1") for line in log)
    assert decoded(tmp_path / "data", "train")[:2] == [("a &amp; b", "c < d"), ("abc cba", "Fuß")]
    assert json.loads((tmp_path / "data/cleaning.json").read_text())["repaired"] == record["repaired"]


def test_a_vocabulary_that_does_not_fit_the_corpus(tmp_path: Path) -> None:
    given = recipe(tmp_path, tokenizer={"vocabulary_size": 30_000})
    assert "is too large for this corpus; the largest possible is" in error_of(given, tmp_path / "data")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
    ],
)
@pytest.mark.parametrize("place", ["pack", "_write_held_out"])
def test_disk_errors_name_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str, place: str
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(prepare, place, fail)
    error = error_of(recipe(tmp_path), tmp_path / "data")
    assert error.startswith(f"{tmp_path}/data: ") and message in error


# --- generated targets --------------------------------------------------------------------------------------------


def test_generated_targets_are_packed_beside_gold(tmp_path: Path, make_targets: Any) -> None:
    from polystill.data.training_text import lines_sha256
    from polystill.targets.store import Candidate, Entry

    entries = [Entry([i], source, [target], [Candidate(f"{target} a")]) for i, (source, target) in enumerate(TRAIN)]
    entries[2] = Entry([2], TRAIN[2][0], [TRAIN[2][1]], [Candidate("a b"), Candidate("b a"), Candidate("x " * 300)])
    entries[3] = Entry([3], TRAIN[3][0], [TRAIN[3][1]], [], filtered=1)
    targets = make_targets(tmp_path / "beam", entries, size=100)
    mono = make_targets(tmp_path / "news", [Entry([0, 5], "ab cd", [], [Candidate("de a")])], kind="text")
    folders = {"beam": str(tmp_path / "beam"), "news": str(tmp_path / "news")}
    given = recipe(tmp_path, targets=folders)
    out = tmp_path / "data"
    record = prepare_data(given, out, targets={"beam": targets, "news": mono}, log=lambda line: None)
    assert record["source_sha256"] == lines_sha256(source for source, _ in TRAIN)
    assert decoded(out, "train") == TRAIN
    expected = [(source, f"{target} a") for source, target in TRAIN]
    expected[2:4] = [(TRAIN[2][0], "a b"), (TRAIN[2][0], "b a")]
    assert [len(text.split()) for _, text in decoded(out, "targets/beam")] == [len(t.split()) for _, t in expected]
    assert [source for source, _ in decoded(out, "targets/beam")] == [source for source, _ in expected]
    assert record["targets"]["beam"]["pairs"] == 400 and record["targets"]["beam"]["too_many_tokens"] == 1
    assert decoded(out, "targets/news") == [("ab cd", "de a")] * 2


def test_targets_of_another_text_are_found_before_anything_else(tmp_path: Path, make_targets: Any) -> None:
    from polystill.targets.store import Candidate, Entry

    entries = [Entry([i], source, [target], [Candidate("x")]) for i, (source, target) in enumerate(TRAIN[:-1])]
    targets = make_targets(tmp_path / "beam", entries, size=400)
    given = recipe(tmp_path, targets={"beam": str(tmp_path / "beam")})
    with pytest.raises(UserError, match=r"data\.targets\.beam: .*does not line up.*from 399 sentences.*text has 400"):
        prepare_data(given, tmp_path / "data", targets={"beam": targets}, log=lambda line: None)
    assert not (tmp_path / "data/tokenizer").exists()


def test_rows_far_apart_are_read_without_what_lies_between(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.arrow")
    for first in range(0, 200, 10):
        sides = [pa.array([f"{name}{row} " + "x" * 100_000 for row in range(first, first + 10)]) for name in "st"]
        store.write(0, np.arange(10), *sides)
    store.finish()
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        found = [side.to_pylist() for side in store.take(np.array([0, 9, 10, 105, 199]))]
    finally:
        pa.set_memory_pool(usual)
    for name, texts in zip("st", found, strict=True):
        assert [text.split()[0] for text in texts] == [f"{name}{row}" for row in (0, 9, 10, 105, 199)]
    assert pool.max_memory() < 5_000_000  # the text has 40 million bytes
