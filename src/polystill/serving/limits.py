"""How much a request may ask for, and who may ask."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from polystill.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Of a server; what is beyond gets an answer that says which."""

    characters: int = 5000
    """Of all texts of a request (status 413)."""
    batch: int = 100
    """Texts of a request (413)."""
    requests: int = 32
    """Translated at a time (429)."""
    seconds: float = 30.0
    """For reading a request's body (408), and again for translating it (503)."""

    @property
    def body_bytes(self) -> int:
        """A character has at most 12 bytes in JSON (two \\u escapes) and in a form (four percent signs)."""
        return 12 * self.characters + 16 * self.batch + 4096


class ApiKeys:
    """Keys of which a request must have one. Only their hashes are kept."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file with one key a line; empty lines and those that begin with # are left out.

        Raises:
            UserError: the file cannot be read, is not UTF-8, or has no key.
        """
        try:
            lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: not UTF-8; expected one API key a line") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UserError(f"{path}: no API key in it; expected one a line")
        return cls(keys)

    def accept(self, key: str) -> bool:
        """Whether it is one of the keys; takes as long whichever it is, and whether it is one or not."""
        digest = _digest(key)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
