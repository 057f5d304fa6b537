"""The best student within a budget, what binds, and what to do where a figure is missing. On invented results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.picking.candidates import Candidate, candidates, check_test_set, open_runs
from polystill.picking.choice import choose, explain, figures, how_to_measure
from polystill.picking.devices import Device, limits_from_options
from polystill.runs import Run
from polystill.runs.results import DeviceRow, QualityRow
from polystill.storage import checked_json, read_checked_json


def row(model: str, bleu: float, megabytes: float, p95: float | None = None, **changes: Any) -> QualityRow:
    """A row of results; memory in MB is ten times the size."""
    figures: dict[str, Any] = {"model": model, "model_id": f"x-{model}", "bleu": bleu}
    figures |= {
        "size_bytes": int(megabytes * 1e6),
        "test_set": "counting",
        "engine": "ctranslate2",
        "precision": "int8",
    }
    figures |= {"beam": 1, "length_penalty": 1.0, "bleu_signature": "sacreBLEU", "words_per_second": 1000.0}
    figures |= {"hardware": "this machine", "threads": 1}
    if p95 is not None:
        figures |= {"latency_p50_ms": p95 / 2, "latency_p95_ms": p95, "peak_memory_bytes": int(megabytes * 1e7)}
    return QualityRow(**{**figures, **changes})


def on_device(device: str, model: str, **changes: Any) -> DeviceRow:
    figures = {"latency_p50_ms": 1.0, "latency_p95_ms": 2.0, "peak_memory_bytes": 10**8, "words_per_second": 1.0}
    how = {"engine": "ctranslate2", "precision": "int8", "beam": 1, "threads": 1}
    return DeviceRow(device=device, model=model, **{**how, **figures, **changes})


SMALL, MIDDLE, LARGE = row("e1d1", 30.0, 5, 10), row("e2d1", 33.0, 8, 20), row("e2d2", 34.0, 11, 30)
SLOW = row("e2d2", 34.5, 11, 90, beam=5)
ROWS = [SMALL, MIDDLE, LARGE, SLOW]


def choice_of(rows: list[QualityRow], **limits: Any) -> Any:
    return choose([Candidate(Path("run"), each) for each in rows], limits_from_options(limits))


def picked(rows: list[QualityRow], **limits: Any) -> tuple[str, int] | None:
    best = choice_of(rows, **limits).best
    return None if best is None else (best.row.model, best.row.beam)


def test_the_best_within_all_limits_is_picked() -> None:
    assert picked(ROWS) == ("e2d2", 5)
    assert picked(ROWS, max_latency="40ms") == ("e2d2", 1)
    assert picked(ROWS, max_latency="30ms") == ("e2d2", 1)  # a limit may be reached
    assert picked(ROWS, max_size="10MB") == ("e2d1", 1)
    assert picked(ROWS, max_memory="79MB") == ("e1d1", 1)
    assert picked(ROWS, max_memory="79MB", min_bleu=30.5) is None
    smaller = row("e1d1", 34.0, 5, 10)
    assert picked([LARGE, smaller]) == ("e1d1", 1)  # of equals the smallest


def test_limits_that_bind_say_what_they_cost() -> None:
    choice = choice_of(ROWS, max_size="10MB", max_latency="15ms")
    assert choice.best.row is SMALL
    assert [(limit.name, other.row) for limit, other in choice.binding] == [("max_latency", MIDDLE)]
    assert choice.larger.row is MIDDLE and choice.smaller is None
    assert (len(choice.fitting), choice.measured) == (1, 4)
    text = "\n".join(explain(choice, "counting", "phone"))
    assert text.startswith("phone: run/e1d1 int8 beam 1\n")
    assert "without it run/e2d1 int8 beam 1, BLEU 33.00 (+3.00), 8.0 MB (+3.0), p95 20.0 ms (+10.0)" in text
    assert "max_latency 15.0 ms is missed by 5.0 ms" in text

    both = choice_of([SMALL, LARGE], max_size="10MB", max_latency="15ms")
    assert both.binding == []
    text = "\n".join(explain(both, "counting"))
    assert "only several together: without them run/e2d2 int8 beam 1, BLEU 34.00 (+4.00), 11.0 MB (+6.0)" in text
    assert "; max_size 10.0 MB is missed by 1.0 MB; max_latency 15.0 ms is missed by 15.0 ms" in text
    assert "next larger: that one" in text

    free = choice_of(ROWS)
    assert [c.row for c in free.fitting] == [SLOW, LARGE, MIDDLE, SMALL]
    assert (free.larger, free.smaller.row) == (None, MIDDLE)
    assert "nothing measured is better" in "\n".join(explain(free, "counting"))


def test_a_better_one_of_the_same_size_is_shown() -> None:
    wider = row("e2d2", 34.2, 11, 50, beam=5, peak_memory_bytes=int(120e6))
    choice = choice_of([SMALL, LARGE, wider], max_latency="40ms", max_memory="115MB")
    assert (choice.best.row, choice.larger, choice.binding) == (LARGE, None, [])
    assert choice.together.row is wider
    text = "\n".join(explain(choice, "counting"))
    assert "only several together: without them run/e2d2 int8 beam 5, BLEU 34.20 (+0.20), 11.0 MB (+0.0)" in text
    assert "max_latency 40.0 ms is missed by 10.0 ms; max_memory 115 MB is missed by 5.0 MB" in text
    assert "nothing measured is better" not in text


def test_other_formats_say_what_the_figures_are_of() -> None:
    candidate = Candidate(Path("run"), LARGE, "onnx", weighed=True)
    assert figures(candidate, "counting").startswith(
        "BLEU 34.00 on counting, 11.0 MB as onnx, p50 15.0 ms, p95 30.0 ms"
    )
    assert "1,000 words/s of its CTranslate2 folder, measured on" in figures(candidate, "counting")
    text = figures(Candidate(Path("run"), LARGE, "onnx"), "counting")
    assert text.startswith("BLEU 34.00 on counting, 11.0 MB, p50 15.0 ms") and "words/s of its CTranslate2" in text
    assert "CTranslate2" not in figures(Candidate(Path("run"), LARGE), "counting")


def test_where_nothing_fits_the_nearest_says_what_it_misses_by() -> None:
    choice = choice_of(ROWS, max_size="6MB", min_bleu=33.0)
    assert choice.best is None
    assert choice.nearest.row is SMALL  # 9 % less BLEU; the next is 33 % too large
    lines = list(explain(choice, "counting"))
    assert lines[0] == "nothing fits (max_size 6.0 MB, min_bleu 33.00); the nearest of 4 is run/e1d1 int8 beam 1"
    assert "  min_bleu 33.00 is missed by 3.00" in lines
    assert not any("max_size 6.0 MB is missed" in line for line in lines)


def test_what_is_not_measured_is_never_guessed() -> None:
    unmeasured = row("e6d6", 50.0, 1)
    assert picked([unmeasured]) == ("e6d6", 1)  # no limit needs latency
    choice = choice_of([*ROWS, unmeasured, row("e3d3", 33.0, 1)], max_latency="40ms")
    assert choice.best.row is LARGE
    left_out, command = list(explain(choice, "x"))[-2:]
    assert left_out.endswith("latency or memory is not measured: run/e6d6 int8 beam 1 (BLEU 50.00)")
    assert command == "    measure: polystill evaluate run --engine ctranslate2 --precision int8 --beam 1"
    too_large = choice_of([*ROWS, replace(unmeasured, size_bytes=10**9)], max_latency="40ms", max_size="1MB")
    assert (too_large.best, too_large.unmeasured) == (None, [])
    assert choice_of([unmeasured], max_latency="40ms", max_size="1kB").nearest.row is unmeasured
    message = (
        r"^max_latency 40.0 ms: nothing is measured .*; measure: polystill evaluate run .* --precision int8 --beam 1$"
    )
    with pytest.raises(UserError, match=message):
        choice_of([unmeasured], max_latency="40ms", max_size="20MB")
    with pytest.raises(UserError, match=r"device phone: .* --device phone --out phone\.json; polystill merge run ph"):
        choose([Candidate(Path("run"), unmeasured)], Device(max_latency="40ms"), "phone")


def test_nothing_fits_only_where_that_is_known() -> None:
    unmeasured = row("e1d1", 30.0, 5)
    message = r"^max_latency 9\.0 ms: none of the 4 that are measured fits, run/e1d1 int8 beam 1 may; measure: "
    with pytest.raises(UserError, match=message):
        choice_of([*ROWS, unmeasured], max_latency="9ms")
    assert choice_of([*ROWS, unmeasured], max_latency="9ms", min_bleu=31.0).nearest.row is SMALL
    phone = Device(max_latency="9ms")
    with pytest.raises(UserError, match=r"device phone: .* may; measure .* --device phone --out phone\.json"):
        choose([Candidate(Path("run"), each) for each in (LARGE, unmeasured)], phone, "phone")


@pytest.fixture
def evaluated(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]) -> Callable[..., Run]:
    """A run with its test set and these rows of results."""

    def make(name: str, rows: list[QualityRow]) -> Run:
        run = prepared_run(counting_recipe, name)
        run.family.mkdir()
        run.finish("family", {})
        run.add(rows)
        run.close()
        return run

    return make


def test_all_runs_precisions_and_beams_are_candidates(evaluated: Callable[..., Run]) -> None:
    others = [replace(MIDDLE, engine="torch"), replace(LARGE, test_set="other"), replace(SMALL, length_penalty=0.6)]
    first = evaluated("first", [SMALL, SLOW, *others])
    second = evaluated("second", [replace(MIDDLE, precision="float32")])
    runs = open_runs([first.folder, second.folder])
    assert check_test_set(runs, None) == "validation"
    assert check_test_set(runs, "counting") == "counting"

    def found(**device: Any) -> list[str]:
        return [c.name.removeprefix(f"{first.folder.parent}/") for c in candidates(runs, "counting", Device(**device))]

    assert found() == ["first/e1d1 int8 beam 1", "first/e2d2 int8 beam 5", "second/e2d1 float32 beam 1"]
    assert found(beam=5) == ["first/e2d2 int8 beam 5"]
    assert found(format="bergamot") == ["first/e1d1 int8 beam 1"]  # it has no other beam
    with pytest.raises(UserError, match=r"no student was measured .*--precision int8 --beam 4"):
        found(format="argos")
    with pytest.raises(UserError, match=r"no student was measured .*--engine ctranslate2 --precision int16 --beam 2"):
        found(precision="int16", beam=2)


def test_the_test_set_is_reported_and_does_not_choose(evaluated: Callable[..., Run]) -> None:
    chosen = [replace(SMALL, test_set="validation", bleu=31.0), replace(LARGE, test_set="validation", bleu=29.0)]
    run = evaluated("run", [*chosen, replace(SMALL, chrf=55.5), LARGE])
    suitable = candidates([run], "validation", Device())
    best = choose(suitable, Device()).best
    assert best is not None and best.row is not None and best.row.model == "e1d1"  # LARGE is better on the test set
    text = figures(best, "validation")
    assert text.startswith("BLEU 31.00 on validation (chosen on), BLEU 30.00, chrF 55.50 on counting, ")


def test_a_devices_own_figures_count(evaluated: Callable[..., Run]) -> None:
    run = evaluated("run", [SMALL, MIDDLE])
    board = on_device("board", "e1d1", latency_p95_ms=70.0, hardware="a board", words_per_second=10.0)
    run.add([board, replace(board, device="phone", latency_p95_ms=50.0)])

    def latencies(name: str, **device: Any) -> list[float | None]:
        return [c.get("latency_p95_ms") for c in candidates([run], "counting", Device(**device), name)]

    assert latencies("board") == [70, None]
    assert latencies("tablet", measured_on="phone") == [50, None]
    assert latencies("board", measured_on="evaluation") == latencies("") == [10, 20]
    (best, _) = candidates([run], "counting", Device(), "board")
    assert (best.row.bleu, best.row.hardware, best.device) == (30.0, "a board", "board")
    choice = choose(candidates([run], "counting", Device(max_latency="100ms"), "board"), Device(max_latency="100ms"))
    assert "measured on board (a board)" in "\n".join(explain(choice, "counting"))


def test_a_shortlist_is_picked_where_it_can_be_shipped(evaluated: Callable[..., Run]) -> None:
    short = row("e1d1", 30.5, 5.1, 4, shortlist=True)
    run = evaluated("run", [SMALL, short])
    run.add([on_device("board", "e1d1", latency_p95_ms=50.0, shortlist=True)])

    def names(**device: Any) -> list[str]:
        return [c.name.removeprefix(f"{run.folder}/") for c in candidates([run], "counting", Device(**device))]

    assert names() == ["e1d1 int8 beam 1", "e1d1 +list int8 beam 1"]
    assert names(format="bergamot") == ["e1d1 int8 beam 1"]
    on_board = candidates([run], "counting", Device(), "board")
    assert [c.get("latency_p95_ms") for c in on_board] == [None, 50.0]
    best = choose(candidates([run], "counting", Device()), Device()).best
    assert best is not None and best.row.shortlist


def test_with_and_without_a_shortlist_are_measured_by_commands_of_their_own() -> None:
    found = [
        Candidate(Path("run"), row("e1d1", 30.0, 5, shortlist=short, beam=beam))
        for short, beam in ((True, 1), (False, 5))
    ]
    expected = "polystill evaluate run --engine ctranslate2 --precision int8 --beam"
    assert how_to_measure(found, Device()) == f"measure: {expected} 1 --shortlist; {expected} 5"


def test_runs_must_be_comparable(evaluated: Callable[..., Run]) -> None:
    first, second = evaluated("first", [SMALL]), evaluated("second", [replace(SMALL, bleu_signature="another")])
    with pytest.raises(UserError, match="computed in different ways"):
        candidates([first, second], "counting", Device())
    with pytest.raises(UserError, match=r"--test-set other: .*first has counting validation"):
        check_test_set([first, second], "other")
    state = read_checked_json(second.folder / "state.json")
    del state["stages"]["data"]["files"]  # a run of other text has other checksums
    (second.folder / "state.json").write_text(checked_json(state))
    (second.data / "test" / "counting.target.txt").write_text("something else\n")
    with pytest.raises(UserError, match=r"second: its test set counting is not the same as that of .*first"):
        check_test_set([first, second], "counting")
    (second.data / "validation.target.txt").write_text("something else\n")
    with pytest.raises(UserError, match=r"second: its validation set is not the same as that of .*first"):
        check_test_set([first, second], None)


def test_the_same_references_of_another_source_language_do_not_compare(evaluated: Callable[..., Run]) -> None:
    first, second = evaluated("first", [SMALL]), evaluated("second", [SMALL])
    state = read_checked_json(second.folder / "state.json")
    del state["stages"]["data"]["files"]
    (second.folder / "state.json").write_text(checked_json(state))
    (second.data / "validation.source.txt").write_text("something else\n")
    with pytest.raises(UserError, match=r"second: its validation set is not the same as that of .*first"):
        check_test_set([first, second], None)
