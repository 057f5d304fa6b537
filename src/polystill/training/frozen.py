"""The frozen teacher that an objective learns from: any model of any architecture with the student's vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError, mistakes_in
from polystill.models.elastic import ElasticConfig, ElasticModel
from polystill.models.folder import load_model, read_all_but_weights
from polystill.objectives.projection import Output
from polystill.runs.family import family_space, supernet_folder
from polystill.runs.places import find_model
from polystill.students import Student
from polystill.training.feed import MicroBatch

_KEY = "objective.teacher"


class FrozenTeacher:
    """One network, without dropout and gradients."""

    def __init__(self, model: ElasticModel, student: Student) -> None:
        self.model = model.eval().requires_grad_(False)
        self._plan = model.shared_plan([student])

    def to(self, device: torch.device) -> FrozenTeacher:
        self.model.to(device)
        return self

    @torch.no_grad()
    def output(self, batch: MicroBatch) -> Output:
        """Its states at the batch's real target tokens, and its projection."""
        self.model.eval()  # an update puts the run's own supernets into training mode
        (hidden,) = self.model.hidden_states(batch.source, batch.target_in, self._plan, packing=batch.packing)
        return Output(batch.real_tokens(hidden), self.model.embedding, self.model.output_bias, frozen=True)

    def flops(self, sentences: int, source_length: int, target_length: int) -> int:
        """Of its pass over one padded batch."""
        return self.model.forward_flops(self._plan, sentences, source_length, target_length)


def find_teacher(place: str) -> tuple[Path, Student | None]:
    """Find the model of a recipe's `objective.teacher` (see `find_model`): a folder, and a student of it or None.

    Raises:
        UserError: nothing of the kind is there.
    """
    with mistakes_in(_KEY):
        found = find_model(place)
        if found.student is None:
            return found.folder, None
        student = family_space(found.folder).get(found.student)
        return supernet_folder(found.folder, student.supernet), student


def teacher_tokenizer(place: str) -> Tokenizer:
    """The vocabulary that a student of this teacher needs.

    Raises:
        UserError: as `find_teacher`, or the folder has no tokenizer.
    """
    folder, _ = find_teacher(place)
    with mistakes_in(_KEY):
        return Tokenizer.load(folder)


def load_teacher(place: str, tokenizer: Tokenizer) -> FrozenTeacher:
    """The teacher at a place, whose students are trained with `tokenizer`.

    Raises:
        UserError: there is no model, or its vocabulary is another one.
    """
    check_frozen_teacher(place, tokenizer)
    folder, student = find_teacher(place)
    with mistakes_in(_KEY):
        model = load_model(folder)
    return FrozenTeacher(model, student or model.teacher)


def check_frozen_teacher(place: str, tokenizer: Tokenizer) -> ElasticConfig:
    """The configuration of the teacher at a place. Its weights are not read.

    Raises:
        UserError: as `load_teacher`.
    """
    folder, _ = find_teacher(place)
    with mistakes_in(_KEY):
        config, teachers = read_all_but_weights(folder)
    if teachers.pieces != tokenizer.pieces:
        raise UserError(
            f"{_KEY}: the vocabulary of {place} ({teachers.vocabulary_size} pieces) is not the student's "
            f"({tokenizer.vocabulary_size} pieces); Word-KD compares probabilities piece by piece"
        )
    return config
