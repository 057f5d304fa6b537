"""Measure on an NVIDIA GPU what tests prove, or estimate, without one.

    python tools/measure_gpu.py recipes/multi30k.yaml --set data.folder=multi30k

For families and the teacher alone, in every precision, in this order:

- waits: updates under `torch.cuda.set_sync_debug_mode("error")`, after one that fills caches; the first wait is shown
- memory: the largest update's estimate beside what torch allocated
- speed: target tokens a second, in turn: as it is, with the passes compiled (`torch.compile`, one graph for each plan
  and dynamic shapes), and on batches without padding to multiples

Shapes: how many differ among an epoch's batches, with and without this padding. Without a GPU it only says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from polystill.bench.rounds import interleaved, shown_speed, synchronize
from polystill.bench.train import Trial, Variant, Workload, load_workload
from polystill.cli.bench import prepared_data, tool_parser
from polystill.cli.common import user_errors
from polystill.config import Recipe
from polystill.data.batching import Mixture
from polystill.data.packing import PackedDataset
from polystill.environment.child import peak_memory
from polystill.errors import UserError
from polystill.models.passes import PassPlan
from polystill.training.accelerator import best_precision
from polystill.training.feed import GPU_MULTIPLE, BatchFeed, Position, UpdateBatch
from polystill.training.memory import Batching, MemoryOfUpdates, shapes
from polystill.training.update import stage_seed


def mixture_of(workload: Workload, train_set: PackedDataset) -> Mixture:
    recipe = workload.recipe
    groups = [(range(len(train_set)), 1.0)]
    return Mixture(train_set, groups, recipe.training.batch_tokens, stage_seed(recipe.seed, 0))


def unpadded(workload: Workload, train_set: PackedDataset) -> list[UpdateBatch]:
    """The workload's batches, padded to their longest sentences only."""
    feed = BatchFeed(
        train_set,
        mixture_of(workload, train_set),
        pad_id=workload.tokenizer.pad_id,
        accumulate=workload.recipe.training.accumulate,
    )
    return list(islice(feed.updates(Position()), len(workload.batches)))


def first_wait(trial: Trial) -> str:
    """Where an update waits for the GPU, or that it does not."""
    trial.run()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(len(trial.workload.batches)):
            trial.update(number)
    except RuntimeError as error:
        return f"waits: {str(error).splitlines()[0]}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "does not wait"


def memory(variant: Variant, workload: Workload) -> str:
    """The estimate of an update on the largest batch beside the peak of a run over all of them."""
    trial = Trial(variant, workload)
    drawn = [trial.networks(number) for number in range(len(workload.batches))]
    plans = [trial.run_update.batch_loss.plans(networks) for networks in drawn]
    estimate = MemoryOfUpdates(trial.model, plans, variant.precision, workload.device)
    parts = [part for batch in workload.batches for part in batch.micro_batches]
    needs = [estimate.need((*part.source.shape, part.target.shape[1]), moments=True) for part in parts]
    need = max(needs, key=lambda each: each.total)
    with peak_memory(workload.device) as peak:
        trial.run()
    real = peak.beyond
    return f"estimated {need.total / 2**20:,.0f} MiB, allocated {real / 2**20:,.0f} MiB ({need.total / real:.2f} times)"


def compiled(variant: Variant, workload: Workload) -> Trial:
    """The variant with the passes of each supernet compiled."""
    trial = Trial(variant, workload)
    torch._dynamo.config.recompile_limit = 1000  # of plans and shapes
    for supernet in trial.model.each():
        supernet.hidden_states = one_graph_a_plan(supernet.hidden_states)  # type: ignore[method-assign]
    return trial


def one_graph_a_plan(hidden_states: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """A Transformer's `hidden_states`, compiled whole for each plan of passes, which is no tensor."""
    graphs: dict[PassPlan, Callable[[Tensor, Tensor], list[Tensor]]] = {}

    def run(source: Tensor, target_in: Tensor, plan: PassPlan, *_: object) -> list[Tensor]:
        if plan not in graphs:
            graphs[plan] = torch.compile(lambda *sides: hidden_states(*sides, plan), fullgraph=True, dynamic=True)
        return graphs[plan](source, target_in)

    return run


def count_shapes(workload: Workload, train_set: PackedDataset) -> str:
    recipe, seen = workload.recipe, list(shapes(mixture_of(workload, train_set), 0))
    counts = []
    for multiple in (1, GPU_MULTIPLE):
        batching = Batching(recipe.training.batch_tokens, recipe.training.accumulate, multiple)
        padded = [batching.part(shape) for shape in seen]
        tokens = sum(sentences * target for sentences, _, target in padded)
        counts.append((len(set(padded)), tokens))
    (without, tokens), (with_padding, padded_tokens) = counts
    return (
        f"shapes in an epoch of {len(seen)} batches: {without}; padded to multiples of {GPU_MULTIPLE}: {with_padding}, "
        f"for {padded_tokens / tokens - 1:.1%} more target positions"
    )


def measure(recipe: Recipe, workload: Workload, train_set: PackedDataset, rounds: int) -> None:
    print(count_shapes(workload, train_set))
    precisions = ["fp32", "bf16"] if best_precision() == "bf16" else ["fp32"]
    variants = [Variant(who, "shared", precision) for precision in precisions for who in ("teacher", "family")]
    for variant in variants:
        print(f"{variant.name}: {first_wait(Trial(variant, workload))}")
        print(f"{variant.name}: {memory(variant, workload)}")
        torch.cuda.empty_cache()
    for variant in variants:
        subjects: dict[str, Callable[[], object]] = {
            "as it is": Trial(variant, workload).run,
            "unpadded": Trial(variant, replace(workload, batches=unpadded(workload, train_set))).run,
        }
        if recipe.model.architecture == "transformer":
            subjects["compiled"] = compiled(variant, workload).run
        for run in subjects.values():
            run()  # the first compiles
        seconds = interleaved(subjects, rounds, lambda: synchronize(workload.device))
        speeds = {name: [workload.target_tokens / s for s in taken] for name, taken in seconds.items()}
        for name, values in speeds.items():
            print(shown_speed(f"{variant.name}, {name}", values, speeds["as it is"]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = tool_parser(__doc__, rounds=5)
    parser.add_argument("--batches", type=int, default=8)
    given = parser.parse_args(arguments)
    with user_errors():
        if not torch.cuda.is_available():
            raise UserError("there is no GPU that torch can use, and everything here is measured on one")
        with prepared_data(given.recipe, given.set, None) as (recipe, data):
            workload = load_workload(recipe, data, students=2, batches=given.batches)
            measure(recipe, workload, PackedDataset.open(data / "train"), given.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
