"""Compare our training update as it is with one whose layers are compiled by `torch.compile`.

    python tools/measure_compile.py recipes/multi30k.yaml --set data.folder=multi30k --rounds 5

Compiled are our kernels, and torch's own attention and dropout in their place, which the compiler may fuse with what is
around them. Shapes are dynamic, since every batch has its own. The first round of each, which compiles, is reported by
itself; all train the same family on the same batches, in turn. Needs a C++ compiler.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

import polystill.models.layers
from polystill.bench.rounds import interleaved, shown_speed
from polystill.bench.train import Trial, Variant, Workload, load_workload
from polystill.cli.bench import prepared_data, tool_parser
from polystill.cli.common import user_errors
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
    parser = tool_parser(__doc__, rounds=5)
    parser.add_argument("--batches", type=int, default=2)
    given = parser.parse_args(arguments)
    with user_errors(), prepared_data(given.recipe, given.set, None) as (recipe, data):
        workload = load_workload(recipe, data, students=2, batches=given.batches)
    subjects: dict[str, Callable[[], object]] = {"as it is": Trial(SHARED, workload).run}
    for kernels in KERNELS:
        subjects[f"compiled, {kernels} kernels"] = compiled(workload, kernels).run
    for name, run in subjects.items():
        start = time.perf_counter()
        run()
        print(f"{name}: first round {time.perf_counter() - start:.0f} s")
    seconds = interleaved(subjects, given.rounds)
    speeds = {name: [workload.target_tokens / s for s in taken] for name, taken in seconds.items()}
    for name, values in speeds.items():
        print(shown_speed(name, values, speeds["as it is"]))


if __name__ == "__main__":
    main()
