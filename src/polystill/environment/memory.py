"""Peak memory of a block of code: the process's resident memory, or on a GPU what torch has allocated there.

Sound in a fresh process only (see `child`): an allocator that holds freed memory from before hides what is used again.
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Peak:
    """Bytes before the block, and the most that there were in it."""

    start: int = 0
    peak: int = 0

    @property
    def beyond(self) -> int:
        return self.peak - self.start


@contextmanager
def peak_memory(device: torch.device | None = None) -> Iterator[Peak]:
    """Yields a `Peak`, complete when the block has ended; of the process's memory unless the device is a GPU."""
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
    """The most bytes of resident memory that this process has had so far."""
    return _resident("VmHWM")


def available() -> int | None:
    """Bytes that the system could give to processes, or None where it does not say."""
    return _find(Path("/proc/meminfo"), "MemAvailable")


def _forget_peak() -> None:
    with suppress(OSError):  # elsewhere than on Linux the peak is that of the whole process so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _resident(key: str) -> int:
    found = _find(Path("/proc/self/status"), key)
    if found is not None:
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _find(path: Path, key: str) -> int | None:
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
