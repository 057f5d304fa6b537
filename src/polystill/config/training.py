"""A recipe's `stages` and `training`: in which steps networks learn, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from polystill.config.data import DrawWeights
from polystill.objectives import checked_keys
from polystill.schema import Strict, changed
from polystill.students import Chosen, Networks

Schedule = Literal["inverse_sqrt", "cosine", "constant"]


class Pruning(Strict):
    """Magnitude pruning in a stage of training; what is zero stays zero, in this stage and in all that follow."""

    schedule: Literal["oneshot", "gradual", "hold"] = "oneshot"
    """`oneshot`: all at once before the first update. `gradual`: along a cubic over `updates` (Zhu & Gupta 2017).
    `hold`: nothing is pruned, the zeros of the model that the stage starts from are kept."""
    sparsity: float = Field(0.0, ge=0, lt=1)
    """The share of the matrices' weights that is removed."""
    scope: Literal["global", "layer", "matrix"] = "global"
    """Which weights are ranked together: those of all matrices (`global`), of a `layer`, or of a `matrix`."""
    updates: int = Field(0, ge=0)
    """With `gradual`, the update that reaches the full sparsity. The rest of the stage retrains."""
    every: int = Field(100, ge=1)
    """With `gradual`, updates between two steps of pruning."""

    @model_validator(mode="after")
    def _check_keys_apply(self) -> Pruning:
        used = {"oneshot": {"sparsity", "scope"}, "gradual": {"sparsity", "scope", "updates", "every"}, "hold": set()}
        ignored = [key for key in changed(self) if key not in {"schedule", *used[self.schedule]}]
        if ignored:
            raise ValueError(f"{', '.join(ignored)}: of no use with the schedule {self.schedule}; leave out")
        for key in sorted({"sparsity", "updates"} & used[self.schedule]):
            if not getattr(self, key):
                raise ValueError(f"the schedule {self.schedule} needs {key}")
        return self


class Stage(Strict):
    """One stage of training; it starts from the best checkpoint of the stage before it with a fresh optimizer."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    """The stage's name in logs and results."""
    updates: int = Field(ge=1)
    """Number of optimizer steps."""
    networks: Networks = "all"
    """`all` trains the students that are drawn, too. `largest` and `smallest` train one network of each supernet."""
    supernets: Chosen = "all"
    """`all` trains all supernets, `first` the first one alone. `further` trains the others: the first one
    does not change then, and may teach them."""
    dropout: bool = True
    """False leaves all dropout out of this stage."""
    objective: dict[str, Any] = Field(default_factory=dict)
    """Keys of the recipe's `objective` that differ in this stage. With another `kind`, those keys of the recipe's are
    kept that were changed and that both kinds have."""
    pruning: Pruning | None = None
    """Prunes weights in this stage."""
    quantization: Literal["int8"] | None = None
    """`int8`: 8-bit fine-tuning. Networks are computed with weights rounded to int8, and so get used to it."""
    targets: DrawWeights | None = None
    """Instead of the recipe's `targets`."""
    domains: DrawWeights | None = None
    """Instead of the recipe's `domains`."""
    learning_rate: float | None = Field(None, gt=0)
    """Instead of `training.learning_rate`."""
    warmup: int | None = Field(None, ge=0)
    """Instead of `training.warmup`."""
    schedule: Schedule | None = None
    """Instead of `training.schedule`."""
    select_by: Literal["ce", "bleu"] = "ce"
    """The best checkpoint has the lowest label-smoothed cross-entropy (`ce`) or the highest greedy BLEU (`bleu`) on the
    validation set: the mean over each supernet's networks that the stage trains, summed over supernets."""

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The same keys with checked values; that the stage's kind has them is checked with the recipe."""
        return checked_keys(values)

    def with_absolute_paths(self) -> Stage:
        """The same stage, for any current folder."""
        if not self.objective.get("teacher"):
            return self
        teacher = str(Path(self.objective["teacher"]).resolve())
        return self.model_copy(update={"objective": {**self.objective, "teacher": teacher}})

    @model_validator(mode="after")
    def _check_pruning(self) -> Stage:
        if self.pruning is not None and self.pruning.updates > self.updates:
            raise ValueError(f"pruning.updates {self.pruning.updates} is more than the stage's {self.updates} updates")
        return self


Precision = Literal["fp32", "bf16", "fp16"]
Mode = Literal["shared", "exact", "plain"]
Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]

ModifierName = Literal["UpperCase", "TitleCase", "Typos", "Noise", "InlineNoise", "Tags", "Merge"]
"""The same modifiers as in `polystill.data.modifiers`, which is in a layer above."""


class Training(Strict):
    batch_tokens: int = Field(4096, ge=16)
    """Target tokens (padding included) in one batch, over all ranks and accumulated micro-batches."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches that one update is split into; each decides by itself where gradients are detached."""
    learning_rate: float = Field(5e-4, gt=0)
    """The peak of the schedule."""
    schedule: Schedule = "inverse_sqrt"
    """From the peak on: `inverse_sqrt` falls as 1/√update, `cosine` to 0 at the stage's end, `constant` stays."""
    warmup: int = Field(4000, ge=0)
    """Updates over which the learning rate grows from 0 to its peak."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """Coefficients of AdamW's running means."""
    weight_decay: float = Field(1e-4, ge=0)
    """AdamW's decoupled weight decay."""
    clip_norm: float = Field(0.0, ge=0)
    """Largest gradient norm; 0 does not clip."""
    precision: Literal["auto", Precision] = "auto"
    """`auto` takes bf16 where the hardware has instructions for it (a GPU's, AVX-512 BF16, AMX), otherwise fp32."""
    mode: Mode = "shared"
    """`shared`: one encoder pass for all sampled networks. `exact`: batched, with dropout masks of each network's own.
    `plain`: one network after another, unfused; the twin that the others are tested against."""
    validate_every: int = Field(500, ge=1)
    """Updates between two validations."""
    checkpoint_every: int = Field(500, ge=1)
    """Updates between two checkpoints, from which a stopped run continues."""
    average_last: int = Field(0, ge=0)
    """Validation points whose weights are averaged at the end of a stage; kept if better than the best single one.
    0 averages none."""
    early_stopping: int = Field(0, ge=0)
    """Validations without a new best after which a stage ends; 0 never stops early."""
    modifiers: dict[ModifierName, Share] = Field(default_factory=dict)
    """Shares of the training pairs that are changed as users change text, others in every epoch."""
    alignment_weight: float = Field(0.1, gt=0)
    """Weight of the cross-entropy against `data.alignment`, where that is given; Marian's guided-alignment-weight."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """If a loss or gradient is not finite: `stop` ends the run with an error, `skip` leaves the update out."""
    threads: int = Field(0, ge=0, le=1024)
    """CPU threads of one process; 0 takes as many as OMP_NUM_THREADS says, or else all cores."""

    @field_validator("average_last")
    @classmethod
    def _check_average(cls, points: int) -> int:
        if points == 1:
            raise ValueError("one point is no average; 0 averages none, 2 or more are averaged")
        return points

    @field_validator("modifiers")
    @classmethod
    def _check_modifiers(cls, shares: dict[str, float]) -> dict[str, float]:
        if (total := sum(shares.values())) > 1:
            raise ValueError(f"the shares are {total:g} together; a pair is changed by one modifier, so at most 1")
        return shares
