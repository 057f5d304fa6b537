"""What the commands do: the stages of a run in their order, and the uses of its family.

    data ── RUN/data ── training.<stage> ── RUN/family ── evaluation ── RUN/results.json

Each stage is skipped when it is finished, and what it cost goes to results.json.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError
from polystill.runs import Run
from polystill.storage import atomic_folder

if TYPE_CHECKING:
    from polystill.config import Recipe
    from polystill.data.tokenizer import Tokenizer
    from polystill.students import Student, StudentSpace

_log = logging.getLogger(__name__)
Row = dict[str, Any]

# --- a run ----------------------------------------------------------------------------------------------------------


def run_recipe(recipe: Recipe, folder: Path) -> Run | None:
    """Take a run from wherever it is to its end; returns it, unlocked (None on ranks other than the first).

    With several ranks (torchrun, accelerate launch) all of them train and the first does everything else.

    Raises:
        UserError: the recipe cannot work or does not belong to the folder, or a stage found a mistake in its input.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        run = Run.follow(folder, recipe)
        _wait_for_data(run)
        _train(run)
        return None
    check_recipe(recipe)
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
    check_recipe(recipe)
    with Run.start(folder, recipe) as run:
        _prepare(run)


def evaluate_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    beams: Sequence[int] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    force: bool = False,
) -> tuple[Run, list[Row]]:
    """Measure a run whose training is finished; what is not given comes from its recipe. Returns the run, unlocked.

    Rows that results.json has already are not measured again, unless `force`.

    Raises:
        UserError: the folder is no run, its training is not finished, or a student or setting is unknown.
    """
    from polystill.evaluation.quality import evaluate_students

    with Run.open(folder, lock=True) as run:
        need_family(run)
        with _measured(run, "evaluation"):
            rows = evaluate_students(
                run, students=students, beams=beams, engine=engine, precision=precision, force=force
            )
    return run, rows


def compare_students(folder: Path, names: Sequence[str], test_set: str | None, beam: int | None) -> list[Row]:
    """Paired bootstrap of the first student against the others, on the translations that their runs have stored.

    A name is a student of the run in `folder`, or `OTHER_RUN/student`. `test_set` is the recipe's first by default,
    `beam` its largest. Returns `evaluation.significance.compare`'s rows.

    Raises:
        UserError: a folder is no run, a student was not evaluated there, or the runs' references differ.
    """
    from polystill.evaluation.significance import compare

    run = Run.open(folder)
    known = list(run.recipe.data.test)
    if not known or test_set not in (None, *known):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(known) or 'no test sets'}")
    test_set, beam = test_set or known[0], beam or max(run.recipe.evaluation.beams)
    references = _references(run, test_set)
    systems = {}
    for name in names:
        place, _, student = name.rpartition("/")
        other = Run.open(Path(place)) if place else run
        if place and (test_set not in other.recipe.data.test or _references(other, test_set) != references):
            raise UserError(f"{place}: has not the same test set {test_set} as {folder}")
        systems[name] = _stored_translations(other, student, test_set, beam)
    return compare(systems, references, lowercase=run.recipe.evaluation.lowercase)


def _references(run: Run, test_set: str) -> list[str]:
    return read_text(run.data / "test" / f"{test_set}.target.txt")


def _stored_translations(run: Run, name: str, test_set: str, beam: int) -> list[str]:
    need_family(run)
    settings, student = run.recipe.evaluation, family_space(run).get(name).name
    wanted = (test_set, beam, settings.engine, settings.precision)
    rows = [row for row in run.results()["rows"] if tuple(row[key] for key in _STORED_BY) == wanted]
    for row in rows:
        if row["model"] == student:
            return read_text(run.folder / row["hypotheses"])
    there = " ".join(row["model"] for row in rows) or "none"
    raise UserError(f"{run.folder}: {student} was not evaluated on {test_set} with beam {beam}; there are: {there}")


_STORED_BY = ("test_set", "beam", "engine", "precision")


def read_text(path: Path) -> list[str]:
    """The lines of one of a run's text files, which end at line feeds only."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def check_recipe(recipe: Recipe) -> StudentSpace:
    """Find what cannot work before hours are spent; returns the student space.

    Raises:
        UserError: the start model cannot be loaded or its vocabulary does not fit, a student lies outside the
            space, sentences may be longer than the model's positions, or the engine does not know the precision.
    """
    teacher, positions = _teacher(recipe)
    if recipe.data.max_tokens > positions:
        raise UserError(
            f"data.max_tokens {recipe.data.max_tokens} is more than the model has positions ({positions}); "
            f"set data.max_tokens to at most {positions}"
        )
    space = recipe.students.space(teacher)
    for name in recipe.evaluation.students or []:
        space.get(name)
    if recipe.evaluation.engine == "ctranslate2":
        from polystill.decoding.ctranslate2 import check_precision

        check_precision(recipe.evaluation.precision)
    return space


def _teacher(recipe: Recipe) -> tuple[Student, int]:
    """The teacher's depths and its number of positions."""
    if recipe.model.start is None:
        return recipe.model.teacher, recipe.model.max_positions
    from polystill.models.folder import load_model_with_tokenizer

    model, _ = load_model_with_tokenizer(Path(recipe.model.start))
    return model.teacher, model.max_positions


def _wait_for_data(run: Run) -> None:
    """Wait until the first rank has taken up this very recipe and prepared the data."""
    from polystill.config import load_recipe

    recipe = run.folder / "recipe.yaml"
    while not (recipe.is_file() and load_recipe(recipe) == run.recipe and run.finished("data")):
        time.sleep(0.5)


def _prepare(run: Run) -> None:
    from polystill.data import prepare

    if run.finished("data"):
        prepare.prepare_test_sets(run.recipe, run.data)  # those added since
        return
    with _measured(run, "data"), atomic_folder(run.data) as temporary:
        record = prepare.prepare_data(run.recipe, temporary, tokenizer=_start_tokenizer(run.recipe), log=_log.info)
    run.finish("data", record)


def _start_tokenizer(recipe: Recipe) -> Tokenizer | None:
    """The vocabulary of the model that training starts from, if it does."""
    if recipe.model.start is None:
        return None
    from polystill.data.tokenizer import Tokenizer

    return Tokenizer.load(Path(recipe.model.start))


def _train(run: Run) -> None:
    if run.finished("family"):
        return
    from polystill.training.trainer import train_family

    train_family(run)


def _evaluate(run: Run) -> None:
    if run.finished("evaluation"):
        return
    from polystill.evaluation.quality import evaluate_students

    with _measured(run, "evaluation"):
        rows = evaluate_students(run)
    run.finish("evaluation", {"rows": len(rows)})


def need_family(run: Run) -> None:
    """Raises UserError where the run's training is not finished, and says how to go on."""
    if not run.finished("family"):
        raise UserError(
            f"{run.folder}: training is not finished; continue it with "
            f"polystill run {run.folder / 'recipe.yaml'} --out {run.folder}"
        )


@contextmanager
def _measured(run: Run, stage: str) -> Iterator[None]:
    """Add the block's seconds to what the stage cost before, also when it fails: interrupted work was paid for, too."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield
    finally:
        with suppress(UserError):  # A full disk; the block's own error says so.
            before = run.results()["cost"].get(stage, {})
            spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": _cpu_seconds() - cpu}
            run.add_cost(stage, {key: round(before.get(key, 0) + value, 3) for key, value in spent.items()})


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # user and system, of this process and of ended children


# --- the family -------------------------------------------------------------------------------------------------------


def family_space(run: Run) -> StudentSpace:
    """The members of a run's family."""
    from polystill.models.folder import family_space

    return family_space(run.family)


def export_student(folder: Path, name: str, out: Path, to: str, quantization: str | None = None) -> None:
    """Write a run's student to `out` in one of `polystill.export.FORMATS`.

    Raises:
        UserError: the folder is no run, its training is not finished, it has no such student, or as
            `polystill.export.export_student`.
    """
    from polystill import export
    from polystill.evaluation.quality import extracted

    run = Run.open(folder)
    need_family(run)
    export.export_student(extracted(run, family_space(run).get(name)), out, to, quantization)
