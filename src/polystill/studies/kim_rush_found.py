"""All that a Kim & Rush study has measured so far, as its claims and tables read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from polystill.config import GOLD
from polystill.errors import UserError
from polystill.models.folder import weights_path
from polystill.studies.kim_rush import (
    BASELINE,
    SPARSE_VALUES,
    TEACHER,
    TUNED_TEACHER,
    pruned_row,
    sparse_step,
    student_of,
)
from polystill.studies.measured import Bootstrap, Measured, Row, measured
from polystill.studies.recipe import BEAMS, GREEDY, KimRush, row_id
from polystill.studies.steps import Step

Pair = tuple[Measured, Measured]


def _timings(path: Path) -> Row:
    """What `polystill bench decode` wrote."""
    if not path.is_file():
        return {}
    try:
        result: Row = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and speed is measured again") from None
    for row in result.get("rows", []):
        row["student"] = "/".join(Path(row["student"]).parts[-3:])  # as in the study's folder
    return result


def row_of(student: str) -> str:
    """The row of a student that was timed, runs/ROW/STUDENT."""
    return student if student == TEACHER else Path(student).parts[-2]


class Found:
    """What is finished of a study's steps."""

    def __init__(self, study: KimRush, folder: Path, steps: Sequence[Step], bootstrap: Bootstrap) -> None:
        self.study, self.bootstrap = study, bootstrap
        self.models = measured(folder, steps)
        self._folders = {step.name: folder / step.out for step in steps if step.is_written(folder)}
        self.speed = _timings(folder / "speed.json")
        seeds = (study.seed, *study.more_seeds)
        self._families = {row_id(study, name, seed): name for name in study.families for seed in seeds}
        self.members = [model for model in self.models if model.row in self._families]
        self.alone = {model.row: model for model in self.models if model.row not in self._families}

    def row(self, name: str, seed: int) -> Measured | None:
        return self.alone.get(row_id(self.study, name, seed))

    # --- what is compared with what ---

    def significance(self) -> list[Row]:
        """Paired bootstraps of each model against what it is to be better than, or as good as."""
        pairs = [*self._pairs_alone(), *self._pairs_of_pruned(), *self._pairs_of_members()]
        return [row for first, model in pairs for beam in BEAMS for row in self.bootstrap.against(first, [model], beam)]

    def _pairs_alone(self) -> Iterator[Pair]:
        """A student and the baseline of its seed, the tuned teacher and the teacher."""
        pruned = set(self._pruned_rows())
        for model in self.alone.values():
            base = self.row(TEACHER if model.row == TUNED_TEACHER else BASELINE, model.seed)
            if base is not None and model.row not in {TEACHER, base.row, *pruned}:
                yield base, model

    def _pairs_of_pruned(self) -> Iterator[Pair]:
        """A pruned model, and the teacher and the same model with all its weights."""
        for name in self._pruned_rows():
            for first in (self.row(TEACHER, self.study.seed), self.unpruned()):
                pruned = self.row(name, self.study.seed)
                if first is not None and pruned is not None and pruned is not first:
                    yield first, pruned

    def unpruned(self) -> Measured | None:
        """What pruned models are compared with: the whole one trained on likewise, where there is such a row."""
        if self.study.pruning is None:
            return None
        names = (pruned_row(0.0), self.study.pruning.row)
        rows = (self.row(name, self.study.seed) for name in names)
        return next((row for row in rows if row is not None), None)

    def _pairs_of_members(self) -> Iterator[Pair]:
        """A family's member, and the same network alone and in the family that differs by its targets only."""
        for member in self.members:
            names = ("seq-kd", BASELINE, "word-kd") if self.learns_gold(member) else ("seq-kd",)
            firsts = [self.same_shape(name, member) for name in names]
            twin = self._on_gold(member)
            yield from ((first, member) for first in (*firsts, twin) if first is not None)

    def _pruned_rows(self) -> list[str]:
        return [pruned_row(sparsity) for sparsity in self.study.pruning.sparsities] if self.study.pruning else []

    def learns_gold(self, member: Measured) -> bool:
        return str(member.of_model("targets")) == GOLD

    def _on_gold(self, member: Measured) -> Measured | None:
        """The same member, seed and settings in a family that learns gold."""

        def settings(family: str) -> Row:
            return {key: value for key, value in self.study.families[family].items() if key != "targets"}

        if self.learns_gold(member):
            return None
        own = settings(self._families[member.row])
        twins = (
            other
            for other in self.members
            if (other.model, other.seed) == (member.model, member.seed)
            and self.learns_gold(other)
            and settings(self._families[other.row]) == own
        )
        return next(twins, None)

    def same_shape(self, name: str, member: Measured) -> Measured | None:
        """A student row of the member's seed, in the study's depth or in one of `depths`, if it is the same network."""
        shape = ("architecture", "model", "parameters")
        rows = [self.row(each, member.seed) for each in (name, f"{name}-{member.model}")]
        alike = (row for row in rows if row and all(row.of_model(key) == member.of_model(key) for key in shape))
        return next(alike, None)

    def planned_alone(self, member: Measured) -> str | None:
        """The row that trains the member's network alone on the teacher's translations; None where there is none."""
        student = student_of(self.study)
        if student.architecture != member.of_model("architecture"):
            return None
        if str(student.teacher) == member.model:
            return row_id(self.study, "seq-kd", member.seed)
        in_depth = member.model in self.study.depths and member.seed == self.study.seed
        return f"seq-kd-{member.model}" if in_depth else None

    # --- speed and size ---

    def greedy_speeds(self) -> list[Row]:
        """Of each student, engine and batch size: how many times as fast it is greedily as the teacher with beam 5.

        `times` has the median, the lowest and the highest of the rounds, in each of which both were timed in turn.
        """
        rows = [row for row in self.speed.get("rows", []) if row["student"] != TEACHER and row["beam"] == GREEDY]
        return [{**row, "row": row_of(row["student"]), "times": row["speed_to_teacher_same_engine"]} for row in rows]

    def pruning(self) -> list[Row]:
        """Of the model that is pruned and of each pruned one: bytes of its weights on disk.

        `dense` is the run's own file in float32, `float32` and `int8` the sparse forms of it.
        """
        settings = self.study.pruning
        if settings is None:
            return []
        rows = []
        named = [(settings.row, 0.0), *((pruned_row(sparsity), sparsity) for sparsity in settings.sparsities)]
        for row, sparsity in named:
            forms = {"dense": row, **{values: sparse_step(row, values) for values in SPARSE_VALUES}}
            found = {form: self._bytes(name) for form, name in forms.items() if name in self._folders}
            if found:
                rows.append({"row": row, "sparsity": sparsity, "bytes": found})
        return rows

    def _bytes(self, step: str) -> int:
        """Of a run's family, or of a model's folder."""
        folder = self._folders[step]
        return weights_path(folder / "family" if (folder / "family").is_dir() else folder).stat().st_size
