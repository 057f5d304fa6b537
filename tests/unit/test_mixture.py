"""Mixtures: how often rows are drawn, and that an epoch depends on its number alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from polystill.config import TokenizerSettings
from polystill.data.batching import BatchSchedule
from polystill.data.mixture import Mixture
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import train_tokenizer

LINES = [f"{a} {b} {c}" for a in ("dog", "cat") for b in ("eats", "runs") for c in ("fast", "bread", "here", "now")]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[PackedDataset]:
    """Of 16 and of 10 rows."""
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = train_tokenizer(LINES, TokenizerSettings(vocabulary_size=23), "en", "de")
    pack([(line, line) for line in LINES], tokenizer, folder / "a", 64)
    pack([(line, line[:-2]) for line in LINES[:10]], tokenizer, folder / "b", 64)
    return [PackedDataset.open(folder / name) for name in "ab"]


def drawn(mixture: Mixture, epoch: int) -> Counter[int]:
    return Counter(np.concatenate(list(mixture.epoch(epoch))).tolist())


def test_gold_alone_is_batched_as_ever(parts: list[PackedDataset]) -> None:
    ours, plain = (
        Mixture([(parts[0], 1.0)], 60, 7),
        BatchSchedule(parts[0].source_lengths, parts[0].target_lengths, 60, 7),
    )
    assert ours.dataset is parts[0]
    for epoch in (0, 3):
        batches = [batch.tolist() for batch in plain.epoch(epoch)]
        assert [batch.tolist() for batch in ours.epoch(epoch)] == batches and len(batches) > 3


def test_rows_of_all_parts(parts: list[PackedDataset]) -> None:
    mixture = Mixture([(part, 1.0) for part in parts], 60, 7)
    assert drawn(mixture, 0) == Counter(range(26))
    for i in (0, 15, 16, 25):
        expected = parts[i // 16].rows(np.array([i % 16]))
        found = mixture.dataset.rows(np.array([i]))
        assert [side[0].tolist() for side in found] == [side[0].tolist() for side in expected]


def test_whole_weights_repeat_and_fractions_sample(parts: list[PackedDataset]) -> None:
    mixture = Mixture([(parts[0], 0.5), (parts[1], 2.3)], 60, 7)
    seen: Counter[int] = Counter()
    for epoch in range(40):
        counts = drawn(mixture, epoch)
        gold = {i: n for i, n in counts.items() if i < 16}
        assert sum(gold.values()) == 8 and set(gold.values()) == {1}
        others = [counts[i] for i in range(16, 26)]
        assert sorted(others) == [2] * 7 + [3] * 3
        seen += counts
    assert all(8 <= seen[i] <= 32 for i in range(16)), seen  # 20 are expected


def test_a_small_share_of_a_small_part_is_one_row(parts: list[PackedDataset]) -> None:
    assert sum(drawn(Mixture([(parts[1], 0.01)], 60, 7), 0).values()) == 1


def test_an_epoch_depends_on_seed_and_number_alone(parts: list[PackedDataset]) -> None:
    def epoch(number: int, seed: int = 7) -> list[list[int]]:
        mixture = Mixture([(parts[0], 1.0), (parts[1], 0.5)], 60, seed)
        mixture.epoch(1)
        return [batch.tolist() for batch in mixture.epoch(number)]

    assert epoch(3) == epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=8)


def test_batches_keep_their_budget(parts: list[PackedDataset]) -> None:
    mixture = Mixture([(parts[0], 2.0), (parts[1], 0.5)], 60, 7)
    for batch in mixture.epoch(0):
        assert len(batch) * mixture.dataset.target_lengths[batch].max() <= 60
