"""The machine, the model, the data and the student space that all stages of a run share."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch import Tensor

from polystill.config import BESIDE_START, GOLD, Model, Precision, Recipe, Stage
from polystill.data.alignment import Alignments
from polystill.data.batching import Group, Mixture
from polystill.data.domains import groups_of
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models import ARCHITECTURES
from polystill.models.elastic import ElasticConfig, ElasticModel
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.projected_start import check_projection, project
from polystill.models.supernets import Supernets
from polystill.models.transformer import Transformer, TransformerConfig
from polystill.objectives.base import FrozenTeacherObjective
from polystill.runs import Run
from polystill.runs.family import first_students
from polystill.runs.places import find_start
from polystill.storage import storage_errors, write_atomic
from polystill.training.checkpoint import Checkpoints
from polystill.training.frozen import FrozenTeacher, load_teacher

PRECISIONS = get_args(Precision)


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


class Session:
    """One process's view of a training: its model starts from the recipe's seed or start folder."""

    def __init__(self, run: Run) -> None:
        recipe = run.recipe
        torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
        self.run, self.recipe = run, recipe
        with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
            self.precision = _precision(run)
        self.accelerator = make_accelerator(self.precision)
        self.is_main = self.accelerator.is_main_process
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        self.tokenizer = Tokenizer.load(run.data / "tokenizer")
        self.train_set = PackedDataset.open(run.data / "train")
        self.validation_set = PackedDataset.open(run.data / "validation")
        self.model = build_supernets(recipe, self.tokenizer).to(self.accelerator.device)
        start = recipe.model.start
        self._started = first_students(find_start(start)) if start is not None else ()
        self.space = recipe.student_space(self.model.first.teacher, self._started)
        self._grow_from_smallest()

    def _grow_from_smallest(self) -> None:
        """Let the deeper networks of a new supernet begin where its first stage leaves the smallest one."""
        for members in self.space.supernets:
            if self.recipe.grows(name := members.largest.supernet):
                self.model[name].grow_from(members.candidates[0])

    def project_before(self, stage: Stage) -> None:
        """Project the first supernet, which is trained, to those that `stage` is the first to train."""
        trained = self.space.supernets[0].candidates if self.recipe.model.start is None else self._started
        for name, supernet in self.recipe.supernets.items():
            if supernet.start == "projected" and self.recipe.first_stage_of(name) == stage:
                self.model.cpu()
                first, new = self.model.first, self.model[name]
                assert isinstance(first, Transformer) and isinstance(new, Transformer)
                project(first, new, trained)
                self.model.to(self.accelerator.device)

    def mixture(self, stage: Stage, seed: int) -> Mixture:
        """The training data of a stage: gold and generated pairs by the weights of their targets and domains."""
        known, domains = self.recipe.data.domains, self.recipe.stage_domains(stage)
        weights = None if domains is None else {known.index(name): weight for name, weight in domains.items()}
        parts: list[PackedDataset] = []
        groups: list[Group] = []
        for name, weight in self.recipe.stage_targets(stage).items():
            first, part = sum(map(len, parts)), self._targets(name)
            of_domains = groups_of(self._folder(name), range(first, first + len(part)), weights)
            groups += [(rows, weight * factor) for rows, factor in of_domains]
            parts.append(part)
        return Mixture(PackedDataset.joined(parts), groups, self.recipe.training.batch_tokens, seed)

    def _targets(self, name: str) -> PackedDataset:
        return self.train_set if name == GOLD else PackedDataset.open(self._folder(name))

    def _folder(self, name: str) -> Path:
        return self.run.data / "train" if name == GOLD else self.run.data / "targets" / name

    def alignments(self, stage: Stage) -> Alignments | None:
        """The alignments of a stage's training data, row by row as the mixture has them; None if there are none."""
        if self.recipe.data.alignment is None:
            return None
        return Alignments.open([self._folder(name) for name in self.recipe.stage_targets(stage)])

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        return sum_over_ranks(self.accelerator, values)

    def alike_on_all_ranks(self, *numbers: int) -> bool:
        """Whether all processes give the same numbers; each of them learns it."""
        values = torch.tensor(numbers, dtype=torch.float64, device=self.accelerator.device)
        total, squares = self.sum_over_ranks(torch.stack([values, values.square()]))
        return bool((squares * self.ranks == total.square()).all())  # by Cauchy and Schwarz

    def frozen_teacher(self, stage: Stage) -> FrozenTeacher | None:
        """The teacher that a stage's objective learns from, if it has one: by default the run's own, which is held.

        Raises:
            UserError: there is no such model, or its vocabulary is not the data's.
        """
        objective = self.recipe.stage_objective(stage)
        if not isinstance(objective, FrozenTeacherObjective):
            return None
        if objective.teacher is None:
            return FrozenTeacher(self.model.first, self.space.teacher)
        return load_teacher(objective.teacher, self.tokenizer).to(self.accelerator.device)

    def checkpoints(self, stage: Stage) -> Checkpoints:
        return Checkpoints(self.run.checkpoints / stage.name)


def _precision(run: Run) -> str:
    """The precision of the run: decided once, by the first rank, so that all go on as it began, on whatever machine."""
    note = run.checkpoints / "precision.txt"  # no stage can have this name
    if note.is_file():
        noted = note.read_text(encoding="utf-8", errors="replace").strip()
        if noted not in PRECISIONS:
            raise UserError(f"{note}: damaged; write the precision of the run into it, one of {', '.join(PRECISIONS)}")
        return noted
    wanted = run.recipe.training.precision
    precision = best_precision() if wanted == "auto" else wanted
    with storage_errors(run.checkpoints):
        run.checkpoints.mkdir(parents=True, exist_ok=True)
    write_atomic(note, precision + "\n")
    return precision


def build_supernets(recipe: Recipe, tokenizer: Tokenizer) -> Supernets:
    """The supernets that training starts from: the first as `build_model` has it, the others new.

    Those that are to be projected from the first are new, too: `Session.project_before` projects them.

    Raises:
        UserError: as `build_model`.
    """
    first, further = build_model(recipe, tokenizer), {}
    for name, shape in recipe.supernets.items():
        torch.manual_seed(random_seed(recipe.seed, *name.encode()))  # whatever other supernets there are
        has = {field.name for field in fields(ARCHITECTURES[shape.architecture].config_class)}
        common = {key: getattr(first.config, key) for key in has & _IN_COMMON if hasattr(first.config, key)}
        further[name] = _new_model(shape.architecture, {**shape.sizes(), **common}, recipe, tokenizer)
    return Supernets(first, further)


_IN_COMMON = {"max_positions", "positions"}
"""The sizes that all supernets of a family have alike, as far as their architectures have them."""


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> ElasticModel:
    """The first supernet that training starts from: new by the recipe's shape and seed, or from `model.start`.

    Raises:
        UserError: the start folder is no model of this architecture, or its vocabulary is not the data's.
    """
    shape = recipe.model
    if shape.start is None:
        torch.manual_seed(recipe.seed)
        return _new_model(shape.architecture, shape.sizes(), recipe, tokenizer)
    started, own_tokenizer = load_model_with_tokenizer(find_start(shape.start))
    if own_tokenizer.vocabulary_size != tokenizer.vocabulary_size or own_tokenizer.pieces != tokenizer.pieces:
        raise UserError(f"model.start: the vocabulary of {shape.start} is not the one that the data was tokenised with")
    check_architecture(started.config, recipe)
    changes = {key: value for key, value in shape.sizes().items() if key in BESIDE_START}
    return started.with_settings(kernels=_kernels(recipe), **changes)


def _new_model(name: str, sizes: dict[str, Any], recipe: Recipe, tokenizer: Tokenizer) -> ElasticModel:
    architecture = ARCHITECTURES[name]
    config = architecture.config_class(
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        eos_id=tokenizer.eos_id,
        kernels=_kernels(recipe),
        **sizes,
    )
    return architecture.model_class(config)


def _kernels(recipe: Recipe) -> str:
    return "plain" if recipe.training.mode == "plain" else "fast"


def random_seed(*numbers: int) -> int:
    """A seed of 64 bits that differs for every sequence of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def check_architecture(started: ElasticConfig, recipe: Recipe) -> None:
    """Raises UserError where the model that the recipe starts from has another architecture than the recipe says, or
    cannot be projected to the shape of a supernet that is to start from it."""
    if (name := started.architecture.name) != recipe.model.architecture:
        raise UserError(f"model.start: {recipe.model.start} needs model.architecture: {name}")
    if isinstance(started, TransformerConfig):
        check_projections(recipe, started)


def check_projections(recipe: Recipe, wide: TransformerConfig | Model) -> None:
    """Raises UserError where the first supernet cannot be projected to the shape of one that is to start from it."""
    for name, shape in recipe.supernets.items():
        if shape.start == "projected":
            check_projection(name, wide, shape)
