"""Checkpoints of one stage, written atomically: full states to resume from, and weights alone to choose from.

A stage's folder holds `state-<update>.pt` (the last two), `weights-<update>.safetensors` (the last few validation
points, for averaging), `best-<update>.safetensors` (for each of the states), and at the end `final.safetensors`.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from polystill.errors import UserError, reason
from polystill.models.checksum import is_intact, with_checksum
from polystill.storage import storage_errors, write_atomic

_log = logging.getLogger(__name__)
KEPT_STATES = 2

State = dict[str, Any]


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._best_of_last_state = 0

    def save_state(self, update: int, state: State, best_update: int) -> None:
        """Write a full state, whose best weights are those of `best_update`, and drop all but the last two."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self.folder / f"state-{update:08d}.pt", buffer.getvalue())
        for path in self._states()[KEPT_STATES:]:
            path.unlink()
        for path in self.folder.glob("best-*.safetensors"):
            if _update(path) < self._best_of_last_state:
                path.unlink()
        self._best_of_last_state = best_update

    def load_state(self, warn: Callable[[str], None]) -> State | None:
        """The newest state that can be read, or None where there is none; each damaged one is named and passed over.

        Raises:
            UserError: there are states, and all of them are damaged; or one cannot be read, damaged or not.
        """
        states = self._states()
        for path in states:
            content = io.BytesIO(_read(path))
            if not _is_whole_archive(content):
                warn(f"{path}: this checkpoint is damaged, and is passed over")
                continue
            try:
                state: State = torch.load(content, map_location="cpu", weights_only=True)
                return state
            except MemoryError:
                raise
            except Exception as error:  # torch raises many kinds
                warn(f"{path}: this checkpoint cannot be read, and is passed over ({reason(error)})")
        if states:
            raise UserError(
                f"{self.folder}: none of the checkpoints can be read; bring them back from a copy, or move this folder "
                "away, and the stage is trained anew"
            )
        return None

    def forget_after(self, update: int) -> None:
        """Drop validation points of later updates: of a process that ended before it saved its state."""
        for kind in ("weights", "best"):
            for path in self.folder.glob(f"{kind}-*.safetensors"):
                if _update(path) > update:
                    path.unlink()

    def save_weights(self, update: int, weights: dict[str, Tensor], keep: int) -> None:
        """Write the weights of a validation point and drop all but the last `keep`."""
        write_atomic(self.folder / f"weights-{update:08d}.safetensors", _serialise(weights))
        for path in sorted(self.folder.glob("weights-*.safetensors"))[:-keep]:
            path.unlink()

    def average_weights(self) -> tuple[dict[str, Tensor], int] | None:
        """The mean of the kept validation points' weights, summed in float64, and of how many they are.

        None where fewer than two are kept.

        Damaged ones are named and left out.
        """
        total: dict[str, Tensor] = {}
        count = 0
        for path in sorted(self.folder.glob("weights-*.safetensors")):
            try:
                weights = _load(path)
            except _DamagedWeights as error:
                _log.warning("%s; they are left out of the average", error)
                continue
            count += 1
            for name, tensor in weights.items():
                total[name] = total[name] + tensor if name in total else tensor.double()
        return ({name: (tensor / count).float() for name, tensor in total.items()}, count) if count > 1 else None

    def save_best(self, update: int, weights: dict[str, Tensor]) -> None:
        write_atomic(self._best(update), _serialise(weights))

    def load_best(self, update: int) -> dict[str, Tensor]:
        return self._load(self._best(update))

    def save_final(self, weights: dict[str, Tensor]) -> None:
        """Save the weights that the stage ends with: its best ones, or an average."""
        write_atomic(self.folder / "final.safetensors", _serialise(weights))

    def load_final(self) -> dict[str, Tensor]:
        return self._load(self.folder / "final.safetensors")

    def _load(self, path: Path) -> dict[str, Tensor]:
        try:
            return _load(path)
        except _DamagedWeights as error:
            raise UserError(f"{error}; bring them back from a copy, or start a run in a new folder") from None

    def _best(self, update: int) -> Path:
        return self.folder / f"best-{update:08d}.safetensors"

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("state-*.pt"), reverse=True)


def _update(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _serialise(weights: dict[str, Tensor]) -> bytes:
    return with_checksum(save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))


class _DamagedWeights(Exception):
    pass


def _load(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    try:
        weights = load(content)
    except SafetensorError:
        raise _DamagedWeights(f"{path}: damaged weights") from None
    if not is_intact(content):
        raise _DamagedWeights(f"{path}: damaged weights (their checksum is another)")
    return weights


def _is_whole_archive(content: io.BytesIO) -> bool:
    """Compare what `torch.save` wrote with its checksums, which `torch.load` does not look at."""
    try:
        with zipfile.ZipFile(content) as archive:
            return archive.testzip() is None
    except MemoryError:
        raise
    except Exception:  # zipfile raises many kinds for a damaged archive
        return False
    finally:
        content.seek(0)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
