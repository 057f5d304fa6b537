"""Lines that processes on other machines write into files of a shared folder, shown by the one that follows them."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS = 0.5
"""Between two looks at the files."""


def write_stderr_into(folder: Path) -> None:
    """Let this process's stderr be a file of its own in the folder, from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{socket.gethostname()}-{os.getpid()}.log"
    sys.stderr = path.open("a", encoding="utf-8", buffering=1)


@contextmanager
def following(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Say every line that is written into files of the folder while the block runs.

    A file that cannot be read at the moment, which happens on shared storage, is tried again later.
    """
    read = dict[Path, int]()
    for path in _logs(folder):
        with suppress(OSError):
            read[path] = path.stat().st_size
    over = threading.Event()

    def look() -> None:
        for path in _logs(folder):
            try:
                with path.open("rb") as file:
                    file.seek(read.get(path, 0))
                    whole = file.read().rpartition(b"\n")[0]
            except OSError:
                continue
            if whole:
                read[path] = read.get(path, 0) + len(whole) + 1
                for line in whole.decode(errors="replace").split("\n"):
                    say(line)

    def follow() -> None:
        while not over.wait(_SECONDS):
            look()

    thread = threading.Thread(target=follow, name="following", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def _logs(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.log"))
    except OSError:
        return []
