"""Shortlists: IBM model 1 against plain loops, what is on a list, and how much text it is learnt from."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystill.config import TokenizerSettings
from polystill.data import shortlist
from polystill.data.packing import PackedDataset, pack
from polystill.data.shortlist import Shortlist, learn_shortlist
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.environment.child import peak_memory
from polystill.runs import Run
from polystill.storage import text_lines


def _dataset(pairs: list[tuple[list[int], list[int]]]) -> PackedDataset:
    def side(rows: list[list[int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.cumsum([0, *map(len, rows)]), np.array([t for row in rows for t in row], dtype=np.uint16))]

    return PackedDataset(side([s for s, _ in pairs]), side([t for _, t in pairs]))


def _plain_model_1(pairs: list[tuple[list[int], list[int]]], iterations: int) -> dict[int, dict[int, float]]:
    """p(target | source), by loops over the sentences."""
    probability: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(lambda: 1.0))
    for _ in range(iterations):
        counts: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for source, target in pairs:
            for t in target:
                total = sum(probability[s][t] for s in source)
                for s in source:
                    counts[s][t] += probability[s][t] / total
        probability = {s: {t: c / sum(row.values()) for t, c in row.items()} for s, row in counts.items()}
    return probability


@pytest.mark.parametrize("at_a_time", [1000, 7])
def test_lists_are_those_of_model_1_by_plain_loops(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "LINKED_SENTENCES", at_a_time)
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 8, (30, 2))
    rows = [(generator.integers(0, 7, s).tolist(), generator.integers(0, 9, t).tolist()) for s, t in lengths]
    plain = _plain_model_1(rows, shortlist.ITERATIONS)
    found = shortlist.learn_shortlist(_dataset(rows), 12, likely=4)
    assert set(found.likely) == set(range(12)) > set(plain)
    for source, targets in found.likely.items():
        expected = sorted(plain.get(source, {}).values(), reverse=True)[:4]
        assert [plain[source][target] for target in targets[: len(expected)]] == pytest.approx(expected, rel=1e-5)
        assert targets.count(source) == 1 and len(targets) <= len(expected) + 1
    counts = np.bincount([t for _, target in rows for t in target])
    assert found.frequent == sorted(range(9), key=lambda t: -counts[t])
    assert shortlist.learn_shortlist(_dataset(rows), 12, frequent=2).frequent == found.frequent[:2]
    assert shortlist.learn_shortlist(_dataset(rows), 12, likely=2) == found.shortened(2)


def test_what_is_dropped_between_iterations_hardly_matters(
    packed: tuple[Tokenizer, PackedDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, data = packed
    whole = shortlist.learn_shortlist(data, tokenizer.vocabulary_size, likely=3)
    monkeypatch.setattr(shortlist, "MOST_CANDIDATES", 5)
    short = shortlist.learn_shortlist(data, tokenizer.vocabulary_size, likely=3)
    found = [set(whole.likely[piece]) & set(short.likely[piece]) for piece in whole.likely]
    assert sum(map(len, found)) > 0.8 * sum(map(len, whole.likely.values()))
    assert short.likely != whole.likely


@pytest.fixture
def packed(counting_data: Path, tmp_path: Path) -> tuple[Tokenizer, PackedDataset]:
    """300 pairs of the toy language."""
    english, german = (text_lines(counting_data / f"train.{language}")[:300] for language in ("en", "de"))
    pairs = list(zip(english, german, strict=True))
    tokenizer = train_tokenizer(
        [line for pair in pairs for line in pair],
        TokenizerSettings(vocabulary_size=45, byte_fallback=False),
        "en",
        "de",
    )
    pack(pairs, tokenizer, tmp_path / "packed", 50)
    return tokenizer, PackedDataset.open(tmp_path / "packed")


def test_words_find_their_translations(packed: tuple[Tokenizer, PackedDataset]) -> None:
    tokenizer, data = packed
    found = shortlist.learn_shortlist(data, tokenizer.vocabulary_size, frequent=0, likely=3)
    assert found.frequent == []
    for english, german in (("seven", "sieben"), ("one", "eins"), ("five", "fünf")):
        (source,), (target,) = tokenizer.encode_source([english]), tokenizer.encode_target([german])
        asked = {t for s in source[:-1] for t in found.likely[s]}
        assert set(target[:-1]) & asked, (english, german)
        assert max(map(len, found.likely.values())) <= 3 + 1


def test_every_piece_may_become_itself(packed: tuple[Tokenizer, PackedDataset]) -> None:
    """Names, numbers and addresses that training has not seen are spelt in pieces that can be copied."""
    tokenizer, data = packed
    found = shortlist.learn_shortlist(data, tokenizer.vocabulary_size, likely=3)
    lines = ["Fenouthexi", "one 1984 two", "www.seven-none.ten/five?x=7", "t!f", "🙂 ş 漢"]
    for source in tokenizer.encode_source(lines):
        assert all(piece in found.likely[piece] for piece in source)


def test_of_much_text_sentences_spread_over_all_of_it_are_taken(
    packed: tuple[Tokenizer, PackedDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, data = packed
    tokens = int(data.source_lengths.sum() + data.target_lengths.sum())
    monkeypatch.setattr(shortlist, "MOST_TOKENS", tokens // 3)
    assert shortlist.learn_shortlist(data, tokenizer.vocabulary_size).sentences in (99, 100)
    rows = shortlist._spread(data)
    assert rows[0] == 0 and set(np.diff(rows)) <= {3, 4}


def test_without_data_there_is_nothing_but_copies() -> None:
    assert shortlist.learn_shortlist(_dataset([]), 3) == shortlist.Shortlist([], {0: [0], 1: [1], 2: [2]}, 0)


@pytest.mark.long
def test_half_a_million_pairs_need_bounded_memory() -> None:
    """Pieces by Zipf's law, each source piece with a translation of its own; run with -s to see time and memory."""
    size, pairs, length = 32_000, 500_000, 25
    generator = np.random.default_rng(1)
    rates = 1 / np.arange(10, size + 10)
    cumulated = np.cumsum(rates / rates.sum())
    meaning = generator.permutation(size)
    source = np.searchsorted(cumulated, generator.random(pairs * length)).clip(max=size - 1).astype(np.uint16)
    noise = generator.random(len(source)) < 0.3
    target = np.where(noise, generator.permutation(source), meaning[source]).astype(np.uint16)
    offsets = np.arange(0, len(source) + 1, length)
    data = PackedDataset([(offsets, source)], [(offsets, target)])
    start = time.perf_counter()
    with peak_memory() as peak:
        found = shortlist.learn_shortlist(data, size)
    print(f"{time.perf_counter() - start:.0f} s, {peak.beyond / 1e6:.0f} MB beyond the text itself")
    assert found.sentences == pairs
    assert np.mean([found.likely[piece][0] == meaning[piece] for piece in range(size)]) > 0.95
    assert peak.beyond < 1e9


# --- a run's shortlist --------------------------------------------------------------------------------------------


@pytest.fixture
def run(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(shortlist, "_shortlist", shortlist._shortlist.__wrapped__)  # as in a process of its own
    return prepared_run(counting_recipe)


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> list[Shortlist]:
    """What was learnt so far."""
    learnt: list[Shortlist] = []
    learn = learn_shortlist

    def note(*arguments: Any, **settings: Any) -> Shortlist:
        learnt.append(learn(*arguments, **settings))
        return learnt[-1]

    monkeypatch.setattr(shortlist, "learn_shortlist", note)
    return learnt


def test_it_is_learnt_once(run: Run, learning: list[Shortlist]) -> None:
    found = shortlist.shortlist_of(run)
    assert found == shortlist.shortlist_of(run) == learning[0].shortened(10)
    assert len(learning) == 1
    assert shortlist.shortlist_of(run, 50) == learning[0]
    assert found.sentences > 0 and len(found.likely) == Tokenizer.load(run.data / "tokenizer").vocabulary_size


def test_of_other_data_another_is_learnt(run: Run, learning: list[Shortlist]) -> None:
    shortlist.shortlist_of(run)
    for path in (run.data / "train").iterdir():
        path.unlink()
    pack([("one two", "eins zwei")] * 3, Tokenizer.load(run.data / "tokenizer"), run.data / "train", 50)
    assert shortlist.shortlist_of(run).sentences == 3
    assert len(learning) == 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', "likely", "frequent", "sentences"])
def test_a_damaged_file_is_learnt_again(
    damage: str, run: Run, learning: list[Shortlist], caplog: pytest.LogCaptureFixture
) -> None:
    found = shortlist.shortlist_of(run)
    path: Path = run.folder / "shortlist.json"
    content = json.loads(path.read_text())
    wrong: dict[str, dict[str, Any]] = {
        "likely": {"likely": {**content["likely"], "1": [10**6]}},
        "frequent": {"frequent": ["x"]},
    }
    wrong["sentences"] = {"sentences": None}
    path.write_text(json.dumps({**content, **wrong[damage]}) if damage in wrong else damage)
    with caplog.at_level(logging.WARNING):
        assert shortlist.shortlist_of(run) == found
    assert f"{path}: damaged" in caplog.text
    assert len(learning) == 2 and json.loads(path.read_text()) == content


def test_a_run_that_may_not_be_written_has_one_as_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from polystill.errors import UserError

    def refuse(path: Path, _: str) -> None:
        raise UserError(f"{path}: no permission") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(shortlist, "write_atomic", refuse)
    assert shortlist.shortlist_of(run).sentences > 0
    assert not (run.folder / "shortlist.json").exists()
