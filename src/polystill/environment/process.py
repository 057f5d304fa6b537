"""Set up a process as it starts: its allocator, how long its threads wait; its cores, and its time on them.

Allocator. Every batch has lengths of its own, so every update asks for tensors of other sizes. The C library's malloc
then spends about a fifth of a training looking for room; tcmalloc does not (docs/performance.md). A process takes
another malloc only when it starts, by LD_PRELOAD. A command that trains therefore starts itself once more, at once, if
tcmalloc is installed.

Threads. torch shares an operation out to a thread a core, and GNU's OpenMP lets threads that are ready spin for some
milliseconds until the last one is. This takes cores from the last one if it waits for a core itself: beside other
programs, or in a container that may use less than it sees. Here they sleep after some microseconds instead, which is
nearly as fast where nothing else runs (docs/performance.md).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

MALLOC_SETTING = "POLYSTILL_MALLOC"
"""In the environment: the library to use, or `SYSTEM_MALLOC` for none."""
SYSTEM_MALLOC = "system"
MALLOC_LIBRARIES = ("tcmalloc_minimal", "tcmalloc")
"""The smaller one first."""
MALLOC_ADVICE = (
    "note: a CPU trains about a third faster with tcmalloc: apt-get install libtcmalloc-minimal4 "
    f"({MALLOC_SETTING}={SYSTEM_MALLOC}: neither it nor this note)"
)
_TRAINING_COMMANDS = ("run", "bench", "init")
_RESTARTED = "POLYSTILL_MALLOC_STARTED"
_PRELOAD = "LD_PRELOAD"

SPINS_SETTING = "GOMP_SPINCOUNT"
SPINS = 2000
"""Turns of the waiting loop; GNU's OpenMP has 300,000."""
_OTHER_SPINS_SETTING = "OMP_WAIT_POLICY"


def restart_with_fast_malloc(command: str | None) -> None:
    """Replace this process by itself with tcmalloc, if `command` trains; call it before all else.

    The new process has the environment of the old one, so that the processes that it starts have the system's malloc.
    """
    if os.environ.pop(_RESTARTED, None):
        os.environ.pop(_PRELOAD, None)
    elif command in _TRAINING_COMMANDS and (environment := _with_fast_malloc(os.environ)):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def malloc_in_use() -> str:
    """The malloc of this process, such as "tcmalloc_minimal", or `SYSTEM_MALLOC`."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return SYSTEM_MALLOC
    library = re.search(r"/lib(tcmalloc\w*|jemalloc|mimalloc)[^/]*\.so", mapped)
    return library[1] if library else SYSTEM_MALLOC


def malloc_is_slow() -> bool:
    """Whether training here would be faster with another malloc, and the user has not chosen this one."""
    return sys.platform == "linux" and malloc_in_use() == SYSTEM_MALLOC and MALLOC_SETTING not in os.environ


def _with_fast_malloc(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The environment to restart in; None if there is no reason to, or the user has chosen."""
    if sys.platform != "linux" or environment.get(_PRELOAD):
        return None
    library = environment.get(MALLOC_SETTING) or installed_malloc()
    if library in (None, SYSTEM_MALLOC):
        return None
    return {**environment, _PRELOAD: str(library), _RESTARTED: "1"}


def installed_malloc() -> str | None:
    """The first of MALLOC_LIBRARIES that this machine has."""
    from ctypes.util import find_library

    return next(filter(None, map(find_library, MALLOC_LIBRARIES)), None)


def let_threads_sleep() -> None:
    """Let OpenMP's threads spin briefly only, unless the user has set how long; call it before torch is imported."""
    if _OTHER_SPINS_SETTING not in os.environ:
        os.environ.setdefault(SPINS_SETTING, str(SPINS))


# --- cores ------------------------------------------------------------------------------------------------------------


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, at most OMP_NUM_THREADS if that is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) else cores


def cpu_seconds() -> float:
    """User's and system's, of this process and of ended children."""
    return sum(os.times()[:4])
