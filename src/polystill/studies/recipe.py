"""A study's recipe: what all its runs have in common, and what is varied.

`data`, `training`, `evaluation` and the parts of single runs are keys of an ordinary recipe; they are checked as such,
run by run, before any work starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from polystill.config import Recipe
from polystill.config.reading import explained, read_values
from polystill.decoding.contract import LARGEST_BEAM
from polystill.errors import UserError, nearest
from polystill.schema import Seed, Strict
from polystill.studies.steps import Step

BEAMS = (1, 5)
"""Greedy search, and the papers' beam search."""
GREEDY, BEAM = BEAMS
Part = dict[str, Any]
"""Keys of a recipe."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
Sparsity = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Study(Strict):
    """What every study has."""

    kind: ClassVar[str]
    """Its command, `polystill study KIND`."""
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    seed: Seed = 1
    more_seeds: dict[Seed, list[str]] = Field(default_factory=dict)
    """Rows that are trained with a further seed as well, from the same teacher and targets."""
    data: Part
    training: Part = Field(default_factory=dict)
    evaluation: Part = Field(default_factory=dict)
    _origin: str = PrivateAttr("the study")

    @property
    def origin(self) -> str:
        """Its file, for errors."""
        return self._origin


class Generate(Strict):
    """The teacher's translations, as `polystill generate` and `select` make them."""

    beam: int = Field(5, ge=1, le=LARGEST_BEAM)
    n_best: int = Field(35, ge=2, le=LARGEST_BEAM)
    """Seq-Inter: candidates, and the beam that finds them."""
    by: Literal["bleu", "chrf"] = "bleu"
    share: float = Field(1.0, gt=0, le=1)
    """Seq-Inter: of the sentences."""
    workers: Positive = 1
    batch_tokens: Positive = 1024


class Tuning(Strict):
    """Seq-Inter's fine-tuning: a constant learning rate, a fresh optimizer, the best checkpoint by greedy BLEU."""

    updates: Positive = 2000
    rate: float = Field(0.1, gt=0)
    """Times the peak learning rate of the model that is tuned."""
    training: Part = Field(default_factory=dict)


class Pruned(Strict):
    """A row's model pruned by magnitude and trained on with its zeros held."""

    row: str = "seq-kd+seq-inter"
    sparsities: list[Sparsity] = Field(default_factory=lambda: [0.0, 0.5, 0.8, 0.85, 0.9], min_length=1)
    """0 is the whole model trained on likewise: what pruning itself costs is told beside that one."""
    scope: Literal["global", "layer", "matrix"] = "global"
    stages: list[Part] = Field(min_length=1)
    """The first one begins with the pruning; its `pruning` may say how, such as gradually."""
    model: Part = Field(default_factory=dict)
    """Such as dropout, of which a network with fewer weights needs less (Han et al. 2015)."""
    training: Part = Field(default_factory=dict)


class Speed(Strict):
    """Words a second of the teacher and of these rows, by `polystill bench decode` on one thread."""

    rows: list[str] = Field(min_length=1)
    batch_sizes: list[Positive] = Field(default_factory=lambda: [32, 1], min_length=1)
    sentences: Positive = 1000
    rounds: Positive = 3


class KimRush(Study):
    """Kim & Rush (2016): one teacher, one student, and every way to teach it."""

    kind = "kim-rush"
    paper: Literal["english-german", "thai-english"] = "english-german"
    """Whose figures stand beside ours."""
    teacher: Part
    student: Part
    rows: list[str] | None = None
    """Of studies.kim_rush.ROWS; all by default."""
    word_kd: Part = Field(default_factory=dict)
    """Keys of `objective`, such as alpha and temperature."""
    generate: Generate = Generate()
    tuning: Tuning = Tuning()
    pruning: Pruned | None = None
    depths: list[str] = Field(default_factory=list)
    """Such as e4d2: the student of row seq-kd in other depths, as rows seq-kd-e4d2."""
    family: Part = Field(default_factory=dict)
    """What the families have in common."""
    families: dict[Name, Part] = Field(default_factory=dict)
    """Runs with students of their own (AIO-KD); `targets: {beam: 1.0}` are those of this study's teacher."""
    members: list[str] = Field(default_factory=list)
    """Members of the families that the tables show; all by default."""
    speed: Speed | None = None


class Alone(Strict):
    """Students that are trained one by one: for likelihood, and by Word-KD from the teacher that was so trained."""

    students: list[str] = Field(min_length=1)
    """The teacher's own shape is among them."""
    word_kd: Part = Field(default_factory=dict)
    """Keys of `objective`."""
    stages: list[Part] | None = Field(None, min_length=1)
    """By default the family's: the same updates, learning rates and schedules."""


class Pretrained(Strict):
    """A family that starts from a trained teacher's Marian folder, beside one that starts from nothing."""

    stages: list[Part] = Field(min_length=1)
    from_scratch: list[Part] | None = Field(None, min_length=1)
    """By default the family's first stage, selected by greedy validation BLEU, so that there is a curve of it."""
    usable: float = Field(0.9, gt=0, le=1)
    """A student is usable when its greedy validation BLEU is this share of the teacher's best."""


class AioKd(Study):
    """AIO-KD (Miao et al. 2023): the family as published, without each of its parts, and against one by one."""

    kind = "aio-kd"
    model: Part
    students: Part = Field(default_factory=dict)
    objective: Part = Field(default_factory=dict)
    stages: list[Part] = Field(min_length=1)
    """As published: first without mutual learning, then with it."""
    alone: Alone | None = None
    strategies: list[str] | None = None
    """Of studies.aio_kd.STRATEGIES; all by default."""
    students_per_step: list[Positive] = Field(default_factory=list)
    """Other numbers than the family's own."""
    spaces: dict[Name, Part] = Field(default_factory=dict)
    """Other spaces of students, as keys of `students`."""
    changes: dict[Name, Part] = Field(default_factory=dict)
    """Other families by their rows' names: the keys of a recipe in which each differs from the one as published."""
    pretrained: Pretrained | None = None


S = TypeVar("S", bound=Study)


def load_study(kind: type[S], path: Path, overrides: list[str] | None) -> S:
    """Read a study's recipe.

    Raises:
        UserError: as `config.load_recipe`, or it is another study's.
    """
    values = read_values(path, overrides)
    try:
        study = kind.model_validate(values)
    except ValidationError as error:
        for other in (KimRush, AioKd):
            if set(values) & (set(other.model_fields) - set(kind.model_fields) - set(Recipe.model_fields)):
                raise UserError(f"{path}: is a recipe of `polystill study {other.kind}`") from None
        raise explained(error, str(path), _sections(kind)) from None
    folder = str(Path(str(study.data.get("folder", "."))).resolve())
    study = study.model_copy(update={"data": {**study.data, "folder": folder}})
    study._origin = str(path)
    return study


def _sections(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found = {"": kind}
    for name, field in kind.model_fields.items():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found[name] = candidate
    return found


def merged(*parts: Part) -> Part:
    """The parts' keys, the later ones' on top, section by section; lists are values."""
    result: Part = {}
    for part in parts:
        for key, value in part.items():
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def common(study: Study, seed: int | None = None) -> Part:
    """The part of all runs' recipes."""
    part = {"seed": study.seed if seed is None else seed, "data": study.data}
    part |= {"training": study.training, "evaluation": study.evaluation}
    return part


def row_id(study: Study, name: str, seed: int) -> str:
    """A row's name, which says its seed where that is another one than the study's."""
    return name if seed == study.seed else f"{name}-seed{seed}"


def check_names(study: Study, key: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises UserError where a list of the recipe names a row that there is not."""
    for name in names:
        if name not in known:
            hint = nearest(name, list(known))
            raise UserError(f"{study.origin}: {key}: {name!r} is no row{hint}; there are: {' '.join(known)}")


def check_left_out(study: Study, key: str, part: Part, names: Iterable[str]) -> None:
    """Raises UserError where a part of the recipe has what the study itself decides, row by row."""
    for name in names:
        if name in part:
            raise UserError(f"{study.origin}: {key}.{name}: is given by the study; leave it out")


def check_method(study: Study, step: Step, key: str, method: str) -> None:
    """Raises UserError where a part of the recipe would have a run trained by another method than its row says."""
    found = step.parsed(study.origin).method
    if found != method:
        raise UserError(f"{study.origin}: {key}objective.kind: {found}; it is {method} here, leave it out")


def check_steps(study: Study, steps: Sequence[Step]) -> None:
    """Raises UserError where two steps have one name, or a run's recipe does not work or measures too little."""
    names = [step.name for step in steps]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{study.origin}: {twice[0]} is there twice; every row and family needs a name of its own")
    for recipe in (step.parsed(study.origin) for step in steps if step.recipe is not None):
        if not recipe.data.test:
            raise UserError(f"{study.origin}: data.test: missing; the tables are of its first test set")
        if not set(BEAMS) <= set(recipe.evaluation.beams):
            raise UserError(f"{study.origin}: evaluation.beams: {recipe.evaluation.beams}; the tables need 1 and 5")


def peak_learning_rate(recipe: Recipe) -> float:
    return max(stage.learning_rate or recipe.training.learning_rate for stage in recipe.stages)


def with_begun_seeds(study: S, folder: Path, seedable: Sequence[str]) -> S:
    """The same study with those rows of further seeds as well that were begun in its folder with `--seed`.

    `seedable` are the rows that the recipe can have with a further seed; others are left where they lie.
    """
    seeds = {seed: list(rows) for seed, rows in study.more_seeds.items()}
    for note in sorted((folder / "steps").glob("*-seed*.json")):
        name, _, seed = note.stem.rpartition("-seed")
        known = name in seedable and note.stem not in seedable and seed.isascii() and seed.isdecimal()
        if known and int(seed) != study.seed and name not in seeds.setdefault(int(seed), []):
            seeds[int(seed)].append(name)
    return study.model_copy(update={"more_seeds": seeds})


def with_seed(study: S, seed: int, rows: list[str] | None, seedable: Sequence[str]) -> S:
    """The same study with these rows for a further seed.

    Raises:
        UserError: no rows are named, one of them cannot be had with a further seed, or the seed is the study's own.
    """
    if not rows:
        raise UserError(f"--seed {seed}: say which rows are to be trained with it, such as --rows baseline,seq-kd")
    if seed == study.seed:
        raise UserError(f"--seed {seed}: is the study's own; the recipe's `seed` changes that")
    for name in rows:
        if name not in seedable:
            hint = nearest(name, list(seedable))
            raise UserError(f"--rows {name}: no row for a further seed{hint}; there are: {' '.join(seedable)}")
    known = study.more_seeds.get(seed, [])
    seeds = {**study.more_seeds, seed: list(dict.fromkeys([*known, *rows]))}
    return study.model_copy(update={"more_seeds": seeds})
