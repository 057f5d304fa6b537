"""Training steps of a family against those of one network and of their plain twins, on the same batches.

Variants, each with weights and an optimizer of its own, all from the same start and with the same drawn students:

    teacher          the teacher alone, by our step
    teacher-plain    the teacher alone as plain PyTorch: whole logits, torch's attention, dropout and AdamW
    family-plain     teacher and students the same plain way, one network after another
    family-exact     ours, batched, dropout masks of each network's own
    family-shared    ours, one encoder pass for all networks

All in fp32, ours also in bf16 (`-bf16`) where the processor multiplies it fast; on a GPU the plain ones too. An update
is what the trainer does in one: loss, gradients, their norm, optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from polystill.bench.gemm import gemm_flops_per_second, synchronize
from polystill.bench.parts import Timeline, marked_parts
from polystill.bench.rounds import interleaved, quotients, spread
from polystill.config import Recipe, parse_recipe
from polystill.data.batching import BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.environment import child
from polystill.environment.child import peak_memory
from polystill.errors import UserError
from polystill.models.transformer import Transformer
from polystill.students import Student
from polystill.training.accelerate import best_precision
from polystill.training.draw import networks_of, random_seed, settings_of, stage_seed
from polystill.training.feed import BatchFeed, Position, UpdateBatch
from polystill.training.optimizer import learning_rate, make_optimizer
from polystill.training.session import build_model
from polystill.training.step import TrainingStep

Row = dict[str, Any]

# --- what is trained on -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """Batches, and for each of them the networks that it trains, teacher first."""

    recipe: Recipe
    tokenizer: Tokenizer
    device: torch.device
    batches: list[UpdateBatch]
    networks: list[list[Student]]

    @property
    def target_tokens(self) -> int:
        return sum(batch.target_tokens for batch in self.batches)


def load_workload(recipe: Recipe, data: Path, students: int, batches: int) -> Workload:
    """The first batches of the corpus itself that the first stage would train on, each with the networks that it would.

    students: drawn for each batch, instead of `students_per_step`; none under `nll`, which trains the teacher alone.

    Raises:
        UserError: the first stage learns from a frozen teacher, the data folder is damaged, or the student space does
            not fit the teacher.
    """
    stage = recipe.stages[0]
    objective = recipe.stage_objective(stage).model_copy(update={"students_per_step": students})
    if objective.kind == "word_kd":
        raise UserError(
            f"stage {stage.name}: word_kd learns from a frozen teacher; timed are families and single networks without "
            "one, so set objective.kind=aio_kd (or nll) and no objective.teacher"
        )
    torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, train_set = Tokenizer.load(data / "tokenizer"), PackedDataset.open(data / "train")
    seed = stage_seed(recipe.seed, 0)
    schedule = BatchSchedule(train_set.source_lengths, train_set.target_lengths, recipe.training.batch_tokens, seed)
    feed = BatchFeed(train_set, schedule, pad_id=tokenizer.pad_id, accumulate=recipe.training.accumulate)
    drawn = list(islice(feed.updates(Position()), batches))
    space = recipe.students.space(build_model(recipe, tokenizer).teacher)
    networks = [networks_of(objective, space, seed, update) for update in range(1, batches + 1)]
    return Workload(recipe, tokenizer, device, drawn, networks)


# --- variants ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """mode: as `training.mode`; the teacher alone trains alike in "shared" and "exact"."""

    who: str
    mode: str
    precision: str

    @property
    def name(self) -> str:
        parts = [self.who]
        if self.mode == "plain" or self.who == "family":
            parts.append(self.mode)
        return "-".join(parts if self.precision == "fp32" else [*parts, self.precision])


def variants(fast_bf16: bool, gpu: bool) -> list[Variant]:
    """All that are measured on a machine."""
    modes = [
        ("teacher", "shared"),
        ("teacher", "plain"),
        ("family", "plain"),
        ("family", "exact"),
        ("family", "shared"),
    ]
    found = [Variant(who, mode, "fp32") for who, mode in modes]
    if fast_bf16:
        found += [Variant(who, mode, "bf16") for who, mode in modes if gpu or mode != "plain"]
    return found


class Trial:
    """One variant, ready to train on a workload."""

    def __init__(self, variant: Variant, workload: Workload) -> None:
        self.variant, self.workload = variant, workload
        recipe = workload.recipe
        training = recipe.training.model_copy(update={"mode": variant.mode})
        as_variant = recipe.model_copy(update={"training": training})
        self.model = build_model(as_variant, workload.tokenizer).to(workload.device).train()
        self.step = TrainingStep(self.model, variant.mode, lambda ce: ce)
        self.optimizer = make_optimizer(self.model, training)
        if variant.mode == "plain":
            self.optimizer = torch.optim.AdamW(
                self.model.parameters(), betas=training.betas, weight_decay=training.weight_decay
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                1, peak=training.learning_rate, warmup=training.warmup, schedule="constant", updates=1
            )
        self.settings = settings_of(recipe.stage_objective(recipe.stages[0]), recipe.stages[0].updates)
        self.loss = float("nan")
        """Of the last update, a target token."""

    def networks(self, number: int) -> list[Student]:
        networks = self.workload.networks[number]
        return networks if self.variant.who == "family" else networks[:1]

    def run(self, timeline: Timeline | None = None) -> None:
        """One update on every batch."""
        for number in range(len(self.workload.batches)):
            self.update(number, timeline)

    def update(self, number: int, timeline: Timeline | None = None) -> None:
        """One update on one batch."""

        def enter(part: str | None) -> None:
            if timeline is not None:
                timeline.enter(part)

        batch, device = self.workload.batches[number], self.workload.device
        torch.manual_seed(random_seed(self.workload.recipe.seed, number))
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=device)
        for micro_batch in batch.micro_batches:
            enter("encoder")
            with self._precision():
                loss = self.step(micro_batch.to(device), self.networks(number), self.settings).loss
            enter("vocabulary_loss")
            (loss / batch.target_tokens).backward()
            total += loss.detach()
        enter("optimizer")
        self.model.mask_pad_gradient()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.workload.recipe.training.clip_norm or float("inf"))
        self.optimizer.step()
        enter(None)
        self.loss = float(total) / batch.target_tokens

    def _precision(self) -> Any:
        if self.variant.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.workload.device.type, torch.bfloat16)

    def flops(self) -> int:
        """Of matrix products in one `run`."""
        total = 0
        for number, batch in enumerate(self.workload.batches):
            networks = self.networks(number)
            passes = [[n] for n in networks] if self.variant.mode == "plain" else [networks]
            for micro_batch in batch.micro_batches:
                sentences, source_length = micro_batch.source.shape
                sizes = sentences, source_length, micro_batch.target.shape[1]
                total += sum(self.model.update_flops(self.step.plan(each), *sizes) for each in passes)
        return total


# --- the measurement --------------------------------------------------------------------------------------------------


def measure(
    recipe: Recipe, data: Path, *, students: int, rounds: int, batches: int, log: Callable[[str], object]
) -> dict[str, Any]:
    """All variants on the packed data in `data`; returns what docs/benchmark.md describes.

    Raises:
        UserError: as `load_workload`.
    """
    workload = load_workload(recipe, data, students, batches)
    device = workload.device
    trials = {
        variant.name: Trial(variant, workload)
        for variant in variants(best_precision() == "bf16", device.type == "cuda")
    }
    log(f"{len(trials)} variants, {len(workload.batches)} batches, {workload.target_tokens} target tokens")
    runs: dict[str, Callable[[], object]] = {name: trial.run for name, trial in trials.items()}
    limits = _gemm_limits(trials.values(), device)
    seconds = interleaved(runs, rounds, lambda: synchronize(device), log)
    for precision, after in _gemm_limits(trials.values(), device).items():
        limits[precision] = max(limits[precision], after)
    rows = [
        {**_row(trial, seconds, workload.target_tokens, limits), "shares": _shares(trial)} for trial in trials.values()
    ]
    trials.clear()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    for row in rows:
        row["memory"] = child.call(
            f"{__name__}:peak_of",
            recipe=recipe.model_dump(mode="json"),
            data=str(data),
            students=students,
            batches=batches,
            variant={key: row[key] for key in ("who", "mode", "precision")},
        )
        log(f"peak memory of {row['variant']}: {row['memory']['peak_bytes'] / 2**20:.0f} MiB")
    return {
        "settings": _settings(workload, rounds),
        "gemm_flops_per_second": limits,
        "rows": rows,
    }


def _gemm_limits(trials: Iterable[Trial], device: torch.device) -> dict[str, float]:
    precisions = dict.fromkeys(trial.variant.precision for trial in trials)
    return {precision: gemm_flops_per_second(device, precision) for precision in precisions}


def _row(trial: Trial, seconds: dict[str, list[float]], target_tokens: int, limits: dict[str, float]) -> Row:
    variant, own = trial.variant, seconds[trial.variant.name]
    teacher = Variant("teacher", "shared", variant.precision).name
    flops = trial.flops()
    achieved = [flops / s for s in own]
    return {
        "variant": variant.name,
        "who": variant.who,
        "mode": variant.mode,
        "precision": variant.precision,
        "target_tokens_per_second": spread([target_tokens / s for s in own]),
        "seconds": own,
        "speed_to_family_plain": quotients(seconds["family-plain"], own),
        "speed_to_teacher_plain": quotients(seconds["teacher-plain"], own),
        "cost_in_teacher_steps": quotients(own, seconds[teacher]),
        "flops": flops,
        "flops_per_second": spread(achieved),
        "share_of_gemm": spread([value / limits[variant.precision] for value in achieved]),
        "loss": trial.loss,
    }


def _shares(trial: Trial) -> dict[str, float]:
    """Of the step's parts; empty for an LSTM, whose decoder layers take turns at every position."""
    if not isinstance(trial.model, Transformer):
        return {}
    timeline = Timeline(trial.workload.device)
    with marked_parts(trial.model, timeline):
        trial.run(timeline)
    return timeline.shares()


def peak_of(recipe: Row, data: str, students: int, batches: int, variant: dict[str, str]) -> dict[str, int]:
    """Memory of a variant in this process, for `child.call`: with the batches loaded, and at most while it trains."""
    workload = load_workload(parse_recipe(recipe, "the recipe"), Path(data), students, batches)
    with peak_memory(workload.device) as peak:
        Trial(Variant(**variant), workload).run()
    return {"start_bytes": peak.start, "peak_bytes": peak.peak}


def _settings(workload: Workload, rounds: int) -> Row:
    recipe = workload.recipe
    return {
        "name": recipe.name,
        "teacher": str(workload.networks[0][0]),
        "d_model": recipe.model.d_model,
        "ffn_dim": recipe.model.ffn_dim,
        "heads": recipe.model.heads,
        "vocabulary_size": workload.tokenizer.vocabulary_size,
        "batch_tokens": recipe.training.batch_tokens,
        "students_per_step": len(workload.networks[0]) - 1,
        "rounds": rounds,
        "batches": len(workload.batches),
        "target_tokens": workload.target_tokens,
        "networks": [[str(network) for network in networks] for networks in workload.networks],
        "device": workload.device.type,
        "threads": torch.get_num_threads(),
    }
