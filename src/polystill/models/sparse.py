"""Weights with many zeros in a small safetensors file that loads back exactly.

Each tensor has the layout that takes the fewest bytes, for n elements, k of them not zero, and b bytes a value:

    dense      NAME:values (n)                                  n * b
    bitmask    NAME:mask (n / 8 bytes), NAME:values (k)         n / 8 + k * b
    index      NAME:index (k), NAME:values (k)                  k * (b + 1, 2 or 4)

Elements are numbered in row-major order. Bit i of the mask, the highest of a byte first, is set if element i is stored;
an index holds the numbers of stored elements, ascending. An element is left out if all its bits are zero, so -0.0 is
stored. The file's metadata are `format` "polystill-sparse", `version` "1", `tensors`, the layout and shape of each as
JSON, and a checksum (see `models.checksum`).

Values are float32 (exact), float16 (rounded) or int8. An int8 tensor has NAME:scale, one float32 a row: an element is
value * scale, value = round(element / scale), scale = largest magnitude of the row / 127. Biases and normalisations
stay float32 in int8 files.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from polystill.errors import UserError, reason
from polystill.models.checksum import with_checksum

FORMAT, VERSION = "polystill-sparse", "1"
VALUES = ("float32", "float16", "int8")
PARTS = {"dense": ("values",), "bitmask": ("mask", "values"), "index": ("index", "values")}
LARGEST_INT8 = 127

Arrays = dict[str, np.ndarray]


# --- writing ------------------------------------------------------------------------------------------------------


def sparse_bytes(tensors: dict[str, Tensor], values: str = "float32") -> bytes:
    """Encode float32 tensors as a sparse file; `values` is one of VALUES.

    Raises:
        UserError: a value is too large for float16.
    """
    assert values in VALUES
    parts: Arrays = {}
    layouts = {}
    for name, tensor in tensors.items():
        assert tensor.dtype == torch.float32 and ":" not in name, name
        array = tensor.detach().cpu().contiguous().numpy()
        stored, scale = _quantised(array, values, name)
        layout, encoded = _encoded(stored.ravel())
        parts |= {f"{name}:{part}": content for part, content in encoded.items()}
        if scale is not None:
            parts[f"{name}:scale"] = scale
        layouts[name] = {"layout": layout, "shape": list(array.shape)}
    metadata = {"format": FORMAT, "version": VERSION, "tensors": json.dumps(layouts)}
    return with_checksum(save(parts, metadata=metadata))


def _quantised(array: np.ndarray, values: str, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The values to store, in the shape of the array, and for int8 the scale of each row."""
    if values == "float16":
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.isinf(half).any():
            raise UserError(f"{name}: has values beyond float16's 65,504; store it as float32 or int8")
        return half, None
    if values == "int8" and array.ndim > 1 and len(array) > 1:
        rows = array.reshape(len(array), -1)
        scale = (np.abs(rows).max(1) / LARGEST_INT8).astype(np.float32)
        divisor = np.where(scale > 0, scale, np.float32(1))[:, None]
        whole = np.rint(rows / divisor).clip(-LARGEST_INT8, LARGEST_INT8).astype(np.int8)
        return whole.reshape(array.shape), scale
    return array, None


def _encoded(flat: np.ndarray) -> tuple[str, Arrays]:
    """The smallest layout of the elements (n,), and its parts."""
    stored = _bits(flat) != 0
    count, size = int(stored.sum()), flat.itemsize
    index_type = np.min_scalar_type(max(len(flat) - 1, 0))
    sizes = {
        "dense": len(flat) * size,
        "bitmask": math.ceil(len(flat) / 8) + count * size,
        "index": count * (size + index_type.itemsize),
    }
    layout = min(sizes, key=sizes.__getitem__)
    if layout == "dense":
        return layout, {"values": flat}
    if layout == "bitmask":
        return layout, {"mask": np.packbits(stored), "values": flat[stored]}
    return layout, {"index": np.flatnonzero(stored).astype(index_type), "values": flat[stored]}


def _bits(flat: np.ndarray) -> np.ndarray:
    return flat.view(np.dtype(f"u{flat.itemsize}"))


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    layout: str
    shape: tuple[int, ...]


class SparseFile:
    """A sparse file, with the interface of safetensors' `safe_open`; its tensors are dense float32.

    Raises:
        UserError: the file cannot be read, is of another kind or version, or contradicts itself. `get_tensor` raises it
            as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = safe_open(path, framework="np")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: not a readable safetensors file ({reason(error)}); copy it again") from None
        self._entries = self._read_entries(self._file.metadata() or {})
        self._check_parts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def keys(self) -> list[str]:
        return list(self._entries)

    def get_tensor(self, name: str) -> Tensor:
        """The whole tensor, in float32."""
        entry = self._entries[name]
        size = math.prod(entry.shape)
        parts = {part: self._file.get_tensor(f"{name}:{part}") for part in PARTS[entry.layout]}
        values = parts["values"]
        self._need(values.dtype in (np.float32, np.float16, np.int8), name, f"values of type {values.dtype}")
        self._need(all(part.ndim == 1 for part in parts.values()), name, "parts with more than one dimension")
        if entry.layout == "dense":
            self._need(len(values) == size, name, f"{len(values)} values of {size}")
            flat = values
        else:
            flat = np.zeros(size, values.dtype)
            flat[self._places(name, entry.layout, parts, size)] = values
        dense = flat.astype(np.float32).reshape(entry.shape)
        return torch.from_numpy(dense if values.dtype != np.int8 else dense * self._scale(name, entry))

    def _places(self, name: str, layout: str, parts: Arrays, size: int) -> np.ndarray:
        """The stored elements: a mask (n,) or their numbers (k,)."""
        count = len(parts["values"])
        if layout == "bitmask":
            mask = parts["mask"]
            self._need(mask.dtype == np.uint8 and len(mask) == math.ceil(size / 8), name, "a mask of another size")
            bits = np.unpackbits(mask).astype(bool)
            stored = int(bits.sum())
            self._need(stored == count and not bits[size:].any(), name, f"{count} values where its mask has {stored}")
            return bits[:size]
        index = parts["index"]
        self._need(len(index) == count, name, f"{count} values and {len(index)} indices")
        ascending = index.dtype.kind == "u" and bool((index[1:] > index[:-1]).all())
        self._need(ascending and (not count or int(index[-1]) < size), name, "indices out of order or of range")
        return index

    def _scale(self, name: str, entry: _Entry) -> np.ndarray:
        """The scales of the rows, in a shape to multiply with."""
        self._need(f"{name}:scale" in self._file.keys(), name, "no scale for its int8 values")  # noqa: SIM118
        scale = self._file.get_tensor(f"{name}:scale")
        fits = scale.dtype == np.float32 and len(entry.shape) > 1 and scale.shape == entry.shape[:1]
        self._need(fits, name, "scales that do not fit its rows")
        return scale.reshape(-1, *(1 for _ in entry.shape[1:]))

    def _read_entries(self, metadata: dict[str, str]) -> dict[str, _Entry]:
        if metadata.get("format") != FORMAT:
            raise UserError(f"{self.path}: format is {metadata.get('format')!r}, expected {FORMAT!r}")
        if metadata.get("version") != VERSION:
            raise UserError(
                f"{self.path}: version {metadata.get('version')!r}; this version of polystill reads {VERSION!r}"
            )
        try:
            values = json.loads(metadata["tensors"])
            return {name: _entry(value) for name, value in values.items()}
        except (KeyError, ValueError, TypeError, AttributeError):
            raise UserError(f"{self.path}: damaged: its metadata does not list its tensors") from None

    def _check_parts(self) -> None:
        present = set(self._file.keys())
        needed = {f"{name}:{part}" for name, entry in self._entries.items() for part in PARTS[entry.layout]}
        possible = needed | {f"{name}:scale" for name in self._entries}
        if needed - present or present - possible:
            part = min(needed - present or present - possible)
            raise UserError(f"{self.path}: damaged: {part} is {'missing' if part in needed else 'not in its metadata'}")

    def _need(self, holds: bool, name: str, otherwise: str) -> None:
        if not holds:
            raise UserError(f"{self.path}: damaged: {name} has {otherwise}")


def _entry(value: Any) -> _Entry:
    """Read a tensor's metadata; raises one of the errors that `_read_entries` reports as damage."""
    shape = tuple(value["shape"])
    if value["layout"] not in PARTS or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError
    if math.prod(shape) > 2**32:
        raise ValueError
    return _Entry(value["layout"], shape)
