"""Peak memory and time of the vocabulary loss alone, ours against its plain twin, each in a process of its own.

Counted is what the loss and its backward pass need beyond what any loss needs: the hidden states of every network, the
output projection, and one gradient of each. Networks are the teacher and n students, all distinct, with random states.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from polystill.bench.gemm import synchronize
from polystill.bench.rounds import spread
from polystill.environment import child
from polystill.environment.child import available, peak_memory
from polystill.objectives.vocab_loss import LossSettings, fused_family_loss, plain_family_loss

Row = dict[str, Any]
LOSSES = {"fused": fused_family_loss, "plain": plain_family_loss}
MOST_OF_MEMORY = 0.7
"""Share of the memory that is free now which a loss may take before it is given up as too large."""


def measure(
    *,
    vocabulary_size: int,
    tokens: int,
    d_model: int,
    students: Sequence[int],
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> dict[str, Any]:
    """Both losses for each number of students; returns what docs/benchmark.md describes."""
    rows = []
    for count in students:
        for loss in LOSSES:
            row = {"loss": loss, "students": count}
            row |= child.call(
                f"{__name__}:memory_and_time",
                loss=loss,
                students=count,
                vocabulary_size=vocabulary_size,
                tokens=tokens,
                d_model=d_model,
                rounds=rounds,
                threads=threads,
            )
            log(f"{loss}, {count} students: {describe_memory(row)}")
            rows.append(row)
    settings = {"vocabulary_size": vocabulary_size, "tokens": tokens, "d_model": d_model, "rounds": rounds}
    return {"settings": {**settings, "threads": threads}, "rows": rows, **_growth(rows)}


def describe_memory(row: Row) -> str:
    return "does not fit into memory" if row["extra_bytes"] is None else f"{row['extra_bytes'] / 2**20:.0f} MiB"


def _growth(rows: Sequence[Row]) -> dict[str, Any]:
    """How many times the memory of the fewest students each loss needs with the most."""
    growth = {}
    for loss in LOSSES:
        sizes = [row["extra_bytes"] for row in rows if row["loss"] == loss]
        growth[loss] = None if None in sizes else sizes[-1] / max(1, sizes[0])
    return {"growth": growth}


def memory_and_time(
    loss: str, students: int, vocabulary_size: int, tokens: int, d_model: int, rounds: int, threads: int
) -> Row:
    """For `child.call`: `extra_bytes` (None where memory does not suffice) and seconds of forward and backward."""
    torch.set_num_threads(threads or torch.get_num_threads())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(1)
    weight = (torch.randn(vocabulary_size, d_model, device=device) * d_model**-0.5).requires_grad_()
    bias = torch.zeros(vocabulary_size, device=device, requires_grad=True)
    hidden = [torch.randn(tokens, d_model, device=device, requires_grad=True) for _ in range(1 + students)]
    target = torch.randint(vocabulary_size, (tokens,), device=device)
    leaves = [weight, bias, *hidden]

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        result = LOSSES[loss](hidden, list(range(len(hidden))), weight, bias, target, LossSettings())
        (result.loss / tokens).backward()

    _warm_up(device)
    _limit_memory(device)
    gradients = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
    seconds = []
    try:
        with peak_memory(device) as peak:
            step()
        for _ in range(rounds):
            synchronize(device)
            start = time.perf_counter()
            step()
            synchronize(device)
            seconds.append(time.perf_counter() - start)
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error):
            raise
        return {"extra_bytes": None, "seconds": None}
    return {"extra_bytes": peak.beyond - gradients, "seconds": spread(seconds)}


def _warm_up(device: torch.device) -> None:
    """Load what torch loads at its first product and backward pass, so that it is not counted."""
    x = torch.ones(64, 64, device=device, requires_grad=True)
    (x @ x).log_softmax(-1).sum().backward()


def _limit_memory(device: torch.device) -> None:
    """Let allocations fail before the system has to kill something."""
    free = available()
    if device.type == "cpu" and free is not None:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        limit = mapped + int(MOST_OF_MEMORY * free)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
