"""What all stages of a run share: the machine, the model, the data and the student space."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from polystill.config import Recipe, Stage
from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.transformer import Transformer, TransformerConfig
from polystill.runs import Run
from polystill.storage import storage_errors, write_atomic
from polystill.training.accelerate import best_precision, make_accelerator, sum_over_ranks
from polystill.training.checkpoint import Checkpoints


class Session:
    """One process's view of a training: its model starts from the recipe's seed or start folder."""

    def __init__(self, run: Run) -> None:
        recipe = run.recipe
        torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
        self.run, self.recipe = run, recipe
        self.precision = _precision(run)
        self.accelerator = make_accelerator(self.precision)
        self.is_main = self.accelerator.is_main_process
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        self.tokenizer = Tokenizer.load(run.data / "tokenizer")
        self.train_set = PackedDataset.open(run.data / "train")
        self.validation_set = PackedDataset.open(run.data / "validation")
        self.model = build_model(recipe, self.tokenizer).to(self.accelerator.device)
        self.space = recipe.student_space(self.model.teacher)

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        return sum_over_ranks(self.accelerator, values)

    def checkpoints(self, stage: Stage) -> Checkpoints:
        return Checkpoints(self.run.checkpoints / stage.name)


def _precision(run: Run) -> str:
    """What the run trains in: decided once, so that a run goes on as it began, on whatever machine."""
    note = run.checkpoints / "precision"
    if note.is_file():
        return note.read_text(encoding="utf-8").strip()
    wanted = run.recipe.training.precision
    precision = best_precision() if wanted == "auto" else wanted
    with storage_errors(run.checkpoints):
        run.checkpoints.mkdir(parents=True, exist_ok=True)
    write_atomic(note, precision + "\n")
    return precision


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> Transformer:
    """The teacher that training starts from: new by the recipe's shape and seed, or from `model.start`.

    Raises:
        UserError: the start folder is no Marian model, or its vocabulary is not the data's.
    """
    shape = recipe.model
    if shape.start is None:
        torch.manual_seed(recipe.seed)
        sizes = shape.model_dump(exclude={"architecture", "preset", "start"}, exclude_none=True)
        return Transformer(
            TransformerConfig(
                vocabulary_size=tokenizer.vocabulary_size,
                pad_id=tokenizer.pad_id,
                eos_id=tokenizer.eos_id,
                **sizes,
            )
        )
    started, own_tokenizer = load_model_with_tokenizer(Path(shape.start))
    if own_tokenizer.vocabulary_size != tokenizer.vocabulary_size or own_tokenizer.pieces != tokenizer.pieces:
        raise UserError(f"model.start: the vocabulary of {shape.start} is not the one that the data was tokenised with")
    changes = shape.model_dump(
        include={"dropout", "attention_dropout", "activation_dropout", "positions"}, exclude_none=True
    )
    return started.with_changes(**changes)
