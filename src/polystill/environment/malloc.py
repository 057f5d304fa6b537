"""A malloc for training on CPUs.

Every batch has lengths of its own, so every update asks for tensors of other sizes. The C library's malloc then spends
about a fifth of a training looking for room; tcmalloc does not (docs/performance.md). Only a process that starts can
be given another one, by LD_PRELOAD: so a command that trains starts itself once more, at once, where tcmalloc is
installed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

SETTING = "POLYSTILL_MALLOC"
"""In the environment: a library instead of those that are looked for, or `SYSTEM` for none."""
SYSTEM = "system"
LIBRARIES = ("tcmalloc_minimal", "tcmalloc")
"""The smaller first."""
COMMANDS = ("run", "bench")
ADVICE = (
    "note: a CPU trains about a third faster with tcmalloc: apt-get install libtcmalloc-minimal4 "
    f"({SETTING}={SYSTEM}: neither it nor this note)"
)
_STARTED = "POLYSTILL_MALLOC_STARTED"
_PRELOAD = "LD_PRELOAD"


def restart_with_fast_malloc(command: str | None) -> None:
    """Replace this process by itself with another malloc, where `command` gains by it; call it before all else.

    In the process that then goes on the environment is as it was, so that those it starts have the system's malloc.
    """
    if os.environ.pop(_STARTED, None):
        os.environ.pop(_PRELOAD, None)
    elif command in COMMANDS and (environment := _with_fast_malloc(os.environ)):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def in_use() -> str:
    """The malloc of this process, such as "tcmalloc_minimal", or `SYSTEM`."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return SYSTEM
    found = re.search(r"/lib(tcmalloc\w*|jemalloc|mimalloc)[^/]*\.so", mapped)
    return found[1] if found else SYSTEM


def is_advised() -> bool:
    """Whether training here would be faster with another malloc, and nobody has chosen this one."""
    return sys.platform == "linux" and in_use() == SYSTEM and SETTING not in os.environ


def _with_fast_malloc(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The environment to start with; None where this process is as good, or the user has chosen."""
    if sys.platform != "linux" or _PRELOAD in environment:
        return None
    library = environment.get(SETTING) or installed()
    if library in (None, SYSTEM):
        return None
    return {**environment, _PRELOAD: str(library), _STARTED: "1"}


def installed() -> str | None:
    """The first of LIBRARIES that this machine has."""
    from ctypes.util import find_library

    return next(filter(None, map(find_library, LIBRARIES)), None)
