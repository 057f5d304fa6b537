"""experiments.costs: what students that were not trained one by one would have cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments import page_figures
from experiments.aio_kd_paper import cost_times, gain
from experiments.costs import FIGURES, enough, estimate, flops_of_updates, summed, table_lines
from polystill.config import parse_recipe
from polystill.models import ARCHITECTURES
from polystill.runs import Run

DATA = {"vocabulary_size": 30, "pairs": {"train": 10}, "tokens": {"source": 70, "target": 90}}


@pytest.fixture
def run(counting_recipe: dict[str, Any], tmp_path: Path) -> Run:
    small = {"d_model": 8, "ffn_dim": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    with Run.start(tmp_path / "run", parse_recipe({**counting_recipe, "supernets": {"small": small}}, "here")) as run:
        run.finish("data", DATA)
    return run


def test_an_update_is_that_of_an_ordinary_model(run: Run) -> None:
    updates = flops_of_updates(run, taught=False)
    assert list(updates) == ["small-e1d1", "small-e2d1", "e1d1", "e2d1", "e2d2"]
    shape, architecture = run.recipe.model, ARCHITECTURES["transformer"]
    sizes = {**shape.sizes(), "encoder_layers": 2, "decoder_layers": 1}
    model = architecture.model_class(architecture.config_class(vocabulary_size=30, pad_id=0, eos_id=1, **sizes))
    plan = model.shared_plan([model.teacher])
    assert updates["e2d1"] == model.update_flops(plan, 32, 7, 9)


def test_the_frozen_teachers_pass_is_part_of_it(run: Run) -> None:
    alone, taught = (flops_of_updates(run, taught=taught) for taught in (False, True))
    assert {taught[student] - alone[student] for student in alone} == {alone["e2d2"] / 3}


def test_without_a_record_of_the_data_there_is_no_estimate(counting_recipe: dict[str, Any], tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", parse_recipe(counting_recipe, "here")) as run:
        assert flops_of_updates(run, taught=False) == {}


UPDATES = {"e1d1": 10.0, "e2d1": 14.0, "e2d2": 20.0}


def spent(updates: float) -> dict[str, float]:
    """Of a training of three updates."""
    flops = 3 * updates
    return {
        "flops": flops,
        "cpu_seconds": 5 + flops,
        "seconds": 6 + 2 * flops,
        "peak_rss_bytes": 7.0,
        "bytes_kept": flops,
    }


def test_costs_on_a_line_are_met() -> None:
    trained = {student: spent(UPDATES[student]) for student in ("e1d1", "e2d2")}
    others, off = estimate(trained, UPDATES)
    assert set(others) == {"e2d1"} and others["e2d1"] == pytest.approx(spent(14))
    assert off == {"flops": pytest.approx(0)}  # any line meets two points


def test_it_says_how_far_off_it_is() -> None:
    trained = {student: spent(flops) for student, flops in UPDATES.items()}
    trained["e2d1"]["cpu_seconds"] *= 2
    others, off = estimate(trained, UPDATES)
    assert set(off) == set(FIGURES)
    assert not others and off["cpu_seconds"] > 0.1 and off["flops"] == pytest.approx(0)


def test_supernets_may_have_different_numbers_of_updates() -> None:
    """Their students are estimated from their own."""
    updates = UPDATES | {f"small-{student}": flops / 2 for student, flops in UPDATES.items()}
    trained = {student: spent(UPDATES[student]) for student in ("e1d1", "e2d2")}
    trained |= {f"small-{student}": {**spent(0), "flops": UPDATES[student] / 2} for student in ("e1d1", "e2d2")}
    others, off = estimate(trained, updates)
    assert {student: cost["flops"] for student, cost in others.items()} == {"e2d1": 42.0, "small-e2d1": 7.0}
    assert off["flops"] == pytest.approx(0)


def test_a_supernet_needs_two_trained_students() -> None:
    small = {**UPDATES, "small-e1d1": 2.0, "small-e2d2": 4.0}
    assert enough(["e1d1", "e2d2"], UPDATES) and not enough(["e1d1"], UPDATES)
    assert enough(["e1d1", "e2d2", "small-e1d1", "small-e2d2"], small) and not enough(["e1d1", "e2d2"], small)
    assert enough(["e1d1", "e2d2", "tiny-e1d1"], UPDATES | {"tiny-e1d1": 1.0})  # all of its supernet was trained


def test_a_supernet_that_was_trained_whole_needs_no_line() -> None:
    trained = {student: dict.fromkeys(FIGURES, UPDATES[student]) for student in ("e1d1", "e2d2")}
    tiny = {"tiny-e1d1": dict.fromkeys(FIGURES, 1.0)}
    others, _ = estimate(trained | tiny, UPDATES | {"tiny-e1d1": 1.0})
    assert others == estimate(trained, UPDATES)[0]


def test_measured_and_estimated_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"trained": summed([spent(1e12), spent(2e12)]), "estimated": summed([spent(3e12)])}
    all_of_them = {key: sum(part[key] for part in parts.values()) for key in parts["trained"]}
    word_kd = {**parts, "all": all_of_them, "times_family": {"flops": 6.0}, "machines": ["a", "b"]}
    word_kd |= {"teacher_flops": all_of_them["flops"] / 2, "estimate_off_by": {"flops": 0.01}}
    of_family = {**summed([spent(1e12)]), "students": 3}
    ways = {
        "family": {"all": of_family, "times_family": {"flops": 1.0}, "machines": ["a"]},
        "teacher": {"all": summed([spent(2e12)]), "times_family": {"flops": 2.0}, "machines": ["a"]},
        "word-kd": word_kd,
    }
    first, *lines = table_lines(ways)
    assert first[:3] == ["the family", "3", "3e+12 (1.00)"] and first[-2:] == ["1.00, 1.00, 1.00"] * 2
    assert [line[:3] for line in lines] == [
        ["its largest network alone", "1", "6e+12 (2.00)"],
        ["one by one by Word-KD: trained", "2", "9e+12"],
        ["one by one by Word-KD: estimated", "1", "9e+12"],
        ["one by one by Word-KD", "3", "1.8e+13 (6.00)"],
        ["one by one by Word-KD, without the teacher's passes", "3", "9e+12 (3.00)"],
    ]
    assert lines[-2][-2:] == ["2.42, 2.47, 2.09", "4.54, 2.85, 3.79"]
    monkeypatch.setattr(page_figures, "content", lambda source: {"cost_of_all": ways})
    page = page_figures.costs("study")
    assert page.count("\n| ") == 6 and "word-kd FLOPs 1.0%" in page and "so do not compare their times: a; b." in page


def test_the_papers_figures() -> None:
    assert gain("alone", "family", ["e6d6"]) == "De→En +2.66, En→Ro +3.43, En→De +1.20"
    assert gain("no-detaching", "family") == "En→De +0.76"
    assert gain("alone", "family", ["e1d1"]) == gain("mutual-full", "family") == "–"
    assert cost_times("alone", "hours") == "0.88, 0.95, 0.52" and cost_times("selective-kd", "hours") == ""
