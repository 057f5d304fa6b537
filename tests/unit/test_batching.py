from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polystill.data.batching import SOURCE_BUDGET, Batches, BatchSchedule, collate


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
