"""Results of an AIO-KD study: results.json, tables, plots, and its claims one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import fmean

from experiments.aio_kd import (
    ALONE,
    FAMILY,
    FROM_SCRATCH,
    OUT_OF_REACH,
    PRETRAINED,
    SPACE,
    SUFFERS,
    WORD_KD,
    AioKd,
    teacher_of,
)
from experiments.aio_kd_plots import plots_of, shown_plots, write_plots
from experiments.finished import Finished, markdown, shown, signed
from experiments.measured import Measured
from experiments.significance import NO_CLEAR_DIFFERENCE, Bootstrap, Claim, Values, Verdict, above, as_good
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.decoding.metrics import bleu_metric
from polystill.evaluation.figures import search
from polystill.models.folder import weights_path
from polystill.objectives.aio_kd import AioKd as FamilyObjective
from polystill.reporting.training import Interaction, interaction, share_equal
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
    plots = plots_of(content, done.interactions)
    if final:
        write_plots(plots, folder)
    done.write("aio-kd", content, claims, list(_tables(done, content, shown_plots(plots, folder))))
    return claims


class Done(Finished[AioKd]):
    """The finished rows, family by family."""

    def __init__(self, study: AioKd, folder: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
        super().__init__(study, folder, rows, bootstrap)
        self.teacher = str(teacher_of(study))
        self.families = [self.rows[name] for name in self.runs if self.rows[name].kind not in WAYS]
        self.interactions = {row.name: interaction(self.runs[row.name]) for row in self.families}
        self.students = study.alone.students if study.alone else []

    def published(self, seed: int) -> str:
        """The row of the family as published."""
        return self.study.named(FAMILY, seed)

    def one_by_one(self, kind: str, student: str, seed: int) -> dict[str, Measured | None]:
        """By row: a student trained by itself, and the same in the family."""
        names = (self.study.named(f"{kind}-{student}", seed), self.published(seed))
        return {name: self.models.get(name, {}).get(student) for name in names}

    def shared(self, row: Row) -> list[str]:
        """The members that a family has in common with the one as published."""
        published, own = (self.models.get(name, {}) for name in (self.published(row.seed), row.name))
        return [name for name in published if name in own]

    def means(self, row: Row, beam: int) -> dict[str, float]:
        """BLEU of the family as published and of this one over the members that both have; empty without any."""
        names = self.shared(row)
        families = (self.published(row.seed), row.name) if names else ()
        return {family: fmean(self.models[family][name].bleu(beam) for name in names) for family in families}

    def against_published(self, row: Row, beam: int) -> dict[str, Values]:
        """A family's gain over the one as published, by shared member and as `mean` (`compare_families`)."""
        names, published = self.shared(row), self.published(row.seed)
        if not names or row.kind == FAMILY:
            return {}
        models = [self.models[family] for family in (published, row.name)]
        outputs = ({name: family[name].translations(beam) for name in names} for family in models)
        return self.bootstrap.families(self.members(published)[0], *outputs)

    def summary(self, row: Row) -> Values:
        """Members, cost, and by beam mean, worst and teacher's BLEU, and against the family as published."""
        members, objective = self.members(row.name), self.runs[row.name].recipe.objective
        assert isinstance(objective, FamilyObjective)
        result: Values = {"row": row.name, "kind": row.kind, "seed": row.seed}
        result["members"] = [member.model for member in members]
        result["students_per_step"] = objective.students_per_step
        result["cost"] = self.cost([row.name])
        for beam in BEAMS if members else ():
            scores = {member.model: member.bleu(beam) for member in members}
            means, against = self.means(row, beam), self.against_published(row, beam)
            result[f"beam {beam}"] = {
                "mean": fmean(scores.values()),
                "worst": min(scores.values()),
                **({"teacher": scores[self.teacher]} if self.teacher in scores else {}),
                **({"mean_of_shared": means[row.name]} if means else {}),
                "each": scores,
                **({"against_published": against} if against else {}),
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
            "bytes_kept": sum(weights_path(self.runs[name].family).stat().st_size for name in rows),
        }

    def cost_of_ways(self) -> dict[str, Values]:
        """The cost of the students of `alone`: as a family, each alone, or the teacher alone and the others by Word-KD.

        Ways whose training left no cost on record are left out.
        """
        if not self.students:
            return {}
        alone = [f"{ALONE}-{student}" for student in self.students]
        taught = [f"{WORD_KD}-{student}" for student in self.students if student != self.teacher]
        ways = {FAMILY: [FAMILY], ALONE: alone, WORD_KD: [f"{ALONE}-{self.teacher}", *taught]}
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


def _likeness(done: Done, row: Row) -> Values:
    """The likeness of the members' translations (beam 5).

    `same`: mean share of equal translations over all pairs; `same_as_teacher`; `bleu_to_teacher`: each against the
    teacher's as if they were references.
    """
    outputs = {member.model: member.translations(BEAM) for member in done.members(row.name)}
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
    ways = [(kind, student, seed) for seed in done.study.seeds for student in done.students for kind in WAYS]
    pairs = [done.one_by_one(*way).values() for way in ways]
    both = [(single, member) for single, member in pairs if single is not None and member is not None]
    return [row for models in both for beam in BEAMS for row in done.bootstrap.pair(*models, beam)]


# --- claims -----------------------------------------------------------------------------------------------------------


def claims_of(done: Done) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    claims = [*_one_by_one(done), *_cost(done)] if done.students else []
    claims += _between_families(done)
    return [*claims, *_pretrained(done)] if done.study.pretrained else claims


def _one_by_one(done: Done) -> Iterator[Claim]:
    """Members are as good as students distilled one by one."""

    def judge(way: str, beam: int, member: Measured, single: Measured) -> Verdict:
        before, after, p = single.bleu(beam), member.bleu(beam), done.bootstrap.p_value(single, member, beam)
        return as_good(after - before, p.get("p")), {way: before, "member": after, **p}

    for seed in done.study.seeds:
        for student in done.students:
            for kind, way in WAYS.items():
                models = dict(reversed(done.one_by_one(kind, student, seed).items()))
                for beam in BEAMS:
                    text = f"{student} of the family is as good as {student} {way} ({search(beam)})"
                    yield from done.claim(text, "as good or better", models, partial(judge, way, beam), seed)


def _cost(done: Done) -> Iterator[Claim]:
    """One family for less than students distilled one by one."""
    ways, count = done.cost_of_ways(), len(done.students)
    text = f"One family of all students takes fewer FLOPs than {count} of them by Word-KD, the teacher among them"
    if missing := [way for way in (FAMILY, *WAYS) if way not in ways]:
        yield Claim(text, "–", None, {}, missing)
    else:
        ours = {f"FLOPs {way}": f"{ways[way]['flops']:.3g}" for way in ways}
        yield Claim(text, "–", ways[FAMILY]["flops"] < ways[WORD_KD]["flops"], ours)


def _between_families(done: Done) -> Iterator[Claim]:
    """The family as published beside each other one, by the mean BLEU over the members that both have."""
    for label in dict.fromkeys(row.label for row in done.rows.values() if row.claim):
        for seed in done.study.seeds:
            if row := done.rows.get(done.study.named(label, seed)):
                for beam in BEAMS:
                    yield from _mean_claim(done, row, beam)


def _mean_claim(done: Done, row: Row, beam: int) -> Iterator[Claim]:
    """It is decided only where the difference is more than what a bootstrap of the sentences leaves open."""
    missing = [name for name in (done.published(row.seed), row.name) if not done.members(name)]
    suffix = "" if row.seed == done.study.seed else f" (seed {row.seed})"
    text = f"{row.claim} ({search(beam)}){suffix}"
    means, against = done.means(row, beam), done.against_published(row, beam)
    if missing:
        if not suffix or row.name not in missing:
            yield Claim(text, "–", None, {}, missing)
        return
    if not means:
        yield Claim(text, "–", None, {}, undecided="no member in common")
        return
    before, after = means.values()
    ours: Values = {"members": len(done.shared(row)), **means, "difference": before - after}
    holds = None
    if against:
        low, high = (0.0 - against["mean"][limit] for limit in ("high", "low"))
        ours |= {"low": low, "high": high}
        harmed = above(low, high, SUFFERS)
        unharmed = None if harmed is None else not harmed
        holds = unharmed if row.kind == SPACE else above(low, high, 0)
    yield Claim(text, "–", holds, ours)


def _pretrained(done: Done) -> Iterator[Claim]:
    """A family from a trained teacher needs few updates."""
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

_ABOUT_FAMILIES = (
    "Δ is of the mean over the members that a family has in common with the one as published of the same seed; behind "
    "it, where that lies at 95 % (bootstrap of the sentences). The cost of `pretrained` is without its teacher's."
)


def _tables(done: Done, content: Values, plots: str) -> Iterator[str]:
    """`content` is that of results.json, `plots` the part that shows them."""
    yield from (f"# AIO-KD: {done.study.name}", done.conditions())
    if done.students:
        yield from ("## Against one by one", _one_by_one_table(done))
        yield from ("## Cost", _cost_table(content["cost_of_ways"]))
    yield from ("## Families", _ABOUT_FAMILIES, _family_table(done, content["families"]))
    if done.study.spaces:
        yield from ("## Wider spaces", _space_table(done))
    yield from ("## Detaching", "Share of a student's draws whose gradient was kept from the teacher.")
    yield _detaching_table(content["interaction"])
    if plots:
        yield from ("## Plots", plots)


def _one_by_one_table(done: Done) -> str:
    lines = []
    for seed in done.study.seeds:
        for student in done.students:
            alone, taught = (done.one_by_one(kind, student, seed).values() for kind in WAYS)
            models = [next(iter(alone)), *taught]
            if any(models) or seed == done.study.seed:
                figures = [m and getattr(m.by_beam[beam], key) for key, beam in _FIGURES for m in models]
                lines.append([student, str(seed), *map(shown, figures)])
    titles = [f"{name} {way}" for name in ("greedy", "beam 5", "chrF") for way in ("alone", "Word-KD", "family")]
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


_SCORES = ("mean", "worst", "teacher")


def _family_table(done: Done, families: Iterable[Values]) -> str:
    lines = []
    for family in families:
        cells = [family["row"], str(family["seed"]), str(len(family["members"]))]
        for beam in BEAMS:
            scores = family.get(f"beam {beam}", {})
            cells += [*(shown(scores.get(key)) for key in _SCORES), *_difference(done, done.rows[family["row"]], beam)]
        lines.append([*cells, f"{family['cost']['cpu_seconds'] / 3600:.2f}", f"{family['cost']['flops']:.3g}"])
    titles = [title for beam in BEAMS for title in (*(f"{search(beam)} {key}" for key in _SCORES), "Δ", "95 %")]
    return markdown(["family", "seed", "members", *titles, "CPU hours", "FLOPs"], lines)


def _difference(done: Done, row: Row, beam: int) -> tuple[str, str]:
    """Δ to the family as published, and its limits."""
    means, against = [*done.means(row, beam).values()], done.against_published(row, beam)
    if row.kind == FAMILY or not means:
        return "", ""
    limits = f"{signed(against['mean']['low'])} to {signed(against['mean']['high'])}" if against else ""
    return signed(means[1] - means[0]), limits


def _space_table(done: Done) -> str:
    """The losses of the other families, and the member with the deepest encoder and the shallowest decoder."""
    lines = []
    for row in (row for row in done.families if row.kind == SPACE and done.members(row.name)):
        slim = max(done.members(row.name), key=_slimness)
        cells = [row.name, str(row.seed), str(len(done.shared(row)))]
        for beam in BEAMS:
            means = [shown(mean) for mean in done.means(row, beam).values()] or ["", ""]
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
    for name, stage, values in ((name, *item) for name, stages in interactions.items() for item in stages.items()):
        threshold, draws = values.get("threshold", 0), values.get("draws", {})
        limit = "out of reach" if threshold >= OUT_OF_REACH else shown(values.get("threshold"))
        cells = [str(sum(draws.values())) if draws else "", shown_shares(values.get("detached", {}))]
        lines.append([f"{name}, {stage}", limit, *cells])
    return markdown(["family, stage", "threshold", "draws", "detached"], lines)


def shown_shares(detached: dict[str, float]) -> str:
    """By student, unless it is the same for all."""
    shares = set(detached.values())
    each = ", ".join(f"{student} {share:.0%}" for student, share in detached.items())
    return "none" if shares == {0} else "all" if shares == {1} else each
