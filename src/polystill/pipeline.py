"""A run from its beginning to its end.

    data ── RUN/data ── training.<stage> ── RUN/family ── evaluation ── RUN/results.json

Each stage is skipped when it is finished, and what it cost goes to results.json.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from polystill.config import Recipe
from polystill.recipe_checks import check_recipe, open_targets, start_tokenizer
from polystill.runs import Run
from polystill.storage import atomic_folder

_log = logging.getLogger(__name__)


def run_recipe(recipe: Recipe, folder: Path) -> Run | None:
    """Take a run from wherever it is to its end; returns it, unlocked (None on ranks other than the first).

    With several ranks (torchrun, accelerate launch) all of them train and the first does everything else.

    Raises:
        UserError: the recipe cannot work or does not belong to the folder, or a stage found a mistake in its input.
    """
    recipe = recipe.with_absolute_paths()
    if int(os.environ.get("RANK", "0")) > 0:
        run = Run.follow(folder, recipe)
        _wait_for_data(run)
        _train(run)
        return None
    check_recipe(recipe, folder)
    with Run.start(folder, recipe) as run:
        _prepare(run)
        _train(run)
        _evaluate(run)
    return run


def prepare_data(recipe: Recipe, folder: Path) -> None:
    """The data stage of `run_recipe` alone.

    Raises:
        UserError: as `run_recipe`.
    """
    recipe = recipe.with_absolute_paths()
    check_recipe(recipe, folder)
    with Run.start(folder, recipe) as run:
        _prepare(run)


def _wait_for_data(run: Run) -> None:
    """Wait until the first rank has taken up this very recipe and prepared the data."""
    from polystill.config import load_recipe

    path, waited = run.folder / "recipe.yaml", 0
    while not (path.is_file() and load_recipe(path).with_absolute_paths() == run.recipe and run.finished("data")):
        time.sleep(0.5)
        waited += 1
        if waited % 120 == 0:
            _log.info("%s: waiting since %d min for the first rank to prepare the data", run.folder, waited // 120)


def _prepare(run: Run) -> None:
    from polystill.data import prepare

    if run.finished("data"):
        prepare.prepare_test_sets(run.recipe, run.data)  # those added since
        return
    with run.spending("data"), atomic_folder(run.data) as temporary:
        record = prepare.prepare_data(
            run.recipe,
            temporary,
            tokenizer=start_tokenizer(run.recipe),
            targets=open_targets(run.recipe),
            log=_log.info,
        )
    run.finish("data", record)


def _train(run: Run) -> None:
    if run.finished("family"):
        return
    from polystill.training.loop import train_family

    train_family(run)


def _evaluate(run: Run) -> None:
    if run.finished("evaluation"):
        return
    from polystill.evaluation.quality import evaluate_students

    with run.spending("evaluation"):
        rows = evaluate_students(run)
    run.finish("evaluation", {"rows": len(rows)})
