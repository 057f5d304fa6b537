"""Results of an AIO-KD study: results.json, tables, and its claims one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from statistics import fmean

from experiments.aio_kd import (
    ALONE,
    FAMILY,
    FROM_SCRATCH,
    OUT_OF_REACH,
    PRETRAINED,
    SELECTIVE_KD,
    SPACE,
    STRATEGY,
    WORD_KD,
    AioKd,
    called,
    space_of,
    teacher_of,
)
from experiments.aio_kd_paper import cost_times, gain
from experiments.claims import NOT_CLEAR, Claim, Values, Verdict, as_good, better, judged
from experiments.costs import (
    ABOUT,
    FIGURES,
    HEADINGS,
    TEACHER,
    Cost,
    about_estimates,
    enough,
    estimate,
    flops_of_updates,
    summed,
    table_lines,
)
from experiments.finished import Finished, markdown, mean_over_seeds, shown
from experiments.forest import write_forest
from experiments.measured import Measured
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.evaluation.figures import TITLES, search
from polystill.objectives.aio_kd import AioKd as FamilyObjective
from polystill.reporting.training import Interaction, interaction
from polystill.students import Student

WAYS = {
    ALONE: "trained alone",
    WORD_KD: "taught alone by Word-KD",
    SELECTIVE_KD: "taught alone by Selective-KD",
}
"""How one student is trained by itself."""


def write(study: AioKd, folder: Path, rows: Sequence[Row], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Comparisons are computed and drawn at the end (`final`). Until then only those have results that had them before.
    """
    done = Done(study, folder, rows, final=final)
    claims = claims_of(done)
    content: Values = {
        "families": [done.summary(row) for row in done.families],
        "cost_of_ways": done.cost_of_ways(),
        "cost_of_all": done.cost_of_all,
        "interaction": {
            name: {stage: _interaction(counts) for stage, counts in interaction(done.runs[name]).items()}
            for name in (row.name for row in done.families)
        },
        "pretrained": done.learning_curves(),
    }
    plot = write_forest(done.compared.values(), folder) if final else ""
    done.write("aio-kd", content, claims, [*_tables(done, content), *([plot] if plot else [])])
    return claims


class Done(Finished[AioKd]):
    """The finished rows, family by family."""

    def __init__(self, study: AioKd, folder: Path, rows: Sequence[Row], *, final: bool) -> None:
        super().__init__(study, folder, rows, final=final)
        self.teacher = str(teacher_of(study))
        self.families = [self.rows[name] for name in self.runs if self.rows[name].kind not in WAYS]
        self.students = study.alone.students if study.alone else []
        self.ways = {kind: way for kind, way in WAYS.items() if kind in {row.kind for row in rows}}
        self.beside = [FAMILY, *(study.alone.families if study.alone else [])]
        """The families that are compared with students alone."""

    def shared(self, *labels: str) -> list[str]:
        """The members that all trainings of these families have in common."""
        first, *others = (self.models[name] for label in labels for name in self.seeds(label))
        return [name for name in first if all(name in models for models in others)]

    def summary(self, row: Row) -> Values:
        """Members, cost, and by beam the mean, worst and teacher's BLEU, and the mean chrF."""
        members, objective = self.members(row.name), self.runs[row.name].recipe.objective
        assert isinstance(objective, FamilyObjective)
        result: Values = {"row": row.name, "kind": row.kind, "seed": row.seed}
        result["members"] = [member.model for member in members]
        result["students_per_step"] = objective.students_per_step
        result["cost"] = self.cost([row.name])
        for beam in BEAMS if members else ():
            scores = {member.model: member.bleu(beam) for member in members}
            chrf = [score for member in members if (score := member.by_beam[beam].chrf) is not None]
            result[f"beam {beam}"] = {
                "mean": fmean(scores.values()),
                "worst": min(scores.values()),
                **({"teacher": scores[self.teacher]} if self.teacher in scores else {}),
                **({"mean_chrf": fmean(chrf)} if len(chrf) == len(members) else {}),
                "each": scores,
            }
        return result

    def cost(self, rows: Sequence[str]) -> Values:
        """Of training; `peak_rss_bytes` is the largest, `bytes_kept` those of the weights."""
        costs = [item for name in rows for item in self.results[name].cost.items()]
        stages = [cost for stage, cost in costs if stage.startswith("training.")]
        keys = ("seconds", "cpu_seconds", "target_tokens", "flops")
        return {
            "runs": len(rows),
            **{key: sum(getattr(stage, key) or 0 for stage in stages) for key in keys},
            "peak_rss_bytes": max((stage.peak_rss_bytes or 0 for stage in stages), default=0),
            "bytes_kept": sum(map(self.bytes_of_weights, rows)),
        }

    def cost_of_ways(self) -> dict[str, Values]:
        """The cost of the students of `alone`: as a family, each alone, or taught by the teacher alone.

        Ways whose training left no cost on record are left out.
        """
        ways = self.rows_of_ways if self.students else {}
        return {way: self.cost(names) for way, names in ways.items() if self.counted.issuperset(names)}

    @property
    def rows_of_ways(self) -> dict[str, list[str]]:
        """By way, the rows that train the students of `alone`."""
        ways = {FAMILY: [FAMILY], ALONE: [f"{ALONE}-{student}" for student in self.students]}
        for kind in list(self.ways)[1:]:
            taught = [f"{kind}-{student}" for student in self.students if student != self.teacher]
            ways[kind] = [f"{ALONE}-{self.teacher}", *taught]
        return ways

    @cached_property
    def counted(self) -> set[str]:
        """The rows whose training left its cost on record."""
        return {name for name in self.runs if self.cost([name])["flops"]}

    @cached_property
    def cost_of_all(self) -> dict[str, Values]:
        """By way, what all students of the family cost together, those that were not trained one by one by estimate.

        A way of which too few students are trained for an estimate is left out.
        """
        if not self.students or FAMILY not in self.counted:
            return {}
        ways = {label: self._family_cost(label) for label in self.beside if label in self.counted}
        family = ways[FAMILY]["all"]
        if (alone := f"{ALONE}-{self.teacher}") in self.counted:
            ways[TEACHER] = {"all": summed([self.cost([alone])]), "machines": self._machines([alone])}
        ways |= {kind: cost for kind in self.ways if (cost := self._cost_one_by_one(kind)) is not None}
        for way, values in ways.items():
            if way == TEACHER or values["all"]["students"] == family["students"]:
                values["times_family"] = {f: values["all"][f] / family[f] for f in FIGURES if family[f]}
        return ways

    def _family_cost(self, label: str) -> Values:
        students = len(space_of(self.rows[label]).candidates)
        return {"all": {**summed([self.cost([label])]), "students": students}, "machines": self._machines([label])}

    def _cost_one_by_one(self, kind: str) -> Values | None:
        """None where a row is missing, or too few students were trained for an estimate of the others."""
        labels = {student: f"{kind}-{student}" for student in self.students}
        trained: dict[str, Cost] = {s: self.cost([label]) for s, label in labels.items() if label in self.counted}
        mine = {**labels, self.teacher: f"{ALONE}-{self.teacher}"}  # nobody teaches the teacher
        if not self.counted.issuperset(mine.values()):
            return None
        spent = summed([self.cost([label]) for label in mine.values()])
        values: Values = {"all": spent, "machines": self._machines(list(mine.values()))}
        updates = flops_of_updates(self.runs[FAMILY], taught=kind != ALONE)
        flops = {student: cost["flops"] for student, cost in trained.items()}
        if len(mine) < len(space_of(self.rows[FAMILY]).candidates):
            if not updates or not enough(trained, updates):
                return None
            others, off = estimate(trained, updates)
            flops |= {student: cost["flops"] for student, cost in others.items()}
            guessed = summed([cost for student, cost in others.items() if student not in mine])
            both = {key: spent[key] + guessed[key] for key in spent}
            values |= {"all": both, "trained": spent, "estimated": guessed, "estimate_off_by": off}
        if updates and kind != ALONE:
            alone = flops_of_updates(self.runs[FAMILY], taught=False)
            taught = [student for student in flops if student != self.teacher]
            values["teacher_flops"] = sum(flops[each] * (1 - alone[each] / updates[each]) for each in taught)
        return values

    def _machines(self, rows: Sequence[str]) -> list[str]:
        """On which these rows were measured."""
        return sorted({row.hardware for name in rows for row in self.results[name].rows if row.hardware})

    def learning_curves(self) -> dict[str, Values]:
        """Greedy validation BLEU of every candidate over updates, where the stages select by it.

        `usable_at` is the BLEU from which a student counts as usable.
        """
        settings = self.study.pretrained
        histories = {name: self._history(name) for name in (PRETRAINED, FROM_SCRATCH) if name in self.runs}
        best = max((point["bleu"][self.teacher] for points in histories.values() for point in points), default=None)
        if settings is None or best is None:
            return {}
        return {name: _curve(points, settings.usable * best) for name, points in histories.items() if points}

    def _history(self, name: str) -> list[Values]:
        """The validations of all stages that have BLEU, counted through."""
        points: list[Values] = []
        before = 0
        for stage in self.runs[name].recipe.stages:
            record = self.runs[name].record(f"training.{stage.name}") or {"history": [], "updates": 0}
            points += [{**point, "update": before + point["update"]} for point in record["history"] if "bleu" in point]
            before += record["updates"]
        return points


def _curve(points: Sequence[Values], limit: float) -> Values:
    bleu = {student: [round(point["bleu"][student], 3) for point in points] for student in points[0]["bleu"]}
    usable = [point["update"] for point in points if min(point["bleu"].values()) >= limit > 0]
    curve = {"usable_at": limit, "updates": [point["update"] for point in points], "bleu": bleu}
    return curve | ({"all_usable_after": usable[0]} if usable else {})


def _interaction(stage: Interaction) -> Values:
    """One stage for JSON: `draws` and the share that was `detached`, counts of both in `bins`, and `ce_ratio`."""
    draws = {student: sum(counts) for student, counts in stage.draws.items()}
    detached = {student: round(sum(counts) / draws[student], 4) for student, counts in stage.detached.items()}
    bins = {"until": stage.until, "draws": stage.draws, "detached": stage.detached}
    values: Values = {"length": stage.length, "updates": stage.updates, "ce_ratio": stage.ce_ratio}
    values |= {"detached": detached, "draws": draws, "bins": bins} if draws else {}
    return values if stage.threshold is None else {"threshold": stage.threshold, **values}


# --- claims -----------------------------------------------------------------------------------------------------------


def claims_of(done: Done) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    claims = [*_one_by_one(done), *_teachers_gain(done), *_cost(done)] if done.students else []
    claims += _between_families(done)
    return [*claims, *_pretrained(done)] if done.study.pretrained else claims


def _one_by_one(done: Done) -> Iterator[Claim]:
    """Members are as good as students distilled one by one: each, and on average."""

    def judge(labels: Sequence[str], family: str, members: Sequence[str], beam: int) -> Verdict | None:
        compared = done.compare(labels[0] if len(labels) == 1 else labels, family, beam, members)
        return judged(compared, as_good)

    for (kind, way), family in product(done.ways.items(), done.beside):
        for students in dict.fromkeys([*((student,) for student in done.students), tuple(done.students)]):
            labels = [f"{kind}-{student}" for student in students]
            who = f"{', '.join(students)} of {called(done.study, family)}"
            like = (
                "is as good as the same network"
                if len(students) == 1
                else "are on average as good as the same networks"
            )
            for beam in BEAMS:
                decide = partial(judge, labels, family, students, beam)
                paper = gain(kind, FAMILY, students) if beam == BEAM and _teaches(done, family) else "–"
                yield from done.claim(f"{who} {like} {way} ({search(beam)})", paper, [*labels, family], decide)


def _teaches(done: Done, family: str) -> bool:
    """Whether a family is one as the paper has them."""
    objective = done.rows[family].parsed.objective
    return isinstance(objective, FamilyObjective) and objective.kd_weight > 0


def _teachers_gain(done: Done) -> Iterator[Claim]:
    """The teacher learns from its students, too."""
    alone = f"{ALONE}-{done.teacher}"

    def judge(family: str, beam: int) -> Verdict | None:
        return judged(done.compare(alone, family, beam, [done.teacher]), better)

    for family, beam in product(done.beside, BEAMS):
        text = (
            f"The teacher {done.teacher} of {called(done.study, family)} is better than trained alone ({search(beam)})"
        )
        paper = gain(ALONE, FAMILY, [done.teacher]) if beam == BEAM and _teaches(done, family) else "–"
        yield from done.claim(text, paper, [alone, family], partial(judge, family, beam))


def _cost(done: Done) -> Iterator[Claim]:
    """One family for less than students distilled one by one."""
    ways, every = done.cost_of_ways(), done.cost_of_all
    number = len(space_of(done.rows[FAMILY]).candidates)
    text = f"Training the family of {number} students takes fewer FLOPs than"
    some = (
        f"{text} training {', '.join(done.students)} one by one, {done.teacher} alone and the others by Word-KD from it"
    )
    needed = [row for way in (FAMILY, WORD_KD) for row in done.rows_of_ways[way]]
    if missing := [row for row in needed if row not in done.counted]:
        yield Claim(some, "–", None, {}, missing)
    else:
        ours = {f"FLOPs {way}": f"{ways[way]['flops']:.3g}" for way in ways}
        yield Claim(some, "–", ways[FAMILY]["flops"] < ways[WORD_KD]["flops"], ours)
    if number == len(done.students):
        return
    paper = f"GPU hours: {cost_times(WORD_KD, 'hours')} times"
    times = every.get(WORD_KD, {}).get("times_family", {})
    names = {"flops": "FLOPs", "cpu_seconds": "CPU time"}
    ours = {f"{name}, times the family's": times[key] for key, name in names.items() if key in times}
    holds = times["flops"] > 1 if times else None
    rest = f"{number - len(done.students)} of them estimated"
    why = "" if times or missing else "too few students are trained one by one for an estimate"
    yield Claim(f"{text} training all of them one by one by Word-KD, {rest}", paper, holds, ours, missing, why)


def _between_families(done: Done) -> Iterator[Claim]:
    """Each family beside the one that it is a change of, by the mean over the members that both have."""

    def judge(row: Row, base: str, beam: int) -> Verdict | None:
        if not (members := done.shared(base, row.label)):
            return None, {}, "no member in common"
        first, second = (row.label, base) if row.shows in ("worse", "no better") else (base, row.label)
        compared = done.compare(first, second, beam, members)
        return judged(compared, better if row.shows in ("worse", "better") else as_good, members=len(members))

    rows: dict[str, Row] = {}
    for row in (row for row in done.rows.values() if row.claim):
        rows.setdefault(row.label, row)
    for row in rows.values():
        base = row.against[0] if row.against else FAMILY
        for beam in BEAMS:
            text = f"{row.claim} ({search(beam)})"
            paper = gain(row.label, FAMILY) if row.kind == STRATEGY and beam == BEAM else "–"
            yield from done.claim(text, paper, [base, row.label], partial(judge, row, base, beam))


def _pretrained(done: Done) -> Iterator[Claim]:
    """A family from a trained teacher needs few updates."""
    curves, settings = done.learning_curves(), done.study.pretrained
    assert settings is not None
    text = (
        f"All students have {settings.usable:.0%} of the best teacher's validation BLEU after fewer updates where the "
    )
    text += "family starts from a trained teacher than where it starts from nothing"
    if missing := [name for name in (PRETRAINED, FROM_SCRATCH) if name not in curves]:
        yield Claim(text, "–", None, {}, missing)
        return
    ours = {f"updates {name}": curves[name].get("all_usable_after", "not within it") for name in curves}
    first, second = (curves[name].get("all_usable_after") for name in (PRETRAINED, FROM_SCRATCH))
    holds: bool | None = None
    ends = {name: curves[name]["updates"][-1] for name in curves}
    if first is not None and second is not None:
        holds = None if first == second else first < second
    elif first is not None and first <= ends[FROM_SCRATCH]:
        holds = True
    elif second is not None and second <= ends[PRETRAINED]:
        holds = False
    yield Claim(text, "–", holds, ours, undecided=NOT_CLEAR)


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(done: Done, content: Values) -> Iterator[str]:
    """`content` is that of results.json."""
    yield from (f"# AIO-KD: {done.study.name}", done.conditions())
    if done.students:
        yield from ("## Against one by one", _one_by_one_table(done))
        yield from ("## Cost", _cost_table(content["cost_of_ways"]))
    if content["cost_of_all"]:
        yield from ("## Cost of all students", ABOUT, markdown(HEADINGS, table_lines(content["cost_of_all"])))
        yield about_estimates(content["cost_of_all"])
    yield from ("## Families", "The cost of `pretrained` is without its teacher's.", _family_table(content["families"]))
    if done.study.spaces:
        yield from ("## Wider spaces", _space_table(done))
    yield from ("## Detaching", "Share of a student's draws whose gradient was kept from the teacher.")
    yield "The ratio is the highest that a student's cross-entropy had to the teacher's at a validation."
    yield detaching_table(content["interaction"])


def _one_by_one_table(done: Done) -> str:
    """The mean over seeds, with its standard deviation where there are several."""
    lines = []
    for student in done.students:
        columns = [done.each(f"{kind}-{student}") for kind in done.ways]
        for family in done.beside:
            members = (done.models[name].get(student) for name in done.seeds(family))
            columns.append([member for member in members if member is not None])
        cells = [
            mean_over_seeds([getattr(model.by_beam[beam], key) for model in models])
            for key, beam in _FIGURES
            for models in columns
        ]
        lines.append([student, *cells])
    names = [f"{TITLES[key]} {search(beam)}" for key, beam in _FIGURES]
    ways = [*done.ways, *done.beside]
    return markdown(["student", *(f"{name}, {way}" for name in names for way in ways)], lines)


_FIGURES = (("bleu", GREEDY), ("bleu", BEAM), ("chrf", GREEDY), ("chrf", BEAM))


def _cost_table(ways: dict[str, Values]) -> str:
    lines = [
        [
            *(way, str(cost["runs"]), f"{cost['seconds'] / 3600:.2f}", f"{cost['cpu_seconds'] / 3600:.2f}"),
            *(f"{cost['target_tokens']:,}", f"{cost['flops']:.3g}"),
            *(f"{cost['peak_rss_bytes'] / 1e6:.0f}", f"{cost['bytes_kept'] / 1e6:.1f}"),
        ]
        for way, cost in ways.items()
    ]
    return markdown(["way", "runs", "hours", "CPU hours", "target tokens", "FLOPs", "peak MB", "weights MB"], lines)


_SCORES = {"mean": "mean", "worst": "worst", "teacher": "teacher", "mean_chrf": "mean chrF"}


def _family_table(families: Sequence[Values]) -> str:
    lines = []
    for family in families:
        cells = [family["row"], str(family["seed"]), str(len(family["members"]))]
        cells += [shown(family.get(f"beam {beam}", {}).get(key)) for beam in BEAMS for key in _SCORES]
        lines.append([*cells, f"{family['cost']['cpu_seconds'] / 3600:.2f}", f"{family['cost']['flops']:.3g}"])
    titles = [f"{search(beam)} {title}" for beam in BEAMS for title in _SCORES.values()]
    return markdown(["family", "seed", "members", *titles, "CPU hours", "FLOPs"], lines)


def _space_table(done: Done) -> str:
    """The member with the deepest encoder and the shallowest decoder."""
    lines = []
    for row in (row for row in done.families if row.kind == SPACE and done.members(row.name)):
        slim = max(done.members(row.name), key=_slimness)
        lines.append([row.name, str(row.seed), slim.model, *(shown(slim.bleu(beam)) for beam in BEAMS)])
    return markdown(["space", "seed", "slimmest member", *(f"its BLEU, {search(beam)}" for beam in BEAMS)], lines)


def _slimness(member: Measured) -> tuple[int, int]:
    """Deep encoders and, among those, shallow decoders first: the shape that ships."""
    student = Student.parse(member.model)
    return student.encoder_layers, -student.decoder_layers


def detaching_table(interactions: dict[str, Values]) -> str:
    """How often gradients were kept from the teacher, beside the students' highest cross-entropy over the teacher's."""
    lines = []
    for name, stage, values in ((name, *item) for name, stages in interactions.items() for item in stages.items()):
        threshold, draws = values.get("threshold", 0), values.get("draws", {})
        limit = "out of reach" if threshold >= OUT_OF_REACH else shown(values.get("threshold"))
        by_student: dict[str, list[float]] = values.get("ce_ratio", {})
        teacher = max(by_student, key=Student.parse, default="")  # of itself it says nothing
        ratios = [max(ratio) for student, ratio in by_student.items() if ratio and student != teacher]
        cells = [str(sum(draws.values())) if draws else "", shown_shares(values.get("detached", {}))]
        lines.append([f"{name}, {stage}", limit, *cells, shown(max(ratios), 3) if ratios else ""])
    return markdown(["family, stage", "threshold", "draws", "detached", "highest ratio"], lines)


def shown_shares(detached: dict[str, float]) -> str:
    """By student where there are any, unless it is the same for all."""
    shares = set(detached.values())
    each = ", ".join(f"{student} {share:.{0 if share >= 0.1 else 2}%}" for student, share in detached.items() if share)
    return "none" if shares == {0} else "all" if shares == {1} else each
