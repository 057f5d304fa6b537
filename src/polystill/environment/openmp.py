"""How long a core waits for the others at the end of each operation.

torch shares an operation out to a thread a core, and GNU's OpenMP has those that are ready spin for some milliseconds
until the last one is. That is a core's whole work where the last one has no core at the moment: beside other programs,
or in a container that may use less than it sees. With some microseconds they sleep instead, at nearly the same speed
where nothing else runs (docs/performance.md).
"""

from __future__ import annotations

import os

SPINS = 2000
"""Turns of the waiting loop; GNU's OpenMP has 300,000."""
SETTING = "GOMP_SPINCOUNT"
_OTHER_SETTING = "OMP_WAIT_POLICY"


def sleep_soon() -> None:
    """Have OpenMP's threads spin briefly, unless the user has said how long; call it before torch is imported."""
    if _OTHER_SETTING not in os.environ:
        os.environ.setdefault(SETTING, str(SPINS))
