"""Results of an AIO-KD study: results.json, tables, plots, and its claims one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

from experiments.aio_kd import (
    ALONE,
    CHANGE,
    FAMILY,
    FROM_SCRATCH,
    OUT_OF_REACH,
    PRETRAINED,
    SPACE,
    STRATEGY,
    STUDENTS,
    SUFFERS,
    WORD_KD,
    AioKd,
    teacher_of,
)
from experiments.aio_kd_plots import plots_of, shown_plots, write_plots
from experiments.measured import Finished, Measured, Values, claims_table, markdown, shown, signed
from experiments.significance import NO_CLEAR_DIFFERENCE, NOT_TESTED, Bootstrap, Claim, above, as_good
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.decoding.metrics import bleu_metric
from polystill.evaluation.figures import search
from polystill.models.folder import weights_path
from polystill.objectives.aio_kd import AioKd as FamilyObjective
from polystill.reporting.training import Interaction, interaction, share_equal
from polystill.storage import write_atomic
from polystill.students import Student

WAYS = {ALONE: "trained alone", WORD_KD: "distilled alone"}
"""How one student is trained by itself."""


def write(study: AioKd, folder: Path, rows: Sequence[Row], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    What takes long is done at the end (`final`): bootstraps, how alike outputs are, plots. Until then only differences
    that were tested before say how sure they are.
    """
    done = Done(study, folder, rows, Bootstrap(folder, final))
    claims = claims_of(done)
    content: Values = {
        "claims": [claim.record() for claim in claims],
        "families": [done.summary(row) for row in done.families],
        "one_by_one": _significance(done),
        "cost_of_ways": done.cost_of_ways(),
        "interaction": {
            name: {stage: _interaction(counts) for stage, counts in stages.items()}
            for name, stages in done.interactions.items()
        },
        **({"likeness": {row.name: _likeness(done, row) for row in done.families}} if final else {}),
        "pretrained": done.learning_curves(),
    }
    done.write("aio-kd", content)
    plots = plots_of(content, done.interactions)
    if final:
        write_plots(plots, folder)
    write_atomic(folder / "results.md", _to_markdown(done, content, claims, shown_plots(plots, folder)))
    return claims


class Done(Finished[AioKd]):
    """What is finished, family by family."""

    def __init__(self, study: AioKd, folder: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
        super().__init__(study, folder, rows, bootstrap)
        self.teacher = str(teacher_of(study))
        self.families = [self.rows[name] for name in self.runs if self.rows[name].kind not in WAYS]
        self.interactions = {row.name: interaction(self.runs[row.name]) for row in self.families}
        self.students = study.alone.students if study.alone else []

    def family(self, seed: int) -> str:
        """The row of the family as published."""
        return self.study.named(FAMILY, seed)

    def member(self, row: str, model: str) -> Measured | None:
        return self.models.get(row, {}).get(model)

    def alone(self, kind: str, student: str) -> str:
        """The label of the rows that train a student by itself."""
        return next(row.label for row in self.rows.values() if row.kind == kind and row.student == student)

    def one_by_one(self, kind: str, student: str, seed: int) -> tuple[Measured | None, Measured | None]:
        """A student trained by itself, and the same in the family."""
        names = self.study.named(self.alone(kind, student), seed), self.family(seed)
        single, member = (self.member(name, student) for name in names)
        return single, member

    def mean(self, row: str, beam: int, only: Iterable[str] | None = None) -> float | None:
        """BLEU over all members of a family, or over some."""
        members = [member for member in self.members(row) if only is None or member.model in only]
        known = [bleu for bleu in (member.bleu(beam) for member in members) if bleu is not None]
        return fmean(known) if known else None

    def shared(self, row: Row) -> list[str]:
        """The members that a family has in common with the one as published."""
        published = self.models.get(self.family(row.seed), {})
        return [member.model for member in self.members(row.name) if member.model in published]

    def against_published(self, row: Row, beam: int) -> dict[str, Values] | None:
        """What a family has over the one as published, by shared member and as `mean` (`compare_families`)."""
        if row.kind == FAMILY:
            return None
        return self.bootstrap.of_families(self.members(self.family(row.seed)), self.members(row.name), beam)

    def summary(self, row: Row) -> Values:
        """Members, cost, and by beam mean, worst and teacher's BLEU, and against the family as published."""
        members, shared = self.members(row.name), self.shared(row)
        result: Values = {"row": row.name, "kind": row.kind, "seed": row.seed}
        result["members"] = [member.model for member in members]
        objective = self.runs[row.name].recipe.objective
        assert isinstance(objective, FamilyObjective)
        result["students_per_step"] = objective.students_per_step
        result["cost"] = self.cost([row.name])
        for beam in BEAMS:
            scores = {member.model: member.by_beam[beam].bleu for member in members if beam in member.by_beam}
            if scores:
                against = self.against_published(row, beam)
                result[f"beam {beam}"] = {
                    "mean": fmean(scores.values()),
                    "worst": min(scores.values()),
                    **({"teacher": scores[self.teacher]} if self.teacher in scores else {}),
                    **({"mean_of_shared": self.mean(row.name, beam, shared)} if shared else {}),
                    "each": scores,
                    **({"against_published": against} if against else {}),
                }
        return result

    def cost(self, rows: Iterable[str]) -> Values:
        """Of training; `peak_rss_bytes` is the largest, `bytes_kept` those of the weights."""
        names = list(rows)
        results = [self.results[name] for name in names]
        stages = [cost for each in results for stage, cost in each.cost.items() if stage.startswith("training.")]
        total: Values = {"runs": len(names)}
        for key in ("seconds", "cpu_seconds", "target_tokens", "flops"):
            total[key] = sum(getattr(stage, key) or 0 for stage in stages)
        total["peak_rss_bytes"] = max((stage.peak_rss_bytes or 0 for stage in stages), default=0)
        total["bytes_kept"] = sum(weights_path(self.runs[name].family).stat().st_size for name in names)
        return total

    def cost_of_ways(self) -> dict[str, Values]:
        """What the students of `alone` cost: as a family, each alone, or the teacher alone and the others by Word-KD.

        Ways whose training left no cost on record are left out.
        """
        if not self.students:
            return {}
        others = [student for student in self.students if student != self.teacher]
        alone = [self.alone(ALONE, student) for student in self.students]
        taught = [self.alone(ALONE, self.teacher), *(self.alone(WORD_KD, student) for student in others)]
        ways = {FAMILY: [FAMILY], ALONE: alone, WORD_KD: taught}
        counted = {name for name in self.runs if self.cost([name])["flops"]}
        return {way: self.cost(names) for way, names in ways.items() if counted.issuperset(names)}

    def learning_curves(self) -> dict[str, Values]:
        """Greedy validation BLEU of every candidate over updates, where the stages select by it.

        `usable_at` is the BLEU from which a student counts as usable.
        """
        settings = self.study.pretrained
        histories = {name: self._history(name) for name in (PRETRAINED, FROM_SCRATCH) if name in self.runs}
        best = max((point["bleu"][self.teacher] for points in histories.values() for point in points), default=None)
        if settings is None or best is None:
            return {}
        limit = settings.usable * best
        return {name: _curve(points, limit) for name, points in histories.items() if points}

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


def _likeness(done: Done, row: Row) -> Values:
    """How alike the members' translations (beam 5) are.

    `same`: mean share of equal translations over all pairs; `same_as_teacher`; `bleu_to_teacher`: each against the
    teacher's as if they were references.
    """
    outputs = {member.model: member.translations(BEAM) for member in done.members(row.name) if BEAM in member.by_beam}
    pairs = [share_equal(outputs[a], outputs[b]) for a, b in combinations(outputs, 2)]
    result: Values = {"same": round(fmean(pairs), 4)} if pairs else {}
    if done.teacher in outputs:
        teacher = outputs.pop(done.teacher)
        bleu = bleu_metric(done.runs[row.name].recipe.data.target_language, references=[teacher])
        scores = {name: bleu.corpus_score(lines, None).score for name, lines in outputs.items()}
        result["same_as_teacher"] = {name: round(share_equal(each, teacher), 4) for name, each in outputs.items()}
        result["bleu_to_teacher"] = {name: round(score, 2) for name, score in scores.items()}
    return result


def _significance(done: Done) -> list[Values]:
    """Each member of the family against the same network alone, and by Word-KD alone."""
    rows: list[Values] = []
    for seed in done.study.seeds:
        for student in done.students:
            for kind in WAYS:
                single, member = done.one_by_one(kind, student, seed)
                if single is not None and member is not None:
                    rows += done.bootstrap.against(single, [member], BEAMS)
    return rows


# --- claims -----------------------------------------------------------------------------------------------------------


def claims_of(done: Done) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    return [*_one_by_one(done), *_between_families(done), *_pretrained(done)]


def _one_by_one(done: Done) -> Iterator[Claim]:
    """Members are as good as students distilled one by one, for less."""
    if not done.students:
        return
    for seed in done.study.seeds:
        for student in done.students:
            for kind in WAYS:
                for beam in BEAMS:
                    yield from _against_alone(done, kind, student, seed, beam)
    ways, count = done.cost_of_ways(), len(done.students)
    text = f"One family of all students takes fewer FLOPs than {count} of them by Word-KD, the teacher among them"
    if missing := [way for way in (FAMILY, *WAYS) if way not in ways]:
        yield Claim(text, "–", None, {}, missing)
    else:
        ours = {f"FLOPs {way}": f"{ways[way]['flops']:.3g}" for way in ways}
        yield Claim(text, "–", ways[FAMILY]["flops"] < ways[WORD_KD]["flops"], ours)


def _against_alone(done: Done, kind: str, student: str, seed: int, beam: int) -> Iterator[Claim]:
    """One member of the family against the same student trained by itself."""
    single, member = done.one_by_one(kind, student, seed)
    suffix = "" if seed == done.study.seed else f" (seed {seed})"
    text = f"{student} of the family is as good as {student} {WAYS[kind]} ({search(beam)}){suffix}"
    if single is None or member is None:
        if not suffix:
            models = {FAMILY: member, done.alone(kind, student): single}
            missing = [name for name, model in models.items() if model is None]
            yield Claim(text, "as good or better", None, {}, missing)
        return
    before, after = single.by_beam[beam].bleu, member.by_beam[beam].bleu
    p_value = done.bootstrap.p_value(single, member, beam)
    ours = {WAYS[kind]: before, "member": after} | ({} if p_value is None else {"p": p_value})
    yield as_good(text, "as good or better", after - before, p_value, ours)


def _between_families(done: Done) -> Iterator[Claim]:
    """The family as published beside each other one, by the mean BLEU over the members that both have."""
    claimed = [row for row in done.rows.values() if row.claim]
    for kind in (STRATEGY, STUDENTS, SPACE, CHANGE):
        for label in dict.fromkeys(row.label for row in claimed if row.kind == kind):
            for seed in done.study.seeds:
                named = done.rows.get(done.study.named(label, seed))
                if named is not None:
                    yield from _mean_claims(done, named)


def _mean_claims(done: Done, row: Row) -> Iterator[Claim]:
    """For every search."""
    (published,) = row.against
    missing = [name for name in (published, row.name) if not done.members(name)]
    suffix = "" if row.seed == done.study.seed else f" (seed {row.seed})"
    for beam in BEAMS:
        text = f"{row.claim} ({search(beam)}){suffix}"
        if not missing:
            yield _mean_claim(done, text, row, beam)
        elif not suffix or row.name not in missing:
            yield Claim(text, "–", None, {}, missing)


def _mean_claim(done: Done, text: str, row: Row, beam: int) -> Claim:
    """It is decided only where the difference is more than what a bootstrap of the sentences leaves open."""
    shared = done.shared(row)
    means = {name: done.mean(name, beam, shared) for name in (*row.against, row.name)}
    before, after = means.values()
    if before is None or after is None:
        return Claim(text, "–", None, {}, undecided="no member in common")
    ours: Values = {"members": len(shared), **means, "difference": before - after}
    against = done.against_published(row, beam)
    if against is None:
        return Claim(text, "–", None, ours, undecided=NOT_TESTED)
    low, high = (0.0 - against["mean"][limit] for limit in ("high", "low"))
    harmed = above(low, high, SUFFERS)
    unharmed = None if harmed is None else not harmed
    holds = unharmed if row.kind == SPACE else above(low, high, 0)
    return Claim(text, "–", holds, {**ours, "low": low, "high": high}, undecided=NO_CLEAR_DIFFERENCE)


def _pretrained(done: Done) -> Iterator[Claim]:
    """A family from a trained teacher needs few updates."""
    if done.study.pretrained is None:
        return
    curves = done.learning_curves()
    text = "All students of a trained teacher are usable after fewer updates than from nothing"
    if missing := [name for name in (PRETRAINED, FROM_SCRATCH) if name not in curves]:
        yield Claim(text, "–", None, {}, missing)
        return
    ours = {f"updates {name}": curves[name].get("all_usable_after", "not within it") for name in curves}
    first, second = (curves[name].get("all_usable_after") for name in (PRETRAINED, FROM_SCRATCH))
    holds: bool | None = None
    if first is not None:
        holds = None if first == second else second is None or first < second
    elif second is not None and second < curves[PRETRAINED]["updates"][-1]:
        holds = False
    yield Claim(text, "–", holds, ours, undecided=NO_CLEAR_DIFFERENCE)


# --- tables -----------------------------------------------------------------------------------------------------------


def _to_markdown(done: Done, content: Values, claims: Sequence[Claim], plots: str) -> str:
    """`content` is that of results.json, `plots` the part that shows them."""
    about = f"{done.conditions()}." if done.models else "Nothing is measured yet."
    parts = [f"# AIO-KD: {done.study.name}", about]
    if done.students:
        parts += ["## Against one by one", _one_by_one_table(done), "## Cost", _cost_table(content["cost_of_ways"])]
    parts += ["## Families", _ABOUT_FAMILIES, _family_table(done, content["families"])]
    if done.study.spaces:
        parts += ["## Wider spaces", _space_table(done)]
    about = "Share of a student's draws whose gradient was kept from the teacher."
    parts += ["## Detaching", about, _detaching_table(content["interaction"])]
    parts += ["## Plots", plots] if plots else []
    return "\n\n".join([*parts, "## Claims", claims_table(claims)]) + "\n"


def _one_by_one_table(done: Done) -> str:
    lines = []
    for seed in done.study.seeds:
        for student in done.students:
            singles = [done.one_by_one(kind, student, seed)[0] for kind in WAYS]
            models = [*singles, done.member(done.family(seed), student)]
            if any(models) or seed == done.study.seed:
                figures = [m and getattr(m.by_beam.get(beam), key, None) for key, beam in _FIGURES for m in models]
                lines.append([student, str(seed), *(shown(figure) for figure in figures)])
    ways = ("alone", "Word-KD", "family")
    titles = [f"{name} {way}" for name in ("greedy", "beam 5", "chrF") for way in ways]
    return markdown(["student", "seed", *titles], lines)


_FIGURES = (("bleu", GREEDY), ("bleu", BEAM), ("chrf", BEAM))


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


_ABOUT_FAMILIES = (
    "Δ is of the mean over the members that a family has in common with the one as published of the same seed; behind "
    "it, where that lies at 95 % (bootstrap of the sentences). The cost of `pretrained` is without its teacher's."
)
_SCORES = ("mean", "worst", "teacher")


def _family_table(done: Done, families: Sequence[Values]) -> str:
    lines = []
    for family in families:
        cells = [family["row"], str(family["seed"]), str(len(family["members"]))]
        for beam in BEAMS:
            scores = family.get(f"beam {beam}", {})
            row = done.rows[family["row"]]
            cells += [*(shown(scores.get(key)) for key in _SCORES), *_difference(done, row, beam)]
        cost = family["cost"]
        lines.append([*cells, f"{cost['cpu_seconds'] / 3600:.2f}", f"{cost['flops']:.3g}"])
    titles = [title for beam in BEAMS for title in (*(f"{search(beam)} {key}" for key in _SCORES), "Δ", "95 %")]
    return markdown(["family", "seed", "members", *titles, "CPU hours", "FLOPs"], lines)


def _difference(done: Done, row: Row, beam: int) -> tuple[str, str]:
    """Δ to the family as published, and its limits."""
    before, after = (done.mean(name, beam, done.shared(row)) for name in (done.family(row.seed), row.name))
    if row.kind == FAMILY or before is None or after is None:
        return "", ""
    against = done.against_published(row, beam)
    limits = "" if against is None else f"{signed(against['mean']['low'])} to {signed(against['mean']['high'])}"
    return signed(after - before), limits


def _space_table(done: Done) -> str:
    """What the others lose, and the member with the deepest encoder and the shallowest decoder."""
    lines = []
    for row in (row for row in done.families if row.kind == SPACE and done.members(row.name)):
        shared, slim = done.shared(row), max(done.members(row.name), key=_slimness)
        cells = [row.name, str(row.seed), str(len(shared))]
        for beam in BEAMS:
            means = [shown(done.mean(name, beam, shared)) for name in (done.family(row.seed), row.name)]
            cells += [*means, *_difference(done, row, beam)]
        lines.append([*cells, slim.model, *(shown(slim.bleu(beam)) for beam in BEAMS)])
    means = [f"{search(beam)}{what}" for beam in BEAMS for what in (", as published", ", here", " Δ", " 95 %")]
    own = ["slimmest member", *(f"its {search(beam)}" for beam in BEAMS)]
    return markdown(["space", "seed", "shared members", *means, *own], lines)


def _slimness(member: Measured) -> tuple[int, int]:
    """Deep encoders and, among those, shallow decoders first: the shape that ships."""
    student = Student.parse(member.model)
    return student.encoder_layers, -student.decoder_layers


def _detaching_table(interactions: dict[str, Values]) -> str:
    lines = []
    for name, stages in interactions.items():
        for stage, values in stages.items():
            threshold = values.get("threshold")
            limit = "out of reach" if threshold is not None and threshold >= OUT_OF_REACH else shown(threshold)
            draws = values.get("draws", {})
            cells = [str(sum(draws.values())) if draws else "", shown_shares(values.get("detached", {}))]
            lines.append([f"{name}, {stage}", limit, *cells])
    return markdown(["family, stage", "threshold", "draws", "detached"], lines)


def shown_shares(detached: dict[str, float]) -> str:
    """By student, unless it is the same for all."""
    shares = set(detached.values())
    if shares == {0}:
        return "none"
    if shares == {1}:
        return "all"
    return ", ".join(f"{student} {share:.0%}" for student, share in detached.items())
