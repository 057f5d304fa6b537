"""Compare our training update as it is with one whose layers are compiled by `torch.compile`.

    python tools/measure_compile.py recipes/multi30k.yaml --set data.folder=multi30k --rounds 5

Compiled are our kernels, and torch's own attention and dropout in their place, which the compiler may fuse with what is
around them. Shapes are dynamic, since every batch has its own. The first round of each, which compiles, is reported by
itself; all train the same family on the same batches, in turn. Needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import polystill.models.layers
from polystill.bench.rounds import interleaved, quotients, spread
from polystill.bench.train import Trial, Variant, Workload, load_workload
from polystill.cli.bench import prepared_data
from polystill.errors import UserError
from polystill.models.layers import KERNELS, CrossAttention, FeedForward, Residual, SelfAttention, random_bytes
from polystill.models.transformer import DecoderLayer, EncoderLayer

SHARED = Variant("family", "shared", "fp32")


def compiled(workload: Workload, kernels: str) -> Trial:
    """The family's step with these kernels, every part of a layer that the step calls compiled."""
    trial = Trial(SHARED, workload)
    # Compiled with dynamic shapes, its view of 64-bit numbers as bytes ends in an error about the storage's size.
    polystill.models.layers.random_bytes = torch.compiler.disable(random_bytes)
    for module in trial.model.modules():
        if isinstance(module, SelfAttention | CrossAttention | FeedForward | Residual):
            module.kernels = KERNELS[kernels]
        if isinstance(module, EncoderLayer):
            module.compile(dynamic=True)
        if isinstance(module, DecoderLayer):
            for part in ("read_target", "read_memory"):
                setattr(module, part, torch.compile(getattr(module, part), dynamic=True))
    return trial


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a recipe, or a run whose data are prepared")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in polystill run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=2)
    given = parser.parse_args(arguments)
    try:
        with prepared_data(given.recipe, given.set, None) as (recipe, data):
            workload = load_workload(recipe, data, students=2, batches=given.batches)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    subjects: dict[str, Callable[[], object]] = {"as it is": Trial(SHARED, workload).run}
    for kernels in KERNELS:
        subjects[f"compiled, {kernels} kernels"] = compiled(workload, kernels).run
    for name, run in subjects.items():
        start = time.perf_counter()
        run()
        print(f"{name}: first round {time.perf_counter() - start:.0f} s")
    seconds = interleaved(subjects, given.rounds)
    for name, taken in seconds.items():
        speed, ratio = spread([workload.target_tokens / s for s in taken]), quotients(seconds["as it is"], taken)
        print(
            f"{name:24} {speed['median']:6.0f} ({speed['min']:.0f}–{speed['max']:.0f}) target tokens/s, "
            f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f}) times as fast"
        )


if __name__ == "__main__":
    main()
