"""Call a function in a fresh process, and measure peak memory.

Peak memory of a block of code is the process's resident memory, or on a GPU what torch has allocated there. It is sound
in a fresh process only: an allocator that holds memory freed before hides what is used again.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError

if TYPE_CHECKING:
    import torch


def call(function: str, **arguments: Any) -> Any:
    """Call `function` ("module:name") in a new interpreter; arguments and result must be what JSON can hold.

    Raises:
        UserError: the process failed; the message is its last line.
    """
    done = subprocess.run(
        # -P: do not import a user's file that is named like a module from the current folder.
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps([function, arguments]),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else lines[-1]
        raise UserError(f"measuring {function} in a process of its own failed: {ended}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Peak:
    """Bytes before the block, and the most within it."""

    start: int = 0
    peak: int = 0

    @property
    def beyond(self) -> int:
        return self.peak - self.start


@contextmanager
def peak_memory(device: torch.device | None = None) -> Iterator[Peak]:
    """Measure the block; the `Peak` is complete when it ends. It is the process's memory unless the device is a GPU."""
    measured = Peak()
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        measured.start = torch.cuda.memory_allocated(device)
        yield measured
        torch.cuda.synchronize(device)
        measured.peak = torch.cuda.max_memory_allocated(device)
        return
    _forget_peak()
    measured.start = _resident("VmRSS")
    yield measured
    measured.peak = _resident("VmHWM")


def process_peak() -> int:
    """The peak of this process's resident memory so far, in bytes."""
    return _resident("VmHWM")


CGROUP = Path("/sys/fs/cgroup")
"""A container's limits (version 2)."""


def available() -> int | None:
    """Bytes that the system, or a container's limit, leaves to processes; None if the system does not tell."""
    free = _size(Path("/proc/meminfo"), "MemAvailable")
    with suppress(OSError, ValueError):  # no container, or "max"
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        files = re.search(r"^inactive_file (\d+)$", (CGROUP / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        left = max(0, limit - used + (int(files[1]) if files else 0))  # what caches files is given back
        return left if free is None else min(free, left)
    return free


def _forget_peak() -> None:
    with suppress(OSError):  # except on Linux the peak is that of the whole process so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _resident(key: str) -> int:
    size = _size(Path("/proc/self/status"), key)
    if size is not None:
        return size
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _size(path: Path, key: str) -> int | None:
    """The value of a key in one of the kernel's tables, in bytes."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def main() -> None:
    function, arguments = json.load(sys.stdin)
    module, name = function.split(":")
    print(json.dumps(getattr(import_module(module), name)(**arguments)))


if __name__ == "__main__":
    main()
