"""runs/run.py: atomic writes, locks, changed recipes, results."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polystill.config import Recipe, load_recipe, parse_recipe
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.results import Cost, DeviceRow, QualityRow

ROW = QualityRow(
    model_id="m",
    model="e1d1",
    test_set="seen",
    engine="torch",
    precision="float32",
    beam=1,
    length_penalty=1.0,
    bleu=10.0,
)


def recipe(**changes: Any) -> Recipe:
    """A small recipe; `changes` are dotted keys with "__" for the dot."""
    values: dict[str, Any] = {
        "data": {
            "train": [{"kind": "synthetic", "pairs": 100}],
            "validation": {"kind": "synthetic", "pairs": 10, "split": "validation"},
            "test": {"seen": {"kind": "synthetic", "pairs": 10, "split": "test"}},
        },
        "stages": [{"name": "one", "updates": 10}, {"name": "two", "updates": 20}],
    }
    for key, value in changes.items():
        place: Any = values
        *parents, last = key.split("__")
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[last] = value
    return parse_recipe(values, "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def finish_everything(run: Run) -> None:
    for stage in ("data", "training.one", "training.two", "family", "evaluation"):
        run.finish(stage, {"n": 1, "updates": 20})
    make_data(run)
    run.family.mkdir()
    run.add([ROW])


def test_start_clears_what_killed_processes_left(folder: Path) -> None:
    Run.start(folder, recipe()).close()
    (folder / ".data.tmp-0123abcd").mkdir()
    (folder / ".state.json.tmp-0123abcd").write_text("half")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / ".two.old-0123abcd").mkdir()  # killed between the two renames
    (folder / "checkpoints" / ".two.tmp-0123abcd").mkdir()
    (folder / "checkpoints" / "one").mkdir()
    (folder / "checkpoints" / ".one.old-0123abcd").mkdir()  # killed after them
    Run.start(folder, recipe()).close()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert names == [".lock", "checkpoints", "checkpoints/one", "checkpoints/two", "recipe.yaml", "state.json"]


# --- start, continue, refuse ------------------------------------------------------------------------------------------


def test_recipe_on_disk_is_the_resolved_one(folder: Path) -> None:
    given = recipe(students__encoder=[2, 4], training__betas=[0.9, 0.99])
    Run.start(folder, given).close()
    assert load_recipe(folder / "recipe.yaml") == given


def test_stages_survive_and_are_found_again(folder: Path) -> None:
    with Run.start(folder, recipe()) as run:
        assert not run.finished("data")
        run.finish("data", {"pairs": 3})
        run.data.mkdir()
        identity = run.run_id
    again = Run.open(folder)
    assert again.finished("data")
    assert again.record("data")["pairs"] == 3  # type: ignore[index]
    assert again.run_id == identity


def test_a_stage_whose_folder_is_gone_is_not_finished(folder: Path) -> None:
    with Run.start(folder, recipe()) as run:
        finish_everything(run)
        (folder / "family").rmdir()
        assert (run.finished("data"), run.finished("training.two"), run.finished("family")) == (True, True, False)
        shutil.rmtree(folder / "data")
        assert not run.finished("data")


def test_two_runs_have_different_identities(tmp_path: Path) -> None:
    identities = set()
    for name in ("a", "b"):
        with Run.start(tmp_path / name, recipe()) as run:
            identities.add(run.run_id)
    assert len(identities) == 2


def begin(folder: Path, recipe: Recipe) -> None:
    """A run whose data are prepared."""
    with Run.start(folder, recipe) as run:
        run.finish("data", {})
        make_data(run)


def checkpoint(folder: Path) -> None:
    (folder / "checkpoints" / "one").mkdir(parents=True)
    (folder / "checkpoints" / "one" / "state-00000003.pt").touch()


def make_data(run: Run) -> None:
    """Of the data, what tells that the test set is prepared."""
    (run.data / "test").mkdir(parents=True)
    (run.data / "test" / "seen.target.txt").touch()


def test_a_run_that_has_done_nothing_takes_another_recipe(folder: Path) -> None:
    """Its data were refused, say: the mistake may be mended in the same folder."""
    Run.start(folder, recipe()).close()
    changed = recipe(seed=2, data__folder="/elsewhere", model__d_model=64)
    Run.start(folder, changed).close()
    assert load_recipe(folder / "recipe.yaml") == changed
    begin(folder, changed)
    with pytest.raises(UserError, match="seed: was 2, now 1"):
        Run.start(folder, recipe())


def test_changed_recipe_is_refused_with_every_key_and_both_values(folder: Path) -> None:
    begin(folder, recipe())
    checkpoint(folder)
    state = (folder / "state.json").read_bytes()
    changed = recipe(training__learning_rate=0.1, model__d_model=64, stages__0__updates=11)
    with pytest.raises(UserError) as caught:
        Run.start(folder, changed)
    message = str(caught.value)
    assert "training.learning_rate: was 0.0005, now 0.1" in message
    assert "model.d_model: was 256, now 64" in message
    assert "stages.0.updates: was 10, now 11" in message
    assert str(folder) in message
    assert (folder / "state.json").read_bytes() == state
    assert load_recipe(folder / "recipe.yaml") == recipe()


REFUSED = {
    "another first stage": {"stages__0__updates": 11},
    "a test set that changed": {"data__test__seen__pairs": 11},
    "no test set": {"data__test": {}},
    "seed": {"seed": 2},
    "one stage more": {
        "stages": [{"name": "one", "updates": 10}, {"name": "two", "updates": 20}, {"name": "three", "updates": 1}]
    },
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_refused_changes(folder: Path, changes: dict[str, Any]) -> None:
    begin(folder, recipe())
    with pytest.raises(UserError, match="another recipe"):
        Run.start(folder, recipe(**changes))


NEW_TEST_SET = {"kind": "synthetic", "pairs": 5, "split": "test"}
ADDED: dict[str, tuple[dict[str, Any], set[str], int]] = {
    # change → the stages that are unfinished again, rows kept
    "a test set": ({"data__test__seen.new": NEW_TEST_SET}, {"evaluation"}, 1),
    "students": ({"evaluation__students": ["e4d2"]}, {"evaluation"}, 1),
    "beams": ({"evaluation__beams": [1, 4]}, {"evaluation"}, 1),
    "another penalty": ({"evaluation__length_penalty": 0.6}, {"evaluation"}, 1),
    "lowercase": ({"evaluation__lowercase": True}, {"evaluation"}, 1),
    "skipping losses that are not finite": ({"training__on_nonfinite": "skip"}, set(), 1),
    "threads": ({"training__threads": 3}, set(), 1),
    "corpora that moved": ({"data__folder": "/elsewhere"}, set(), 1),
    "more updates": ({"stages__1__updates": 30}, {"training.two", "family", "evaluation"}, 0),
}


@pytest.mark.parametrize(("changes", "unfinished", "rows"), ADDED.values(), ids=ADDED)
def test_what_can_be_added(folder: Path, changes: dict[str, Any], unfinished: set[str], rows: int) -> None:
    with Run.start(folder, recipe()) as run:
        finish_everything(run)
    changed = recipe(**changes)
    with Run.start(folder, changed) as run:
        stages = ("data", "training.one", "training.two", "family", "evaluation")
        assert {stage for stage in stages if not run.finished(stage)} == unfinished
        assert len(run.results().rows) == rows
    assert load_recipe(folder / "recipe.yaml") == changed


def test_training_may_change_before_its_first_checkpoint(folder: Path) -> None:
    """A smaller batch, say, if the memory does not suffice: the data need not be prepared again."""
    begin(folder, recipe())
    changed = recipe(training__batch_tokens=64, training__precision="fp32")
    with Run.start(folder, changed) as run:
        assert run.finished("data")
    assert load_recipe(folder / "recipe.yaml") == changed
    checkpoint(folder)
    with pytest.raises(UserError, match=r"training.batch_tokens: was 64, now 32\n.*all of training before the first"):
        Run.start(folder, recipe(training__batch_tokens=32, training__precision="fp32"))


def test_another_order_of_supernets_is_no_change(folder: Path) -> None:
    """The optimizer's state in a checkpoint goes by the order of the weights."""
    shape = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 8, "ffn_dim": 16, "heads": 2}
    begin(folder, recipe(supernets={"small": shape, "tiny": {**shape, "d_model": 4}}))
    reordered = recipe(supernets={"tiny": {**shape, "d_model": 4}, "small": shape}, evaluation__beams=[3])
    with Run.start(folder, reordered) as run:
        assert list(run.recipe.supernets) == ["small", "tiny"]
        assert run.recipe.evaluation.beams == [3]
    assert list(load_recipe(folder / "recipe.yaml").supernets) == ["small", "tiny"]


def test_corpora_may_not_move_if_they_are_to_be_read_again(folder: Path) -> None:
    begin(folder, recipe())
    shutil.rmtree(folder / "data")
    with pytest.raises(UserError, match=r"data\.folder"):
        Run.start(folder, recipe(data__folder="/elsewhere"))


def test_relative_and_absolute_paths_to_the_same_place_are_no_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin(folder, recipe(data__folder="corpora", model__start="model"))
    Run.start(folder, recipe(data__folder=str(tmp_path / "corpora"), model__start=str(tmp_path / "model"))).close()


def test_a_longer_stage_has_no_figures_of_the_shorter_one(folder: Path) -> None:
    """Such as the energy, which is not known where the rest was trained without codecarbon."""
    with Run.start(folder, recipe()) as run:
        finish_everything(run)
        for stage in ("training.one", "training.two"):
            run.add_cost(stage, Cost(seconds=1.0, energy_kwh=0.5))
    with Run.start(folder, recipe(stages__1__updates=30)) as run:
        run.add_cost("training.two", Cost(seconds=2.0))
        costs = run.results().cost
    assert costs["training.one"].energy_kwh == 0.5 and costs["training.two"] == Cost(seconds=2.0)


def test_removed_rows_are_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Run.start(folder, recipe()) as run:
        finish_everything(run)
        run.add([DeviceRow(device="x", model="e1d1", engine="a", precision="int8", beam=1)])
    caplog.set_level("INFO", "polystill")
    with Run.start(folder, recipe(stages__1__updates=30)) as run:
        assert (run.results().rows, run.results().devices) == ([], [])
    assert "1 rows of results are of the family before; removed" in caplog.text


def test_a_test_set_may_change_until_it_is_prepared(folder: Path) -> None:
    """Such as the name of a file that is not there, at which the run ended."""
    begin(folder, recipe())
    Run.start(folder, recipe(data__test__more={**NEW_TEST_SET, "pairs": 6})).close()
    Run.start(folder, recipe(data__test__more=NEW_TEST_SET)).close()
    (folder / "data" / "test" / "more.target.txt").touch()
    with pytest.raises(UserError, match=r"data\.test\.more\.pairs: was 5, now 6"):
        Run.start(folder, recipe(data__test__more={**NEW_TEST_SET, "pairs": 6}))


def test_updates_may_become_fewer_but_not_than_are_done(folder: Path) -> None:
    begin(folder, recipe())
    Run.start(folder, recipe(stages__1__updates=2000)).close()
    (folder / "checkpoints" / "two").mkdir(parents=True)
    (folder / "checkpoints" / "two" / "state-00000015.pt").touch()
    Run.start(folder, recipe(stages__1__updates=15)).close()
    with pytest.raises(UserError, match=r"stages\.1\.updates: was 15, now 14"):
        Run.start(folder, recipe(stages__1__updates=14))


def test_more_updates_are_refused_where_the_schedule_depends_on_them(folder: Path) -> None:
    begin(folder, recipe(training__schedule="cosine"))
    with pytest.raises(UserError, match=r"stages\.1\.updates: was 20, now 30"):
        Run.start(folder, recipe(training__schedule="cosine", stages__1__updates=30))


@pytest.mark.parametrize("done", [12, 20])
@pytest.mark.parametrize("allowed", [False, True])
def test_more_updates_are_refused_for_a_stage_that_stopped_early(folder: Path, done: int, allowed: bool) -> None:
    with Run.start(folder, recipe(training__early_stopping=3)) as run:
        finish_everything(run)
        run.finish("training.two", {"updates": done, **({} if allowed else {"stopped_early": True})})
    more = recipe(training__early_stopping=3, stages__1__updates=30)
    message = rf"stages\.1\.updates: was 20, now 30, but stage two stopped early after {done} \(training"
    with nullcontext() if allowed else pytest.raises(UserError, match=message):
        Run.start(folder, more).close()
    assert (len(Run.open(folder).results().rows), allowed) in ((1, False), (0, True))
    Run.start(folder, more if allowed else recipe(training__early_stopping=3, evaluation__beams=[1])).close()


@pytest.mark.parametrize(("general", "own", "allowed"), [("cosine", "constant", True), ("constant", "cosine", False)])
def test_it_is_the_last_stages_own_schedule_that_counts(folder: Path, general: str, own: str, allowed: bool) -> None:
    schedules = {"training__schedule": general, "stages__1__schedule": own}
    begin(folder, recipe(**schedules))
    with nullcontext() if allowed else pytest.raises(UserError, match=r"stages\.1\.updates: was 20, now 30"):
        Run.start(folder, recipe(**schedules, stages__1__updates=30)).close()


def test_foreign_folder_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"not empty and is not a run.*thesis\.tex"):
        Run.start(folder, recipe())
    with pytest.raises(UserError, match="this folder is not a run"):
        Run.open(folder)
    with pytest.raises(UserError, match="no such run"):
        Run.open(folder / "nowhere")


def test_a_foreign_folder_is_refused_untouched(folder: Path) -> None:
    """Such as the folder of many runs, given for one of them while another one writes its checkpoint."""
    Run.start(folder / "a", recipe()).close()
    (folder / "a" / ".state-00000004.pt.tmp-0123abcd").write_text("half")
    (folder / "a" / ".data.old-0123abcd").mkdir()
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="not empty and is not a run"):
        Run.start(folder, recipe())
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("left_over", [".state.json.tmp-0123abcd", "state.json", ".recipe.yaml.tmp-0123abcd"])
def test_creation_that_was_killed_is_begun_again(folder: Path, left_over: str) -> None:
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / left_over).write_text('{"run_id": "x", "stages": {}}')  # killed before recipe.yaml
    Run.start(folder, recipe()).close()
    assert Run.open(folder).run_id != "x"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "recipe.yaml", "state.json"]


@pytest.mark.parametrize("name", ["state.json", "results.json"])
@pytest.mark.parametrize("content", ['{"rows": [', "[]", '{"rows": {}, "stages": []}', "\x00\xff"])
def test_damaged_files_are_named_and_never_overwritten(folder: Path, name: str, content: str) -> None:
    with Run.start(folder, recipe()) as run:
        finish_everything(run)
    (folder / name).write_text(content, encoding="latin-1")
    for changed in (recipe(), recipe(evaluation__students=["e4d2"])):
        with pytest.raises(UserError, match=name):
            Run.start(folder, changed)
    assert (folder / name).read_text(encoding="latin-1") == content


def test_a_digit_that_has_changed_in_the_state_is_found(folder: Path) -> None:
    with Run.start(folder, recipe()) as run:
        run.finish("data", {"pairs": 100})
    state = folder / "state.json"
    state.write_text(state.read_text().replace("100", "900"))
    with pytest.raises(
        UserError, match=r"state\.json: damaged \(its content is not what was written \(SHA-256\)\); it says"
    ):
        Run.start(folder, recipe())


def test_missing_state_is_not_taken_for_a_new_run(folder: Path) -> None:
    Run.start(folder, recipe()).close()
    (folder / "state.json").unlink()
    with pytest.raises(UserError, match=r"state\.json: missing; .*restore it from a copy, or start a run in a new"):
        Run.start(folder, recipe())


@pytest.fixture
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run until its input ends."""
    Run.start(folder, recipe()).close()
    code = (
        "import sys; from pathlib import Path; from polystill.runs import Run\n"
        f"run = Run.open(Path({str(folder)!r}), lock=True); print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_refused_until_the_first_ends(folder: Path, other_process: subprocess.Popen[str]) -> None:
    for attempt in (lambda: Run.start(folder, recipe()), lambda: Run.open(folder, lock=True)):
        with pytest.raises(UserError, match=f"process {other_process.pid} is working on this run"):
            attempt()
    assert Run.open(folder).recipe == recipe()  # reading is free
    other_process.kill()
    other_process.wait()
    Run.start(folder, recipe()).close()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_there_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    Run.start(folder, recipe()).close()
    assert caplog.messages == [f"{folder}: this file system has no locks; let no other process work on this run"]


# --- results --------------------------------------------------------------------------------------------------------


def test_rows_are_merged_by_their_key(folder: Path) -> None:
    with Run.start(folder, recipe()) as run:
        run.add([ROW, replace(ROW, beam=5, bleu=11.0)])
        run.add([replace(ROW, bleu=12.0), replace(ROW, length_penalty=0.5, bleu=13.0)])
        run.add([replace(ROW, shortlist=True, bleu=14.0)])
        rows = run.results().rows
    assert [(r.beam, r.bleu) for r in rows] == [(1, 12.0), (5, 11.0), (1, 13.0), (1, 14.0)]
    assert rows[0].seed == 1
    assert rows[0].run_id.startswith("run-")
    assert "core" in rows[0].hardware


def test_what_a_row_says_of_its_origin_is_kept(folder: Path) -> None:
    row = replace(ROW, run_id="another", seed=7, hardware="a board", commit="abc")
    with Run.start(folder, recipe()) as run:
        run.add([row])
        assert run.results().rows == [row]


def test_cost_is_kept_by_stage_and_key(folder: Path) -> None:
    with Run.start(folder, recipe()) as run:
        run.add_cost("data", Cost(seconds=1.5, device="cpu"))
        run.add_cost("family", Cost(seconds=1))
        run.add_cost("data", Cost(seconds=3.5))
        results = run.results()
        assert results.cost == {"data": Cost(seconds=3.5, device="cpu"), "family": Cost(seconds=1)}
        assert results.provenance is not None and results.provenance.versions["python"]
        earlier = replace(results.provenance, command="what made the figures")
        replace(results, provenance=earlier).write(folder / "results.json")
        run.add_cost("evaluation", Cost(seconds=1))
        assert run.results().provenance == earlier
