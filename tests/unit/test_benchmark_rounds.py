import time

import pytest

from polystill.bench.rounds import interleaved, quotients, shown_speed, spread


def test_subjects_take_turns_and_each_round_begins_with_another() -> None:
    order: list[str] = []
    subjects = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = interleaved(subjects, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"  # the first of them unmeasured
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_what_the_device_has_queued_belongs_to_its_subject() -> None:
    queued: list[float] = []

    def synchronize() -> None:
        while queued:
            time.sleep(queued.pop())

    seconds = interleaved({"slow": lambda: queued.append(0.05), "fast": lambda: None}, 2, synchronize)
    assert min(seconds["slow"]) >= 0.05 > max(seconds["fast"])


def test_spreads_and_quotients_within_rounds() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert quotients([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == pytest.approx({"min": 2, "median": 3, "max": 4})


def test_a_line_on_speed_has_medians_and_extremes_of_speed_and_of_quotients() -> None:
    line = shown_speed("ours", [200.0, 300.0, 210.0], [100.0, 100.0, 105.0])
    assert " ".join(line.split()) == "ours 210 (200–300) target tokens/s, 2.00 (2.00–3.00) times as fast"
