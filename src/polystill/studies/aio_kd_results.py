"""What an AIO-KD study has come to: tables, the data of its plots, and the paper's claims one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from polystill.models.folder import weights_path
from polystill.runs import Run
from polystill.storage import write_atomic
from polystill.studies.aio_kd import FAMILY, FROM_SCRATCH, PRETRAINED, STRATEGIES, teacher_of
from polystill.studies.claims import Claim, claims_table, markdown, shown
from polystill.studies.interaction import interaction, likeness
from polystill.studies.measured import SIGNIFICANT, Bootstrap, Measured, Row, measured, write_results
from polystill.studies.recipe import BEAMS, AioKd, row_id
from polystill.studies.steps import Step

GREEDY, BEAM = BEAMS
SUFFERS = 0.3
"""Mean BLEU that a family may lose to a wider space and still count as unharmed."""
COSTS = ("seconds", "cpu_seconds", "target_tokens", "flops")


def write(study: AioKd, folder: Path, steps: Sequence[Step], *, bootstrap: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Without `bootstrap` only differences that were tested before say how sure they are, and outputs are not compared.
    """
    found = _Found(study, folder, steps, Bootstrap(folder, bootstrap))
    claims = [*_one_by_one(found), *_strategies(found), *_students_a_step(found), *_spaces(found), *_pretrained(found)]
    content = {
        "claims": [claim.record() for claim in claims],
        "families": [found.summary(name) for name in found.families],
        "one_by_one": found.significance(),
        "cost_of_ways": _ways(found),
        "interaction": {name: interaction(found.runs[name], found.teacher) for name in found.families},
        **({"likeness": {name: found.likeness(name) for name in found.families}} if bootstrap else {}),
        "pretrained": _learning_curves(found),
    }
    write_results(folder, "aio-kd", study.name, steps, content)
    write_atomic(folder / "results.md", _markdown(found, content, claims))
    return claims


class _Found:
    """All that is measured so far."""

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

    def shared(self, row: str) -> list[str]:
        """The members that a family has in common with the one as published."""
        return [model.model for model in self.members(row) if (FAMILY, model.model) in self.models]

    def summary(self, row: str) -> Row:
        """Of a family: members, and mean, worst and teacher's BLEU by beam."""
        members = self.members(row)
        result: Row = {"row": row, "seed": self.runs[row].recipe.seed, "members": [model.model for model in members]}
        for beam in (GREEDY, BEAM):
            scores = {model.model: model.bleu(beam) for model in members if beam in model.by_beam}
            if scores:
                result[f"beam {beam}"] = {
                    "mean": fmean(scores.values()),
                    "worst": min(scores.values()),
                    **({"teacher": scores[self.teacher]} if self.teacher in scores else {}),
                    "each": scores,
                }
        return result

    def likeness(self, row: str) -> Row:
        return likeness(self.members(row), self.teacher, BEAM)

    def significance(self) -> list[Row]:
        """Each member of the family against the same network alone, and by Word-KD alone."""
        rows: list[Row] = []
        for seed in self.seeds():
            for student in self.study.alone.students if self.study.alone else ():
                member = self.get(FAMILY, student, seed)
                for way in ("alone", "word-kd"):
                    single = self.get(f"{way}-{student}", student, seed)
                    if member is not None and single is not None:
                        for beam in (GREEDY, BEAM):
                            rows += self.bootstrap.against(single, [member], beam)
        return rows


# --- claims -----------------------------------------------------------------------------------------------------------


def _one_by_one(found: _Found) -> list[Claim]:
    """Claims 1: members are as good as students distilled one by one, for less."""
    if found.study.alone is None:
        return []
    claims = []
    for seed in found.seeds():
        for student in found.study.alone.students:
            for way in ("alone", "word-kd"):
                claims += _against(found, student, way, seed)
    ways = _ways(found)
    text = "One family costs less than its students one by one"
    if len(ways) < 3:
        missing = [way for way in ("family", "alone", "word-kd") if way not in ways]
        return [*claims, Claim(text, "–", None, {}, missing)]
    ours = {f"CPU hours {way}": ways[way]["cpu_seconds"] / 3600 for way in ways}
    return [*claims, Claim(text, "–", ours["CPU hours family"] < ours["CPU hours word-kd"], ours, [])]


def _against(found: _Found, student: str, way: str, seed: int) -> list[Claim]:
    member, single = found.get(FAMILY, student, seed), found.get(f"{way}-{student}", student, seed)
    told = {"alone": "trained alone", "word-kd": "distilled alone"}[way]
    text = f"{student} of the family is as good as {student} {told} (beam 5)"
    if seed != found.study.seed:
        text += f" (seed {seed})"
    names = (FAMILY, f"{way}-{student}")
    missing = [row_id(found.study, name, seed) for name, m in zip(names, (member, single), strict=True) if m is None]
    if member is None or single is None:
        return [] if seed != found.study.seed else [Claim(text, "as good or better", None, {}, missing)]
    p_value = found.bootstrap.p_value(single, member, BEAM)
    ours = {told: single.bleu(BEAM), "member": member.bleu(BEAM)} | ({} if p_value is None else {"p": p_value})
    luck = p_value is not None and p_value >= SIGNIFICANT
    return [Claim(text, "as good or better", member.bleu(BEAM) >= single.bleu(BEAM) or luck, ours, [])]


def _strategies(found: _Found) -> list[Claim]:
    """Claims 2: the family as published has a higher mean BLEU than without each strategy."""
    wanted = list(STRATEGIES) if found.study.strategies is None else found.study.strategies
    claims = []
    for name in wanted:
        claims.append(_mean_claim(found, f"As published is better than {name}: {STRATEGIES[name]}", name, _greater))
    return claims


def _students_a_step(found: _Found) -> list[Claim]:
    """Point 3: more students a step."""
    return [
        _mean_claim(found, f"As published is better than {count} students a step", f"students-{count}", _greater)
        for count in found.study.students_per_step
    ]


def _greater(published: float, other: float) -> bool:
    return published > other


def _spaces(found: _Found) -> list[Claim]:
    """Point 4: a wider space does not harm the members that both have."""
    return [
        _mean_claim(
            found,
            f"The space {name} harms the others by less than {SUFFERS} BLEU",
            f"space-{name}",
            lambda published, other: published - other < SUFFERS,
        )
        for name in found.study.spaces
    ]


def _mean_claim(found: _Found, text: str, row: str, judge: Any) -> Claim:
    """About mean BLEU with beam 5 over the members that the family as published and another one have in common."""
    shared = found.shared(row)
    published, other = (found.mean(name, BEAM, shared) for name in (FAMILY, row))
    if published is None or other is None:
        return Claim(text, "–", None, {}, [name for name in (FAMILY, row) if not found.members(name)])
    ours = {"members": len(shared), "published": published, row: other, "difference": published - other}
    return Claim(text, "–", bool(judge(published, other)), ours, [])


def _pretrained(found: _Found) -> list[Claim]:
    """Point 6: a family from a trained teacher needs few updates."""
    if found.study.pretrained is None:
        return []
    curves = _learning_curves(found)
    text = "All students of a trained teacher are usable after fewer updates than from nothing"
    missing = [name for name in (PRETRAINED, FROM_SCRATCH) if name not in curves]
    if missing:
        return [Claim(text, "–", None, {}, missing)]
    ours = {f"updates {name}": curves[name].get("all_usable_after", "not within it") for name in curves}
    first, second = (curves[name].get("all_usable_after") for name in (PRETRAINED, FROM_SCRATCH))
    return [Claim(text, "–", first is not None and (second is None or first < second), ours, [])]


def _learning_curves(found: _Found) -> dict[str, Row]:
    """Greedy validation BLEU of every candidate over updates, where the stages select by it."""
    settings = found.study.pretrained
    histories = {name: _history(found.runs[name]) for name in (PRETRAINED, FROM_SCRATCH) if name in found.runs}
    best = max((point["bleu"][found.teacher] for points in histories.values() for point in points), default=None)
    if settings is None or best is None:
        return {}
    curves = {}
    for name, points in histories.items():
        curve: Row = {"updates": [point["update"] for point in points]}
        curve["bleu"] = {
            student: [round(point["bleu"][student], 3) for point in points] for student in points[0]["bleu"]
        }
        usable = [point["update"] for point in points if min(point["bleu"].values()) >= settings.usable * best > 0]
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


# --- cost -------------------------------------------------------------------------------------------------------------


def _ways(found: _Found) -> dict[str, Row]:
    """What it costs to get the students of `alone`: as a family, each alone, or by Word-KD with the teacher for it."""
    if found.study.alone is None:
        return {}
    students = found.study.alone.students
    rows = {
        "family": [FAMILY],
        "alone": [f"alone-{student}" for student in students],
        "word-kd": [f"alone-{found.teacher}", *(f"word-kd-{student}" for student in students)],
    }
    return {
        way: _cost([found.runs[name] for name in names]) for way, names in rows.items() if set(names) <= set(found.runs)
    }


def _cost(runs: Sequence[Run]) -> Row:
    """Of the training stages of several runs; `peak_rss_bytes` is the largest, `bytes_kept` those of the weights."""
    stages = [cost for run in runs for name, cost in run.results()["cost"].items() if name.startswith("training.")]
    total: Row = {key: sum(stage.get(key, 0) for stage in stages) for key in COSTS}
    total["peak_rss_bytes"] = max(stage.get("peak_rss_bytes", 0) for stage in stages)
    total["bytes_kept"] = sum(weights_path(run.family).stat().st_size for run in runs)
    return {"runs": len(runs), **total}


# --- tables -----------------------------------------------------------------------------------------------------------


def _markdown(found: _Found, content: dict[str, Any], claims: Sequence[Claim]) -> str:
    first = next(iter(found.models.values()), None)
    about = "Nothing is measured yet."
    if first is not None:
        about = f"{first.of_model('test_set')}; {first.of_model('engine')}, {first.of_model('precision')}"
        about += f"; BLEU {first.of_model('bleu_signature')}."
    parts = [f"# AIO-KD: {found.study.name}", about]
    if found.study.alone is not None:
        parts += ["## Against one by one", _one_by_one_table(found), "## Cost", _cost_table(content["cost_of_ways"])]
    parts += ["## Families", _family_table(found, content["families"])]
    parts += [
        "## Detaching",
        "Share of a student's draws that kept its gradient from the teacher.",
        _detaching(content),
    ]
    parts += ["## Claims", claims_table(claims)]
    return "\n\n".join(parts) + "\n"


def _one_by_one_table(found: _Found) -> str:
    assert found.study.alone is not None
    rows = []
    for seed in found.seeds():
        for student in found.study.alone.students:
            models = [found.get(f"{way}-{student}", student, seed) for way in ("alone", "word-kd")]
            models.append(found.get(FAMILY, student, seed))
            if any(models) or seed == found.study.seed:
                figures = [None if m is None else m.get(key, beam) for key, beam in _FIGURES for m in models]
                rows.append([student, str(seed), *(shown(figure) for figure in figures)])
    ways = ("alone", "Word-KD", "family")
    titles = [f"{name} {way}" for name in ("greedy", "beam 5", "chrF") for way in ways]
    return markdown(["student", "seed", *titles], rows)


_FIGURES = (("bleu", GREEDY), ("bleu", BEAM), ("chrf", BEAM))


def _cost_table(ways: dict[str, Row]) -> str:
    rows = [
        [
            *(way, str(cost["runs"]), f"{cost['seconds'] / 3600:.2f}", f"{cost['cpu_seconds'] / 3600:.2f}"),
            *(f"{cost['target_tokens']:,}", f"{cost['flops']:.3g}"),
            *(f"{cost['peak_rss_bytes'] / 1e6:.0f}", f"{cost['bytes_kept'] / 1e6:.1f}"),
        ]
        for way, cost in ways.items()
    ]
    return markdown(["way", "runs", "hours", "CPU hours", "target tokens", "FLOPs", "peak MB", "weights MB"], rows)


def _family_table(found: _Found, families: Sequence[Row]) -> str:
    rows = []
    for family in families:
        cells = [family["row"], str(family["seed"]), str(len(family["members"]))]
        for beam in (GREEDY, BEAM):
            scores = family.get(f"beam {beam}", {})
            cells += [shown(scores.get(key)) for key in ("mean", "worst", "teacher")]
        published, own = (found.mean(name, BEAM, found.shared(family["row"])) for name in (FAMILY, family["row"]))
        differs = family["row"] != FAMILY and published is not None and own is not None
        rows.append([*cells, f"{(own or 0) - (published or 0):+.2f}" if differs else ""])
    titles = [f"{search} {key}" for search in ("greedy", "beam 5") for key in ("mean", "worst", "teacher")]
    return markdown(["family", "seed", "members", *titles, "Δ mean, shared members"], rows)


def _detaching(content: dict[str, Any]) -> str:
    rows = []
    for name, stages in content["interaction"].items():
        for stage, values in stages.items():
            shares = values.get("detached", {})
            text = ", ".join(f"{student} {share:.0%}" for student, share in shares.items())
            rows.append([f"{name}, {stage}", shown(float(values["threshold"])), text])
    return markdown(["family, stage", "threshold", "students"], rows)
