"""experiments.study and .make: needs follow from paths; finished rows stay; a failure stops only those that need it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.make import run_rows
from experiments.study import Part, Row, Study, chosen_rows, needs
from polystill.errors import UserError
from polystill.runs import Run
from polystill.storage import lock_folder
from polystill.targets.store import Candidate, Entry


def run_row(name: str, recipe: Part) -> Row:
    return Study(name="tiny", data={}).run(name, "network", recipe)


def select(name: str, source: str, *more: str) -> Row:
    """A cheap real command."""
    out = Path("targets") / name
    return Row(name, ("select", Path("targets") / source, *more, "--out", out), out, "targets")


def no_write(final: bool) -> None:
    pass


def conduct(rows: list[Row], folder: Path, **how: Any) -> None:
    run_rows(rows, rows, folder, "kim-rush", **how)


def test_needs_follow_from_paths(counting_recipe: dict[str, Any]) -> None:
    teacher = run_row("teacher", counting_recipe)
    out = Path("targets/beam")
    chosen = Row("chosen", ("generate", Path("runs/teacher"), "--out", out), out, "targets")
    student = run_row("student", {**counting_recipe, "data": {"targets": {"beam": Path("targets/beam")}}})
    tuned = run_row("tuned", {**counting_recipe, "model": {"start": Path("runs/student/family")}})
    other = run_row("student+", counting_recipe)
    steps = [teacher, chosen, student, tuned, other]
    assert [needs(step, steps) for step in steps] == [[], [teacher], [chosen], [student], []]
    assert chosen_rows(steps, ["tuned"]) == [teacher, chosen, student, tuned]
    assert chosen_rows(steps, None) == steps
    with pytest.raises(UserError, match=r"--rows tund: no such row \(did you mean 'tuned'\?\); there are: teacher"):
        chosen_rows(steps, ["tund"])


@pytest.fixture
def study(tmp_path: Path, make_targets: Any) -> Path:
    """A study's folder with n-best lists in it."""
    (tmp_path / "study" / "steps").mkdir(parents=True)
    entries = [Entry([i], f"one {i}", ["eins"], [Candidate("zwei"), Candidate("eins")]) for i in range(4)]
    make_targets(tmp_path / "study" / "targets" / "n-best", entries)
    return tmp_path / "study"


def test_a_failure_stops_those_that_need_it_and_no_others(study: Path) -> None:
    broken, after = select("broken", "missing"), select("after", "broken")
    good = select("good", "n-best", "--by", "chrf")
    said: list[str] = []
    writes: list[bool] = []
    with pytest.raises(UserError) as caught:
        conduct([broken, after, good], study, parallel=2, say=said.append, write=writes.append)
    message = str(caught.value)
    assert f"broken: {study / 'targets' / 'missing'}: no such folder" in message
    assert "after: needs broken" in message
    assert "good" not in message
    assert (study / "targets" / "good").is_dir()
    assert writes == [False, True]
    log = (study / "logs" / "good.log").read_text()
    assert "4 sentences" in log

    # A second time: what is done is not done again, and the failed one is tried again.
    (study / "logs" / "good.log").unlink()
    conduct([good], study, parallel=1, say=said.append, write=writes.append)
    assert "1 rows, 1 of them finished" in said[-1]
    assert not (study / "logs" / "good.log").exists()


def test_a_user_can_call_make(study: Path) -> None:
    first, second = select("first", "n-best"), select("second", "n-best", "--by", "chrf")
    conduct([first, second], study, parallel=1, say=lambda line: None, write=no_write)
    for row in (first, second):
        shutil.rmtree(study / row.out)
        (study / "steps" / f"{row.name}.done").unlink()
    subprocess.run(["make", "-C", str(study), "steps/second.done"], check=True)
    assert (study / second.out).is_dir() and not (study / first.out).exists()


def test_rows_that_measure_time_run_by_themselves_at_the_end(study: Path) -> None:
    timed = replace(select("timed", "n-best"), alone=True)
    after_failure = replace(select("never", "broken"), alone=True)
    rows = [timed, after_failure, select("broken", "missing"), select("good", "n-best", "--by", "chrf")]
    said: list[str] = []
    with pytest.raises(UserError, match="never: needs broken"):
        conduct(rows, study, parallel=4, say=said.append, write=no_write)
    assert said[1:] == ["good: done", "timed: done"]


def test_a_step_that_was_begun_with_other_settings_is_refused(study: Path) -> None:
    conduct([select("good", "n-best")], study, parallel=1, say=lambda line: None, write=no_write)
    with pytest.raises(UserError, match=r"good was begun with other settings:\n  the command: was .*, now .*chrf"):
        conduct([select("good", "n-best", "--by", "chrf")], study, parallel=1, say=lambda line: None, write=no_write)


def test_other_settings_are_refused_in_rows_that_are_not_asked_for_as_well(study: Path) -> None:
    good = select("good", "n-best")
    conduct([good], study, parallel=1, say=lambda line: None, write=no_write)
    other, by_chrf = select("other", "n-best"), select("good", "n-best", "--by", "chrf")
    with pytest.raises(UserError, match="good was begun with other settings"):
        run_rows([other], [other, by_chrf], study, "kim-rush", parallel=1, say=lambda line: None, write=no_write)
    assert not (study / "targets" / "other").exists()
    run_rows([other], [other, good], study, "kim-rush", parallel=1, say=lambda line: None, write=no_write)


def test_another_study_is_refused(study: Path) -> None:
    steps = [select("good", "n-best")]
    conduct(steps, study, parallel=1, say=lambda line: None, write=no_write)
    with pytest.raises(UserError, match="holds another study than aio-kd; give a new or empty folder"):
        run_rows(steps, steps, study, "aio-kd", parallel=1, say=lambda line: None, write=no_write)


def test_missing_text_is_found_before_there_is_a_folder(tmp_path: Path, counting_recipe: dict[str, Any]) -> None:
    data = {**counting_recipe["data"], "folder": "/nowhere"}
    steps = [run_row(name, {**counting_recipe, "data": data}) for name in ("teacher", "student")]
    with pytest.raises(UserError, match=r"^/nowhere/.*: no such file"):
        conduct(steps, tmp_path / "new", parallel=1, say=lambda line: None, write=no_write)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def with_run(tmp_path: Path, counting_recipe: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A study with a run that says of itself that it is finished."""
    study = tmp_path / "study"
    (study / "steps").mkdir(parents=True)
    step = run_row("teacher", counting_recipe)
    with Run.start(study / "runs" / "teacher", step.parsed) as run:
        run.add([])
        run.finish("evaluation", {"rows": 0})
    note = {"label": "teacher", "seed": 1, "command": step.shown_command(), "recipe": step.recipe}
    (study / "steps" / "teacher.json").write_text(json.dumps(note))
    (study / "steps" / "teacher.done").touch()
    return study, counting_recipe


def test_what_a_run_can_take_up_is_no_other_setting(with_run: tuple[Path, dict[str, Any]]) -> None:
    study, recipe = with_run
    said: list[str] = []
    conduct([run_row("teacher", recipe)], study, parallel=1, say=said.append, write=no_write)
    assert "1 rows, 1 of them finished" in said[0]
    longer = {**recipe, "stages": [{**recipe["stages"][0], "updates": 99}, recipe["stages"][1]]}
    with pytest.raises(UserError, match=r"teacher was begun with other settings:\n  stages.0.updates: was 12, now 99"):
        conduct([run_row("teacher", longer)], study, parallel=1, say=said.append, write=no_write)
    # Evaluation may change: the run is called again (and refuses here, for its data are not there).
    wider = {**recipe, "evaluation": {"beams": [1, 2]}, "data": {**recipe["data"], "folder": "/nowhere"}}
    with pytest.raises(UserError, match=r"not everything was done:\n  teacher: .*\n +data.folder: was"):
        conduct([run_row("teacher", wider)], study, parallel=1, say=said.append, write=no_write)


def test_a_study_is_one_process_alone_and_in_no_foreign_folder(study: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("dear")
    with pytest.raises(UserError, match=r"holds letters.txt and no study"):
        conduct([], tmp_path / "other", parallel=1, say=lambda line: None, write=no_write)
    (study / "steps" / "good.json").write_text("{")
    with pytest.raises(UserError, match=r"good.json: damaged"):
        conduct([select("good", "n-best")], study, parallel=1, say=lambda line: None, write=no_write)
    assert lock_folder(study, "study")  # was given back
