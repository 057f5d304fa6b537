"""How fast this machine multiplies large matrices: the limit that a training step is held against."""

from __future__ import annotations

import time

import torch

SIZE = {"cpu": 1536, "cuda": 8192}
SECONDS = 0.3


def gemm_flops_per_second(device: torch.device, precision: str) -> float:
    """FLOP/s of the fastest of the square products that fit into SECONDS (three at least), a multiply-add as two."""
    size = SIZE.get(device.type, 4096)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = a @ b
    fastest, tried, begun = float("inf"), 0, time.perf_counter()
    while tried < 3 or time.perf_counter() - begun < SECONDS:
        synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        synchronize(device)
        fastest, tried = min(fastest, time.perf_counter() - start), tried + 1
    return 2 * size**3 / fastest


def synchronize(device: torch.device) -> None:
    """Wait for what the device has queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
