"""What goes wrong in a process, and what a run is to end with all the same."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from polystill.runs import Run
from polystill.storage import sha256, temporary_of

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def nothing(touch: int) -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """Count how often this process touches files in a folder (opens one for writing, renames, removes), and call
    `fault` with the number each time, just before. The length of `log` is the count.

    A moment that is a number of touches comes again with the seed, and falls where files are changed.
    """

    folder: Path
    log: Path
    fault: Callable[[int], None] = nothing

    def __call__(self) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        inside, touches, busy = str(self.folder), 0, False

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal touches, busy
            if busy or not (event == "open" or event in _CHANGES) or not _is_in(inside, arguments[0]):
                return
            if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                return
            busy = True
            touches += 1
            os.write(log, b".")
            self.fault(touches)
            busy = False

        sys.addaudithook(hook)


def _is_in(folder: str, path: Any) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(folder)


@dataclass(frozen=True)
class DieAt:
    """SIGKILL at this touch."""

    touch: int

    def __call__(self, touch: int) -> None:
        if touch == self.touch:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DieWith:
    """SIGKILL as soon as the folder has so many files of this pattern."""

    folder: Path
    pattern: str
    count: int

    def __call__(self, touch: int) -> None:
        if len(list(self.folder.glob(self.pattern))) >= self.count:
            os.kill(os.getpid(), signal.SIGKILL)


# --- damage -------------------------------------------------------------------------------------------------------


def damaged(content: bytes, dice: Random) -> tuple[str, bytes]:
    """What was done, and the content with a flipped bit, an end that is missing, or a page of zeros."""
    place = dice.randrange(len(content))
    kind = dice.choice(["flipped", "flipped", "truncated", "zeros"])
    if kind == "truncated":
        return f"truncated to {place} of {len(content)} bytes", content[:place]
    changed = bytearray(content)
    if kind == "zeros" and any(content[place : place + 4096]):
        changed[place : place + 4096] = bytes(len(content[place : place + 4096]))
        return f"zeros from byte {place}", bytes(changed)
    bit = dice.randrange(8)
    changed[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped", bytes(changed)


# --- what is compared ---------------------------------------------------------------------------------------------


def outcome(run: Path) -> dict[str, Any]:
    """What a run is to end with, whatever happened on the way: its files' checksums, and figures other than times."""
    places = [run / name for name in ("data", "family", "students", "hypotheses")]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    files += run.glob("checkpoints/*/final.safetensors")
    left_over = [path for path in run.rglob(".*") if temporary_of(path.name)]
    assert not left_over
    opened = Run.open(run)
    figures = {
        str(row.key): [row.bleu, row.chrf, row.perplexity, row.p_mode, row.size_bytes] for row in opened.results().rows
    }
    return {"stages": list(opened.stages()), "figures": figures} | {
        str(path.relative_to(run)): sha256(path) for path in files
    }
