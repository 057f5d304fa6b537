"""The rows of Kim & Rush (2016) on any data: one teacher, one student, and every way to teach it.

teacher ─┬─ beam (Seq-KD) ──────────────┬─ students ─┬─ + seq-inter ── pruned-50 … ── pruned-50-float32, -int8
         └─ n-best ─┬─ interpolated ────┤            └─ speed
                    └─ mbr ─────────────┴─ families
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.study import (
    BEAMS,
    Name,
    Part,
    Positive,
    Row,
    Study,
    check_left_out,
    check_method,
    check_names,
    check_rows,
    layers_of,
    merged,
    started,
)
from polystill.config import GOLD
from polystill.decoding.translator import LARGEST_BEAM
from polystill.errors import UserError
from polystill.schema import Strict

Sparsity = Annotated[float, Field(ge=0, lt=1)]


class Generate(Strict):
    """The teacher's translations, as `polystill generate` and `select` make them."""

    beam: int = Field(5, ge=1, le=LARGEST_BEAM)
    n_best: int = Field(35, ge=2, le=LARGEST_BEAM)
    """Seq-Inter and MBR: candidates, and the beam that finds them."""
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
    """0 is the whole model trained on likewise, which the pruned ones are compared with."""
    scope: Literal["global", "layer", "matrix"] = "global"
    stages: list[Part] = Field(min_length=1)
    """The first one begins with the pruning; its `pruning` may say how, such as gradually."""
    model: Part = Field(default_factory=dict)
    """Such as dropout, of which a network with fewer weights needs less (Han et al. 2015)."""
    training: Part = Field(default_factory=dict)
    teacher_as_long: bool = False
    """Also train a teacher for as many updates as a pruned student has in all, as row teacher-as-long."""


class Speed(Strict):
    """Words a second of the teacher and of these rows, by `polystill bench decode` on one thread."""

    rows: list[str] = Field(min_length=1)
    batch_sizes: list[Positive] = Field(default_factory=lambda: [32, 1], min_length=1)
    sentences: Positive = 1000
    rounds: Positive = 3


class KimRush(Study):
    """The recipe of the study."""

    paper: Literal["english-german", "thai-english"] = "english-german"
    """The language pair whose figures stand beside ours."""
    teacher: Part
    student: Part
    rows: list[str] | None = None
    """Some of METHODS; all by default."""
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
    """Runs with students of their own (AIO-KD), which may learn from `targets: {beam: 1.0}`, interpolated or mbr."""
    members: list[str] = Field(default_factory=list)
    """Members of the families that the tables show; all by default."""
    speed: Speed | None = None

    def tuned_with(self, row: Row) -> str:
        """Families, and pruned networks, are tuned once; the student in other depths as in its own."""
        if row.kind in (FAMILY, PRUNED):
            return row.kind
        if row.label == AS_LONG:
            return TEACHER
        return SEQ_KD if row.label.removeprefix(f"{SEQ_KD}-") in self.depths else row.label


@dataclass(frozen=True)
class Method:
    """A way to train the network of a row: from new weights, or on from those of the row that it `tunes`."""

    of: Literal["teacher", "student"] = "student"
    word_kd: bool = False
    """By the teacher's probabilities."""
    seq_kd: bool = False
    """On the teacher's translations."""
    tunes: str | None = None
    against: str | None = "baseline"
    """The row that Δ is to."""


TEACHER, TUNED_TEACHER, BASELINE, SEQ_KD = "teacher", "teacher+seq-inter", "baseline", "seq-kd"
AS_LONG = "teacher-as-long"
METHODS = {
    TEACHER: Method(of="teacher", against=None),
    TUNED_TEACHER: Method(of="teacher", tunes=TEACHER, against=TEACHER),
    BASELINE: Method(against=None),
    "baseline+seq-inter": Method(tunes=BASELINE),
    "word-kd": Method(word_kd=True),
    "word-kd+seq-inter": Method(tunes="word-kd"),
    SEQ_KD: Method(seq_kd=True),
    "seq-kd+word-kd": Method(seq_kd=True, word_kd=True),
    "seq-kd+seq-inter": Method(tunes=SEQ_KD),
    "seq-kd+word-kd+seq-inter": Method(tunes="seq-kd+word-kd"),
}
"""The rows of the paper's table."""
STUDENTS = [name for name, method in METHODS.items() if method.of == "student"]
SPARSE_VALUES = ("float32", "int8")
"""What the non-zero weights of a pruned model are written as, to count their bytes."""


# Kinds of rows.
NETWORK, FAMILY, PRUNED, TARGETS, SPARSE, SPEED = "network", "family", "pruned", "targets", "sparse", "speed"


def base_of(label: str) -> str | None:
    """The label that a network is compared with."""
    if label in METHODS:
        return METHODS[label].against
    return TEACHER if label == AS_LONG else BASELINE


def pruned_label(sparsity: float) -> str:
    return f"{PRUNED}-{100 * sparsity:g}"


def rows_of(study: KimRush) -> list[Row]:
    """All rows of a study.

    Raises:
        UserError: a row, a part of a recipe or a member of a family is not known or does not work.
    """
    _check(study)
    rows = [_network(study, TEACHER, study.seed), *_targets(study)]
    rows += [_network(study, name, study.seed) for name in study.rows or METHODS if name != TEACHER]
    rows += [_in_depth(study, depth) for depth in study.depths]
    rows += [_family(study, name, study.seed) for name in study.families]
    if study.pruning:
        rows += _with_sparse_forms(_pruned(study, study.pruning, s, study.seed) for s in study.pruning.sparsities)
        rows += [_teacher_as_long(study, study.pruning)] if study.pruning.teacher_as_long else []
    for seed, names in study.more_seeds.items():
        rows += [_seeded(study, name, seed) for name in names]
    present = {row.name for row in rows}
    needed = dict.fromkeys(_needed(study))
    rows += [_network(study, name, seed) for name, seed in needed if study.named(name, seed) not in present]
    rows += [_speed(study, study.speed)] if study.speed else []
    check_rows(study, rows)
    return _with_comparisons(study, _without_idle_targets(rows))


def _without_idle_targets(rows: list[Row]) -> list[Row]:
    """The rows without translations that no row learns from; n-best lists take long."""
    read = {path for row in rows for path in row.reads()}
    needed = [row for row in rows if row.kind != TARGETS or row.out in read]
    return needed if len(needed) == len(rows) else _without_idle_targets(needed)


def seedable(study: KimRush) -> list[str]:
    """The rows that can be trained with a further seed."""
    return [*STUDENTS, *study.families, *_sparsities(study)]


def _sparsities(study: KimRush) -> dict[str, float]:
    """Of the pruned rows, by label."""
    return {pruned_label(sparsity): sparsity for sparsity in (study.pruning.sparsities if study.pruning else [])}


def _seeded(study: KimRush, name: str, seed: int) -> Row:
    """A row of a further seed."""
    if study.pruning and name in (sparsities := _sparsities(study)):
        return _pruned(study, study.pruning, sparsities[name], seed)
    return (_family if name in study.families else _network)(study, name, seed)


def _check(study: KimRush) -> None:
    """Names of rows are known, and no part of the recipe trains a row by, or on, something else than its name says."""
    check_names(study, "rows", study.rows or [], list(METHODS))
    for names in study.more_seeds.values():
        check_names(study, "more_seeds", names, seedable(study))
    check_names(study, "pruning.row", [study.pruning.row] if study.pruning else [], STUDENTS)
    check_names(study, "speed.rows", study.speed.rows if study.speed else [], STUDENTS)
    check_left_out(study, "word_kd", study.word_kd, "kind", "teacher")
    for key, part, row in (("teacher", study.teacher, TEACHER), ("student", study.student, BASELINE)):
        check_left_out(study, key, part, "targets")
        check_method(study, _network(study, row, study.seed), f"{key}.", "nll")
        for i, stage in enumerate(part.get("stages") or ()):
            check_left_out(study, f"{key}.stages.{i}", stage, "targets")
    for name in study.families:
        check_method(study, _family(study, name, study.seed), f"families.{name}.", "aio_kd")


def _needed(study: KimRush) -> Iterator[tuple[str, int]]:
    """Rows that others start from or measure, whether the recipe lists them itself or not, with their seeds."""
    measured = [*([study.pruning.row] if study.pruning else []), *(study.speed.rows if study.speed else [])]
    pruned = _sparsities(study)
    further = {
        seed: [study.pruning.row if study.pruning and name in pruned else name for name in names]
        for seed, names in study.more_seeds.items()
    }
    seeds = [(study.seed, [*(study.rows or []), *measured]), *further.items()]
    for seed, name in ((seed, name) for seed, names in seeds for name in names if name in METHODS):
        yield from ((name, seed), (METHODS[name].tunes or name, seed))


# --- teacher and targets ----------------------------------------------------------------------------------------------


def _targets(study: KimRush) -> list[Row]:
    g, run = study.generate, Path("runs") / TEACHER
    options = ("--workers", str(g.workers), "--batch-tokens", str(g.batch_tokens))

    def targets(name: str, *command: str | Path, options: tuple[str, ...] = ()) -> Row:
        out = Path("targets") / name
        return Row(name, (*command, "--out", out), out, TARGETS, options=options)

    def generated(name: str, beam: int, n_best: int) -> Row:
        sizes = ("--beam", str(beam), "--n-best", str(n_best))
        return targets(name, "generate", run, "--run", run, *sizes, options=options)

    chosen = ("select", Path("targets/n-best"), "--by")
    rows = [generated("beam", g.beam, 1), generated("n-best", g.n_best, g.n_best)]
    rows += [targets("interpolated", *chosen, g.by, "--share", f"{g.share:g}")]
    return [*rows, targets("mbr", *chosen, "mbr-chrf")]


def _with_targets(part: Part) -> Part:
    """The same recipe, with the folders of all generated targets that it names."""
    named = {name for each in (part, *part["stages"]) for name in each.get("targets") or {}}
    folders = {name: Path("targets") / name for name in ("beam", "interpolated", "mbr") if name in named}
    return merged(part, {"data": {"targets": folders}}) if folders else part


# --- one network ------------------------------------------------------------------------------------------------------


def _network(study: KimRush, name: str, seed: int) -> Row:
    return study.run(name, NETWORK, _recipe(study, name, seed), seed)


def _recipe(study: KimRush, name: str, seed: int) -> Part:
    method = METHODS[name]
    if method.tunes is not None:
        return _tuned(study, method.tunes, seed)
    own = study.teacher if method.of == "teacher" else study.student
    part = merged(study.common(seed), {"objective": {"kind": "nll"}}, own)
    if method.word_kd:
        part = merged(part, {"objective": {**study.word_kd, "kind": "word_kd", "teacher": Path("runs") / TEACHER}})
    return _with_targets({**part, "targets": {"beam": 1.0}}) if method.seq_kd else part


def _tuned(study: KimRush, base: str, seed: int) -> Part:
    """Seq-Inter: the model of row `base` fine-tuned on the interpolated targets, by the objective that it has."""
    row = _network(study, base, seed)
    peak = max(stage.learning_rate or row.parsed.training.learning_rate for stage in row.parsed.stages)
    stage = {"name": "tuning", "updates": study.tuning.updates, "schedule": "constant", "warmup": 0}
    stage |= {"learning_rate": study.tuning.rate * peak, "select_by": "bleu"}
    part = merged(_started(row), {"training": study.tuning.training})
    return _with_targets({**part, "targets": {"interpolated": 1.0}, "stages": [stage]})


def _started(row: Row) -> Part:
    """The recipe of a row, going on from its model."""
    assert row.recipe is not None
    data = {key: value for key, value in row.recipe["data"].items() if key != "targets"}
    return started({**row.recipe, "data": data}, row.out / "family")


def _in_depth(study: KimRush, depth: str) -> Row:
    """Row seq-kd with a student of other depth."""
    try:
        layers = layers_of(depth)
    except UserError as error:
        raise study.mistake(f"depths: {error}") from None
    return study.run(f"{SEQ_KD}-{depth}", NETWORK, merged(_recipe(study, SEQ_KD, study.seed), {"model": layers}))


# --- families, pruning, speed -----------------------------------------------------------------------------------------


def _family(study: KimRush, name: str, seed: int) -> Row:
    part = merged(study.common(seed), {"objective": {"kind": "aio_kd"}}, study.family)
    part = merged(part, {"evaluation": {"students": study.members}} if study.members else {}, _settings(study, name))
    part |= {key: value for key, value in study.families[name].items() if key == "targets"}
    return study.run(name, FAMILY, _with_targets({"stages": [], **part}), seed)


def _settings(study: KimRush, family: str) -> Part:
    """The settings of the row itself, without those of its teacher."""
    return {key: value for key, value in study.families[family].items() if key != "targets"}


def _pruned(study: KimRush, settings: Pruned, sparsity: float, seed: int) -> Row:
    base = METHODS[settings.row].tunes or settings.row
    training = merged(_recipe(study, base, seed)["training"], settings.training)  # not that of the fine-tuning
    whole = merged(_started(_network(study, settings.row, seed)), {"model": settings.model})
    first = merged({"pruning": {"sparsity": sparsity, "scope": settings.scope}}, settings.stages[0])
    if not sparsity:
        del first["pruning"]
    recipe = _with_targets({**whole, "training": training, "stages": [first, *settings.stages[1:]]})
    return study.run(pruned_label(sparsity), PRUNED, recipe, seed, sparsity=sparsity, against=(TEACHER, AS_LONG))


def _with_sparse_forms(rows: Iterable[Row]) -> Iterator[Row]:
    """Pruned rows, each with those that write it in the sparse forms."""
    for row in rows:
        yield from (row, *(_sparse(row, values) for values in SPARSE_VALUES if row.sparsity))


def _teacher_as_long(study: KimRush, settings: Pruned) -> Row:
    """The teacher with all of a pruned student's updates, in stages as the teacher has them."""
    pruned = _pruned(study, settings, settings.sparsities[0], study.seed)
    taught = [settings.row, *([tuned] if (tuned := METHODS[settings.row].tunes) else [])]
    parts = [pruned.parsed, *(_network(study, name, study.seed).parsed for name in taught)]
    updates = sum(stage.updates for part in parts for stage in part.stages)
    teacher = _network(study, TEACHER, study.seed).parsed
    own = [stage.updates for stage in teacher.stages]
    ends = [round(updates * sum(own[: i + 1]) / sum(own)) for i in range(len(own))]
    recipe = _recipe(study, TEACHER, study.seed)
    lengths = [end - before for before, end in pairwise([0, *ends])]
    stages = [{**stage, "updates": length} for stage, length in zip(recipe["stages"], lengths, strict=True)]
    return study.run(AS_LONG, NETWORK, {**recipe, "stages": stages})


def sparse_name(row: str, values: str) -> str:
    """The row that writes a pruned row's model in the sparse form."""
    return f"{row}-{values}"


def _sparse(row: Row, values: str) -> Row:
    name = sparse_name(row.name, values)
    out = Path("sparse") / name
    command = ("export", row.out, "teacher", "--to", "sparse", "--quantization", values, "--out", out)
    return Row(name, command, out, SPARSE)


def _speed(study: KimRush, settings: Speed) -> Row:
    student = str(_network(study, BASELINE, study.seed).parsed.model.teacher)
    timed = [argument for row in settings.rows for argument in ("--student", Path("runs") / row / student)]
    beams = [argument for beam in BEAMS for argument in ("--beam", str(beam))]
    sizes = ",".join(map(str, settings.batch_sizes))
    how = ("--threads", "1", "--batch-sizes", sizes, "--sentences", str(settings.sentences))
    out = ("--rounds", str(settings.rounds), "--json", Path("speed.json"))
    command = ("bench", "decode", Path("runs") / TEACHER, *timed, *beams, *how, *out)
    return Row(SPEED, command, Path("speed.json"), SPEED, alone=True)


# --- what is compared with what ---------------------------------------------------------------------------------------


def _with_comparisons(study: KimRush, rows: list[Row]) -> list[Row]:
    known = {row.name: row for row in rows}

    def present(labels: Iterable[str], seed: int) -> tuple[str, ...]:
        return tuple(name for name in (study.named(label, seed) for label in labels) if name in known)

    def compared(row: Row) -> Row:
        if row.kind == NETWORK:
            against = base_of(row.label)
            return replace(row, against=present([against] if against else [], row.seed))
        if row.kind != FAMILY:
            return row
        # With the same networks alone, and with the family that differs by its targets only.
        alone = present([SEQ_KD, *(f"{SEQ_KD}-{depth}" for depth in study.depths)], row.seed)
        if _learns_gold(row):
            others = present([BASELINE, "word-kd"], row.seed)
        else:
            settings = _settings(study, row.label)
            twins = [name for name in study.families if _settings(study, name) == settings]
            others = tuple(name for name in present(twins, row.seed) if _learns_gold(known[name]))[:1]
        return replace(row, against=(*alone, *others), trained_alone=alone)

    return [compared(row) for row in rows]


def _learns_gold(row: Row) -> bool:
    return row.parsed.targets_label == GOLD
