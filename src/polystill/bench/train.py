"""Training updates of a family against those of one network and of their plain twins, on the same batches.

Variants, each with weights and an optimizer of its own, all from the same start and with the same drawn students:

    teacher          the teacher alone, by our update
    teacher-plain    the teacher alone as plain PyTorch: whole logits, torch's attention, dropout and AdamW
    family-plain     teacher and students the same plain way, one network after another
    family-exact     ours, batched, dropout masks of each network's own
    family-shared    ours, one encoder pass for all networks

All in fp32, ours also in bf16 (`-bf16`) where the processor multiplies it fast; on a GPU the plain ones too. Every
variant runs `training.update.Update`, as the trainer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from polystill.bench.parts import Timeline, marked_parts
from polystill.bench.rounds import (
    Spread,
    gemm_flops_per_second,
    interleaved,
    quotients,
    shown_spread,
    spread,
    synchronize,
)
from polystill.config import Recipe, parse_recipe
from polystill.data.batching import BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.environment import child
from polystill.environment.child import peak_memory
from polystill.errors import UserError
from polystill.models.elastic import ElasticConfig
from polystill.models.transformer import Transformer
from polystill.objectives.base import FrozenTeacherObjective, Objective
from polystill.students import Chosen, Networks, Student
from polystill.training.accelerator import best_precision, make_accelerator
from polystill.training.feed import BatchFeed, Position, UpdateBatch
from polystill.training.frozen import FrozenTeacher
from polystill.training.start import build_model, build_supernets
from polystill.training.update import Update, Updated, learning_rate, make_optimizer, stage_seed

if TYPE_CHECKING:
    from rich.table import Table

# --- what is trained on -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """Batches, and the objective of the updates on them."""

    recipe: Recipe
    objective: Objective
    tokenizer: Tokenizer
    device: torch.device
    batches: list[UpdateBatch]
    supernets: Chosen
    """The supernets that the updates train, as a stage has them."""
    networks: list[list[Student]]
    """The networks that the objective draws for each batch, the teacher first."""
    sizes: ElasticConfig
    """The teacher's."""

    @property
    def target_tokens(self) -> int:
        return sum(batch.target_tokens for batch in self.batches)


def load_workload(recipe: Recipe, data: Path, students: int, batches: int) -> Workload:
    """The first batches of the corpus, and the objective of the first stage that trains the whole first supernet.

    students: drawn for each batch, instead of `students_per_step`, by an objective that draws any.

    Raises:
        UserError: no stage trains the first supernet, that stage learns from a frozen teacher, the data folder is
            damaged, or the student space does not fit the teacher.
    """
    teaches = (stage for stage in recipe.stages if stage.networks == "all" and stage.supernets != "further")
    stage = next(teaches, recipe.stages[0])
    if stage.supernets == "further":
        raise UserError(
            f"stage {stage.name}: holds the first supernet, whose largest network is timed, too; give a recipe with a "
            "stage that trains it"
        )
    objective = recipe.stage_objective(stage)
    objective = objective.drawing(students) if objective.trains_family else objective
    if objective.frozen_teacher:
        raise UserError(
            f"stage {stage.name}: {objective.kind} learns from a frozen teacher, which cannot be timed; set "
            "objective.kind=aio_kd or nll, and leave objective.teacher out"
        )
    torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, train_set = Tokenizer.load(data / "tokenizer"), PackedDataset.open(data / "train")
    seed = stage_seed(recipe.seed, 0)
    schedule = BatchSchedule(train_set.source_lengths, train_set.target_lengths, recipe.training.batch_tokens, seed)
    accumulate, gpu = recipe.training.accumulate, device.type == "cuda"
    feed = BatchFeed(train_set, schedule, pad_id=tokenizer.pad_id, accumulate=accumulate, gpu=gpu)
    made = list(islice(feed.updates(Position()), batches))
    sizes = build_model(recipe, tokenizer).config
    space = recipe.students.space(sizes.teacher, recipe.supernets).only("all", stage.supernets)
    networks = [objective.networks(space, seed, update) for update in range(1, batches + 1)]
    return Workload(recipe, objective, tokenizer, device, made, stage.supernets, networks, sizes)


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


_MODES = (("teacher", "shared"), ("teacher", "plain"), ("family", "plain"), ("family", "exact"), ("family", "shared"))


def variants(fast_bf16: bool, gpu: bool) -> list[Variant]:
    """All that are measured on a machine."""
    measured = [Variant(who, mode, "fp32") for who, mode in _MODES]
    if fast_bf16:
        measured += [Variant(who, mode, "bf16") for who, mode in _MODES if gpu or mode != "plain"]
    return measured


class Trial:
    """One variant, ready to train on a workload by `training.update.Update`, as the trainer does."""

    def __init__(
        self,
        variant: Variant,
        workload: Workload,
        objective: Objective | None = None,
        teacher: FrozenTeacher | None = None,
        networks: Networks = "all",
        supernets: Chosen | None = None,
    ) -> None:
        """objective, supernets: instead of the workload's. networks: as a stage's.

        teacher: the frozen one that it learns from, by default the first supernet's largest network.
        """
        self.variant, self.workload = variant, workload
        recipe = workload.recipe
        training = recipe.training.model_copy(update={"mode": variant.mode})
        as_variant = recipe.model_copy(update={"training": training})
        if variant.who == "teacher":
            as_variant = as_variant.model_copy(update={"supernets": {}})
        self.model = build_supernets(as_variant, workload.tokenizer).to(workload.device)
        objective = objective or workload.objective
        if variant.who == "teacher":
            objective = objective.drawing(0)
        optimizer: torch.optim.Optimizer = make_optimizer(self.model, training)
        if variant.mode == "plain":
            optimizer = torch.optim.AdamW(
                self.model.parameters(), betas=training.betas, weight_decay=training.weight_decay
            )
        space = as_variant.students.space(self.model.first.teacher, as_variant.supernets)
        if teacher is None and isinstance(objective, FrozenTeacherObjective):
            teacher = FrozenTeacher(self.model.first, space.teacher)
        space = space.only(networks, supernets or workload.supernets)
        self.model.hold_all_but(space)
        self.run_update = Update(
            self.model,
            objective,
            space,
            training,
            make_accelerator(variant.precision),
            optimizer=optimizer,
            learning_rate=partial(
                learning_rate, peak=training.learning_rate, warmup=training.warmup, schedule="constant", updates=1
            ),
            seed=recipe.seed,
            teacher=teacher,
        )
        self.last: Updated | None = None
        """The last update, whose loss is not read yet: a GPU would be waited for."""

    @property
    def loss(self) -> float:
        """Of the last update, a target token; NaN before the first."""
        return float("nan") if self.last is None else self.last.loss

    def networks(self, number: int) -> list[Student]:
        return self.run_update.networks(number + 1)

    def run(self, mark: Callable[[str | None], object] = lambda part: None) -> None:
        """One update on every batch."""
        for number in range(len(self.workload.batches)):
            self.update(number, mark)

    def update(self, number: int, mark: Callable[[str | None], object] = lambda part: None) -> None:
        """One update on one batch, counted from 0. mark: as in `Update`."""
        self.last = self.run_update(self.workload.batches[number], number + 1, mark)

    def shares(self) -> dict[str, float]:
        """Of the update's parts in its time; empty for an LSTM, whose decoder layers take turns at every position."""
        transformers = [supernet for supernet in self.model.each() if isinstance(supernet, Transformer)]
        if len(transformers) < len(self.model.each()):
            return {}
        timeline = Timeline(self.workload.device)
        with ExitStack() as marks:
            for supernet in transformers:
                marks.enter_context(marked_parts(supernet, timeline))
            self.run(timeline.enter)
        return timeline.shares()

    def flops(self) -> int:
        """Of matrix products in one `run`."""
        total = 0
        for number, batch in enumerate(self.workload.batches):
            networks = self.networks(number)
            passes = [[n] for n in networks] if self.variant.mode == "plain" else [networks]
            for micro_batch in batch.micro_batches:
                sentences, source_length = micro_batch.source.shape
                sizes = sentences, source_length, micro_batch.target.shape[1]
                total += sum(self.model.update_flops(self.run_update.batch_loss.plans(each), *sizes) for each in passes)
        return total


# --- the measurement --------------------------------------------------------------------------------------------------


@dataclass
class TrainRow:
    """One variant's figures, as docs/benchmark.md describes them."""

    variant: str
    who: str
    mode: str
    precision: str
    target_tokens_per_second: Spread
    seconds: list[float]
    speed_to_family_plain: Spread
    speed_to_teacher_plain: Spread
    cost_in_teacher_steps: Spread
    flops: int
    flops_per_second: Spread
    share_of_gemm: Spread
    loss: float
    shares: dict[str, float]
    """Of the update's parts; empty for an LSTM, whose decoder layers take turns at every position."""
    memory: dict[str, int] = field(default_factory=dict)


@dataclass
class TrainResult:
    settings: dict[str, Any]
    gemm_flops_per_second: dict[str, float]
    rows: list[TrainRow]


def measure(
    recipe: Recipe, data: Path, *, students: int, rounds: int, batches: int, log: Callable[[str], object]
) -> TrainResult:
    """All variants on the packed data in `data`.

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
    rows = [_row(trial, seconds, limits) for trial in trials.values()]
    trials.clear()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    for row in rows:
        row.memory = child.call(
            f"{__name__}:peak_of",
            recipe=recipe.model_dump(mode="json"),
            data=str(data),
            students=students,
            batches=batches,
            variant={"who": row.who, "mode": row.mode, "precision": row.precision},
        )
        log(f"peak memory of {row.variant}: {row.memory['peak_bytes'] / 2**20:.0f} MiB")
    return TrainResult(_settings(workload, rounds), limits, rows)


def _gemm_limits(trials: Iterable[Trial], device: torch.device) -> dict[str, float]:
    precisions = dict.fromkeys(trial.variant.precision for trial in trials)
    return {precision: gemm_flops_per_second(device, precision) for precision in precisions}


def _row(trial: Trial, seconds: dict[str, list[float]], limits: dict[str, float]) -> TrainRow:
    variant, taken = trial.variant, seconds[trial.variant.name]
    flops, tokens = trial.flops(), trial.workload.target_tokens
    return TrainRow(
        variant=variant.name,
        who=variant.who,
        mode=variant.mode,
        precision=variant.precision,
        target_tokens_per_second=spread([tokens / s for s in taken]),
        seconds=taken,
        speed_to_family_plain=quotients(seconds["family-plain"], taken),
        speed_to_teacher_plain=quotients(seconds["teacher-plain"], taken),
        cost_in_teacher_steps=quotients(taken, seconds[Variant("teacher", "shared", variant.precision).name]),
        flops=flops,
        flops_per_second=spread([flops / s for s in taken]),
        share_of_gemm=spread([flops / s / limits[variant.precision] for s in taken]),
        loss=trial.loss,
        shares=trial.shares(),
    )


def peak_of(recipe: dict[str, Any], data: str, students: int, batches: int, variant: dict[str, str]) -> dict[str, int]:
    """Memory of a variant in this process, for `child.call`: with the batches loaded, and at most while it trains."""
    workload = load_workload(parse_recipe(recipe, "the recipe"), Path(data), students, batches)
    with peak_memory(workload.device) as peak:
        Trial(Variant(**variant), workload).run()
    return {"start_bytes": peak.start, "peak_bytes": peak.peak}


def _settings(workload: Workload, rounds: int) -> dict[str, Any]:
    recipe, sizes = workload.recipe, workload.sizes
    return {
        "name": recipe.name,
        "teacher": str(workload.networks[0][0]),
        **{key: getattr(sizes, key) for key in ("d_model", "ffn_dim", "heads") if hasattr(sizes, key)},
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


def train_table(result: TrainResult) -> Table:
    """The result for a terminal."""
    from rich.table import Column, Table

    s = result.settings
    title = f"{s['name']}: teacher {s['teacher']} and {s['students_per_step']} students, {s['batches']} batches of "
    title += f"{s['target_tokens'] / s['batches']:.0f} target tokens, {s['device']}, {s['threads']} threads"
    table = Table(Column("variant", no_wrap=True), title=title, title_justify="left", box=None)
    columns = ["target tokens/s", "× family-plain", "teacher steps", "peak MiB", "GFLOP/s", "of GEMM"]
    for column in [*columns, "enc", "dec", "loss", "opt"]:
        table.add_column(column, justify="right")
    for row in result.rows:
        table.add_row(
            row.variant,
            shown_spread(row.target_tokens_per_second, 0),
            shown_spread(row.speed_to_family_plain, 2),
            shown_spread(row.cost_in_teacher_steps, 2),
            f"{row.memory['peak_bytes'] / 2**20:.0f}",
            f"{row.flops_per_second['median'] / 1e9:.0f}",
            f"{row.share_of_gemm['median']:.0%}",
            *(f"{share:.0%}" for share in row.shares.values()),
        )
    return table
