"""serving.batching: sentences of several requests in one batch, and each answer with its question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polystill.serving.batching import LARGEST_BATCH, Batcher, Wanted


class Engine:
    """Counts batches; waits in the first until it is let go."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], int]] = []
        self.go_on = threading.Event()

    def __call__(self, sentences: list[str], wanted: Wanted) -> list[list[str]]:
        n_best = wanted.n_best
        self.batches.append((sentences, n_best))
        assert self.go_on.wait(20)
        if "bad" in sentences:
            raise ValueError("bad")
        return [[f"{sentence}-{k}" for k in range(n_best)] for sentence in sentences]


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.go_on.set()


def together(engine: Engine, *requests: tuple[list[str], int]) -> list[Any]:
    """Let a first request occupy the one worker, then give all the others, then let go."""

    async def run() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(engine, executor, workers=1)
            first = asyncio.ensure_future(batcher.translate(["first"]))
            while not engine.batches:
                await asyncio.sleep(0.001)
            others = [
                asyncio.ensure_future(batcher.translate(sentences, Wanted(*n_best))) for sentences, *n_best in requests
            ]
            await asyncio.sleep(0)
            assert batcher.waiting == sum(len(sentences) for sentences, _ in requests)
            engine.go_on.set()
            answers = await asyncio.gather(*others, return_exceptions=True)
            assert await first == [["first-0"]]
            assert batcher.waiting == 0
            return answers

    return asyncio.run(run())


def test_requests_that_wait_share_a_batch_and_get_their_own_answers(engine: Engine) -> None:
    requests = [([f"{i}.{k}" for k in range(i)], 1) for i in range(1, 5)]
    answers = together(engine, *requests)
    assert answers == [[[f"{s}-0"] for s in sentences] for sentences, _ in requests]
    assert len(engine.batches) == 2
    assert sorted(engine.batches[1][0]) == sorted(s for sentences, _ in requests for s in sentences)


def test_a_long_request_does_not_hold_up_a_short_one(engine: Engine) -> None:
    long = [f"long {i}" for i in range(3 * LARGEST_BATCH)]
    answers = together(engine, (long, 1), (["short"], 1))
    assert answers == [[[f"{s}-0"] for s in long], [["short-0"]]]
    assert "short" in engine.batches[1][0]
    assert max(len(sentences) for sentences, _ in engine.batches) == LARGEST_BATCH


def test_requests_with_other_options_have_batches_of_their_own(engine: Engine) -> None:
    assert together(engine, (["a"], 1), (["b"], 3), (["c"], 1)) == [[["a-0"]], [["b-0", "b-1", "b-2"]], [["c-0"]]]
    assert engine.batches[1:] == [(["a", "c"], 1), (["b"], 3)]


def test_an_error_reaches_those_of_its_batch_and_the_next_batch_is_well(engine: Engine) -> None:
    bad, other = together(engine, (["bad"], 2), (["x"], 1))
    assert isinstance(bad, ValueError)
    assert other == [["x-0"]]


def test_a_cancelled_request_leaves_the_queue(engine: Engine) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(engine, executor, workers=1)
            first = asyncio.ensure_future(batcher.translate(["first"]))
            gone = asyncio.ensure_future(batcher.translate(["gone"] * 5))
            while not engine.batches:
                await asyncio.sleep(0.001)
            gone.cancel()
            await asyncio.sleep(0)
            assert batcher.waiting == 0
            engine.go_on.set()
            assert await first == [["first-0"]]
            assert await batcher.translate([]) == []

    run_it: Coroutine[Any, Any, None] = run()
    asyncio.run(run_it)
    assert engine.batches == [(["first"], 1)]


def test_at_the_end_those_come_first_that_are_nearest_to_their_answers(engine: Engine) -> None:
    async def run() -> list[list[list[str]]]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(engine, executor, workers=1)
            first = asyncio.ensure_future(batcher.translate(["first"]))
            while not engine.batches:
                await asyncio.sleep(0.001)
            long, short = [f"long {i}" for i in range(LARGEST_BATCH)], [f"short {i}" for i in range(3)]
            others = [asyncio.ensure_future(batcher.translate(sentences)) for sentences in (long, short)]
            await asyncio.sleep(0)
            batcher.is_stopping = True
            engine.go_on.set()
            await first
            return [await other for other in others]

    long, short = asyncio.run(run())
    assert (len(long), short) == (LARGEST_BATCH, [[f"short {i}-0"] for i in range(3)])
    assert engine.batches[1][0][:4] == ["short 0", "short 1", "short 2", "long 0"]
    assert engine.batches[2][0] == ["long 61", "long 62", "long 63"]
