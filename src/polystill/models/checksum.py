"""A checksum in the metadata of a safetensors file, so that a flipped bit is an error and not another model.

The SHA-256 is of the other metadata, the tensors' names, types and shapes, and all their bytes. Files of other programs
have none.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

_METADATA = "__metadata__"
_KEY = "sha256"
Buffer = bytes | memoryview


def with_checksum(content: bytes) -> bytes:
    """A safetensors file with its checksum in the metadata."""
    header, data = _split(memoryview(content))
    header[_METADATA][_KEY] = _digest(header, data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return b"".join((len(text).to_bytes(8, "little"), text, data))


def is_intact(content: Buffer, needs_checksum: bool = False) -> bool:
    """Whether a safetensors file that can be parsed has the content that its checksum is of.

    A file without a checksum counts as intact, unless it needs one.
    """
    header, data = _split(memoryview(content))
    noted = header[_METADATA].pop(_KEY, None)
    return not needs_checksum if noted is None else noted == _digest(header, data)


def is_intact_file(path: Path) -> bool:
    """As `is_intact`, for a file, which is not read into memory as a whole."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        return is_intact(view)


def _split(content: memoryview) -> tuple[dict[str, Any], memoryview]:
    """The header of a safetensors file, with metadata, and the bytes of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return {_METADATA: {}, **json.loads(bytes(content[8:end]))}, content[end:]


def _digest(header: dict[str, Any], data: memoryview) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()
