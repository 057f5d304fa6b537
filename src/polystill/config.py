"""The recipe: everything that one run depends on, as typed and checked values.

A recipe is a YAML file; `--set key.path=value` changes single values. Unknown keys, wrong types and impossible
combinations are found here, before any work starts, with the file, the field and what would be right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from polystill.errors import UserError, nearest
from polystill.students import Student, StudentSpace

PRESETS: dict[str, dict[str, int]] = {
    # The sizes that Bergamot ships, by the names their users know.
    "tiny": {"encoder_layers": 6, "decoder_layers": 2, "d_model": 256, "ffn_dim": 1536, "heads": 8},
    "base-memory": {"encoder_layers": 6, "decoder_layers": 4, "d_model": 384, "ffn_dim": 1536, "heads": 8},
    "base": {"encoder_layers": 6, "decoder_layers": 2, "d_model": 512, "ffn_dim": 2048, "heads": 8},
}


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


class _Strict(BaseModel):
    # A number is text where text is wanted (`--set name=1`), and every number is finite.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


Seed = Annotated[int, Field(ge=0, lt=2**32)]


# --- data ---------------------------------------------------------------------------------------------------------


class TextSource(_Strict):
    """Two files with one sentence a line; plain, .gz or .zst."""

    kind: Literal["text"]
    source: str
    target: str


class TsvSource(_Strict):
    """One tab-separated file; plain, .gz or .zst. Columns count from 0."""

    kind: Literal["tsv"]
    path: str
    source_column: int = Field(0, ge=0)
    target_column: int = Field(1, ge=0)


class HuggingFaceSource(_Strict):
    """A Hugging Face dataset: a local folder or file set, or the name of one on the hub.

    With a `translation` column (the hub's custom) the languages are its keys; otherwise give the two column names.
    """

    kind: Literal["huggingface"]
    path: str
    name: str | None = None
    split: str = "train"
    source_column: str | None = None
    target_column: str | None = None


class MtdataSource(_Strict):
    """A data set that the `mtdata` tool fetches, such as "Statmt-newstest_deen-2019-deu-eng"."""

    kind: Literal["mtdata"]
    dataset: str


class SyntheticSource(_Strict):
    """The built-in English-German corpus. Different splits never share a sentence pair."""

    kind: Literal["synthetic"]
    pairs: int = Field(40_000, ge=1)
    seed: Seed = 1
    split: Literal["train", "validation", "test"] = "train"


Source = Annotated[
    TextSource | TsvSource | HuggingFaceSource | MtdataSource | SyntheticSource, Field(discriminator="kind")
]


class Cleaning(_Strict):
    """Which training pairs are dropped. Lengths are in whitespace-separated words."""

    enabled: bool = True
    min_words: int = Field(1, ge=1)
    max_words: int = Field(150, ge=1)
    max_ratio: float = Field(4.0, gt=1)
    """Longer side over shorter side, applied from 5 words on."""
    max_word_characters: int = Field(100, ge=1)
    drop_duplicates: bool = True
    drop_identical: bool = True
    min_script_share: float = Field(0.5, ge=0, le=1)
    """Least share of a side's letters that belong to its language's script; 0 turns the check off."""


class TokenizerSettings(_Strict):
    vocabulary_size: int = Field(8_000, ge=20)
    """Rows of the joint vocabulary, `<pad>` included."""
    character_coverage: float = Field(1.0, gt=0.9, le=1)
    sample_lines: int = Field(2_000_000, ge=1)
    """Lines (both sides together) that SentencePiece is trained on at most."""


GOLD = "gold"
TargetsName = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
Weights = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]
"""How often the pairs of each kind of targets are drawn in an epoch: 2 takes each twice, 0.5 half of them."""


class Data(_Strict):
    folder: str = "."
    """Relative paths of the sources below start here."""
    source_language: str = "en"
    target_language: str = "de"
    train: list[Source] = Field(min_length=1)
    validation: Source
    test: dict[str, Source] = Field(default_factory=dict)
    targets: dict[TargetsName, str] = Field(default_factory=dict)
    """Targets beside the corpus' own, which are called gold: folders that `polystill generate` or `select` wrote."""
    cleaning: Cleaning = Cleaning()
    tokenizer: TokenizerSettings = TokenizerSettings()
    max_tokens: int = Field(256, ge=8)
    """Training pairs with more tokens on either side (end mark included) are dropped and counted."""

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, folders: dict[str, str]) -> dict[str, str]:
        if GOLD in folders:
            raise ValueError(f"{GOLD!r} is the name of the corpus' own targets; call these otherwise")
        return folders


# --- model --------------------------------------------------------------------------------------------------------


class Model(_Strict):
    """The teacher's shape. `preset` fills in sizes; single values beside it win.

    With `start` (a Marian or OPUS-MT folder, a polystill family or student) shape, vocabulary and weights are its own.
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
        if self.architecture == "lstm" and (ignored := [key for key in _changed(self) if key in TRANSFORMER_ONLY]):
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


class Students(_Strict):
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


# --- training -----------------------------------------------------------------------------------------------------


ObjectiveKind = Literal["nll", "word_kd", "aio_kd"]


class Objective(_Strict):
    """What is minimised.

    `nll` trains one network alone, `word_kd` one network against a frozen teacher (Kim & Rush 2016), `aio_kd` a teacher
    together with sampled students of its own (Miao et al. 2023).
    """

    kind: ObjectiveKind = "aio_kd"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    ce_weight: float = Field(1.0, ge=0)
    kd_weight: float = Field(5.5, ge=0)
    kd_warmup: int = Field(0, ge=0)
    """Updates over which kd_weight grows linearly from 0 to its value; 0 applies it in full at once, as published."""
    mutual_weight: float = Field(0.5, ge=0)
    mutual: Literal["none", "no_weight", "full", "detaching"] = "none"
    detach_threshold: float = Field(1.1, ge=0)
    students_per_step: int = Field(2, ge=0)
    sample_every: int = Field(1, ge=1)
    """Updates for which one draw of students is kept."""
    teacher: str | None = None
    """word_kd: a model's folder, a run (its teacher is meant), or RUN/student, of any architecture."""
    alpha: float = Field(0.5, ge=0, le=1)
    """word_kd: the share of the teacher's part; the NLL has the rest."""
    temperature: float = Field(1.0, gt=0)
    """word_kd: of the softmaxes that are compared."""


Schedule = Literal["inverse_sqrt", "cosine", "constant"]


class Pruning(_Strict):
    """Magnitude pruning in a stage of training; what is zero stays zero, in this stage and in all that follow."""

    schedule: Literal["oneshot", "gradual", "hold"] = "oneshot"
    """`oneshot`: all at once before the first update. `gradual`: along a cubic over `updates` (Zhu & Gupta 2017).
    `hold`: nothing is pruned, the zeros of the model that the stage starts from are kept."""
    sparsity: float = Field(0.0, ge=0, lt=1)
    """Share of the matrices' weights that is removed."""
    scope: Literal["global", "layer", "matrix"] = "global"
    """Whose weights are ranked together."""
    updates: int = Field(0, ge=0)
    """gradual: the update that reaches the full sparsity; what is left of the stage retrains."""
    every: int = Field(100, ge=1)
    """gradual: updates between two steps."""

    @model_validator(mode="after")
    def _check_keys_apply(self) -> Pruning:
        used = {"oneshot": {"sparsity", "scope"}, "gradual": {"sparsity", "scope", "updates", "every"}, "hold": set()}
        ignored = [key for key in _changed(self) if key not in {"schedule", *used[self.schedule]}]
        if ignored:
            raise ValueError(f"{', '.join(ignored)}: of no use with the schedule {self.schedule}; leave out")
        for key in sorted({"sparsity", "updates"} & used[self.schedule]):
            if not getattr(self, key):
                raise ValueError(f"the schedule {self.schedule} needs {key}")
        return self


class Stage(_Strict):
    """One stage of training; it starts from the best checkpoint of the stage before it with a fresh optimizer."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    updates: int = Field(ge=1)
    objective: dict[str, Any] = Field(default_factory=dict)
    """Keys of `objective` that differ in this stage."""
    pruning: Pruning | None = None
    targets: Weights | None = None
    """Instead of the recipe's `targets`."""
    learning_rate: float | None = Field(None, gt=0)
    warmup: int | None = Field(None, ge=0)
    schedule: Schedule | None = None
    select_by: Literal["ce", "bleu"] = "ce"
    """The best checkpoint: of the lowest label-smoothed cross-entropy, or of the highest BLEU of greedy translations,
    on the validation set and summed over all networks of the space."""

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The same keys with checked values; errors name their place below this stage."""
        return Objective.model_validate(values).model_dump(include=set(values))

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


Beta = Annotated[float, Field(ge=0, lt=1)]


class Training(_Strict):
    batch_tokens: int = Field(4096, ge=16)
    """Target tokens (padding included) in one batch, over all ranks and accumulated micro-batches."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches that one update is split into; each decides by itself where gradients are detached."""
    learning_rate: float = Field(5e-4, gt=0)
    schedule: Schedule = "inverse_sqrt"
    warmup: int = Field(4000, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    """Largest gradient norm; 0 does not clip."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` takes bf16 where the hardware multiplies it fast (measured at start), otherwise fp32."""
    mode: Literal["shared", "exact", "plain"] = "shared"
    """`shared`: one encoder pass for all sampled networks. `exact`: batched, with dropout masks of each network's own.
    `plain`: one network after another, unfused; the twin that the others are tested against."""
    validate_every: int = Field(500, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    average_last: int = Field(0, ge=0)
    """Validation points whose weights are averaged at the end of a stage; kept if better than the best single one."""
    early_stopping: int = Field(0, ge=0)
    """Validations without a new best after which a stage ends; 0 never stops early."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    threads: int = Field(0, ge=0, le=1024)
    """CPU threads of one process; 0 takes all cores."""


class Evaluation(_Strict):
    beams: list[Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=lambda: [1, 5], min_length=1)
    length_penalty: float = Field(1.0, ge=0)
    engine: Literal["ctranslate2", "torch"] = "ctranslate2"
    precision: str = "float32"
    students: list[str] | None = None
    """Which students to evaluate; all of them by default."""
    lowercase: bool = False
    """Also report BLEU with sacreBLEU's -lc, as Multi30k's literature does."""


class Recipe(_Strict):
    name: str = Field("run", pattern=r"^[A-Za-z0-9_.-]+$")
    seed: Seed = 1
    data: Data
    model: Model = Model()
    students: Students = Students()
    objective: Objective = Objective()
    targets: Weights = Field(default_factory=lambda: {GOLD: 1.0})
    """What the networks learn to say: `gold`, names of `data.targets`, or a mixture of them with weights."""
    training: Training = Training()
    stages: list[Stage] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _choose_engine(cls, values: Any) -> Any:
        """CTranslate2 has no LSTM, so torch is the engine of LSTMs unless the recipe says something else."""
        if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
            return values
        evaluation = values.get("evaluation", {})
        if values["model"].get("architecture") != "lstm" or not isinstance(evaluation, dict):
            return values
        return {**values, "evaluation": {"engine": "torch", **evaluation}}

    @model_validator(mode="after")
    def _check_engine(self) -> Recipe:
        if self.model.architecture == "lstm" and self.evaluation.engine == "ctranslate2":
            raise ValueError("evaluation.engine: CTranslate2 has no LSTM; leave it out, or say torch")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: every stage needs a name of its own, got {names}")
        for stage in self.stages:
            objective = self.stage_objective(stage)
            if objective.kind == "word_kd" and not objective.teacher:
                raise ValueError(f"objective.teacher: missing; word_kd (stage {stage.name}) learns from one")
        return self

    @model_validator(mode="after")
    def _check_target_names(self) -> Recipe:
        known = [GOLD, *self.data.targets]
        places = [("targets", self.targets), *((f"stages.{i}.targets", s.targets) for i, s in enumerate(self.stages))]
        for place, weights in places:
            for name in weights or {}:
                if name not in known:
                    hint = nearest(name, known)
                    raise ValueError(f"{place}: {name!r} is not in data.targets{hint}; there are: {' '.join(known)}")
        return self

    def stage_targets(self, stage: Stage) -> dict[str, float]:
        """The targets of one stage and their weights, gold first: in an order that the recipe's does not change."""
        weights = self.targets if stage.targets is None else stage.targets
        return dict(sorted(weights.items(), key=lambda item: (item[0] != GOLD, item[0])))

    def stage_schedule(self, stage: Stage) -> Schedule:
        return stage.schedule or self.training.schedule

    @property
    def targets_label(self) -> str:
        """What the run as a whole was trained on, such as "gold", "gold+0.5xbeam" or "beam,interpolated" (stages)."""
        labels = [_targets_label(self.stage_targets(stage)) for stage in self.stages]
        return ",".join(dict.fromkeys(labels))

    def stage_objective(self, stage: Stage) -> Objective:
        """The objective of one stage: the recipe's, with the stage's own keys on top."""
        return Objective.model_validate({**self.objective.model_dump(), **stage.objective})

    def stage_pruning(self, stage: Stage) -> Pruning | None:
        """The pruning of one stage: its own; after a stage that prunes, its zeros are held."""
        before = self.stages[: self.stages.index(stage)]
        return stage.pruning or (Pruning(schedule="hold") if any(other.pruning for other in before) else None)

    @property
    def prunes(self) -> bool:
        """Whether the run's models are sparse in the end."""
        return any(stage.pruning for stage in self.stages)

    @property
    def method(self) -> ObjectiveKind:
        """What the run as a whole is: `aio_kd` if any of its stages is, for a family comes of it then."""
        kinds = {self.stage_objective(stage).kind for stage in self.stages}
        by_weight: tuple[ObjectiveKind, ...] = ("aio_kd", "word_kd", "nll")
        return next(kind for kind in by_weight if kind in kinds)

    @property
    def word_kd_teachers(self) -> list[str]:
        """The frozen teachers of all stages, as the recipe names them."""
        objectives = [self.stage_objective(stage) for stage in self.stages]
        return list(dict.fromkeys(o.teacher for o in objectives if o.kind == "word_kd" and o.teacher))

    def student_space(self, teacher: Student) -> StudentSpace:
        """The networks that this recipe trains: one alone under `nll` and `word_kd`, a family under `aio_kd`.

        Raises:
            UserError: the space does not fit the teacher.
        """
        if self.method != "aio_kd":
            return StudentSpace.from_list(teacher, [])
        return self.students.space(teacher)

    def with_absolute_paths(self) -> Recipe:
        """The same recipe, for any current folder.

        Relative paths of `data.folder`, `data.targets`, `model.start` and `objective.teacher` start at today's.
        """
        data = self.data.model_copy(update={"folder": str(Path(self.data.folder).resolve())})
        start = self.model.start and str(Path(self.model.start).resolve())
        targets = {name: str(Path(folder).resolve()) for name, folder in self.data.targets.items()}
        data = data.model_copy(update={"targets": targets})
        model = self.model.model_copy(update={"start": start})
        teacher = self.objective.teacher and str(Path(self.objective.teacher).resolve())
        objective = self.objective.model_copy(update={"teacher": teacher})
        stages = [stage.with_absolute_paths() for stage in self.stages]
        return self.model_copy(update={"data": data, "model": model, "objective": objective, "stages": stages})

    def refuse_ignored_keys(self) -> None:
        """Refuse values that other values make void; those that equal their defaults count as not given.

        Raises:
            UserError: a shape or tokenizer settings beside `model.start`, ranges beside `students.only`, or a teacher
                that no stage learns from.
        """
        if self.model.start is not None:
            used = {"architecture", "start", "positions", "dropout", "attention_dropout", "activation_dropout"}
            ignored = [f"model.{key}" for key in _changed(self.model) if key not in used]
            ignored += [f"data.tokenizer.{key}" for key in _changed(self.data.tokenizer)]
            if ignored:
                raise UserError(f"{', '.join(ignored)}: come from model.start ({self.model.start}); leave them out")
        if self.students.only is not None and (ignored := [key for key in _changed(self.students) if key != "only"]):
            names = ", ".join(f"students.{key}" for key in ignored)
            raise UserError(f"{names}: students.only lists the students already; give one or the other")
        if self.objective.teacher and not self.word_kd_teachers:
            raise UserError("objective.teacher: no stage learns from it; set objective.kind to word_kd, or leave out")


def _targets_label(weights: dict[str, float]) -> str:
    if len(weights) == 1:
        return next(iter(weights))
    return "+".join(name if weight == 1 else f"{weight:g}x{name}" for name, weight in weights.items())


def _changed(section: Model | TokenizerSettings | Students | Pruning) -> list[str]:
    """The keys whose values are not their defaults."""
    return [name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default]


# --- reading ------------------------------------------------------------------------------------------------------


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file and apply overrides such as "training.learning_rate=1e-3" or "stages.0.updates=200".

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown (the nearest is suggested), a value is of
            the wrong type or out of range, or an override does not parse.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a recipe: {error}") from None
    try:
        values = yaml.load(text, _Loader)  # a safe loader
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with keys such as data, model, stages")
    for override in overrides or []:
        _apply_override(values, override)
    return parse_recipe(values, str(path))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would silently take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def parse_recipe(values: dict[str, Any], origin: str) -> Recipe:
    """Check a mapping as a recipe; `origin` names it in errors.

    Raises:
        UserError: as for `load_recipe`; several mistakes are reported together, one a line.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_explain(detail, origin) for detail in error.errors())) from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value is not valid YAML") from None
    parts = key.split(".")
    place: Any = values
    for part in parts[:-1]:
        place = _child(place, part, override)
    last = parts[-1]
    if isinstance(place, list):
        _child(place, last, override)
        place[int(last)] = value
    else:
        place[last] = value


def _child(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        if not part.isdigit() or int(part) >= len(place):
            raise UserError(f"--set {override}: {part!r} is no index of a list of {len(place)}")
        return place[int(part)]
    child = place.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UserError(f"--set {override}: {part!r} is a value and has no keys below it")
    return child


_SOURCES: dict[str, type[BaseModel]] = {
    "text": TextSource,
    "tsv": TsvSource,
    "huggingface": HuggingFaceSource,
    "mtdata": MtdataSource,
    "synthetic": SyntheticSource,
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "": Recipe,
    "data": Data,
    "data.cleaning": Cleaning,
    "data.tokenizer": TokenizerSettings,
    "model": Model,
    "students": Students,
    "objective": Objective,
    "training": Training,
    "stages": Stage,
    "evaluation": Evaluation,
    "stages.objective": Objective,
    "stages.pruning": Pruning,
}


def _explain(detail: Any, origin: str) -> str:
    place, kind = _without_kind(detail["loc"])
    field = ".".join(str(part) for part in place) or "recipe"
    if detail["type"] == "extra_forbidden":
        return f"{origin}: unknown key {field!r}{_hint(place, kind)}"
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        given = detail.get("ctx", {}).get("tag", "")
        hint = nearest(given, sorted(_SOURCES)) if given else ""
        what = f"unknown kind {given!r}{hint}" if given else "the key 'kind' is missing"
        return f"{origin}: {field}: {what}; there are: {' '.join(sorted(_SOURCES))}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{origin}: {field}: {message}{shown}"


def _without_kind(loc: tuple[str | int, ...]) -> tuple[list[str | int], str | None]:
    """A place as people write it, and the kind of the source there, which pydantic puts into the place."""
    place = list(loc)
    at = {"train": 3, "test": 3, "validation": 2}.get(str(place[1])) if place[:1] == ["data"] and place[1:] else None
    if at is not None and len(place) > at and place[at] in _SOURCES:
        return place, str(place.pop(at))
    return place, None


def _hint(place: list[str | int], kind: str | None) -> str:
    """What an unknown key may have been meant to be: a key of the same section, or the same key of another one."""
    wrong = str(place[-1])
    if kind is not None:
        return nearest(wrong, list(_SOURCES[kind].model_fields))
    section = ".".join(part for part in place[:-1] if isinstance(part, str))
    for other, model in _SECTIONS.items():
        if wrong in model.model_fields:
            return f" (it belongs under {other!r})" if other else " (it belongs at the top, under no other key)"
    return nearest(wrong, list(_SECTIONS[section].model_fields)) if section in _SECTIONS else ""
