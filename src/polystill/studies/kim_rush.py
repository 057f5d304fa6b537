"""The steps of `polystill study kim-rush`: the rows of Kim & Rush (2016) on any data.

    teacher ─┬─ beam (Seq-KD) ──────────────┬─ students ─┬─ + seq-inter ── pruned-50 … ── pruned-50-float32, -int8
             └─ n-best ── interpolated ─────┘            └─ speed

A student's row says what it is taught by: seq-kd (on the teacher's beam output), word-kd (also by its probabilities),
and seq-inter (fine-tuned on the interpolated targets, by the objective that it was trained with).
"""

from __future__ import annotations

from pathlib import Path

from polystill.config import BESIDE_START, Model
from polystill.errors import UserError
from polystill.students import Student
from polystill.studies.recipe import (
    BEAMS,
    KimRush,
    Part,
    check_left_out,
    check_method,
    check_names,
    check_steps,
    common,
    merged,
    peak_learning_rate,
    row_id,
)
from polystill.studies.steps import Step, run_step

TEACHER, TUNED_TEACHER, BASELINE = "teacher", "teacher+seq-inter", "baseline"
SEQ_INTER = "seq-inter"
STUDENT_ROWS = (
    BASELINE,
    "baseline+seq-inter",
    "word-kd",
    "word-kd+seq-inter",
    "seq-kd",
    "seq-kd+word-kd",
    "seq-kd+seq-inter",
    "seq-kd+word-kd+seq-inter",
)
ROWS = (TEACHER, TUNED_TEACHER, *STUDENT_ROWS)
SPEED = "speed"
SPARSE_VALUES = ("float32", "int8")
"""What the non-zero weights of a pruned model are written as, to count their bytes."""


def steps_of(study: KimRush) -> list[Step]:
    """All steps of a study, in an order in which they can be done.

    Raises:
        UserError: a row, a part of a recipe or a member of a family is not known or does not work.
    """
    _check_rows(study)
    _check_methods(study)
    steps = [_teacher(study), *_targets(study)]
    steps += [_row(study, name, study.seed) for name in study.rows or ROWS if name != TEACHER]
    steps += [_in_depth(study, depth) for depth in study.depths]
    steps += [_family(study, name, study.seed) for name in study.families]
    steps += _pruned(study)
    for seed, names in study.more_seeds.items():
        steps += [_row(study, name, seed) for name in names]
    steps += _missing_bases(study, steps)
    steps += _speed(study)
    check_steps(study, steps)
    return steps


def seedable(study: KimRush) -> list[str]:
    """The rows that can be trained with a further seed."""
    return [*STUDENT_ROWS, *study.families]


def student_of(study: KimRush) -> Model:
    """The network that all student rows train."""
    return Step(BASELINE, (), Path(), _untuned(study, BASELINE, study.seed)).parsed(study.origin).model


def pruned_row(sparsity: float) -> str:
    return f"pruned-{100 * sparsity:g}"


def sparse_step(row: str, values: str) -> str:
    """The step that writes a pruned row's model in the sparse form."""
    return f"{row}-{values}"


def _check_rows(study: KimRush) -> None:
    further = [name for names in study.more_seeds.values() for name in names]
    lists = [("rows", study.rows or [], list(ROWS)), ("more_seeds", further, seedable(study))]
    if study.pruning:
        lists.append(("pruning.row", [study.pruning.row], list(STUDENT_ROWS)))
    if study.speed:
        lists.append(("speed.rows", study.speed.rows, list(STUDENT_ROWS)))
    for key, names, known in lists:
        check_names(study, key, names, known)


def _check_methods(study: KimRush) -> None:
    """What a row is trained by, and on, is not to be something else than its name says."""
    check_left_out(study, "word_kd", study.word_kd, ("kind", "teacher"))
    for key, part, row in (("teacher", study.teacher, TEACHER), ("student", study.student, BASELINE)):
        check_left_out(study, key, part, ("targets",))
        check_method(study, Step(row, (), Path(), _alone(study, study.seed, part)), f"{key}.", "nll")
        for i, stage in enumerate(part.get("stages") or ()):
            check_left_out(study, f"{key}.stages.{i}", stage, ("targets",))
    for name in study.families:
        check_method(study, _family(study, name, study.seed), f"families.{name}.", "aio_kd")


def _missing_bases(study: KimRush, steps: list[Step]) -> list[Step]:
    """Rows that others start from or measure, where the recipe does not list them itself."""
    present = {step.name for step in steps}
    wanted = [name.removesuffix(f"+{SEQ_INTER}") for name in study.rows or ()]
    wanted += [study.pruning.row, study.pruning.row.removesuffix(f"+{SEQ_INTER}")] if study.pruning else []
    for name in study.speed.rows if study.speed else ():
        wanted += [name, name.removesuffix(f"+{SEQ_INTER}")]
    found = [_row(study, name, study.seed) for name in dict.fromkeys(wanted) if name not in present]
    for seed, names in study.more_seeds.items():
        bases = dict.fromkeys(name.removesuffix(f"+{SEQ_INTER}") for name in names)
        found += [_row(study, name, seed) for name in bases if row_id(study, name, seed) not in present]
    return found


# --- teacher and targets ----------------------------------------------------------------------------------------------


def _alone(study: KimRush, seed: int, part: Part) -> Part:
    """The recipe of one network, by default trained for likelihood alone."""
    return merged(common(study, seed), {"objective": {"kind": "nll"}}, part)


def _teacher(study: KimRush) -> Step:
    return run_step(TEACHER, _alone(study, study.seed, study.teacher))


def _targets(study: KimRush) -> list[Step]:
    g, run = study.generate, Path("runs") / TEACHER
    free = ("--workers", str(g.workers), "--batch-tokens", str(g.batch_tokens))

    def generated(name: str, beam: int, n_best: int) -> Step:
        out = Path("targets") / name
        sizes = ("--beam", str(beam), "--n-best", str(n_best))
        return Step(name, ("generate", run, "--run", run, *sizes, "--out", out), out, free=free)

    out = Path("targets") / "interpolated"
    how = ("--by", g.by, "--share", f"{g.share:g}")
    select = Step("interpolated", ("select", Path("targets") / "n-best", *how, "--out", out), out)
    return [generated("beam", g.beam, 1), generated("n-best", g.n_best, g.n_best), select]


def _with_targets(part: Part) -> Part:
    """The same recipe, with the folders of all generated targets that it names."""
    named = {name for each in (part, *part["stages"]) for name in each.get("targets") or {}}
    folders = {name: Path("targets") / name for name in ("beam", "interpolated") if name in named}
    return merged(part, {"data": {"targets": folders}}) if folders else part


# --- students ---------------------------------------------------------------------------------------------------------


def _row(study: KimRush, name: str, seed: int) -> Step:
    if name in study.families:
        return _family(study, name, seed)
    if name == TEACHER:
        return _teacher(study)
    return run_step(row_id(study, name, seed), _row_recipe(study, name, seed))


def _row_recipe(study: KimRush, name: str, seed: int) -> Part:
    base = name.removesuffix(f"+{SEQ_INTER}")
    untuned = _untuned(study, base, seed)
    return untuned if base == name else _tuned(study, row_id(study, base, seed), untuned)


def _untuned(study: KimRush, name: str, seed: int) -> Part:
    if name == TEACHER:
        return _alone(study, seed, study.teacher)
    part = _alone(study, seed, study.student)
    methods = name.split("+")
    if "word-kd" in methods:
        part = merged(part, {"objective": {**study.word_kd, "kind": "word_kd", "teacher": Path("runs") / TEACHER}})
    if "seq-kd" in methods:
        part = _with_targets({**part, "targets": {"beam": 1.0}})
    return part


def _tuned(study: KimRush, base: str, part: Part) -> Part:
    """Fine-tuning of the model of row `base`, whose recipe is `part`."""
    stage = {
        "name": "tuning",
        "updates": study.tuning.updates,
        "schedule": "constant",
        "warmup": 0,
        "learning_rate": study.tuning.rate * peak_learning_rate(Step(base, (), Path(), part).parsed(study.origin)),
        "select_by": "bleu",
    }
    part = merged(_started(base, part), {"training": study.tuning.training})
    return _with_targets({**part, "targets": {"interpolated": 1.0}, "stages": [stage]})


def _started(base: str, part: Part) -> Part:
    """A recipe that goes on from the model of row `base`, from where shape and vocabulary come."""
    model = {key: value for key, value in part["model"].items() if key in {"architecture", *BESIDE_START}}
    data = {key: value for key, value in part["data"].items() if key not in ("tokenizer", "targets")}
    return {**part, "data": data, "model": {**model, "start": Path("runs") / base / "family"}}


def _in_depth(study: KimRush, depth: str) -> Step:
    """Row seq-kd with a student of other depth."""
    try:
        student = Student.parse(depth)
    except UserError as error:
        raise UserError(f"{study.origin}: depths: {error}") from None
    layers = {"encoder_layers": student.encoder_layers, "decoder_layers": student.decoder_layers}
    return run_step(f"seq-kd-{depth}", merged(_untuned(study, "seq-kd", study.seed), {"model": layers}))


def _family(study: KimRush, name: str, seed: int) -> Step:
    part = merged(common(study, seed), {"objective": {"kind": "aio_kd"}}, study.family)
    if study.members:
        part = merged(part, {"evaluation": {"students": study.members}})
    part = merged(part, {key: value for key, value in study.families[name].items() if key != "targets"})
    if "targets" in study.families[name]:
        part["targets"] = study.families[name]["targets"]
    return run_step(row_id(study, name, seed), _with_targets({"stages": [], **part}))


def _pruned(study: KimRush) -> list[Step]:
    settings = study.pruning
    if settings is None:
        return []
    untuned = _untuned(study, settings.row.removesuffix(f"+{SEQ_INTER}"), study.seed)
    training = merged(untuned["training"], settings.training)  # not that of the row's fine-tuning
    base = _row_recipe(study, settings.row, study.seed)
    started = merged(_started(settings.row, base), {"model": settings.model}) | {"training": training}
    steps = []
    for sparsity in settings.sparsities:
        first = merged({"pruning": {"sparsity": sparsity, "scope": settings.scope}}, settings.stages[0])
        if not sparsity:
            del first["pruning"]
        row = run_step(pruned_row(sparsity), _with_targets({**started, "stages": [first, *settings.stages[1:]]}))
        steps += [row, *(_sparse(row, values) for values in SPARSE_VALUES if sparsity)]
    return steps


def _sparse(row: Step, values: str) -> Step:
    name = sparse_step(row.name, values)
    out = Path("sparse") / name
    arguments = ("export", row.out, "teacher", "--to", "sparse", "--quantization", values, "--out", out)
    return Step(name, arguments, out)


# --- speed ------------------------------------------------------------------------------------------------------------


def _speed(study: KimRush) -> list[Step]:
    settings = study.speed
    if settings is None:
        return []
    student = student_of(study).teacher
    arguments: list[str | Path] = ["bench", "decode", Path("runs") / TEACHER]
    for row in settings.rows:
        arguments += ["--student", Path("runs") / row / str(student)]
    for beam in BEAMS:
        arguments += ["--beam", str(beam)]
    sizes = ",".join(map(str, settings.batch_sizes))
    arguments += ["--threads", "1", "--batch-sizes", sizes, "--sentences", str(settings.sentences)]
    out = Path("speed.json")
    arguments += ["--rounds", str(settings.rounds), "--json", out]
    return [Step(SPEED, tuple(arguments), out, alone=True)]
