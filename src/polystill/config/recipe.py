"""The recipe as a whole, with its `evaluation`, and what follows from several of its sections."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field, ValidationError, field_validator, model_validator

from polystill.config.data import GOLD, Data, DrawWeights
from polystill.config.model import BESIDE_START, Model, Students, Supernet, SupernetName, largest_of
from polystill.config.training import Pruning, Schedule, Stage, Training
from polystill.errors import UserError, nearest
from polystill.objectives import OBJECTIVES, AnyObjective, combined, first_kind, no_such_key
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import FrozenTeacherObjective, Objective
from polystill.schema import Seed, Strict, changed
from polystill.students import Student, StudentSpace, are_chosen


class EngineFacts(NamedTuple):
    """The facts about an engine that a recipe is checked by."""

    title: str
    architectures: tuple[str, ...]


ENGINES = {
    "ctranslate2": EngineFacts("CTranslate2", ("transformer",)),
    "torch": EngineFacts("torch", ("transformer", "lstm")),
}
"""The same engines as in `polystill.decoding.ENGINES`, which is in a layer above."""

if TYPE_CHECKING:
    EngineName: TypeAlias = str
else:
    EngineName = Literal[tuple(ENGINES)]


class Evaluation(Strict):
    beams: list[Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=lambda: [1, 5], min_length=1)
    """Beam sizes; 1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0)
    """A hypothesis of n tokens scores log p / n ** length_penalty."""
    engine: EngineName | None = None
    """By default each student is evaluated by the first engine that has its architecture."""
    precision: str = "float32"
    """Precision of the exported models, by the engine's names, such as `float32` or `int8`."""
    students: list[str] | None = None
    """Names of the students that are evaluated. By default all of them, but at most 30 of a large family."""
    lowercase: bool = False
    """Also report BLEU with sacreBLEU's -lc, as Multi30k's literature does."""

    @field_validator("precision")
    @classmethod
    def _name_precision(cls, precision: str) -> str:
        """As rows of results name it: a family's weights are float32."""
        return "float32" if precision == "default" else precision

    def engine_for(self, architecture: str) -> str:
        """The engine that evaluates students of this architecture."""
        return self.engine or next(name for name, facts in ENGINES.items() if architecture in facts.architectures)


class Recipe(Strict):
    name: str = Field("run", pattern=r"^[A-Za-z0-9_.-]+$")
    """The run's name in reports and model cards."""
    seed: Seed = 1
    """The seed of new weights, batches, drawn students and dropout."""
    data: Data
    """The text, and how it is prepared."""
    model: Model = Model()
    """The first supernet. Its largest network is the teacher."""
    supernets: dict[SupernetName, Supernet] = Field(default_factory=dict)
    """Further supernets by name, beside the first, which is `model`."""
    students: Students = Students()
    """Which networks are students."""
    objective: AnyObjective = AioKd()
    """What the networks learn from."""
    targets: DrawWeights = Field(default_factory=lambda: {GOLD: 1.0})
    """What the networks learn to say: `gold`, names of `data.targets`, or a mixture of them with weights."""
    domains: DrawWeights | None = None
    """How often the pairs of each domain of `data.train` are drawn; a domain that is not named is not drawn. A pair's
    weight is that of its targets times that of its domain. By default all are drawn alike."""
    training: Training = Training()
    """How they learn."""
    stages: list[Stage] = Field(min_length=1)
    """In which steps they learn, one after another."""
    evaluation: Evaluation = Evaluation()
    """How students are measured."""

    @model_validator(mode="after")
    def _check_engine(self) -> Recipe:
        for architecture in self.architectures:
            engine = ENGINES[self.evaluation.engine_for(architecture)]
            if architecture not in engine.architectures:
                usable = " or ".join(name for name, other in ENGINES.items() if architecture in other.architectures)
                raise ValueError(
                    f"evaluation.engine: {engine.title} has no {architecture.upper()}; leave it out, or say {usable}"
                )
        return self

    @model_validator(mode="after")
    def _check_widths(self) -> Recipe:
        for name, supernet in self.supernets.items():
            if self.model.start is None and supernet.d_model > self.model.d_model:
                raise ValueError(
                    f"supernets.{name}: d_model {supernet.d_model} is larger than the model's ({self.model.d_model}), "
                    "whose largest network teaches the others; make this one the model"
                )
        return self

    @model_validator(mode="after")
    def _check_projected(self) -> Recipe:
        for name, supernet in self.supernets.items():
            if supernet.start != "projected":
                continue
            first = self.first_stage_of(name)
            if not self._teacher_is_trained_before(self.stages.index(first) if first else 0):
                raise ValueError(
                    f"supernets.{name}.start: projected needs a trained first supernet: model.start, or stages with "
                    "supernets: first before those that train this one"
                )
            if {self.model.architecture, supernet.architecture} != {"transformer"}:
                raise ValueError(
                    f"supernets.{name}.start: projected is for a transformer beside a transformer; leave it out"
                )
        return self

    @property
    def architectures(self) -> list[str]:
        """Of all supernets, the first one's first."""
        return list(dict.fromkeys(self.architecture_of(name) for name in ("", *self.supernets)))

    def architecture_of(self, supernet: str) -> str:
        """The architecture of a supernet; the first one's name is empty."""
        return self.supernets[supernet].architecture if supernet else self.model.architecture

    def starts_new(self, supernet: str) -> bool:
        """Whether a supernet begins with new weights."""
        return self.supernets[supernet].start == "new" if supernet else self.model.start is None

    @model_validator(mode="after")
    def _check_stages(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: every stage needs a name of its own, got {names}")
        for i, stage in enumerate(self.stages):
            kind = stage.objective.get("kind", self.objective.kind)
            for key in stage.objective:
                if key not in OBJECTIVES[kind].model_fields:
                    raise ValueError(f"stages.{i}.objective.{key}: {no_such_key(kind, key)}")
                if stage.networks != "all" and key in ("students_per_step", "sampling", "sample_every"):
                    raise ValueError(
                        f"stages.{i}.objective.{key}: stage {stage.name} trains the {stage.networks} networks and "
                        "draws none; leave it out"
                    )
            if stage.supernets != "further" and self._lacks_teacher(stage):
                raise ValueError(f"objective.teacher: missing; {kind} (stage {stage.name}) learns from one")
        return self

    @model_validator(mode="after")
    def _check_supernets_of_stages(self) -> Recipe:
        for i, stage in enumerate(self.stages):
            place = f"stages.{i}.supernets"
            if stage.supernets == "all":
                continue
            if stage.supernets == "further":
                if not self.supernets:
                    raise ValueError(f"{place}: further, but the recipe has no supernets beside the first")
                if isinstance(self.stage_objective(stage), AioKd):
                    raise ValueError(
                        f"{place}: aio_kd trains the teacher, and the first supernet is held in stage {stage.name}; "
                        "learn from it with objective: {kind: word_kd}"
                    )
                if self._lacks_teacher(stage) and not self._teacher_is_trained_before(i):
                    raise ValueError(
                        f"{place}: the largest network of the first supernet, which teaches stage {stage.name}, is "
                        "trained by no stage before"
                    )
            if stage.pruning:
                raise ValueError(
                    f"{place}: pruning prunes all supernets, and stage {stage.name} trains only some; leave it out"
                )
            if self.stage_pruning(stage):
                raise ValueError(
                    f"{place}: a stage before prunes all supernets and has their zeros held from then on, and stage "
                    f"{stage.name} trains only some; put it before that stage"
                )
        return self

    def _lacks_teacher(self, stage: Stage) -> bool:
        """Whether a stage's objective learns from a frozen teacher and names none. A `further` stage has the first."""
        objective = self.stage_objective(stage)
        return isinstance(objective, FrozenTeacherObjective) and not objective.frozen_teacher

    def _teacher_is_trained_before(self, index: int) -> bool:
        """Whether the first supernet's largest network has been trained when a stage begins."""
        before = (stage for stage in self.stages[:index] if stage.supernets != "further")
        return self.model.start is not None or any(stage.networks != "smallest" for stage in before)

    @model_validator(mode="after")
    def _check_pruned_supernets_are_trained(self) -> Recipe:
        """New weights are not pruned after other supernets were trained: which are small says nothing yet."""
        for name in ("", *self.supernets):
            first = self.first_stage_of(name)
            if first is not None and first.pruning and first != self.stages[0] and self.starts_new(name):
                raise ValueError(
                    f"stages.{self.stages.index(first)}.pruning: no stage before {first.name} trains "
                    f"{_title(name)}; prune in a later stage"
                )
        return self

    @model_validator(mode="after")
    def _check_pruning_grows(self) -> Recipe:
        """Weights that are zero count as pruned, so a lower sparsity would prune nothing."""
        pruned = [(i, stage.pruning.sparsity) for i, stage in enumerate(self.stages) if stage.pruning]
        asked = [(i, sparsity) for i, sparsity in pruned if sparsity]
        for (_, before), (i, now) in pairwise(asked):
            if now <= before:
                raise ValueError(f"stages.{i}.pruning.sparsity: {now:g}, but a stage before prunes to {before:g}")
        return self

    @model_validator(mode="after")
    def _check_quantization_lasts(self) -> Recipe:
        """A stage that trains exact weights undoes what 8-bit fine-tuning did, and LSTMs run in no 8-bit engine."""
        for name in ("", *self.supernets):
            stages = self.stages_of(name)
            first = next((i for i, stage in enumerate(stages) if stage.quantization), None)
            if first is None:
                continue
            place = f"stages.{self.stages.index(stages[first])}.quantization"
            if self.architecture_of(name) != "transformer":
                raise ValueError(f"{place}: {_title(name)} is no Transformer, and no engine runs others in int8")
            if later := [stage.name for stage in stages[first:] if not stage.quantization]:
                raise ValueError(
                    f"{place}: stage {later[0]} trains {_title(name)} again without it; give it quantization: int8, too"
                )
        return self

    @property
    def quantized(self) -> list[str]:
        """The supernets that are fine-tuned for int8."""
        return [name for name in ("", *self.supernets) if (own := self.stages_of(name)) and own[-1].quantization]

    @model_validator(mode="after")
    def _check_last_stages(self) -> Recipe:
        """Every supernet is trained, but for a first one from `model.start`. No last stage harms students before it."""
        for name in ("", *self.supernets):
            stages = self.stages_of(name)
            if not stages and (name or self.model.start is None):
                raise ValueError(f"stages: none trains {_title(name)}")
            if not stages or not self._has_students(name) or self.stage_objective(stages[-1]).trains_family:
                continue
            last = stages[-1]
            place = f"stages.{self.stages.index(last)}"
            if last.networks != "all":
                raise ValueError(
                    f"{place}.networks: the last stage ({last.name}) trains the {last.networks} networks alone, which "
                    "harms the students that were trained before; put it before the others"
                )
            raise ValueError(
                f"{place}.objective.students_per_step: 0 in stage {last.name}, the last of {_title(name)}, whose "
                "other students it would not train; say how many are drawn, such as 2, or name the students of "
                "the other supernets in students.only"
            )
        return self

    @model_validator(mode="after")
    def _check_there_is_a_smallest_network(self) -> Recipe:
        for i, stage in enumerate(self.stages):
            if stage.networks == "smallest" and not self.trains_family:
                raise ValueError(
                    f"stages.{i}.networks: there is no smallest network, because no stage trains students; add a stage "
                    "that draws them (objective.students_per_step, such as 2)"
                )
        return self

    def _has_students(self, supernet: str) -> bool:
        """Whether a supernet has students beside its largest network."""
        if not self.trains_family:
            return False
        try:
            space = self.students.space(self.model.teacher, self.supernets)
        except UserError:  # of a student that does not fit, which `student_space` refuses; or of the start's shape
            return True
        return any(len(m.candidates) > 1 for m in space.supernets if m.largest.supernet == supernet)

    def stages_of(self, supernet: str) -> list[Stage]:
        """The stages that train a supernet; the first one's name is empty."""
        return [stage for stage in self.stages if are_chosen(stage.supernets, supernet)]

    def first_stage_of(self, supernet: str) -> Stage | None:
        """The first stage that trains a supernet, if one does."""
        return next(iter(self.stages_of(supernet)), None)

    def grows(self, supernet: str) -> bool:
        """Whether a supernet is new, and only its smallest network is trained at first."""
        first = self.first_stage_of(supernet)
        return self.starts_new(supernet) and first is not None and first.networks == "smallest"

    @model_validator(mode="after")
    def _check_pruned_layers_are_trained(self) -> Recipe:
        """Layers above the smallest networks begin with zeros, which pruning would take for its own and keep."""
        names = [name for name in ("", *self.supernets) if self.architecture_of(name) == "transformer"]
        for name in names if self.trains_family else ():
            if not self.grows(name):
                continue
            for stage in self.stages_of(name):
                if stage.pruning is not None:
                    raise ValueError(
                        f"stages.{self.stages.index(stage)}.pruning: only the smallest networks are trained before "
                        f"stage {stage.name}, and it would keep the zeros that the layers above them begin with; put a "
                        "stage with networks largest or all before it"
                    )
                if stage.networks != "smallest":
                    break
        return self

    @model_validator(mode="after")
    def _check_target_names(self) -> Recipe:
        self._check_names("targets", [GOLD, *self.data.targets], "is not in data.targets")
        return self

    @model_validator(mode="after")
    def _check_domain_names(self) -> Recipe:
        known = self.data.domains
        if known or any(self._weights("domains")):
            for i, source in enumerate(self.data.train):
                if source.domain is None:
                    raise ValueError(f"data.train.{i}.domain: missing; where domains are given, every source needs one")
        self._check_names("domains", known, "is no domain of data.train")
        return self

    def _check_names(self, key: Literal["targets", "domains"], known: list[str], unknown: str) -> None:
        for place, weights in self._weights(key):
            for name in weights:
                if name not in known:
                    raise ValueError(f"{place}: {name!r} {unknown}{nearest(name, known)}; there are: {' '.join(known)}")

    def _weights(self, key: Literal["targets", "domains"]) -> Iterator[tuple[str, dict[str, float]]]:
        """The weights that the recipe and its stages give, each with the place where they stand."""
        sections = (("", self), *((f"stages.{i}.", stage) for i, stage in enumerate(self.stages)))
        for place, section in sections:
            if weights := getattr(section, key):
                yield f"{place}{key}", weights

    def stage_targets(self, stage: Stage) -> dict[str, float]:
        """The targets of one stage and their weights, gold first: in an order that the recipe's does not change."""
        weights = self.targets if stage.targets is None else stage.targets
        return dict(sorted(weights.items(), key=lambda item: (item[0] != GOLD, item[0])))

    def stage_domains(self, stage: Stage) -> dict[str, float] | None:
        """The domains of one stage and their weights, in the order of `data.domains`; None draws all pairs alike."""
        weights = self.domains if stage.domains is None else stage.domains
        return weights and {name: weights[name] for name in self.data.domains if name in weights}

    def stage_schedule(self, stage: Stage) -> Schedule:
        return stage.schedule or self.training.schedule

    @property
    def targets_label(self) -> str:
        """The targets of the whole run, such as "gold", "gold+0.5xbeam" or "beam,interpolated" (stages)."""
        labels = [_targets_label(self.stage_targets(stage)) for stage in self.stages]
        return ",".join(dict.fromkeys(labels))

    @property
    def domains_label(self) -> str:
        """The domains of the whole run, such as "2xsoftware+0.5xeveryday" or "software+everyday,software" (stages).

        Empty where no stage draws by domain.
        """
        stages = [self.stage_domains(stage) for stage in self.stages]
        if not any(stages):
            return ""
        return ",".join(dict.fromkeys(_mixed(stage or dict.fromkeys(self.data.domains, 1.0)) for stage in stages))

    def stage_objective(self, stage: Stage) -> Objective:
        """The objective of one stage: the recipe's, with the stage's own keys on top.

        It draws students only where the stage trains all networks.
        """
        try:
            objective = combined(self.objective, stage.objective)
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(["objective", *map(str, detail["loc"])])
            got = f" (got {detail['input']!r})" if detail["loc"] else ""
            told = detail["msg"].removeprefix("Value error, ")
            raise ValueError(f"stages.{self.stages.index(stage)}.{key}: {told}{got}") from None
        return objective if stage.networks == "all" else objective.drawing(0)

    @property
    def stage_objectives(self) -> list[Objective]:
        return [self.stage_objective(stage) for stage in self.stages]

    def stage_pruning(self, stage: Stage) -> Pruning | None:
        """The pruning of one stage: its own; after a stage that prunes, its zeros are held."""
        before = self.stages[: self.stages.index(stage)]
        return stage.pruning or (Pruning(schedule="hold") if any(other.pruning for other in before) else None)

    @property
    def prunes(self) -> bool:
        """Whether the run's models are sparse in the end."""
        return any(stage.pruning for stage in self.stages)

    @property
    def method(self) -> str:
        """The kind of objective that the run as a whole goes by: a family's if any of its stages trains one."""
        return first_kind(self.stage_objectives)

    def method_of(self, supernet: str) -> str:
        """The kind of objective that a supernet is trained by; empty for a first one that no stage trains."""
        stages = self.stages_of(supernet)
        return first_kind(map(self.stage_objective, stages)) if stages else ""

    @property
    def trains_family(self) -> bool:
        """Whether students learn beside their teacher; otherwise only the largest network of each supernet does."""
        return any(objective.trains_family for objective in self.stage_objectives)

    @property
    def frozen_teachers(self) -> list[str]:
        """The frozen teachers of all stages, as the recipe names them."""
        return list(dict.fromkeys(o.frozen_teacher for o in self.stage_objectives if o.frozen_teacher))

    def student_space(self, teacher: Student, started: Collection[Student] = ()) -> StudentSpace:
        """The networks of this recipe's family: the largest of each supernet, and their students if these are trained.

        started: the students of `model.start`. A first supernet that no stage trains has no others.

        Raises:
            UserError: the space does not fit the teacher.
        """
        largest = largest_of(teacher, self.supernets)
        if not self.trains_family:
            return StudentSpace.from_list(largest, [])
        space = self.students.space(teacher, self.supernets)
        if self.stages_of(""):
            return space
        return StudentSpace.from_list(largest, [each for each in space.candidates if each.supernet or each in started])

    def with_absolute_paths(self) -> Recipe:
        """The same recipe, for any current folder.

        Relative paths of `data.folder`, `data.targets`, `model.start` and `objective.teacher` start at today's.
        """
        data = self.data.model_copy(update={"folder": str(Path(self.data.folder).resolve())})
        start = self.model.start and str(Path(self.model.start).resolve())
        targets = {name: str(Path(folder).resolve()) for name, folder in self.data.targets.items()}
        data = data.model_copy(update={"targets": targets})
        model = self.model.model_copy(update={"start": start})
        objective = self.objective.with_absolute_paths()
        stages = [stage.with_absolute_paths() for stage in self.stages]
        return self.model_copy(update={"data": data, "model": model, "objective": objective, "stages": stages})

    def refuse_ignored_keys(self) -> None:
        """Refuse values that other values make void; those that equal their defaults count as not given.

        Raises:
            UserError: a shape or tokenizer settings beside `model.start`, ranges beside `students.only`, a weight of
                alignments without `data.alignment`, or a key of the objective that no stage's kind has.
        """
        if self.model.start is not None:
            used = {"architecture", "start", *(BESIDE_START if self.stages_of("") else ())}
            ignored = [f"model.{key}" for key in changed(self.model) if key not in used]
            ignored += [f"data.tokenizer.{key}" for key in changed(self.data.tokenizer)]
            if ignored:
                raise UserError(f"{', '.join(ignored)}: come from model.start ({self.model.start}); leave them out")
        if self.data.alignment is None and "alignment_weight" in changed(self.training):
            raise UserError(
                "training.alignment_weight: has no effect without data.alignment; leave it out, or add that"
            )
        if self.students.only is not None and (ignored := [key for key in changed(self.students) if key != "only"]):
            names = ", ".join(f"students.{key}" for key in ignored)
            raise UserError(f"{names}: students.only lists the students already; give one or the other")
        kinds = [objective.kind for objective in self.stage_objectives]
        for key in changed(self.objective):
            if not any(key in OBJECTIVES[kind].model_fields for kind in kinds):
                raise UserError(
                    f"objective.{key}: has no effect, because every stage has another kind ({', '.join(kinds)})"
                )


def _title(supernet: str) -> str:
    return f"supernets.{supernet}" if supernet else "the first supernet"


def _targets_label(weights: dict[str, float]) -> str:
    return next(iter(weights)) if len(weights) == 1 else _mixed(weights)


def _mixed(weights: dict[str, float]) -> str:
    return "+".join(name if weight == 1 else f"{weight:g}x{name}" for name, weight in weights.items())
