"""What an update computes with: its precision, the processes that share it, and seeds."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from polystill.errors import UserError


def best_precision() -> str:
    """ "bf16" where the hardware multiplies it fast, else "fp32".

    A CPU without AVX-512 BF16 or AMX computes bf16 products up to a hundred times slower than fp32 ones.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"


def make_accelerator(precision: str) -> Accelerator:
    """An Accelerator for this process.

    Raises:
        UserError: fp16 without a GPU.
    """
    cpu = not torch.cuda.is_available()
    if precision == "fp16" and cpu:
        raise UserError("training.precision=fp16 needs a GPU; use auto, fp32 or bf16")
    AcceleratorState._reset_state()  # a library user may train twice in one process, in two precisions
    return Accelerator(cpu=cpu, mixed_precision="no" if precision == "fp32" else precision)


def sum_over_ranks(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The element-wise sum over all processes; the values themselves where there is one."""
    if accelerator.num_processes == 1:
        return values
    total: Tensor = accelerator.reduce(values.clone(), reduction="sum")
    return total


def random_seed(*numbers: int) -> int:
    """A seed of 64 bits; sequences of one length that differ have different ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
