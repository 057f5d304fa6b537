"""A flipped bit, a missing end, a page of zeros, anywhere in a checkpoint, the data or a shard: found every time."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.runs import Run
from polystill.targets.store import TargetSet, read_note, shard_path
from polystill.training.checkpoint import Checkpoints
from tests.apart import start_command
from tests.chaos.faults import DieWith, Watch, damaged, outcome

READINGS = 1000
"""Damages to each kind of file, which is then read."""
RUNS = 20
"""Damages to a run that was killed, which then goes on."""


@pytest.fixture(scope="module")
def killed(whole: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its second stage, when this had two states."""
    folder = tmp_path_factory.mktemp("killed")
    die = DieWith(folder / "run", "checkpoints/mutual/state-*.pt", 2)
    arguments = ["run", str(whole.folder / "recipe.yaml"), "--out", str(folder / "run")]
    process = start_command(arguments, folder / "log", before=Watch(folder / "run", folder / "touched", die))
    process.join()
    assert process.exitcode == -signal.SIGKILL, (folder / "log").read_text()
    return folder / "run"


def _complaints(run: Path, caplog: pytest.LogCaptureFixture) -> str:
    """All that is said when everything that a training goes on from is read."""
    said = list[str]()
    caplog.clear()
    stages = [Checkpoints(folder) for folder in sorted(run.glob("checkpoints/*")) if folder.is_dir()]
    reads: list[Callable[[], object]] = [Run.open(run).check_data]
    for stage in stages:
        finals = [stage.load_final] if (stage.folder / "final.safetensors").exists() else []
        bests = [int(path.stem[-8:]) for path in stage.folder.glob("best-*")]
        reads += [partial(_load_states, stage, said.append), stage.average_weights, *finals]
        reads += [partial(stage.load_best, best) for best in bests]
    for read in reads:
        try:
            read()
        except UserError as error:
            said.append(str(error))
    return "\n".join([*said, caplog.text])


def _load_states(stage: Checkpoints, warn: Callable[[str], None]) -> None:
    """Every state, as if it were the newest."""
    states = sorted(stage.folder.glob("state-*.pt"), reverse=True)
    for state in states:
        with suppress(UserError):  # it is the only one, and damaged, as has been said
            stage.load_state(warn)
        state.rename(state.with_suffix(".read"))
    for state in states:
        state.with_suffix(".read").rename(state)


def test_every_damage_of_a_checkpoint_or_the_data_is_found(
    killed: Path,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    run = Path(shutil.copytree(killed, tmp_path / "run"))
    assert _complaints(run, caplog) == ""
    places = [*run.glob("checkpoints/*/*"), *(run / "data").rglob("*")]
    files = sorted(path for path in places if path.is_file() and path.stat().st_size)
    for _ in range(part(READINGS)):
        path = dice.choice(files)
        content = path.read_bytes()
        what, changed = damaged(content, dice)
        path.write_bytes(changed)
        assert str(path) in _complaints(run, caplog), (path, what)
        path.write_bytes(content)
    note(f"{part(READINGS)} damages to {len(files)} files of checkpoints and data: all found")


def test_a_damaged_run_is_refused_or_ends_as_an_undamaged_one(
    killed: Path, whole: Any, dice: Random, part: Callable[[int], int], note: Callable[[str], None], tmp_path: Path
) -> None:
    expected, refused = outcome(whole.folder), 0
    for number in range(part(RUNS)):
        run = Path(shutil.copytree(killed, tmp_path / f"run-{number}"))
        files = sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size)
        path = dice.choice([path for path in files if not path.is_relative_to(run / "logs")])
        what, changed = damaged(path.read_bytes(), dice)
        path.write_bytes(changed)
        log = tmp_path / "log"
        process = start_command(["run", str(whole.folder / "recipe.yaml"), "--out", str(run)], log)
        process.join()
        said = log.read_text()
        assert "Traceback" not in said and process.exitcode in (0, 2), (path, what, said)
        if process.exitcode == 0:
            assert outcome(run) == expected, (path, what)
        else:
            assert str(path) in said[said.index("error: ") :] or path.name == "recipe.yaml", (path, what, said)
        refused += process.exitcode == 2
        shutil.rmtree(run)
    note(f"{part(RUNS)} damages to killed runs: {refused} refused by name, the others ended bit for bit")


def test_every_damage_of_a_shard_is_found(
    dice: Random, part: Callable[[int], int], note: Callable[[str], None], tmp_path: Path
) -> None:
    """By whoever trains on it, and by the command that goes on, which makes it again once it is deleted."""
    lines = [f"{number:x} {dice.random()}" for number in range(40_000, 44_000)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "done.tsv").write_text("".join(f"{line}\t{line[::-1]} x\n" for line in lines))
    out, log = tmp_path / "targets", tmp_path / "log"
    command = ["generate", str(tmp_path / "done.tsv"), "--source", str(tmp_path / "text"), "--out", str(out)]

    def generate() -> int | None:
        process = start_command(command, log)
        process.join()
        return process.exitcode

    assert generate() == 0, log.read_text()
    expected, path = list(TargetSet.open(out).entries()), shard_path(out, 1)
    content = path.read_bytes()
    for _ in range(part(READINGS)):
        what, changed = damaged(content, dice)
        path.write_bytes(changed)
        for read in (read_note, lambda _: list(TargetSet.open(out).entries())):
            with pytest.raises(UserError, match=rf"^{path}: damaged"):
                read(path)
                pytest.fail(what)
    assert generate() == 2 and f"{path}: damaged" in log.read_text()
    path.unlink()
    assert generate() == 0, log.read_text()
    assert list(TargetSet.open(out).entries()) == expected
    note(f"{part(READINGS)} damages to a shard of 2,000 lines: all found")
