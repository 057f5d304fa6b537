"""Checkpoints of one stage, written atomically: full states to resume from, and weights alone to choose from.

A stage's folder holds `state-<update>.pt` (the last two), `weights-<update>.safetensors` (the last few validation
points, for averaging), `best-<update>.safetensors` (for each of the states), and at the end `final.safetensors`. Each
carries its SHA-256. That of a state is the comment of the zip archive that torch writes, so `torch.load` reads it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from polystill.errors import UserError
from polystill.models.checksum import is_intact, with_checksum
from polystill.storage import storage_errors, write_atomic

_log = logging.getLogger(__name__)
KEPT_STATES = 2
_BEST_UPDATE = "best_update"
_CHECKSUM_BYTES = 64

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
        torch.save({**state, _BEST_UPDATE: best_update}, buffer)
        write_atomic(self.folder / f"state-{update:08d}.pt", _with_checksum(buffer))
        for path in self._states()[KEPT_STATES:]:
            path.unlink()
        for path in self.folder.glob("best-*.safetensors"):
            if _update(path) < self._best_of_last_state:
                path.unlink()
        self._best_of_last_state = best_update

    def load_state(self, warn: Callable[[str], None]) -> State | None:
        """The newest intact state, or None where there is none; each damaged one is named and passed over.

        A state whose best weights are damaged is passed over as well: the stage could not end with them.

        Raises:
            UserError: there are states, and all of them are damaged; or one cannot be read, damaged or not.
        """
        states = self._states()
        for path in states:
            content = _read(path)
            if not _is_intact(content):
                warn(f"{path}: this checkpoint is damaged, and is passed over")
                continue
            try:
                state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:
                warn(f"{path}: this checkpoint holds more than tensors and plain values, and is passed over")
                continue
            best_update = state.pop(_BEST_UPDATE)
            if not best_update or self._has_best(best_update):
                return state
            best = self._best(best_update).name
            warn(f"{path}: this checkpoint is passed over, its best weights are damaged ({best})")
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
        return self._load(self._best(update), "run the same command again, which goes on from the checkpoint before")

    def save_final(self, weights: dict[str, Tensor]) -> None:
        """Save the weights that the stage ends with: its best ones, or an average."""
        write_atomic(self.folder / "final.safetensors", _serialise(weights))

    def load_final(self) -> dict[str, Tensor]:
        return self._load(self.folder / "final.safetensors", "start a run in a new folder")

    def _load(self, path: Path, remedy: str) -> dict[str, Tensor]:
        try:
            return _load(path)
        except _DamagedWeights as error:
            raise UserError(f"{error}; bring them back from a copy, or {remedy}") from None

    def _has_best(self, update: int) -> bool:
        """Whether the best weights are intact; damaged ones may be gone by now (`forget_after`)."""
        try:
            return self._best(update).exists() and bool(_load(self._best(update)))
        except _DamagedWeights:
            return False

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
    if not is_intact(content, needs_checksum=True):
        raise _DamagedWeights(f"{path}: damaged weights (checksum mismatch)")
    return weights


def _with_checksum(archive: io.BytesIO) -> bytes:
    """A zip archive with the SHA-256 of all bytes before it as its comment."""
    archive.seek(-2, io.SEEK_END)  # the last field is the comment's length
    archive.write(_CHECKSUM_BYTES.to_bytes(2, "little"))
    archive.write(hashlib.sha256(archive.getbuffer()).hexdigest().encode())
    return archive.getvalue()


def _is_intact(content: bytes) -> bool:
    view = memoryview(content)
    return hashlib.sha256(view[:-_CHECKSUM_BYTES]).hexdigest().encode() == view[-_CHECKSUM_BYTES:]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
