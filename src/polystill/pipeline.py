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
    from polystill.targets.store import TargetSet

_log = logging.getLogger(__name__)
Row = dict[str, Any]

# --- a run ----------------------------------------------------------------------------------------------------------


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


def probe_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    beam: int | None = None,
) -> list[Row]:
    """Give a finished run's students lines unlike their data, and count what comes of them.

    Raises:
        UserError: as `evaluate_run`, and `evaluation.robustness.probe_students`.
    """
    from polystill.evaluation.robustness import probe_students

    with Run.open(folder, lock=True) as run:
        need_family(run)
        return probe_students(run, students=students, engine=engine, precision=precision, beam=beam)


def compare_students(folder: Path, names: Sequence[str], test_set: str | None, beam: int | None) -> list[Row]:
    """Paired bootstrap of the first student against the others, on the translations that their runs have stored.

    A name is a student of the run in `folder`, or `OTHER_RUN/student`. `test_set` is the recipe's first by default,
    `beam` its largest; engine, precision and length penalty are that recipe's for all students. Returns
    `evaluation.significance.compare`'s rows.

    Raises:
        UserError: a folder is no run, a student was not evaluated there, or the runs' references differ.
    """
    from polystill.evaluation.significance import compare

    run = Run.open(folder)
    known = list(run.recipe.data.test)
    if not known:
        raise UserError(f"{folder}: the run has no test sets to compare on; add one to data.test")
    if test_set not in (None, *known):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(known)}")
    test_set, beam = test_set or known[0], beam or max(run.recipe.evaluation.beams)
    references = _references(run, test_set)
    systems = {}
    for name in names:
        place, _, student = name.rpartition("/")
        other = Run.open(Path(place)) if place else run
        if place and (test_set not in other.recipe.data.test or _references(other, test_set) != references):
            raise UserError(f"{place}: has not the same test set {test_set} as {folder}")
        systems[name] = _stored_translations(other, student, test_set, beam, run.recipe)
    language, lowercase = run.recipe.data.target_language, run.recipe.evaluation.lowercase
    return compare(systems, references, target_language=language, lowercase=lowercase)


def _references(run: Run, test_set: str) -> list[str]:
    return read_text(run.data / "test" / f"{test_set}.target.txt")


def _stored_translations(run: Run, name: str, test_set: str, beam: int, recipe: Recipe) -> list[str]:
    """Translations measured with the engine, precision and length penalty of `recipe`, which may be another run's."""
    need_family(run)
    student = family_space(run).get(name).name
    rows = [row for row in run.results()["rows"] if (row["test_set"], row["beam"]) == (test_set, beam)]
    rows = [row for row in rows if measured_as_recipe(row, recipe)]
    for row in rows:
        if row["model"] == student:
            return read_text(run.folder / row["hypotheses"])
    there = " ".join(row["model"] for row in rows) or "none"
    settings = recipe.evaluation
    how = f"{settings.engine} {settings.precision}, length penalty {settings.length_penalty:g}"
    raise UserError(
        f"{run.folder}: {student} was not evaluated on {test_set} with beam {beam} ({how}); there are: {there}"
    )


def measured_as_recipe(row: Row, recipe: Recipe) -> bool:
    """Whether a row of results was measured with the recipe's own engine, precision and length penalty."""
    settings = recipe.evaluation
    wanted = (settings.engine, settings.precision, settings.length_penalty)
    return (row["engine"], row["precision"], row["length_penalty"]) == wanted


def read_text(path: Path) -> list[str]:
    """The lines of one of a run's text files, which end at line feeds only.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); was the run copied without it?") from None


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
        _open_targets(recipe)
    teacher, positions = _teacher(recipe, run)
    if recipe.data.max_tokens > positions:
        raise UserError(
            f"data.max_tokens {recipe.data.max_tokens} is more than the model has positions ({positions}); "
            f"set data.max_tokens to at most {positions}"
        )
    if not (run and run.finished("family")):
        _check_word_kd_teachers(recipe)
    space = recipe.student_space(teacher)
    for name in recipe.evaluation.students or []:
        space.get(name)
    if recipe.evaluation.engine == "ctranslate2":
        from polystill.decoding.ctranslate2 import check_precision

        check_precision(recipe.evaluation.precision)
    return space


def _teacher(recipe: Recipe, run: Run | None) -> tuple[Student, int]:
    """The teacher's depths and its number of positions."""
    if recipe.model.start is None:
        return recipe.model.teacher, recipe.model.max_positions
    from polystill.models.folder import load_model_with_tokenizer
    from polystill.training.session import check_architecture

    trained = run is not None and run.finished("family")
    try:
        model, _ = load_model_with_tokenizer(run.family if run and trained else Path(recipe.model.start))
    except UserError as error:
        raise error if trained else UserError(f"model.start: {error}") from None
    check_architecture(model, recipe)
    return model.teacher, model.max_positions


def _check_word_kd_teachers(recipe: Recipe) -> None:
    """Raises UserError where a frozen teacher is missing, or does not fit the student's vocabulary or sentences."""
    if not recipe.word_kd_teachers:
        return
    from polystill.training.frozen import check_teacher

    tokenizer = _start_tokenizer(recipe)
    assert tokenizer is not None
    asked = recipe.data.tokenizer.vocabulary_size
    if asked not in (type(recipe.data.tokenizer)().vocabulary_size, tokenizer.vocabulary_size):
        raise UserError(
            f"data.tokenizer.vocabulary_size {asked}: the vocabulary comes from the teacher and has "
            f"{tokenizer.vocabulary_size} entries; leave it out"
        )
    for place in recipe.word_kd_teachers:
        positions = check_teacher(place, tokenizer).max_positions
        if recipe.data.max_tokens > positions:
            raise UserError(
                f"data.max_tokens {recipe.data.max_tokens} is more than objective.teacher ({place}) has positions "
                f"({positions})"
            )


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
    with _measured(run, "data"), atomic_folder(run.data) as temporary:
        record = prepare.prepare_data(
            run.recipe,
            temporary,
            tokenizer=_start_tokenizer(run.recipe),
            targets=_open_targets(run.recipe),
            log=_log.info,
        )
    run.finish("data", record)


def _open_targets(recipe: Recipe) -> dict[str, TargetSet]:
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


def _start_tokenizer(recipe: Recipe) -> Tokenizer | None:
    """The vocabulary of the model that training starts from, or of the frozen teacher, if there is one."""
    if recipe.model.start is not None:
        from polystill.data.tokenizer import Tokenizer

        return Tokenizer.load(Path(recipe.model.start))
    for place in recipe.word_kd_teachers:
        from polystill.training.frozen import teacher_tokenizer

        return teacher_tokenizer(place)
    return None


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


def extract_student(folder: Path, name: str, out: Path | None = None) -> Path:
    """Write a run's student as a folder (a Transformer as Hugging Face's): to `out`, or by default to RUN/students.

    Returns where it is.

    Raises:
        UserError: as `export_student`.
    """
    from polystill.evaluation.quality import extracted, write_extracted
    from polystill.export.description import check_replaceable
    from polystill.models.folder import architecture_in

    run = Run.open(folder)
    need_family(run)
    if out is not None:
        if architecture_in(run.family) == "transformer":
            return export_student(folder, name, "hf", out)
        check_replaceable(out)
        write_extracted(run, family_space(run).get(name), out)
        return out
    student = extracted(run, family_space(run).get(name))
    if not student.is_relative_to(run.students):
        raise UserError(f"{run.students}: no permission; give a folder to write with --out")
    return student


def export_student(folder: Path, name: str, to: str, out: Path | None = None, quantization: str | None = None) -> Path:
    """Write a run's student in one of `polystill.export.FORMATS`: to `out`, or by default to RUN/exports.

    Returns where it is.

    Raises:
        UserError: the folder is no run, its training is not finished, it has no such student, or as
            `polystill.export.export_student`.
    """
    from polystill import export
    from polystill.evaluation.quality import extracted, lines_to_verify
    from polystill.models.folder import read_family

    run = Run.open(folder)
    need_family(run)
    student = family_space(run).get(name)
    if out is None:
        out = run.folder / "exports" / "-".join(filter(None, (student.name, to, quantization)))
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: exists already; give a new folder with --out, or remove this one")
    record = export.Record(
        rows=[row for row in run.results()["rows"] if row.get("model") == student.name],
        family=read_family(run.family),
        data=[_source_in_words(source.model_dump(exclude_defaults=True)) for source in run.recipe.data.train],
    )
    export.export_student(extracted(run, student), out, to, quantization, lines_to_verify(run), record)
    return out


def _source_in_words(source: dict[str, Any]) -> str:
    """A training source of the recipe, on one line."""
    return ", ".join(f"{key} {value}" for key, value in source.items())
