from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polystill.config import TokenizerSettings
from polystill.data.batching import SOURCE_BUDGET, Batches, BatchSchedule, Mixture, collate
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import train_tokenizer


def lengths(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Source and target lengths like those of web text in subwords."""
    generator = np.random.default_rng(seed)
    target = np.clip(generator.lognormal(3.2, 0.6, count), 2, 256).astype(np.int32)
    source = np.clip(target * generator.lognormal(0, 0.25, count), 2, 256).astype(np.int32)
    return source, target


def as_lists(batches: Batches) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


pairs_of_lengths = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=200)


@settings(max_examples=150, deadline=None)
@given(pairs_of_lengths, st.integers(1, 300), st.integers(0, 5))
def test_every_row_once_within_both_budgets(pairs: list[tuple[int, int]], batch_tokens: int, number: int) -> None:
    source, target = (np.array(side) for side in zip(*pairs, strict=True))
    batches = BatchSchedule(source, target, batch_tokens, seed=1).epoch(number)
    assert sorted(np.concatenate(list(batches)).tolist()) == list(range(len(pairs)))
    for batch in batches:
        fits = len(batch) * target[batch].max() <= batch_tokens
        fits &= len(batch) * source[batch].max() <= SOURCE_BUDGET * batch_tokens
        assert fits or len(batch) == 1


@settings(max_examples=50, deadline=None)
@given(pairs_of_lengths, st.integers(50, 300))
def test_no_batch_could_have_taken_the_next_row(pairs: list[tuple[int, int]], batch_tokens: int) -> None:
    source, target = (np.array(side) for side in zip(*pairs, strict=True))
    schedule = BatchSchedule(source, target, batch_tokens, seed=1)
    order = schedule._order(np.random.default_rng(0))
    bounds = schedule._cut(order)
    for start, end in pairwise(bounds[:-1]):
        larger = order[start : end + 1]
        assert (
            len(larger) * target[larger].max() > batch_tokens
            or len(larger) * source[larger].max() > SOURCE_BUDGET * batch_tokens
        )


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    source, target = lengths(3000)
    schedule = BatchSchedule(source, target, 1000, seed=1)
    third = as_lists(schedule.epoch(3))
    schedule.epoch(7)
    assert as_lists(schedule.epoch(3)) == third
    assert as_lists(BatchSchedule(source, target, 1000, seed=1).epoch(3)) == third
    assert as_lists(schedule.epoch(4)) != third
    assert as_lists(BatchSchedule(source, target, 1000, seed=2).epoch(3)) != third


def test_batches_mix_afresh_every_epoch() -> None:
    schedule = BatchSchedule(*lengths(5000), 1000, seed=1)
    first, second = ({frozenset(batch) for batch in as_lists(schedule.epoch(i))} for i in (0, 1))
    assert len(first & second) < 0.02 * len(first)


def test_batches_come_in_random_order() -> None:
    source, target = lengths(20_000)
    longest = [target[batch].max() for batch in BatchSchedule(source, target, 1000, seed=1).epoch(0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.15


@pytest.mark.parametrize(("rows", "batch_tokens", "most_source"), [(100_000, 4096, 0.11), (1_000_000, 4096, 0.04)])
def test_padding_is_small(rows: int, batch_tokens: int, most_source: float) -> None:
    source, target = lengths(rows)
    schedule = BatchSchedule(source, target, batch_tokens, seed=1)
    epoch = schedule.epoch(0)
    padding = schedule.padding(epoch)
    assert padding["target"] < 0.05 and padding["source"] < most_source
    tokens = sum(len(batch) * int(target[batch].max()) for batch in epoch)
    assert padding["target"] == pytest.approx(1 - target.sum() / tokens)


def test_batches_are_cheap_to_hold() -> None:
    source, target = lengths(1_000_000)
    epoch = BatchSchedule(source, target, 4096, seed=1).epoch(0)
    assert epoch._order.nbytes + epoch._bounds.nbytes + epoch._places.nbytes < 6_000_000


def test_batches_are_a_sequence() -> None:
    epoch = BatchSchedule(*lengths(500), 300, seed=1).epoch(0)
    batches = as_lists(epoch)
    assert len(epoch) == len(batches) > 3
    assert epoch[-1].tolist() == batches[-1]
    assert [batch.tolist() for batch in epoch[1:3]] == batches[1:3]
    with pytest.raises(IndexError):
        epoch[len(epoch)]


def test_collate_pads_each_side_to_its_longest() -> None:
    source = [np.array([5, 0], dtype=np.uint16), np.array([6, 7, 0], dtype=np.uint16)]
    target = [np.array([8, 9, 10, 0], dtype=np.uint16), np.array([0], dtype=np.uint16)]
    batch = collate(source, target, 99, np.array([12, 3]))
    assert batch.source.dtype == batch.target.dtype == np.int64
    assert batch.source.tolist() == [[5, 0, 99], [6, 7, 0]]
    assert batch.target.tolist() == [[8, 9, 10, 0], [0, 99, 99, 99]]
    assert batch.rows.tolist() == [12, 3]
    assert collate(source, target, 99).rows.tolist() == [0, 1]


# --- mixtures -----------------------------------------------------------------------------------------------------

LINES = [f"{a} {b} {c}" for a in ("dog", "cat") for b in ("eats", "runs") for c in ("fast", "bread", "here", "now")]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[PackedDataset]:
    """Of 16 and of 10 rows."""
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = train_tokenizer(LINES, TokenizerSettings(vocabulary_size=23, byte_fallback=False), "en", "de")
    pack([(line, line) for line in LINES], tokenizer, folder / "a", 64)
    pack([(line, line[:-2]) for line in LINES[:10]], tokenizer, folder / "b", 64)
    return [PackedDataset.open(folder / name) for name in "ab"]


def mixture_of(parts: list[tuple[PackedDataset, float]], seed: int = 7) -> Mixture:
    """Of whole data sets with these weights."""
    dataset = PackedDataset.joined([part for part, _ in parts])
    ends = np.cumsum([len(part) for part, _ in parts]).tolist()
    groups = [(np.arange(end - len(part), end), weight) for (part, weight), end in zip(parts, ends, strict=True)]
    return Mixture(dataset, groups, 60, seed)


def drawn(mixture: Mixture, epoch: int) -> Counter[int]:
    return Counter(np.concatenate(list(mixture.epoch(epoch))).tolist())


def test_gold_alone_is_batched_as_ever(parts: list[PackedDataset]) -> None:
    ours, plain = (
        mixture_of([(parts[0], 1.0)]),
        BatchSchedule(parts[0].source_lengths, parts[0].target_lengths, 60, 7),
    )
    assert ours.dataset is parts[0]
    for epoch in (0, 3):
        batches = [batch.tolist() for batch in plain.epoch(epoch)]
        assert [batch.tolist() for batch in ours.epoch(epoch)] == batches and len(batches) > 3


def test_rows_of_all_parts(parts: list[PackedDataset]) -> None:
    mixture = mixture_of([(part, 1.0) for part in parts])
    assert drawn(mixture, 0) == Counter(range(26))
    for i in (0, 15, 16, 25):
        expected = parts[i // 16].rows(np.array([i % 16]))
        found = mixture.dataset.rows(np.array([i]))
        assert [side[0].tolist() for side in found] == [side[0].tolist() for side in expected]


def test_whole_weights_repeat_and_fractions_sample(parts: list[PackedDataset]) -> None:
    mixture = mixture_of([(parts[0], 0.5), (parts[1], 2.3)])
    seen: Counter[int] = Counter()
    for epoch in range(40):
        counts = drawn(mixture, epoch)
        gold = {i: n for i, n in counts.items() if i < 16}
        assert sum(gold.values()) == 8 and set(gold.values()) == {1}
        others = [counts[i] for i in range(16, 26)]
        assert sorted(others) == [2] * 7 + [3] * 3
        seen += counts
    assert all(8 <= seen[i] <= 32 for i in range(16)), seen  # 20 are expected


def test_each_row_comes_as_often_as_the_weight_of_its_group_says(parts: list[PackedDataset]) -> None:
    """Rows of a group lie apart, and those in none never come."""
    dataset = PackedDataset.joined(parts)
    groups = [(np.arange(0, 16, 2), 2.0), (np.arange(1, 16, 4), 0.25), (np.arange(16, 20), 1.5)]
    mixture = Mixture(dataset, groups, 60, 7)
    assert mixture.drawn is not None and sorted(mixture.drawn) == sorted(np.concatenate([rows for rows, _ in groups]))
    seen: Counter[int] = Counter()
    for epoch in range(40):
        counts = drawn(mixture, epoch)
        assert {row: counts[row] for row in range(0, 16, 2)} == dict.fromkeys(range(0, 16, 2), 2)
        assert sum(counts[row] for row in range(1, 16, 4)) == 1
        assert sorted(counts[row] for row in range(16, 20)) == [1, 1, 2, 2]
        seen += counts
    assert set(seen) == {*range(0, 16, 2), *range(1, 16, 4), *range(16, 20)}


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.3)])
def test_a_range_of_rows_is_batched_as_an_array_of_them(
    parts: list[PackedDataset], weights: tuple[float, float]
) -> None:
    ranges = [(range(16), weights[0]), (range(16, 26), weights[1])]
    ours = Mixture(PackedDataset.joined(parts), ranges, 60, 7)
    other = mixture_of(list(zip(parts, weights, strict=True)))
    for epoch in (0, 3):
        assert [batch.tolist() for batch in ours.epoch(epoch)] == [batch.tolist() for batch in other.epoch(epoch)]


def test_groups_that_are_all_drawn_once_are_batched_as_ever(parts: list[PackedDataset]) -> None:
    whole, groups = mixture_of([(parts[0], 1.0)]), [(np.arange(start, 16, 2), 1.0) for start in (0, 1)]
    mixture = Mixture(parts[0], groups, 60, 7)
    assert mixture.drawn is None
    assert [batch.tolist() for batch in mixture.epoch(3)] == [batch.tolist() for batch in whole.epoch(3)]


def test_a_small_share_of_a_small_part_is_one_row(parts: list[PackedDataset]) -> None:
    assert sum(drawn(mixture_of([(parts[1], 0.01)]), 0).values()) == 1


def test_an_epoch_of_a_mixture_depends_on_seed_and_number_alone(parts: list[PackedDataset]) -> None:
    def epoch(number: int, seed: int = 7) -> list[list[int]]:
        mixture = mixture_of([(parts[0], 1.0), (parts[1], 0.5)], seed)
        mixture.epoch(1)
        return [batch.tolist() for batch in mixture.epoch(number)]

    assert epoch(3) == epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=8)


def test_batches_keep_their_budget(parts: list[PackedDataset]) -> None:
    mixture = mixture_of([(parts[0], 2.0), (parts[1], 0.5)])
    for batch in mixture.epoch(0):
        assert len(batch) * mixture.dataset.target_lengths[batch].max() <= 60
