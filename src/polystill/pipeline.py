"""Take a run from its recipe to its results.

    recipe ── check ── data ── RUN/data ── training.<stage> ── RUN/family ── evaluation ── RUN/results.json

A stage that is finished is skipped. The cost of each stage goes into results.json.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.config import Recipe, load_recipe
from polystill.decoding import ENGINES
from polystill.errors import UserError, mistakes_in
from polystill.languages import check_pair
from polystill.runs import Run
from polystill.runs.family import first_students
from polystill.runs.places import Kind, find_start, open_place
from polystill.storage import atomic_folder
from polystill.students import Student, StudentSpace

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer
    from polystill.targets.store import TargetSet

_log = logging.getLogger(__name__)


def run_recipe(recipe: Recipe, folder: Path) -> Run | None:
    """Take a run from wherever it is to its end and return it, unlocked; on ranks other than the first return None.

    With several ranks (torchrun, accelerate launch) all of them train and the first does everything else.

    Raises:
        UserError: as `check_recipe`; the recipe does not belong to the folder; or a stage found a mistake in its input.
    """
    recipe = recipe.with_absolute_paths()
    if int(os.environ.get("RANK", "0")) > 0:
        training_stage(_wait_for_data(folder, recipe))
        return None
    check_recipe(recipe, folder)
    with Run.start(folder, recipe) as run:
        data_stage(run)
        training_stage(run)
        evaluation_stage(run)
    return run


def prepare_data(recipe: Recipe, folder: Path) -> None:
    """Do the data stage of `run_recipe` alone. Raises the same errors."""
    recipe = recipe.with_absolute_paths()
    check_recipe(recipe, folder)
    with Run.start(folder, recipe) as run:
        data_stage(run)


# --- stages -------------------------------------------------------------------------------------------------------


def _wait_for_data(folder: Path, recipe: Recipe) -> Run:
    """Wait until the first rank has started the run with this recipe and prepared the data.

    The run has the recipe as the first rank wrote it: its supernets are in the order of their weights.
    """
    path, waited = folder / "recipe.yaml", 0
    while True:
        if path.is_file() and (written := load_recipe(path).with_absolute_paths()) == recipe:
            run = Run(folder, written)
            if run.finished("data"):
                return run
        time.sleep(0.5)
        waited += 1
        if waited % 120 == 0:
            _log.info("%s: has waited %d min for the first rank to prepare the data", folder, waited // 120)


def data_stage(run: Run) -> None:
    from polystill.data import prepare

    if run.finished("data"):
        if not run.finished("family"):
            run.check_data()
        prepare.prepare_test_sets(run.recipe, run.data)  # those that were added since
        return
    with run.spending("data"), atomic_folder(run.data) as temporary:
        tokenizer, targets = _start_tokenizer(run.recipe), _open_targets(run.recipe)
        record = prepare.prepare_data(run.recipe, temporary, tokenizer=tokenizer, targets=targets, log=_log.info)
        _check_same_data(run, record)
    run.finish("data", record)


def _check_same_data(run: Run, record: dict[str, Any]) -> None:
    """Raise UserError where data that are prepared again are not those that the run was trained on."""
    before = run.record("data")
    if before is None or not run.checkpoints.exists():
        return
    files = (name for name in before["files"] if name.startswith(("tokenizer/", "train/", "targets/", "validation/")))
    if other := [name for name in files if record["files"].get(name) != before["files"][name]]:
        raise UserError(
            f"{run.folder}: its networks were trained on other data than those prepared now (data/{other[0]} differs); "
            "bring back the corpora as they were, or start in another folder"
        )


def training_stage(run: Run) -> None:
    if run.finished("family"):
        return
    from polystill.training.loop import train_family

    train_family(run)


def evaluation_stage(run: Run) -> None:
    if run.finished("evaluation"):
        return
    from polystill.evaluation.quality import evaluate_students

    with run.spending("evaluation"):
        rows = evaluate_students(run, sets=run.held_out)
    run.finish("evaluation", {"rows": len(rows)})


# --- checks before hours are spent --------------------------------------------------------------------------------


def check_recipe(recipe: Recipe, folder: Path | None = None) -> StudentSpace:
    """Check that what a recipe names is there and fits together, and return the student space.

    If the run in `folder` has finished its data or its family, what these were made of is not needed any more.

    Raises:
        UserError: the start model cannot be loaded or its vocabulary does not fit, generated targets are missing
            or unfinished, a student lies outside the space, sentences may be longer than the model's positions, the
            engine does not have the precision, or values of a new run would be ignored.
    """
    run = Run.open(folder) if folder is not None and open_place(folder).kind is Kind.RUN else None
    if run is None or not run.stages():
        recipe.refuse_ignored_keys()
    if run is None or not run.finished("data"):
        _open_targets(recipe)
    teacher, started, positions = _teacher(recipe, run)
    if recipe.data.max_tokens > positions:
        raise UserError(
            f"data.max_tokens {recipe.data.max_tokens} is more than the model's {positions} positions; "
            f"set data.max_tokens to at most {positions}"
        )
    if not (run and run.finished("family")):
        _check_frozen_teachers(recipe)
    space = recipe.student_space(teacher, started)
    with mistakes_in("evaluation.students"):
        evaluated = [space.get(name) for name in recipe.evaluation.students or map(str, space.candidates)]
    for supernet in dict.fromkeys(student.supernet for student in evaluated):
        engine = ENGINES[recipe.evaluation.engine_for(recipe.architecture_of(supernet))]
        with mistakes_in("evaluation.precision"):
            engine.check_precision(recipe.evaluation.precision)
    return space


def _teacher(recipe: Recipe, run: Run | None) -> tuple[Student, Sequence[Student], int]:
    """Return the teacher's depths, the students that `model.start` has, and the teacher's number of positions."""
    if recipe.model.start is None:
        if any(supernet.start == "projected" for supernet in recipe.supernets.values()):
            from polystill.training.start import check_projections

            check_projections(recipe, recipe.model)
        return recipe.model.teacher, (), recipe.model.max_positions
    from polystill.models.folder import read_all_but_weights
    from polystill.training.start import check_architecture

    trained = run is not None and run.finished("family")
    folder = run.family if run and trained else find_start(recipe.model.start)
    try:
        config, _ = read_all_but_weights(folder)
    except UserError as error:
        raise error if trained else UserError(f"model.start: {error}") from None
    check_architecture(config, recipe)
    return config.teacher, first_students(folder), config.max_positions


def _check_frozen_teachers(recipe: Recipe) -> None:
    """Raise UserError where a frozen teacher is missing, or does not fit the student's vocabulary or sentences."""
    if not recipe.frozen_teachers:
        return
    from polystill.training.frozen import check_frozen_teacher, teacher_tokenizer

    tokenizer = _start_tokenizer(recipe)
    assert tokenizer is not None
    size = recipe.data.tokenizer.vocabulary_size
    if size not in (type(recipe.data.tokenizer)().vocabulary_size, tokenizer.vocabulary_size):
        raise UserError(
            f"data.tokenizer.vocabulary_size {size}: the vocabulary comes from the teacher and has "
            f"{tokenizer.vocabulary_size} entries; leave it out"
        )
    for place in recipe.frozen_teachers:
        known = teacher_tokenizer(place)
        check_pair(f"objective.teacher: {place}", (known.source_language, known.target_language), _languages(recipe))
        positions = check_frozen_teacher(place, tokenizer).max_positions
        if recipe.data.max_tokens > positions:
            raise UserError(
                f"data.max_tokens {recipe.data.max_tokens} is more than the {positions} positions of "
                f"objective.teacher ({place})"
            )


def _open_targets(recipe: Recipe) -> dict[str, TargetSet]:
    """Open the generated targets that a recipe names; raises UserError where a folder holds no finished ones."""
    from polystill.targets.store import TargetSet

    targets = {}
    for name, folder in recipe.data.targets.items():
        with mistakes_in(f"data.targets.{name}"):
            targets[name] = TargetSet.open(Path(folder))
            check_pair(folder, targets[name].languages, _languages(recipe))
    return targets


def _languages(recipe: Recipe) -> tuple[str, str]:
    return recipe.data.source_language, recipe.data.target_language


def _start_tokenizer(recipe: Recipe) -> Tokenizer | None:
    """Return the vocabulary of the start model or of the frozen teacher, if the recipe has one."""
    if recipe.model.start is not None:
        from polystill.data.tokenizer import Tokenizer

        return Tokenizer.load(find_start(recipe.model.start))
    for place in recipe.frozen_teachers:
        from polystill.training.frozen import teacher_tokenizer

        return teacher_tokenizer(place)
    return None
