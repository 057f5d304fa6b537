"""Commands that start again with another malloc, and in what environment; how long OpenMP's threads spin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from ctypes.util import find_library

import pytest

from polystill.environment import process

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="there is no LD_PRELOAD")
HARMLESS = "libBrokenLocale.so.1"
"""Of glibc, and in no process unless asked for."""


def started(command: str, **environment: str) -> str:
    """What a process says that may start again: its malloc, whether it has HARMLESS, and its environment."""
    code = (
        "from polystill.environment.process import restart_with_fast_malloc, malloc_in_use\n"
        f"restart_with_fast_malloc({command!r})\n"
        "import os; print(malloc_in_use(), 'BrokenLocale' in open('/proc/self/maps').read(),\n"
        "sorted(name for name in os.environ if 'MALLOC' in name or 'PRELOAD' in name))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", process.MALLOC_SETTING)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


@linux_only
def test_training_starts_again_with_the_library_that_was_chosen() -> None:
    assert started("run", POLYSTILL_MALLOC=HARMLESS) == "system True ['POLYSTILL_MALLOC']"


@linux_only
@pytest.mark.skipif(not any(map(find_library, process.MALLOC_LIBRARIES)), reason="none of the libraries is installed")
def test_training_has_a_fast_malloc_where_one_is_installed() -> None:
    assert started("bench").split()[0] in process.MALLOC_LIBRARIES


@linux_only
@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("translate", {"POLYSTILL_MALLOC": HARMLESS}),
        ("run", {"POLYSTILL_MALLOC": process.SYSTEM_MALLOC}),
        ("run", {"POLYSTILL_MALLOC": process.SYSTEM_MALLOC, "LD_PRELOAD": "libm.so.6"}),
    ],
)
def test_others_do_not(command: str, environment: dict[str, str]) -> None:
    assert started(command, **environment) == f"system False {sorted(environment)}"


def test_without_a_library_nothing_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv(process.MALLOC_SETTING, raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(os, "execve", pytest.fail)
    process.restart_with_fast_malloc("run")


def spins(**environment: str) -> int:
    """What OpenMP itself says when torch loads it."""
    code = "from polystill.environment.process import let_threads_sleep; let_threads_sleep(); import torch"
    clean = {
        name: value for name, value in os.environ.items() if name not in (process.SPINS_SETTING, "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(rf"{process.SPINS_SETTING} = '(\d+)'", done.stderr)
    assert match, done.stderr
    return int(match[1])


@linux_only
def test_threads_spin_briefly() -> None:
    assert spins() == process.SPINS


@linux_only
def test_what_the_user_says_holds() -> None:
    assert spins(GOMP_SPINCOUNT="77") == 77
    assert spins(OMP_WAIT_POLICY="active") > process.SPINS
