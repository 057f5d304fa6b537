"""The machine, the model, the data and the student space that all stages of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import get_args

import torch
from accelerate import PartialState
from torch import Tensor

from polystill.config import GOLD, Precision, Stage
from polystill.data.alignment import Alignments
from polystill.data.batching import Group, Mixture
from polystill.data.domains import groups_of
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models.projected_start import project
from polystill.models.transformer import Transformer
from polystill.objectives.base import FrozenTeacherObjective
from polystill.runs import Run
from polystill.runs.family import first_students
from polystill.runs.places import find_start
from polystill.storage import storage_errors, write_atomic
from polystill.students import Student, are_chosen
from polystill.training.accelerator import best_precision, make_accelerator, sum_over_ranks
from polystill.training.checkpoint import Checkpoints
from polystill.training.frozen import FrozenTeacher, load_teacher
from polystill.training.start import build_supernets

PRECISIONS = get_args(Precision)


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
        scaler = self.accelerator.scaler
        self._new_scale = None if scaler is None else scaler.state_dict()
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

    def begin_scaling(self) -> None:
        """Scale losses as at the start of a run (fp16): every stage begins so, whether or not one came before it."""
        if self._new_scale is not None:
            self.accelerator.scaler.load_state_dict(self._new_scale)

    def project_before(self, stage: Stage) -> None:
        """Project the first supernet, which is trained, to those that `stage` is the first to train."""
        trained = self._trained_before(stage)
        for name, supernet in self.recipe.supernets.items():
            if supernet.start == "projected" and self.recipe.first_stage_of(name) == stage:
                self.model.cpu()
                first, new = self.model.first, self.model[name]
                assert isinstance(first, Transformer) and isinstance(new, Transformer)
                project(first, new, trained)
                self.model.to(self.accelerator.device)

    def _trained_before(self, stage: Stage) -> Sequence[Student]:
        """The first supernet's students that are trained when `stage` begins."""
        before = takewhile(lambda earlier: earlier != stage, self.recipe.stages)
        trained = [earlier for earlier in before if are_chosen(earlier.supernets, "")]
        if not trained:
            return self._started
        last = trained[-1]
        drawn = last.networks != "all" or self.recipe.stage_objective(last).trains_family
        return self.space.only(last.networks if drawn else "largest", "first").candidates

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
    """The precision of the run: decided by the first rank before the first checkpoint, and kept on whatever machine."""
    note = run.checkpoints / "precision.txt"  # no stage can have this name
    noted = note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else None
    is_first = PartialState(cpu=not torch.cuda.is_available()).is_main_process
    if noted is not None and (run.has_trained(run.recipe) or not is_first):
        if noted not in PRECISIONS:
            raise UserError(f"{note}: damaged; write the precision of the run into it, one of {', '.join(PRECISIONS)}")
        return noted
    wanted = run.recipe.training.precision
    precision = best_precision() if wanted == "auto" else wanted
    with storage_errors(run.checkpoints):
        run.checkpoints.mkdir(parents=True, exist_ok=True)
    if precision != noted:
        write_atomic(note, precision + "\n")
    return precision
