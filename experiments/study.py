"""A study: its recipe, and its rows, each of which is an ordinary polystill command.

A row is data. Paths in its command and its recipe are `Path`s that start at the study's folder. They alone decide which
rows it needs: a row that reads `runs/teacher` needs the row that writes it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from polystill.config import BESIDE_START, Recipe, parse_recipe
from polystill.config.reading import explained, read_values
from polystill.errors import UserError, nearest
from polystill.runs import Run
from polystill.schema import Seed, Strict
from polystill.students import Student
from polystill.targets.store import MANIFEST, read_manifest

BEAMS = (1, 5)
"""Greedy search, and the beam search of the papers."""
GREEDY, BEAM = BEAMS
Part = dict[str, Any]
"""Keys of a recipe."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
Positive = Annotated[int, Field(ge=1)]
Shows = Literal["worse", "better", "as good", "no better"]
"""How a row is, beside another one; "no better": the other is as good."""


@dataclass(frozen=True)
class Row:
    """A command, what it writes, and what tables and claims need to know of it."""

    name: str
    command: tuple[str | Path, ...]
    """Arguments of `polystill`."""
    out: Path
    """What it writes."""
    kind: str
    """What it is in the study's tables."""
    label: str = ""
    """Its name in the study's recipe: that of the row of the study's own seed."""
    seed: int = 1
    recipe: Part | None = None
    """Of a row that is a run."""
    origin: str = "the study"
    """The study's file, for errors."""
    options: tuple[str, ...] = ()
    """Further arguments, which change how fast it is and nothing else."""
    alone: bool = False
    """It measures time: nothing else may run beside it."""
    against: tuple[str, ...] = ()
    """Rows whose models its own are compared with."""
    trained_alone: tuple[str, ...] = ()
    """Of a family: rows that train one of its members alone on the same translations."""
    claim: str = ""
    """What the comparison is to show, in words."""
    shows: Shows = "worse"
    """And as a verdict: how it is, beside the row that it is compared with."""
    sparsity: float = 0.0

    def reads(self) -> set[Path]:
        """All paths that it names, and the folders above them, without the one that it writes."""
        named = _paths([self.command, self.recipe]) - {self.out}
        return named | {parent for path in named for parent in path.parents}

    def shown_command(self) -> str:
        """As a user in the study's folder would type it."""
        return shlex.join(["polystill", *(str(argument) for argument in self.command)])

    @cached_property
    def parsed(self) -> Recipe:
        """The recipe, with paths relative to the study's folder, checked as far as that goes before other rows ran.

        Raises:
            UserError: the recipe cannot work; the message begins with the study's file and the row.
        """
        assert self.recipe is not None
        where = f"{self.origin}: row {self.name}"
        recipe = parse_recipe(located(self.recipe, None), where)
        try:
            recipe.refuse_ignored_keys()
            if recipe.model.start is None:
                space = recipe.student_space(recipe.model.teacher)
                for name in recipe.evaluation.students or []:
                    space.get(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        return recipe

    def note(self, folder: Path) -> Path:
        """Its command and recipe."""
        return folder / "steps" / f"{self.name}.json"

    def stamp(self, folder: Path) -> Path:
        """It is there when the row has ended well."""
        return folder / "steps" / f"{self.name}.done"

    def kept(self, folder: Path) -> Path:
        """It is there when the row came from an archive, without weights or targets (`experiments.kept`)."""
        return folder / "steps" / f"{self.name}.kept"

    def is_written(self, folder: Path) -> bool:
        """Whether what it makes is complete."""
        out = folder / self.out
        if self.recipe is not None:
            return (out / "recipe.yaml").is_file() and Run.open(out).finished("evaluation")
        if self.kept(folder).is_file():
            return self.stamp(folder).exists()
        if self.command[0] == "generate":
            return (out / MANIFEST).is_file() and bool(read_manifest(out).get("finished"))
        return out.exists()


class Trial(Strict):
    """One setting of an arm that was tried before the study, and what it had on the validation set."""

    tried: Part = Field(default_factory=dict)
    """Keys of a recipe; none is the recipe as it is."""
    validation: dict[Literal["bleu", "chrf", "nll"], float] = Field(min_length=1)


class Study(Strict):
    """The keys of every study's recipe: `data`, `training` and `evaluation` are those of an ordinary recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    seed: Seed = 1
    more_seeds: dict[Seed, list[str]] = Field(default_factory=dict)
    """Rows that are trained with a further seed as well. They learn from the same targets, and from the teacher of the
    same seed where that is one of these rows; else from the same teacher."""
    trials: dict[str, list[Trial]] = Field(default_factory=dict)
    """Tuning trials by arm, a row or what `tuned_with` names: sides of a comparison need as many of them."""
    data: Part
    training: Part = Field(default_factory=dict)
    evaluation: Part = Field(default_factory=dict)
    _origin: str = PrivateAttr("the study")

    def mistake(self, what: str) -> UserError:
        """The error message for the study's file."""
        return UserError(f"{self._origin}: {what}")

    @property
    def seeds(self) -> list[int]:
        return [self.seed, *self.more_seeds]

    def tuned_with(self, row: Row) -> str:
        """The arm whose tuning a row shares: that of the row itself, unless a study says otherwise."""
        return row.label

    def trials_of(self, row: Row) -> list[Trial]:
        """The tuning trials that a row's settings come from."""
        return self.trials.get(row.label) or self.trials.get(self.tuned_with(row)) or []

    def named(self, label: str, seed: int) -> str:
        """The name of a row, which has the seed in it where that is not the study's own."""
        return label if seed == self.seed else f"{label}-seed{seed}"

    def common(self, seed: int | None = None) -> Part:
        """The part that the recipes of all runs share."""
        seed = self.seed if seed is None else seed
        return {"seed": seed, "data": self.data, "training": self.training, "evaluation": self.evaluation}

    def run(self, label: str, kind: str, recipe: Part, seed: int | None = None, **more: Any) -> Row:
        """A row that is a run, into runs/<name>; the recipe gets a name."""
        seed = self.seed if seed is None else seed
        name = self.named(label, seed)
        command, out = ("run", Path("recipes") / f"{name}.yaml", "--out", Path("runs") / name), Path("runs") / name
        recipe = {"name": name.replace("+", "."), **{key: recipe[key] for key in recipe if key != "name"}}
        return Row(name, command, out, kind, label, seed, recipe, self._origin, **more)


S = TypeVar("S", bound=Study)


def load_study(kind: type[S], path: Path, overrides: list[str] | None, others: dict[str, type[Study]]) -> S:
    """Read the recipe of a study; `others` are the further studies by their commands.

    Raises:
        UserError: as `config.load_recipe`, or it is the recipe of another study.
    """
    values = read_values(path, overrides)
    try:
        study = kind.model_validate(values)
    except ValidationError as error:
        for command, other in others.items():
            if set(values) & (set(other.model_fields) - set(kind.model_fields) - set(Recipe.model_fields)):
                raise UserError(f"{path}: is a recipe of `python -m experiments {command}`") from None
        raise explained(error, str(path), _sections(kind)) from None
    folder = str(Path(str(study.data.get("folder", "."))).resolve())
    study = study.model_copy(update={"data": {**study.data, "folder": folder}})
    study._origin = str(path)
    return study


def _sections(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    sections = {"": kind}
    for name, field in kind.model_fields.items():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                sections[name] = candidate
    return sections


def merged(*parts: Part) -> Part:
    """The keys of all parts, later ones on top, section by section; lists are values."""
    result: Part = {}
    for part in parts:
        for key, value in part.items():
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def started(recipe: Part, start: Path) -> Part:
    """A recipe that goes on from a model, from where shape and vocabulary come."""
    model = {key: value for key, value in recipe["model"].items() if key in {"architecture", *BESIDE_START}}
    data = {key: value for key, value in recipe["data"].items() if key != "tokenizer"}
    return {**recipe, "data": data, "model": {**model, "start": start}}


def layers_of(student: str) -> Part:
    """The keys of `model` that make a network of this name, such as e4d2; UserError where it is none."""
    shape = Student.parse(student)
    return {"encoder_layers": shape.encoder_layers, "decoder_layers": shape.decoder_layers}


# --- further seeds ----------------------------------------------------------------------------------------------------


def with_seed(study: S, seed: int, labels: list[str] | None, seedable: Sequence[str]) -> S:
    """The same study with these rows for a further seed.

    Raises:
        UserError: no rows are named, one of them cannot be had with a further seed, or the seed is the study's own.
    """
    if not labels:
        raise UserError(f"--seed {seed}: say which rows are to be trained with it, such as --rows baseline,seq-kd")
    if seed == study.seed:
        raise UserError(f"--seed {seed}: is the study's own; the recipe's `seed` changes that")
    for label in labels:
        need_known(f"--rows {label}: no row for a further seed", label, seedable)
    return _with_rows(study, [(seed, label) for label in labels])


def with_begun_seeds(study: S, folder: Path, seedable: Sequence[str]) -> S:
    """The same study with those rows of further seeds as well that were begun in its folder with `--seed`.

    `seedable` are the rows that the recipe can have with a further seed; others are left where they lie.
    """
    paths = sorted((folder / "steps").glob("*.json"))
    logs = folder / "logs"
    notes = [
        read_note(path) for path in paths if (logs / f"{path.stem}.log").exists() or path.with_suffix(".kept").exists()
    ]
    begun = [(note["seed"], note["label"]) for note in notes if note["label"] in seedable]
    return _with_rows(study, [(seed, label) for seed, label in begun if seed != study.seed])


def _with_rows(study: S, rows: Iterable[tuple[int, str]]) -> S:
    seeds = {seed: list(labels) for seed, labels in study.more_seeds.items()}
    for seed, label in rows:
        seeds[seed] = list(dict.fromkeys([*seeds.get(seed, []), label]))
    return study.model_copy(update={"more_seeds": seeds})


def read_note(path: Path) -> dict[str, Any]:
    """Read steps/<row>.json: its label, seed, command and recipe.

    Raises:
        UserError: it is damaged.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return {key: note[key] for key in ("label", "seed", "command", "recipe")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and {path.stem} goes on by itself") from None


def read_kept(path: Path) -> int:
    """Read steps/<row>.kept: the bytes of the weights that are left out.

    Raises:
        UserError: it is damaged.
    """
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["bytes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged ({error}); remove it and {path.stem}.done, and the row is done again"
        ) from None


# --- which rows -------------------------------------------------------------------------------------------------------


def needs(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows that write what this one reads."""
    read = row.reads()
    return [other for other in rows if other.out in read]


def chosen_rows(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    """The rows of these names and all that they need, in their order; all rows without names.

    Raises:
        UserError: there is no such row.
    """
    known = {row.name: row for row in rows}
    for name in names or ():
        need_known(f"--rows {name}: no such row", name, list(known))
    wanted: set[str] = set()
    waiting = [known[name] for name in (known if names is None else names)]
    while waiting:
        row = waiting.pop()
        if row.name not in wanted:
            wanted.add(row.name)
            waiting += needs(row, rows)
    return [row for row in rows if row.name in wanted]


# --- checks -----------------------------------------------------------------------------------------------------------


def need_known(message: str, name: str, known: Sequence[str]) -> None:
    """Raises UserError with the nearest name where this one is not known."""
    if name not in known:
        raise UserError(f"{message}{nearest(name, list(known))}; there are: {' '.join(known)}")


def check_names(study: Study, key: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises UserError where a list of the recipe names a row that there is not."""
    for name in names:
        need_known(f"{study._origin}: {key}: {name!r} is no row", name, known)


def check_left_out(study: Study, key: str, part: Part, *names: str) -> None:
    """Raises UserError where a part of the recipe has what the study itself decides, row by row."""
    if given := [name for name in names if name in part]:
        raise study.mistake(f"{key}.{given[0]}: is given by the study; leave it out")


def check_method(study: Study, row: Row, key: str, method: str) -> None:
    """Raises UserError where a part of the recipe would have a run trained by another method than its row says."""
    for kind in (row.parsed.objective.kind, row.parsed.method):
        if kind != method:
            raise study.mistake(f"{key}objective.kind: {kind}; it is {method} here, leave it out")


def check_rows(study: Study, rows: Sequence[Row]) -> None:
    """Raises UserError where two rows have one name, or a run's recipe does not work or measures too little."""
    names = [row.name for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        raise study.mistake(f"{twice[0]} is there twice; every row and family needs a name of its own")
    runs = [row for row in rows if row.recipe is not None]
    check_names(
        study, "trials", study.trials, list(dict.fromkeys(n for r in runs for n in (r.label, study.tuned_with(r))))
    )
    for recipe in (row.parsed for row in runs):
        if recipe.training.precision == "auto":
            raise study.mistake("training.precision: name it, such as fp32; auto differs from processor to processor")
        if not recipe.data.test:
            raise study.mistake("data.test: missing; the tables are of its first test set")
        if not set(BEAMS) <= set(recipe.evaluation.beams):
            raise study.mistake(f"evaluation.beams: {recipe.evaluation.beams}; the tables need 1 and 5")


# --- paths ------------------------------------------------------------------------------------------------------------


def _paths(value: Any) -> set[Path]:
    if isinstance(value, Path):
        return {value}
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {path for child in children for path in _paths(child)}


def located(value: Any, folder: Path | None) -> Any:
    """The same values with paths as text, absolute below `folder`."""
    if isinstance(value, Path):
        return str(value if folder is None else folder / value)
    if isinstance(value, dict):
        return {key: located(child, folder) for key, child in value.items()}
    return [located(child, folder) for child in value] if isinstance(value, list) else value
