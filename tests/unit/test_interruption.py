"""Signals are noted once, and then do what they did before. tests/system/test_resume.py sends them to a training."""

from __future__ import annotations

import os
import signal

import pytest

from polystill.training.loop import Interruption


def test_the_first_signal_is_noted_and_obeyed_later() -> None:
    with Interruption(alone=True) as interruption:
        interruption.act()
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            interruption.act()


def test_the_second_signal_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption(alone=True):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")


def test_a_signal_after_the_last_look_is_obeyed_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption(alone=True):
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption(alone=True):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ranks_of_several_are_left_alone() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption(alone=False):
        os.kill(os.getpid(), signal.SIGINT)
