"""A run that is killed at random moments ends as one that is not."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.apart import start_command
from tests.chaos.faults import DieAt, Watch, outcome

KILLS = 50


def test_killed(
    chaos_recipe: Path,
    whole: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """One half of the moments are touches of files, the other half anywhere, all within half of a whole run."""
    expected, kills, runs = outcome(whole.folder), 0, 0
    while kills < part(KILLS):
        folder, moments = tmp_path / f"run-{runs}", list[str]()
        while True:
            moment, status = _live(folder, chaos_recipe, whole, dice, tmp_path / "log")
            if status == 0:
                break
            moments.append(moment)
            assert status == -signal.SIGKILL, (moments, (tmp_path / "log").read_text())
        assert outcome(folder) == expected, moments
        shutil.rmtree(folder)
        kills += len(moments)
        runs += 1
    note(f"{kills} kills (SIGKILL) in {runs} runs of two stages, {whole.touches} touches each: all ended bit for bit")


def _live(folder: Path, recipe: Path, whole: Any, dice: Random, log: Path) -> tuple[str, int | None]:
    """Run until a random moment; returns the moment and how it ended."""
    arguments = ["run", str(recipe), "--out", str(folder)]
    if dice.random() < 0.5:
        touch = dice.randint(1, whole.touches // 2)
        process = start_command(arguments, log, before=Watch(folder, log.with_name("touched"), DieAt(touch)))
        process.join()
        return f"touch {touch}", process.exitcode
    seconds = dice.uniform(0, whole.seconds / 2)
    process = start_command(arguments, log)
    process.join(seconds)
    process.kill()
    process.join()
    return f"{seconds:.2f} s", process.exitcode
