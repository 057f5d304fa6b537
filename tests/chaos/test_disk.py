"""A disk that is full, a folder that may not be written, at random moments: one clear line, and the run goes on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from polystill.storage import tree_bytes
from polystill.targets.store import TargetSet
from tests import apart
from tests.apart import start_command
from tests.chaos.faults import Watch, outcome

FULL_DISKS = 10
"""Runs on a disk that is full several times."""
FILLED = 3
"""Times that the disk of such a run, or generation, is full."""
READ_ONLY = 20
ROOM = 256 * 2**20


def _grow(folder: Path, size: int) -> None:
    """Give the disk that is mounted there another size."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, str(folder).encode(), None, 32, b"size=%d" % size) != 0:  # MS_REMOUNT
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _with_little_room(
    mount: Callable[[], None], disk: Path, arguments: list[str], sizes: list[int], result: Callable[[Path], Any]
) -> tuple[list[tuple[int, str]], Any]:
    """Run a command again and again while the disk grows; returns how each ended, and what the last one left."""
    from tests.system.conftest import run_here

    mount()
    ended = []
    for size in sizes:
        _grow(disk, size)
        done = run_here(arguments)
        ended.append((done.status, done.stderr))
    return ended, result(disk / "out")


def _check(ended: list[tuple[int, str]], disk: Path) -> int:
    """Each but the last ended with one clear line, or in spite of the little room; returns how many were refused."""
    assert ended[-1][0] == 0, ended[-1][1]
    for status, said in ended:
        assert "Traceback" not in said
        assert status in (0, 2), said
        if status == 2:
            line = said[said.index("error: ") :]
            assert str(disk) in line and "no space left" in line and line.count("\n") == 1, said
    return sum(status == 2 for status, _ in ended)


def test_a_run_on_a_full_disk(
    chaos_recipe: Path,
    whole: Any,
    mounting: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    disk, refused = tmp_path / "disk", 0
    disk.mkdir()
    expected, most = outcome(whole.folder), 2 * tree_bytes(whole.folder)
    for _ in range(part(FULL_DISKS)):
        sizes = [*sorted(dice.randrange(4096, most) for _ in range(FILLED)), ROOM]
        arguments = ["run", str(chaos_recipe), "--out", str(disk / "out")]
        ended, left = apart.call(_with_little_room, mounting(disk, ROOM), disk, arguments, sizes, outcome)
        assert left == expected, sizes
        refused += _check(ended, disk)
    note(f"{refused} times a full disk in {part(FULL_DISKS)} runs: refused with one line, then to the end bit for bit")


def test_a_generation_on_a_full_disk(
    mounting: Any, dice: Random, part: Callable[[int], int], note: Callable[[str], None], tmp_path: Path
) -> None:
    lines = [f"{number:x} {dice.random()}" for number in range(40_000, 50_000)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "done.tsv").write_text("".join(f"{line}\t{line[::-1]} x\n" for line in lines))
    disk, refused = tmp_path / "disk", 0
    disk.mkdir()
    for _ in range(part(FULL_DISKS)):
        sizes = [*sorted(dice.randrange(4096, 3 * 2**20) for _ in range(FILLED)), ROOM]
        arguments = ["generate", str(tmp_path / "done.tsv"), "--source", str(tmp_path / "text"), "--out"]
        arguments += [str(disk / "out"), "--shard-size", "500"]
        ended, left = apart.call(_with_little_room, mounting(disk, ROOM), disk, arguments, sizes, _sources)
        assert left == lines, sizes
        refused += _check(ended, disk)
    note(f"{refused} times a full disk in {part(FULL_DISKS)} generations: refused with one line, then to the end")


def _sources(targets: Path) -> list[str]:
    return [entry.source for entry in TargetSet.open(targets).entries()]


# --- read-only ----------------------------------------------------------------------------------------------------


def _allow(folder: Path, mode: int) -> None:
    for place in [folder, *folder.rglob("*")] if folder.exists() else []:
        if place.is_dir():
            place.chmod(mode)


@dataclass(frozen=True)
class Freeze:
    """Takes away the right to write into any folder of the run, at this touch."""

    folder: Path
    touch: int

    def __call__(self, touch: int) -> None:
        if touch == self.touch:
            _allow(self.folder, 0o555)


@dataclass(frozen=True)
class WithoutPowers:
    """A process that may do what the modes of files say, even if it is root's."""

    then: Callable[[], None]

    def __call__(self) -> None:
        self.then()
        apart.drop_powers()


def test_a_run_that_may_no_longer_write(
    chaos_recipe: Path,
    whole: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    expected, refused = outcome(whole.folder), 0
    log = tmp_path / "log"
    for number in range(part(READ_ONLY)):
        folder, touch = tmp_path / f"run-{number}", dice.randint(2, whole.touches)
        arguments = ["run", str(chaos_recipe), "--out", str(folder)]
        watch = Watch(folder, tmp_path / "touched", Freeze(folder, touch))
        process = start_command(arguments, log, before=WithoutPowers(watch))
        process.join()
        said = log.read_text()
        _allow(folder, 0o755)
        assert "Traceback" not in said and process.exitcode in (0, 2), (touch, said)
        if process.exitcode == 2:
            line = said[said.rindex("error: ") :]
            assert str(folder) in line and "no permission" in line, (touch, said)
            refused += 1
            process = start_command(arguments, log)
            process.join()
            assert process.exitcode == 0, (touch, log.read_text())
        assert outcome(folder) == expected, touch
    note(f"{part(READ_ONLY)} runs in a folder that became read-only: {refused} refused, all ended bit for bit")
