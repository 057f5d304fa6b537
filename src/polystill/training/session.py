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
from polystill.training.accelerate import make_accelerator, sum_over_ranks
from polystill.training.checkpoint import Checkpoints


class Session:
    """One process's view of a training: its model starts from the recipe's seed or start folder."""

    def __init__(self, run: Run) -> None:
        recipe = run.recipe
        torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
        self.run, self.recipe = run, recipe
        self.accelerator, self.precision = make_accelerator(recipe.training.precision)
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


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> Transformer:
    """The teacher that training starts from: new by the recipe's shape and seed, or from `model.start`.

    Raises:
        UserError: the start folder is no Marian model, or its vocabulary is not the data's.
    """
    shape = recipe.model
    if shape.start is None:
        torch.manual_seed(recipe.seed)
        return Transformer(
            TransformerConfig(
                vocabulary_size=tokenizer.vocabulary_size,
                pad_id=tokenizer.pad_id,
                eos_id=tokenizer.eos_id,
                d_model=shape.d_model,
                ffn_dim=shape.ffn_dim,
                heads=shape.heads,
                encoder_layers=shape.encoder_layers,
                decoder_layers=shape.decoder_layers,
                activation=shape.activation,
                dropout=shape.dropout,
                attention_dropout=shape.attention_dropout,
                activation_dropout=shape.activation_dropout,
                max_positions=shape.max_positions,
            )
        )
    started, own_tokenizer = load_model_with_tokenizer(Path(shape.start))
    if own_tokenizer.vocabulary_size != tokenizer.vocabulary_size or own_tokenizer.pieces != tokenizer.pieces:
        raise UserError(f"model.start: the vocabulary of {shape.start} is not the one that the data was tokenised with")
    return started.with_dropout(shape.dropout, shape.attention_dropout, shape.activation_dropout)
