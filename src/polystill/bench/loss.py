"""Peak memory and time of the vocabulary loss alone, ours against its plain twin, each in a process of its own.

Counted is what the loss and its backward pass need beyond what any loss needs: the hidden states of every network, the
output projection, and one gradient of each. Networks are the teacher and n students, all distinct, with random states.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from polystill.bench.rounds import Spread, shown_spread, spread, synchronize
from polystill.environment import child
from polystill.environment.child import available, peak_memory
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.fused import fused_loss
from polystill.objectives.plain import plain_loss
from polystill.objectives.projection import Output

if TYPE_CHECKING:
    from rich.table import Table

LOSSES = {"fused": fused_loss, "plain": plain_loss}
MOST_OF_MEMORY = 0.7
"""Share of the memory that is free now which a loss may take before it is given up as too large."""


@dataclass(frozen=True)
class LossRow:
    """One loss with so many students. Both figures are None where memory does not suffice."""

    loss: str
    students: int
    extra_bytes: int | None
    seconds: Spread | None

    @property
    def memory(self) -> str:
        """For people."""
        return "does not fit into memory" if self.extra_bytes is None else f"{self.extra_bytes / 2**20:.0f} MiB"


@dataclass(frozen=True)
class LossResult:
    """The figures of `polystill bench loss` (docs/benchmark.md)."""

    settings: dict[str, int]
    rows: list[LossRow]
    growth: dict[str, float | None]


def measure(
    *,
    vocabulary_size: int,
    tokens: int,
    d_model: int,
    students: Sequence[int],
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> LossResult:
    """Both losses for each number of students."""
    settings = {"vocabulary_size": vocabulary_size, "tokens": tokens, "d_model": d_model, "rounds": rounds}
    settings["threads"] = threads
    rows = []
    for count in students:
        for loss in LOSSES:
            taken = child.call(f"{__name__}:memory_and_time", loss=loss, students=count, **settings)
            rows.append(LossRow(loss, count, **taken))
            log(f"{loss}, {count} students: {rows[-1].memory}")
    return LossResult(settings, rows, {loss: _growth([row for row in rows if row.loss == loss]) for loss in LOSSES})


def _growth(rows: Sequence[LossRow]) -> float | None:
    """The memory with the most students over that with the fewest; None where some do not fit."""
    by_students = sorted(rows, key=lambda row: row.students)
    sizes = [row.extra_bytes for row in by_students if row.extra_bytes is not None]
    return sizes[-1] / max(1, sizes[0]) if len(sizes) == len(rows) else None


def memory_and_time(
    loss: str, students: int, vocabulary_size: int, tokens: int, d_model: int, rounds: int, threads: int
) -> dict[str, Any]:
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
        result = LOSSES[loss]([Output(h, weight, bias) for h in hidden], range(len(hidden)), target, AioKd())
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


def loss_table(result: LossResult) -> Table:
    """The result for a terminal."""
    from rich.table import Table

    s = result.settings
    title = f"vocabulary {s['vocabulary_size']}, {s['tokens']} tokens, d_model {s['d_model']}"
    table = Table("loss", title=title, title_justify="left", box=None)
    for column in ("students", "MiB beyond states, weights, gradients", "seconds"):
        table.add_column(column, justify="right")
    for row in result.rows:
        memory = "too large" if row.extra_bytes is None else f"{row.extra_bytes / 2**20:.0f}"
        seconds = "" if row.seconds is None else shown_spread(row.seconds, 2)
        table.add_row(row.loss, str(row.students), memory, seconds)
    return table
