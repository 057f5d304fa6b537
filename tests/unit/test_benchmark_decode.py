"""Decoding benchmarks over translators that only wait, and over a real model."""

import threading
import time
from dataclasses import replace

import pytest

from polystill.bench.decode import System, batches_of, decode_table, measure
from polystill.decoding.translator import EMPTY

LINES = ["a b c", "a", "a b", "a b c d", "a b"]


class Waiting:
    """Takes the given seconds a batch."""

    max_source_tokens = 100
    languages = ("en", "de")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []
        self.at_once: set[int] = set()

    def translate(self, lines, options, cuts=None):
        self.batches.append(list(lines))
        self.at_once.add(threading.get_ident())
        time.sleep(self.seconds)
        return [[EMPTY] for _ in lines]


def _system(student: str, beam: int, seconds: float, engine: str = "ctranslate2", precision: str = "float32") -> System:
    return System(student, engine, precision, beam, Waiting(seconds), inner_threads=engine == "torch")


def _rows(systems, sizes, threads=1):
    return measure(systems, LINES, batch_sizes=sizes, rounds=1, threads=threads, log=lambda line: None)


def _measure(systems, sizes, threads=1):
    rows = _rows(systems, sizes, threads)
    return {(row.student, row.precision, row.beam, row.batch_size): row for row in rows}


def test_batches_hold_like_lengths_and_single_sentences_keep_their_order() -> None:
    assert batches_of(LINES, 2) == [["a b c d", "a b c"], ["a b", "a b"], ["a"]]
    assert batches_of(LINES, 1) == [[line] for line in LINES]


def test_ratios_are_to_the_teacher_with_the_largest_beam() -> None:
    systems = [
        _system("teacher", 5, 0.04),
        _system("teacher", 1, 0.02),
        _system("e1d1", 1, 0.01),
        _system("teacher", 5, 0.02, precision="int8"),
        _system("e1d1", 1, 0.005, precision="int8"),
    ]
    rows = _measure(systems, [2, 1])
    assert len(rows) == 10
    assert rows["teacher", "float32", 5, 2].speed_to_reference == {"min": 1, "median": 1, "max": 1}
    speed = {key: row.words_per_second["median"] for key, row in rows.items()}
    student = rows["e1d1", "int8", 1, 2]
    of = {
        "speed_to_reference": ("teacher", "float32", 5, 2),
        "speed_to_teacher_same_engine": ("teacher", "int8", 5, 2),
    }
    for key, teacher in of.items():
        assert student.record()[key]["median"] == pytest.approx(speed["e1d1", "int8", 1, 2] / speed[teacher])
    assert student.record()["speed_to_reference"]["median"] > 1
    assert speed["teacher", "float32", 5, 1] < 12 / (5 * 0.04)  # words of five sentences
    assert rows["teacher", "float32", 5, 1].record()["latency_ms"]["p50"]["median"] >= 40
    assert "latency_ms" not in student.record()


def test_devices_are_shown_where_they_differ() -> None:
    own = _system("teacher", 5, 0.001)
    rows = _rows([own, replace(_system("teacher", 5, 0.001, engine="torch"), device="cuda")], [2])
    assert [row.device for row in rows] == ["cpu", "cuda"]
    assert "device" in [column.header for column in decode_table(rows).columns]
    assert "device" not in [column.header for column in decode_table(_rows([own], [2])).columns]


def _threads_used(system: System, batch_size: int) -> int:
    _measure([system], [batch_size], threads=3)
    assert isinstance(system.translator, Waiting)
    return len(system.translator.at_once - {threading.get_ident()}) or 1  # the warm-up is the caller's


def test_threads_take_batches_side_by_side_but_single_sentences_wait_for_each_other() -> None:
    for size, most in ((2, 3), (1, 1)):
        assert _threads_used(_system("teacher", 5, 0.02), size) == most
    assert _threads_used(_system("teacher", 5, 0.02, engine="torch"), 2) == 1


def test_torch_search_and_transformers_agree(counting_student, monkeypatch, capfd) -> None:
    from polystill.bench import decode
    from polystill.decoding.beam import beam_search

    def seen(model, source, options):
        batches.append(len(source))
        return beam_search(model, source, options)

    batches: list[int] = []
    monkeypatch.setattr(decode, "beam_search", seen)
    lines = ["one two three", "nine", "four four five six seven"]
    row = decode.measure_generate(
        counting_student, lines, beam_size=3, batch_size=2, rounds=1, threads=1, log=lambda line: None
    )
    assert batches == [2, 2, 1]  # the first batch warms up
    assert row.same_translations == 1
    assert row.speed_to_transformers["median"] > 0
    assert "Loading" not in capfd.readouterr().err
