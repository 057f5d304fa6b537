"""Shortlists: IBM model 1 against plain loops, what is on a list, and how much text it is learnt from."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from polystill.config import TokenizerSettings
from polystill.data import shortlist
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import Tokenizer, train_tokenizer
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


def test_lists_are_those_of_model_1_by_plain_loops() -> None:
    generator = np.random.default_rng(1)
    rows = [(generator.integers(0, 7, 6).tolist(), generator.integers(0, 9, 5).tolist()) for _ in range(30)]
    plain = _plain_model_1(rows, shortlist.ITERATIONS)
    found = shortlist.learn_shortlist(_dataset(rows), likely=4)
    assert set(found.likely) == set(plain)
    for source, targets in found.likely.items():
        expected = sorted(plain[source].values(), reverse=True)[:4]
        assert [plain[source][target] for target in targets] == pytest.approx(expected)
    counts = np.bincount([t for _, target in rows for t in target])
    assert found.frequent == sorted(range(9), key=lambda t: -counts[t])
    assert shortlist.learn_shortlist(_dataset(rows), frequent=2).frequent == found.frequent[:2]


@pytest.fixture
def packed(counting_data: Path, tmp_path: Path) -> tuple[Tokenizer, PackedDataset]:
    """300 pairs of the toy language."""
    english, german = (text_lines(counting_data / f"train.{language}")[:300] for language in ("en", "de"))
    pairs = list(zip(english, german, strict=True))
    tokenizer = train_tokenizer(
        [line for pair in pairs for line in pair], TokenizerSettings(vocabulary_size=45), "en", "de"
    )
    pack(pairs, tokenizer, tmp_path / "packed", 50)
    return tokenizer, PackedDataset.open(tmp_path / "packed")


def test_words_find_their_translations(packed: tuple[Tokenizer, PackedDataset]) -> None:
    tokenizer, data = packed
    found = shortlist.learn_shortlist(data, frequent=0, likely=3)
    assert found.frequent == []
    for english, german in (("seven", "sieben"), ("one", "eins"), ("five", "fünf")):
        (source,), (target,) = tokenizer.encode_source([english]), tokenizer.encode_target([german])
        asked = {t for s in source[:-1] for t in found.likely[s]}
        assert set(target[:-1]) & asked, (english, german)
        assert max(map(len, found.likely.values())) <= 3


def test_of_much_text_sentences_spread_over_all_of_it_are_taken(
    packed: tuple[Tokenizer, PackedDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = packed
    links = int(np.dot(data.source_lengths, data.target_lengths))
    monkeypatch.setattr(shortlist, "MOST_LINKS", links // 3)
    assert shortlist.learn_shortlist(data).sentences == 100
    rows = shortlist._spread(data)
    assert rows[0] == 0 and set(np.diff(rows)) == {3}


def test_without_data_the_list_is_empty() -> None:
    assert shortlist.learn_shortlist(_dataset([])) == shortlist.Shortlist([], {}, 0)
