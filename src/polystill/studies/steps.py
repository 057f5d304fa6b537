"""A study's steps: ordinary polystill commands, each with what it writes.

Which steps a step needs follows from the paths that it names.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.config import Recipe, parse_recipe
from polystill.errors import UserError, nearest
from polystill.runs import Run
from polystill.targets.store import MANIFEST, read_manifest


@dataclass(frozen=True)
class Step:
    """A command. Its paths, those in the recipe included, are `Path`s and start at the study's folder."""

    name: str
    arguments: tuple[str | Path, ...]
    out: Path
    """What it writes; a step that reads below it needs this one."""
    recipe: dict[str, Any] | None = None
    """Of a step that is a run."""
    free: tuple[str, ...] = ()
    """Further arguments, on which the outcome does not depend."""
    alone: bool = False
    """Nothing else may run beside it, because it measures time."""

    def reads(self) -> Iterator[Path]:
        """All paths that it names, but the one that it writes."""
        yield from (path for path in _paths([self.arguments, self.recipe]) if path != self.out)

    def command(self) -> str:
        """As a user in the study's folder would type it."""
        return shlex.join(["polystill", *(str(argument) for argument in self.arguments)])

    def parsed(self, origin: str = "the study") -> Recipe:
        """Its recipe, checked as far as that goes before others have run; paths are relative to the study's folder.

        Raises:
            UserError: the recipe cannot work; the message begins with `origin`.
        """
        assert self.recipe is not None
        where = f"{origin}: row {self.name}"
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

    def is_written(self, folder: Path) -> bool:
        """Whether what it makes is there, complete."""
        out = folder / self.out
        if self.recipe is not None:
            return (out / "recipe.yaml").is_file() and Run.open(out).finished("evaluation")
        if self.arguments[0] == "generate":
            return (out / MANIFEST).is_file() and bool(read_manifest(out).get("finished"))
        return out.exists()


def run_step(name: str, recipe: dict[str, Any]) -> Step:
    """`polystill run`, into runs/<name>; the recipe gets a name."""
    out, path = Path("runs") / name, Path("recipes") / f"{name}.yaml"
    named = {"name": name.replace("+", "."), **recipe}
    return Step(name, ("run", path, "--out", out), out, named)


# --- which steps ------------------------------------------------------------------------------------------------------


def needs(step: Step, steps: Sequence[Step]) -> list[Step]:
    """The steps that write what this one reads."""
    read = {place for path in step.reads() for place in (path, *path.parents)}
    return [other for other in steps if other.out in read]


def chosen_steps(steps: Sequence[Step], names: Sequence[str] | None) -> list[Step]:
    """The steps of these names and all that they need, in their order; all steps without names.

    Raises:
        UserError: there is no such step.
    """
    if names is None:
        return list(steps)
    known = {step.name: step for step in steps}
    wanted: set[str] = set()

    def add(step: Step) -> None:
        if step.name not in wanted:
            wanted.add(step.name)
            for other in needs(step, steps):
                add(other)

    for name in names:
        if name not in known:
            raise UserError(f"--rows {name}: no such row{nearest(name, list(known))}; there are: {' '.join(known)}")
        add(known[name])
    return [step for step in steps if step.name in wanted]


# --- paths ------------------------------------------------------------------------------------------------------------


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from _paths(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _paths(child)


def located(value: Any, folder: Path | None) -> Any:
    """The same values with paths as text, absolute below `folder`."""
    if isinstance(value, Path):
        return str(value if folder is None else folder / value)
    if isinstance(value, dict):
        return {key: located(child, folder) for key, child in value.items()}
    if isinstance(value, list):
        return [located(child, folder) for child in value]
    return value
