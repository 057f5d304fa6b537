"""Lines that processes on other machines write into files of a shared folder, shown by the one that follows them."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Say every line that is written into files of the folder while the block runs."""
    read = {path: path.stat().st_size for path in folder.glob("*.log")}
    over = threading.Event()

    def look() -> None:
        for path in sorted(folder.glob("*.log")):
            with path.open("rb") as file:
                file.seek(read.get(path, 0))
                whole = file.read().rpartition(b"\n")[0]
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
