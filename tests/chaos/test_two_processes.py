"""Two processes want the same folder at the same moment: one works, the other is refused or finds it done."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from polystill.decoding.translator import DecodingOptions
from polystill.storage import temporary_of
from polystill.targets.store import TargetSet
from polystill.translation import open_translator
from tests.apart import start_command
from tests.best import best
from tests.chaos.faults import outcome

RACES = 10


def _race(
    commands: list[list[str]], dice: Random, folder: Path, *, kill_after: float = 0
) -> list[tuple[int | None, str]]:
    """Start them at once, and kill one of them after a random time up to `kill_after` seconds; how each has ended."""
    logs = [folder / f"{number}.log" for number in range(len(commands))]
    processes = [start_command(command, log) for command, log in zip(commands, logs, strict=True)]
    if kill_after:
        victim = dice.choice(processes)
        victim.join(dice.uniform(0, kill_after))
        victim.kill()
    for process in processes:
        process.join()
    return [
        (process.exitcode, log.read_text() if log.exists() else "")
        for process, log in zip(processes, logs, strict=True)
    ]


def _count(ended: list[tuple[int | None, str]], refusal: str) -> tuple[int, int]:
    """How many were refused, and how many killed; the others have ended well."""
    for status, said in ended:
        assert "Traceback" not in said, said
        assert status in (0, 2, -signal.SIGKILL), said
        assert status != 2 or refusal in said, said
    statuses = [status for status, _ in ended]
    return statuses.count(2), statuses.count(-signal.SIGKILL)


def test_two_runs_in_a_folder(
    chaos_recipe: Path,
    whole: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """One of the two is killed; what neither could finish a third one does."""
    refused = killed = 0
    for number in range(part(RACES)):
        folder = tmp_path / f"run-{number}"
        command = ["run", str(chaos_recipe), "--out", str(folder)]
        ended = _race([command, command], dice, tmp_path, kill_after=whole.seconds)
        more, dead = _count(ended, "is working on this run; wait until it has ended, or stop it")
        refused, killed = refused + more, killed + dead
        ((status, said),) = _race([command], dice, tmp_path)
        assert status == 0, said
        assert outcome(folder) == outcome(whole.folder)
        shutil.rmtree(folder)
    note(f"{part(RACES)} times two runs in a folder, {killed} killed: {refused} refused, all ended bit for bit")


def test_two_generations_in_a_folder(
    dice: Random, part: Callable[[int], int], note: Callable[[str], None], tmp_path: Path
) -> None:
    lines = [f"{number:x} {dice.random()}" for number in range(40_000, 60_000)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "done.tsv").write_text("".join(f"{line}\t{line[::-1]} x\n" for line in lines))
    refused = killed = 0
    for number in range(part(RACES)):
        out = tmp_path / f"targets-{number}"
        command = ["generate", str(tmp_path / "done.tsv"), "--source", str(tmp_path / "text"), "--out", str(out)]
        command += ["--shard-size", "100"]
        ended = _race([command, command], dice, tmp_path, kill_after=3)
        more, dead = _count(ended, "is working on this folder; wait until it has ended, or stop it")
        refused, killed = refused + more, killed + dead
        ((status, said),) = _race([command], dice, tmp_path)
        assert status == 0, said
        assert [entry.source for entry in TargetSet.open(out).entries()] == lines
        shutil.rmtree(out)
    note(f"{part(RACES)} times two generations in a folder, {killed} killed: {refused} refused, all lines once")


def test_two_exports_to_a_folder(
    whole: Any, dice: Random, part: Callable[[int], int], note: Callable[[str], None], tmp_path: Path
) -> None:
    """Of a student that both of them extract first."""
    refused = 0
    for number in range(part(RACES)):
        run, out = Path(shutil.copytree(whole.folder, tmp_path / f"run-{number}")), tmp_path / f"export-{number}"
        command = ["export", str(run), "e1d1", "--to", "ctranslate2", "--out", str(out)]
        ended = _race([command, command], dice, tmp_path)
        refused += _count(ended, "not empty")[0]
        for model in (out, run / "students/e1d1"):
            with open_translator(model, None, threads=1) as translator:  # compares the files with their checksums
                assert len(best(translator.translate(["one two three"], DecodingOptions(1)))) == 1
        assert not [path for path in tmp_path.rglob(".*") if temporary_of(path.name)]
    note(f"{part(RACES)} times two exports to a folder: {refused} refused, the others and the student whole")
