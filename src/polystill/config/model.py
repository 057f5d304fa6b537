"""A recipe's `model` and `students`: the teacher's shape, and who is in its family."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from polystill.errors import UserError
from polystill.schema import Strict, changed
from polystill.students import Student, StudentSpace

PRESETS: dict[str, dict[str, int]] = {
    # The sizes that Bergamot ships, by the names their users know.
    "tiny": {"encoder_layers": 6, "decoder_layers": 2, "d_model": 256, "ffn_dim": 1536, "heads": 8},
    "base-memory": {"encoder_layers": 6, "decoder_layers": 4, "d_model": 384, "ffn_dim": 1536, "heads": 8},
    "base": {"encoder_layers": 6, "decoder_layers": 2, "d_model": 512, "ffn_dim": 2048, "heads": 8},
}


BESIDE_START = {"dropout", "attention_dropout", "activation_dropout", "positions"}
"""Keys of `model` that a recipe may give beside `start`, from where the others come."""
TRANSFORMER_ONLY = {
    "preset",
    "ffn_dim",
    "heads",
    "activation",
    "attention_dropout",
    "activation_dropout",
    "positions",
}
"""Keys of `model` that an LSTM has no use for."""


class Model(Strict):
    """The teacher's shape. `preset` fills in sizes; single values beside it win.

    With `start` (a Marian or OPUS-MT folder, a run for its family, a family or student) shape, vocabulary and weights
    are its own.
    """

    architecture: Literal["transformer", "lstm"] = "transformer"
    """`lstm`: with attention and input feeding; it has encoder_layers, decoder_layers, d_model and dropout."""
    preset: Literal["tiny", "base-memory", "base"] | None = None
    start: str | None = None
    encoder_layers: int = Field(6, ge=1)
    decoder_layers: int = Field(6, ge=1)
    d_model: int = Field(256, ge=2)
    ffn_dim: int = Field(1024, ge=1)
    heads: int = Field(4, ge=1)
    activation: Literal["relu", "swish", "gelu"] = "relu"
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    max_positions: int = Field(512, ge=8)
    """The longest sentences that the model takes, in tokens."""
    positions: Literal["huggingface", "marian"] | None = None
    """Which sinusoids: Marian and Bergamot need `marian`, which all other engines take as well. By default those of
    `start`, or else huggingface."""

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            return {**PRESETS[values["preset"]], **values}
        return values

    @model_validator(mode="after")
    def _check_keys_apply(self) -> Model:
        if self.architecture == "lstm" and (ignored := [key for key in changed(self) if key in TRANSFORMER_ONLY]):
            raise ValueError(f"{', '.join(ignored)}: an lstm has none; leave out")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> Model:
        if self.architecture == "lstm":
            return self
        if self.d_model % self.heads or self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} must be even and divisible by heads {self.heads}")
        return self

    @property
    def teacher(self) -> Student:
        return Student(self.encoder_layers, self.decoder_layers)

    def sizes(self) -> dict[str, Any]:
        """The keys that say what a new model of this architecture looks like."""
        left_out = {"architecture", "preset", "start"} | (TRANSFORMER_ONLY if self.architecture == "lstm" else set())
        return self.model_dump(exclude=left_out, exclude_none=True)


class Students(Strict):
    """The student space: inclusive ranges with a rule, or an explicit list. The teacher is always in it."""

    encoder: tuple[int, int] | None = None
    decoder: tuple[int, int] | None = None
    rule: Literal["decoder<=encoder", "any"] = "decoder<=encoder"
    only: list[str] | None = None

    def space(self, teacher: Student) -> StudentSpace:
        """The space under that teacher; ranges default to (2, deepest), the published choice.

        Raises:
            UserError: a range or a listed student does not fit the teacher.
        """
        if self.only is not None:
            return StudentSpace.from_list(teacher, [Student.parse(name) for name in self.only])
        ranges = []
        for side, given, deepest in (
            ("encoder", self.encoder, teacher.encoder_layers),
            ("decoder", self.decoder, teacher.decoder_layers),
        ):
            low, high = given if given is not None else (min(2, deepest), deepest)
            if not 1 <= low <= high <= deepest:
                raise UserError(
                    f"students.{side}: [{low}, {high}] does not fit a teacher with {deepest} {side} layers; "
                    f"expected 1 <= first <= last <= {deepest}"
                )
            ranges.append((low, high))
        return StudentSpace.from_ranges(teacher, ranges[0], ranges[1], self.rule)
