"""Which engine computes in which precisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polystill.decoding.ctranslate2 import check_precision
from polystill.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

TORCH = ("float32", "bfloat16", "float16")
"""As torch itself calls them."""


def need_precision(engine: str, precision: str) -> None:
    """Find out before anything is loaded; "default" is a precision of both engines.

    Raises:
        UserError: the engine has no such precision, or not on this device; the message lists those that it has.
    """
    if engine == "ctranslate2":
        check_precision(precision)
    elif precision not in ("default", *TORCH):
        raise UserError(f"precision {precision!r}: torch has {' '.join(TORCH)}{nearest(precision, list(TORCH))}")


def torch_dtype(precision: str) -> torch.dtype:
    """The type of that name; "default" is float32.

    Raises:
        UserError: torch computes in no such precision here.
    """
    import torch

    need_precision("torch", precision)
    dtype: torch.dtype = getattr(torch, "float32" if precision == "default" else precision)
    return dtype
