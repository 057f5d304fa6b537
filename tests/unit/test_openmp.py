"""How long OpenMP's threads spin in a process of polystill's."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from polystill.environment.openmp import SETTING, SPINS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")


def spins(**environment: str) -> int:
    """What OpenMP itself says when torch loads it."""
    code = "from polystill.environment.openmp import sleep_soon; sleep_soon(); import torch"
    clean = {name: value for name, value in os.environ.items() if name not in (SETTING, "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(rf"{SETTING} = '(\d+)'", done.stderr)
    assert found, done.stderr
    return int(found[1])


def test_threads_spin_briefly() -> None:
    assert spins() == SPINS


def test_what_the_user_says_holds() -> None:
    assert spins(GOMP_SPINCOUNT="77") == 77
    assert spins(OMP_WAIT_POLICY="active") > SPINS
