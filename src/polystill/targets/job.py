"""What every kind of teacher hands to `generate`: a `Job`, and the processes that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polystill.decoding.translator import DecodingOptions
from polystill.environment.pool import LocalPool, Pool, ThisProcess
from polystill.environment.ray_pool import RayPool
from polystill.errors import UserError
from polystill.targets.store import Candidate

Translate = Callable[[Sequence[str]], list[list[Candidate]]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Compute:
    """The engine that translates, and the processes that it runs in."""

    engine: str | None = None
    """None is CTranslate2 where the model can run in it, else torch."""
    precision: str = "default"
    workers: int = 1
    threads: int = 0
    """Threads of each worker; 0 shares the cores among them."""
    ray: bool = False
    """Spread the workers over a Ray cluster."""

    def pool(self, threads: int, say: Say) -> Pool:
        """The processes; each has this many threads."""
        if self.ray:
            return RayPool(self.workers, say, threads)
        return ThisProcess() if self.workers == 1 else LocalPool(self.workers, say)


@dataclass(frozen=True)
class Job:
    """A teacher, ready to be opened."""

    plan: dict[str, Any]
    """What decides which translations it writes, for the manifest."""
    ready: Callable[[Path], Callable[[], Translate]]
    """Called once if there is something to translate, with a scratch folder in the targets' folder. Each worker calls
    what it returns."""
    pool: Pool
    cost: Callable[[], dict[str, Any]] = dict
    """What the translations took so far besides time, over all attempts, for the manifest."""


def default_beam(n_best: int) -> int:
    """Return Kim & Rush's beam of 5 for Seq-KD, or a larger one where more translations are wanted."""
    return max(5, n_best)


def refuse_search(teacher: Path, why: str, options: DecodingOptions, compute: Compute, *allowed: str) -> None:
    """Refuse settings of a search that this teacher does not do; `allowed` are fields of `Compute` that it heeds.

    Raises:
        UserError: one of the others has been set.
    """
    defaults = DecodingOptions(default_beam(options.n_best), options.n_best, max_length=options.max_length)
    plain = replace(Compute(), **{name: getattr(compute, name) for name in (*allowed, "threads")})
    if options != defaults or compute != plain:
        refused = [f"--{name}" for name in ("engine", "precision", "workers") if name not in allowed]
        raise UserError(
            f"{teacher}: {why}; leave out {', '.join(refused)}, --beam, --length-penalty and --batch-tokens"
        )
