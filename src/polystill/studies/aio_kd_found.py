"""All that an AIO-KD study has measured so far, as its claims, tables and plots read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from polystill.models.folder import weights_path
from polystill.reporting.interaction import likeness
from polystill.runs import Run
from polystill.students import Student
from polystill.studies.aio_kd import FAMILY, FROM_SCRATCH, PRETRAINED, teacher_of
from polystill.studies.measured import Bootstrap, Measured, Row, measured
from polystill.studies.recipe import BEAM, BEAMS, AioKd, row_id
from polystill.studies.steps import Step

WAYS = ("family", "alone", "word-kd")
_COSTS = ("seconds", "cpu_seconds", "target_tokens", "flops")


class Found:
    """What is finished of a study's steps."""

    def __init__(self, study: AioKd, folder: Path, steps: Sequence[Step], bootstrap: Bootstrap) -> None:
        self.study, self.bootstrap = study, bootstrap
        self.teacher = str(teacher_of(study))
        self.models = {(model.row, model.model): model for model in measured(folder, steps)}
        finished = [step for step in steps if step.recipe is not None and step.is_written(folder)]
        self.runs = {step.name: Run.open(folder / step.out) for step in finished}
        self.families = [name for name, run in self.runs.items() if run.recipe.method == "aio_kd"]

    def members(self, row: str) -> list[Measured]:
        return [model for (name, _), model in self.models.items() if name == row]

    def get(self, row: str, model: str, seed: int | None = None) -> Measured | None:
        row = row if seed is None else row_id(self.study, row, seed)
        return self.models.get((row, model))

    def seeds(self) -> list[int]:
        return [self.study.seed, *self.study.more_seeds]

    def mean(self, row: str, beam: int, only: Sequence[str] | None = None) -> float | None:
        """BLEU over all members of a family, or over some."""
        values = [model.get("bleu", beam) for model in self.members(row) if only is None or model.model in only]
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    # --- against the family as published ---

    def published(self, row: str) -> str:
        """The row of the family as published that was trained with the same seed."""
        return row_id(self.study, FAMILY, self.runs[row].recipe.seed)

    def shared(self, row: str) -> list[str]:
        """The members that a family has in common with the one as published."""
        return [model.model for model in self.members(row) if (self.published(row), model.model) in self.models]

    def against_published(self, row: str, beam: int) -> dict[str, Row] | None:
        """What a family has over the one as published, by shared member and as `mean` (`compare_families`)."""
        if row == self.published(row):
            return None
        return self.bootstrap.of_families(self.members(self.published(row)), self.members(row), beam)

    def summary(self, row: str) -> Row:
        """Of a family: members, cost, and by beam mean, worst and teacher's BLEU, and against the one as published."""
        members, run = self.members(row), self.runs[row]
        result: Row = {"row": row, "seed": run.recipe.seed, "members": [model.model for model in members]}
        result["students_per_step"] = getattr(run.recipe.objective, "students_per_step", 0)
        result["cost"] = cost([run])
        shared = self.shared(row)
        for beam in BEAMS:
            scores = {model.model: model.bleu(beam) for model in members if beam in model.by_beam}
            if scores:
                against = self.against_published(row, beam)
                result[f"beam {beam}"] = {
                    "mean": fmean(scores.values()),
                    "worst": min(scores.values()),
                    **({"teacher": scores[self.teacher]} if self.teacher in scores else {}),
                    **({"mean_of_shared": self.mean(row, beam, shared)} if shared else {}),
                    "each": scores,
                    **({"against_published": against} if against else {}),
                }
        return result

    def slimmest(self, row: str) -> Measured | None:
        """The member with the deepest encoder and, among those, the shallowest decoder: the shape that ships."""
        shapes = {Student.parse(model.model): model for model in self.members(row)}
        slim = max(shapes, key=lambda student: (student.encoder_layers, -student.decoder_layers), default=None)
        return None if slim is None else shapes[slim]

    # --- the rest ---

    def likeness(self, row: str) -> Row:
        members = [model for model in self.members(row) if BEAM in model.by_beam]
        if not members:
            return {}
        language = self.runs[row].recipe.data.target_language
        return likeness({model.model: model.translations(BEAM) for model in members}, self.teacher, language)

    def significance(self) -> list[Row]:
        """Each member of the family against the same network alone, and by Word-KD alone."""
        rows: list[Row] = []
        for seed in self.seeds():
            for student in self.study.alone.students if self.study.alone else ():
                member = self.get(FAMILY, student, seed)
                for way in ("alone", "word-kd"):
                    single = self.get(f"{way}-{student}", student, seed)
                    if member is not None and single is not None:
                        for beam in BEAMS:
                            rows += self.bootstrap.against(single, [member], beam)
        return rows

    def cost_of_ways(self) -> dict[str, Row]:
        """What the students of `alone` cost: as a family, each alone, or the teacher alone and the others by Word-KD.

        Ways whose training left no cost on record are left out.
        """
        if self.study.alone is None:
            return {}
        students = self.study.alone.students
        rows = {
            "family": [FAMILY],
            "alone": [f"alone-{student}" for student in students],
            "word-kd": [
                f"alone-{self.teacher}",
                *(f"word-kd-{student}" for student in students if student != self.teacher),
            ],
        }
        counted = {name for name, run in self.runs.items() if cost([run])["flops"]}
        done = {way: names for way, names in rows.items() if counted.issuperset(names)}
        return {way: cost([self.runs[name] for name in names]) for way, names in done.items()}

    def learning_curves(self) -> dict[str, Row]:
        """Greedy validation BLEU of every candidate over updates, where the stages select by it.

        `usable_at` is the BLEU from which a student counts as usable.
        """
        settings = self.study.pretrained
        histories = {name: _history(self.runs[name]) for name in (PRETRAINED, FROM_SCRATCH) if name in self.runs}
        best = max((point["bleu"][self.teacher] for points in histories.values() for point in points), default=None)
        if settings is None or best is None:
            return {}
        curves = {}
        limit = settings.usable * best
        for name, points in histories.items():
            if points:
                curve: Row = {"usable_at": limit, "updates": [point["update"] for point in points]}
                names = points[0]["bleu"]
                curve["bleu"] = {student: [round(point["bleu"][student], 3) for point in points] for student in names}
                usable = [point["update"] for point in points if min(point["bleu"].values()) >= limit > 0]
                curves[name] = curve | ({"all_usable_after": usable[0]} if usable else {})
        return curves


def _history(run: Run) -> list[Row]:
    """The validations of all stages that have BLEU, counted through."""
    points: list[Row] = []
    before = 0
    for stage in run.recipe.stages:
        record = run.record(f"training.{stage.name}") or {"history": [], "updates": 0}
        points += [{**point, "update": before + point["update"]} for point in record["history"] if "bleu" in point]
        before += record["updates"]
    return points


def cost(runs: Sequence[Run]) -> Row:
    """Of the training stages of several runs; `peak_rss_bytes` is the largest, `bytes_kept` those of the weights."""
    spent = [run.results()["cost"] for run in runs]
    stages = [stage for each in spent for name, stage in each.items() if name.startswith("training.")]
    total: Row = {key: sum(stage.get(key, 0) for stage in stages) for key in _COSTS}
    total["peak_rss_bytes"] = max((stage.get("peak_rss_bytes", 0) for stage in stages), default=0)
    total["bytes_kept"] = sum(weights_path(run.family).stat().st_size for run in runs)
    return {"runs": len(runs), **total}
