"""Which commands start again with another malloc, and in what environment."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library

import pytest

from polystill.environment import malloc

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="there is no LD_PRELOAD")
HARMLESS = "libBrokenLocale.so.1"
"""Of glibc, and in no process unless asked for."""


def started(command: str, **environment: str) -> str:
    """What a process says that may start again: its malloc, whether it has HARMLESS, and its environment."""
    code = (
        "from polystill.environment.malloc import restart_with_fast_malloc, in_use\n"
        f"restart_with_fast_malloc({command!r})\n"
        "import os; print(in_use(), 'BrokenLocale' in open('/proc/self/maps').read(),\n"
        "sorted(name for name in os.environ if 'MALLOC' in name or 'PRELOAD' in name))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", malloc.SETTING)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


@linux_only
def test_training_starts_again_with_the_library_that_was_chosen() -> None:
    assert started("run", POLYSTILL_MALLOC=HARMLESS) == "system True ['POLYSTILL_MALLOC']"


@linux_only
@pytest.mark.skipif(not any(map(find_library, malloc.LIBRARIES)), reason="none of the libraries is installed")
def test_training_has_a_fast_malloc_where_one_is_installed() -> None:
    assert started("bench").split()[0] in malloc.LIBRARIES


@linux_only
@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("translate", {"POLYSTILL_MALLOC": HARMLESS}),
        ("run", {"POLYSTILL_MALLOC": malloc.SYSTEM}),
        ("run", {"POLYSTILL_MALLOC": malloc.SYSTEM, "LD_PRELOAD": "libm.so.6"}),
    ],
)
def test_others_do_not(command: str, environment: dict[str, str]) -> None:
    assert started(command, **environment) == f"system False {sorted(environment)}"


def test_without_a_library_nothing_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv(malloc.SETTING, raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(os, "execve", pytest.fail)
    malloc.restart_with_fast_malloc("run")
