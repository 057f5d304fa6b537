"""A recipe's `model`, `supernets` and `students`: the networks' shapes, and who is in the family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from polystill.errors import UserError, mistakes_in
from polystill.schema import Strict, changed
from polystill.students import Student, StudentSpace, check_supernet, in_ranges

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
"""Keys of a shape that an LSTM has no use for."""


class Shape(Strict):
    """The shape of a supernet's largest network. `preset` fills in sizes; single values beside it win."""

    architecture: Literal["transformer", "lstm"] = "transformer"
    """`lstm`: with attention and input feeding; it has encoder_layers, decoder_layers, d_model and dropout."""
    preset: Literal["tiny", "base-memory", "base"] | None = None
    """Sizes that Bergamot ships. Single keys beside it win."""
    encoder_layers: int = Field(6, ge=1)
    """Encoder layers of the largest network."""
    decoder_layers: int = Field(6, ge=1)
    """Decoder layers of the largest network."""
    d_model: int = Field(256, ge=2)
    """Width of embeddings and hidden states: even, and divisible by `heads`."""
    ffn_dim: int = Field(1024, ge=1)
    """Hidden units of each feed-forward part."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    activation: Literal["relu", "swish", "gelu"] = "relu"
    """Activation function of the feed-forward parts."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings and of the output of each part of a layer."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of attention weights."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of the feed-forward parts' hidden units."""

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            return {**PRESETS[values["preset"]], **values}
        return values

    @model_validator(mode="after")
    def _check_keys_apply(self) -> Shape:
        if self.architecture == "lstm" and (ignored := [key for key in changed(self) if key in TRANSFORMER_ONLY]):
            raise ValueError(f"{', '.join(ignored)}: an lstm has none; leave out")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> Shape:
        if self.architecture == "lstm":
            return self
        if self.d_model % self.heads or self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} must be even and divisible by heads {self.heads}")
        return self

    def sizes(self) -> dict[str, Any]:
        """The keys that say what a new network of this architecture looks like."""
        left_out = {"architecture", "preset", "start", "students", "learning_rate_factor"}
        left_out |= TRANSFORMER_ONLY if self.architecture == "lstm" else set()
        return self.model_dump(exclude=left_out, exclude_none=True)


class Model(Shape):
    """The shape of the first supernet, whose largest network is the teacher.

    With `start` (a Marian or OPUS-MT folder, a run for its family, a family or student) shape, vocabulary and weights
    are its own.
    """

    start: str | None = None
    """A trained model that the first supernet begins with: a Marian or OPUS-MT folder, a run (its family), or a
    student's folder."""
    max_positions: int = Field(512, ge=8)
    """The longest sentences that the networks take, in tokens."""
    positions: Literal["huggingface", "marian"] | None = None
    """Which sinusoids: Marian and Bergamot need `marian`, which all other engines take as well. By default those of
    `start`, or else huggingface."""

    @property
    def teacher(self) -> Student:
        return Student(self.encoder_layers, self.decoder_layers)


Range = tuple[int, int]
SupernetName = Annotated[str, AfterValidator(check_supernet)]


class Depths(Strict):
    """Inclusive ranges of depths."""

    encoder: Range | None = None
    """The fewest and the most encoder layers of a student. By default from 2 to all."""
    decoder: Range | None = None
    """The fewest and the most decoder layers of a student. By default from 2 to all."""

    def ranges(self, largest: Student, *, clipped: bool = False) -> tuple[Range, Range]:
        """Encoder and decoder depths under a largest network; by default (2, deepest), the published choice.

        clipped: ranges are taken as far as the network goes.

        Raises:
            UserError: a range does not fit the network.
        """
        encoder = _fitting("encoder", self.encoder, largest, largest.encoder_layers, clipped)
        return encoder, _fitting("decoder", self.decoder, largest, largest.decoder_layers, clipped)


def _fitting(side: str, given: Range | None, largest: Student, deepest: int, clipped: bool) -> Range:
    low, high = given if given is not None else (min(2, deepest), deepest)
    if clipped:
        low, high = min(low, deepest), min(high, deepest)
    if not 1 <= low <= high <= deepest:
        key, who = "students", "a teacher"
        if largest.supernet:
            key, who = key if clipped else f"supernets.{largest.supernet}.students", "a supernet"
        raise UserError(
            f"{key}.{side}: [{low}, {high}] does not fit {who} with {deepest} {side} layers; "
            f"expected 1 <= first <= last <= {deepest}"
        )
    return low, high


class Supernet(Shape):
    """A further supernet: a network of its own width or architecture that is elastic in depth, too."""

    start: Literal["new", "projected"] = "new"
    """Its first weights: `new` ones, or those of the first supernet, `projected` to this shape. If the first supernet
    has a student of this depth, its layers are projected. This needs `model.start`, or stages that train the first
    supernet alone before those that train this one."""
    learning_rate_factor: float = Field(1.0, gt=0)
    """The stage's learning rate is multiplied by this: narrow networks want larger ones than wide ones."""
    students: Depths | None = None
    """Its depths; by default those of the recipe's `students`, as far as the supernet goes."""


NO_SUPERNETS: Mapping[str, Supernet] = {}


class Students(Depths):
    """The student space: inclusive ranges with a rule, for every supernet, or an explicit list.

    The largest network of each supernet is always in it, and so is the teacher.
    """

    rule: Literal["decoder<=encoder", "any"] = "decoder<=encoder"
    """`decoder<=encoder` leaves out students with more decoder than encoder layers."""
    only: list[str] | None = Field(None, min_length=1)
    """Names of students, instead of the ranges."""

    def space(self, teacher: Student, supernets: Mapping[str, Supernet] = NO_SUPERNETS) -> StudentSpace:
        """The space under that teacher, with further supernets.

        Raises:
            UserError: a range or a listed student does not fit its supernet, or the rule leaves none.
        """
        largest = largest_of(teacher, supernets)
        if self.only is not None:
            with mistakes_in("students.only"):
                return StudentSpace.from_list(largest, [Student.parse(name) for name in self.only])
        members: list[Student] = []
        for network in largest:
            own = supernets[network.supernet].students if network.supernet else None
            clipped = bool(network.supernet) and own is None
            encoder, decoder = own.ranges(network) if own else self.ranges(network, clipped=clipped)
            found = in_ranges(network, encoder, decoder, self.rule)
            if not found and not clipped and in_ranges(network, encoder, decoder, "any"):
                raise UserError(
                    f"students.rule: {self.rule} leaves no student of encoder {list(encoder)} and decoder "
                    f"{list(decoder)}; let encoder begin deeper, decoder shallower, or say rule: any"
                )
            members += found
        return StudentSpace.from_list(largest, members)


def largest_of(teacher: Student, supernets: Mapping[str, Supernet]) -> list[Student]:
    """The teacher, and the largest network of each further supernet, the widest first."""
    widest_first = sorted(supernets.items(), key=lambda item: -item[1].d_model)
    return [teacher, *(Student(shape.encoder_layers, shape.decoder_layers, name) for name, shape in widest_first)]
