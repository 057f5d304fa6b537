"""Progress where there is no terminal: lines on stderr, and none on silent ranks."""

from __future__ import annotations

import time

import pytest

from polystill.progress import Progress, format_seconds


def test_durations_read_well() -> None:
    assert [format_seconds(s) for s in (5, 99, 600, 3900, 7000)] == ["5 s", "99 s", "10 min", "65 min", "1 h 57 min"]


def test_a_line_now_and_then_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress("translating", "sentence", 1000, done=400)
    for _ in range(4):
        now += 10
        shown.add(100)
    assert capsys.readouterr().err == "translating 700/1,000: 10.0 sentences/s, 30 s left\n"
    shown.add(200, "loss 3.2")
    assert capsys.readouterr().err == "translating 1,000/1,000: loss 3.2, 0 s left\n"


def test_slow_work_has_the_time_of_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress("evaluating", "translation", 40)
    now += 50
    shown.add(2)
    assert capsys.readouterr().err == "evaluating 2/40: 25 s a translation, 16 min left\n"


def test_nothing_is_said_of_a_speed_before_something_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress("translating", "shard", 10, done=4)
    now += 1800
    shown.add(0)
    shown.add(6)
    now += 1800
    Progress("translating", "shard", 10, done=10).add(0)
    lines = ["translating 4/10", "translating 10/10: 5 min a shard, 0 s left", "translating 10/10"]
    assert capsys.readouterr().err.splitlines() == lines


def test_silent_ranks_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress("training", "update", 1, silent=True)
    shown.add()
    shown.say("done")
    shown.close()
    assert capsys.readouterr().err == ""
