"""The filter: what goes, under which reason, and reports that add up."""

from __future__ import annotations

import pytest

from polystill.config import Cleaning
from polystill.targets.select import FilterReport, HypothesisFilter, left_out
from polystill.targets.store import Candidate

KEEP = HypothesisFilter(Cleaning(), ("en", "de"))


@pytest.mark.parametrize(
    ("source", "hypothesis", "reason"),
    [
        ("A dog runs.", "Ein Hund rennt.", None),
        ("A dog runs.", "", "empty"),
        ("A dog runs.", "A dog runs.", "identical"),
        ("A dog runs.", "Ein " * 13 + "Hund", "ratio"),
        ("A dog runs here.", "Собака бежит", "wrong_script"),
        ("no no no no", "nein nein nein nein", None),
        ("no, no", "nein nein nein nein", "repetition"),
        ("a b c d", "der Hund der Hund der Hund der Hund", "repetition"),
        ("a b c", "der Hund der Hund der Hund", None),
        ("It rains.", "Es regnetetetetetetetetetetet.", "repetition"),
        ("Goooooooooooal!", "Tooooooooooor!", None),
    ],
)
def test_reasons(source: str, hypothesis: str, reason: str | None) -> None:
    assert KEEP.reason(source, Candidate(hypothesis)) == reason


def test_repetitions_without_spaces() -> None:
    chinese = HypothesisFilter(Cleaning(), ("en", "zh"))
    assert chinese.reason("The dogs run fast here", Candidate("狗跑得快狗跑得快狗跑得快狗跑得快")) == "repetition"
    assert chinese.reason("ha ha ha ha", Candidate("哈哈哈哈")) is None


def test_what_had_not_ended_is_no_sentence() -> None:
    assert KEEP.reason("A dog runs.", Candidate("Ein Hund rennt und", -1.0, cut=True)) == "cut"


def test_switched_off_only_empty_ones_and_doubles_go() -> None:
    off = HypothesisFilter(Cleaning(enabled=False), ("en", "de"))
    report = FilterReport()
    kept = off.keep("a b", [Candidate(t) for t in ("a b", "x x x x x", "", "a b")], report)
    assert [candidate.text for candidate in kept] == ["a b", "x x x x x"]
    assert {k: v for k, v in report.dropped.items() if v} == {"empty": 1, "same": 1}


def test_reports_count_and_add_up() -> None:
    first, second, total = FilterReport(), FilterReport(), FilterReport()
    kept = KEEP.keep("A dog.", [Candidate("Ein Hund.", -1.0), Candidate("Ein Hund.", -2.0), Candidate("A dog.")], first)
    assert kept == [Candidate("Ein Hund.", -1.0)]
    assert KEEP.keep("A cat.", [Candidate("A cat.")], second) == []
    total.add(first.as_dict())
    total.add(second.as_dict())
    assert (total.hypotheses, total.kept, total.sources_without) == (4, 1, 1)
    assert left_out(total.dropped) == "identical 2, same 1"
    assert total.examples["identical"] == [["A dog.", "A dog."], ["A cat.", "A cat."]]
