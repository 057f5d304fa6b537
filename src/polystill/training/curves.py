"""Training curves for TensorBoard; nothing is written on ranks other than the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Curves:
    def __init__(self, folder: Path, first_update: int, silent: bool) -> None:
        """Points from `first_update` on replace what a killed process may have written."""
        self._writer = None
        if not silent:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_update)

    def add(self, update: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, update)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
