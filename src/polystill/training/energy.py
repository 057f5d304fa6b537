"""The energy that training takes, as far as codecarbon (the extra [energy]) can say: without a network, without files.

Where the processor's own counters can be read (RAPL), they are: they count all that runs on the processor. Elsewhere
the processor's part is an estimate: its TDP (or 85 W, if codecarbon does not know it), times the share of its cores'
time that this process took. Memory is an estimate by its size; NVIDIA's GPUs count for themselves.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any


class EnergyMeter:
    """Counts from when it is made until `close`. Without codecarbon, or unless `wanted`, it does and knows nothing."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._tracker: Any = None
        self._counted = 0.0
        if not wanted or find_spec("codecarbon") is None:
            return
        from codecarbon import OfflineEmissionsTracker

        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # its own setting comes after its first words
        self._tracker = OfflineEmissionsTracker(
            tracking_mode="process",
            output_methods=[],
            log_level="critical",
            country_iso_code="USA",  # it asks for one; of no consequence, as the next line says what a kWh emits
            force_carbon_intensity_g_co2e_kwh=1000.0,  # so that what it calls kilograms are kWh
        )
        self._tracker.start()

    @property
    def how(self) -> str:
        """How the processor's part is known, where anything is."""
        from codecarbon.core.cpu import is_rapl_available

        if is_rapl_available():
            return "codecarbon: the processor's counters (RAPL)"
        return "codecarbon: estimated from the processor's TDP and this process's time on it"

    def lap(self) -> float | None:
        """kWh since the last lap, or since the start; None where that is not known."""
        total = self._tracker.flush() if self._tracker is not None else None
        if total is None:
            return None
        lap, self._counted = total - self._counted, total
        return float(lap)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None
