"""What is found out about a recipe before hours are spent on it: whether what it names is there and fits together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polystill.config import Recipe
from polystill.decoding.precisions import need_precision
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.places import find_start
from polystill.students import Student, StudentSpace

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer
    from polystill.targets.store import TargetSet


def check_recipe(recipe: Recipe, folder: Path | None = None) -> StudentSpace:
    """Find what cannot work before hours are spent; returns the student space.

    What lies in the run's `folder` counts: where the family is finished, the start model is not needed any more.

    Raises:
        UserError: the start model cannot be loaded or its vocabulary does not fit, generated targets are missing
            or unfinished, a student lies outside the space, sentences may be longer than the model's positions, the
            engine does not know the precision, or values of a new run would be ignored.
    """
    run = Run.open(folder) if folder is not None and (folder / "recipe.yaml").is_file() else None
    if run is None:
        recipe.refuse_ignored_keys()
    if run is None or not run.finished("data"):
        open_targets(recipe)
    teacher, positions = _teacher(recipe, run)
    if recipe.data.max_tokens > positions:
        raise UserError(
            f"data.max_tokens {recipe.data.max_tokens} is more than the model has positions ({positions}); "
            f"set data.max_tokens to at most {positions}"
        )
    if not (run and run.finished("family")):
        _check_frozen_teachers(recipe)
    space = recipe.student_space(teacher)
    for name in recipe.evaluation.students or []:
        space.get(name)
    need_precision(recipe.evaluation.engine, recipe.evaluation.precision)
    return space


def _teacher(recipe: Recipe, run: Run | None) -> tuple[Student, int]:
    """The teacher's depths and its number of positions."""
    if recipe.model.start is None:
        return recipe.model.teacher, recipe.model.max_positions
    from polystill.models.folder import load_model_with_tokenizer
    from polystill.training.session import check_architecture

    trained = run is not None and run.finished("family")
    folder = run.family if run and trained else find_start(recipe.model.start)
    try:
        model, _ = load_model_with_tokenizer(folder)
    except UserError as error:
        raise error if trained else UserError(f"model.start: {error}") from None
    check_architecture(model, recipe)
    return model.teacher, model.max_positions


def _check_frozen_teachers(recipe: Recipe) -> None:
    """Raises UserError where a frozen teacher is missing, or does not fit the student's vocabulary or sentences."""
    if not recipe.frozen_teachers:
        return
    from polystill.training.frozen import check_frozen_teacher

    tokenizer = start_tokenizer(recipe)
    assert tokenizer is not None
    asked = recipe.data.tokenizer.vocabulary_size
    if asked not in (type(recipe.data.tokenizer)().vocabulary_size, tokenizer.vocabulary_size):
        raise UserError(
            f"data.tokenizer.vocabulary_size {asked}: the vocabulary comes from the teacher and has "
            f"{tokenizer.vocabulary_size} entries; leave it out"
        )
    for place in recipe.frozen_teachers:
        positions = check_frozen_teacher(place, tokenizer).max_positions
        if recipe.data.max_tokens > positions:
            raise UserError(
                f"data.max_tokens {recipe.data.max_tokens} is more than objective.teacher ({place}) has positions "
                f"({positions})"
            )


def open_targets(recipe: Recipe) -> dict[str, TargetSet]:
    """The generated targets that a recipe names.

    Raises:
        UserError: one of them is no finished folder of targets.
    """
    from polystill.targets.store import TargetSet

    opened = {}
    for name, folder in recipe.data.targets.items():
        try:
            opened[name] = TargetSet.open(Path(folder))
        except UserError as error:
            raise UserError(f"data.targets.{name}: {error}") from None
    return opened


def start_tokenizer(recipe: Recipe) -> Tokenizer | None:
    """The vocabulary of the model that training starts from, or of the frozen teacher, if there is one."""
    if recipe.model.start is not None:
        from polystill.data.tokenizer import Tokenizer

        return Tokenizer.load(find_start(recipe.model.start))
    for place in recipe.frozen_teachers:
        from polystill.training.frozen import teacher_tokenizer

        return teacher_tokenizer(place)
    return None
