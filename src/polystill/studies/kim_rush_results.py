"""What a Kim & Rush study has come to: tables with the paper's figures beside ours, and its claims one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polystill.storage import write_atomic
from polystill.studies.claims import Claim, claims_table, markdown, shown
from polystill.studies.kim_rush import BASELINE, ROWS, TEACHER, TUNED_TEACHER
from polystill.studies.kim_rush_paper import LANGUAGES, PRUNED, SPEED, TABLES
from polystill.studies.measured import SIGNIFICANT, Bootstrap, Measured, Row, measured, write_results
from polystill.studies.recipe import BEAMS, KimRush, row_id
from polystill.studies.steps import Step

GREEDY, BEAM = BEAMS
NEAR = 0.3
"""BLEU by which greedy search may stay behind beam search and still count as good as it."""
BEST = "seq-kd+seq-inter"


def write(study: KimRush, folder: Path, steps: Sequence[Step], *, bootstrap: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Without `bootstrap` only differences that were tested before say how sure they are.
    """
    found = _Found(study, folder, steps, Bootstrap(folder, bootstrap))
    claims = _claims(found)
    content = {
        "claims": [claim.record() for claim in claims],
        "significance": found.significance(),
        **({"speed": found.speed} if found.speed else {}),
    }
    write_results(folder, "kim-rush", study.name, steps, content)
    write_atomic(folder / "results.md", _markdown(found, claims))
    return claims


class _Found:
    """All that is measured so far."""

    def __init__(self, study: KimRush, folder: Path, steps: Sequence[Step], bootstrap: Bootstrap) -> None:
        self.study, self.bootstrap = study, bootstrap
        self.models = measured(folder, steps)
        path = folder / "speed.json"
        self.speed: Row = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        families = {row_id(study, name, seed) for name in study.families for seed in (study.seed, *study.more_seeds)}
        self.members = [model for model in self.models if model.row in families]
        self.alone = {model.row: model for model in self.models if model.row not in families}

    def row(self, name: str, seed: int) -> Measured | None:
        return self.alone.get(row_id(self.study, name, seed))

    def significance(self) -> list[Row]:
        """Each model against what it is to be better than.

        A student against the baseline of its seed, the tuned teacher against the teacher, a family's member against the
        same network that was taught alone.
        """
        pairs = [(self._base(model), model) for model in self.alone.values()]
        pairs += [(_same_shape_alone(self, member), member) for member in self.members]
        return [
            row
            for first, model in pairs
            if first is not None
            for beam in BEAMS
            for row in self.bootstrap.against(first, [model], beam)
        ]

    def _base(self, model: Measured) -> Measured | None:
        base = self.row(TEACHER if model.row == TUNED_TEACHER else BASELINE, model.seed)
        return None if model.row == TEACHER or base is None or base.row == model.row else base

    def speeds(self, beam_teacher: int, beam_student: int) -> list[Row]:
        """For each engine, batch size and student: words a second of the student over the teacher's."""
        found = []
        rows = self.speed.get("rows", [])
        for row in rows:
            if row["student"] == TEACHER or row["beam"] != beam_student:
                continue
            how = (row["engine"], row["precision"], row["batch_size"])
            for teacher in rows:
                same = (teacher["engine"], teacher["precision"], teacher["batch_size"]) == how
                if teacher["student"] == TEACHER and teacher["beam"] == beam_teacher and same:
                    words = [each["words_per_second"]["median"] for each in (row, teacher)]
                    found.append({**row, "row": Path(row["student"]).parts[-2], "times": words[0] / words[1]})
        return found


# --- claims -----------------------------------------------------------------------------------------------------------

Judged = tuple[bool, dict[str, Any]]


def _claims(found: _Found) -> list[Claim]:
    claims = []
    for seed in (found.study.seed, *found.study.more_seeds):
        claims += _student_claims(found, seed)
    return [*claims, *_speed_claims(found), *_pruning_claims(found), *_family_claims(found)]


def _student_claims(found: _Found, seed: int) -> list[Claim]:
    """The paper's claims about what a student gains, for one seed."""

    def claim(text: str, paper: str, rows: Sequence[str], judge: Callable[..., Judged]) -> list[Claim]:
        models = [found.row(name, seed) for name in rows]
        missing = [row_id(found.study, name, seed) for name, model in zip(rows, models, strict=True) if model is None]
        suffix = "" if seed == found.study.seed else f" (seed {seed})"
        if missing and suffix:
            return []  # a further seed has the rows that were asked for
        holds, ours = (None, {}) if missing else judge(*models)
        return [Claim(text + suffix, paper, holds, ours, missing)]

    def gain(beam: int) -> Callable[[Measured, Measured], Judged]:
        def judge(baseline: Measured, model: Measured) -> Judged:
            difference = model.bleu(beam) - baseline.bleu(beam)
            p_value = found.bootstrap.p_value(baseline, model, beam)
            ours = {"from": baseline.bleu(beam), "to": model.bleu(beam), "gain": difference}
            if p_value is None:
                return difference > 0, ours
            return difference > 0 and p_value < SIGNIFICANT, {**ours, "p": p_value}

        return judge

    return [
        *claim("Seq-KD raises the student's greedy BLEU", "+4.2", (BASELINE, "seq-kd"), gain(GREEDY)),
        *claim("Seq-KD raises the student's BLEU with beam 5", "+1.4", (BASELINE, "seq-kd"), gain(BEAM)),
        *claim("Seq-KD + Seq-Inter raises greedy BLEU", "+4.2", (BASELINE, BEST), gain(GREEDY)),
        *claim("Seq-KD + Seq-Inter raises BLEU with beam 5", "+1.7", (BASELINE, BEST), gain(BEAM)),
        *claim("Word-KD raises greedy BLEU", "+0.7", (BASELINE, "word-kd"), gain(GREEDY)),
        *claim("The gain from Seq-KD is larger greedily", "+4.2 / +1.4", (BASELINE, "seq-kd"), _larger_greedily),
        *claim(f"After Seq-KD greedy is within {NEAR} of beam 5", "18.9 / 19.0", ("seq-kd",), _as_good_greedily),
        *claim("Seq-KD raises p(mode) at least tenfold", "0.9 % → 16.9 %", (BASELINE, "seq-kd"), _tenfold),
        *claim("Perplexity is worse while BLEU is better", "8.2 → 22.7", (BASELINE, "seq-kd"), _worse_perplexity),
        *claim("Seq-Inter raises the teacher's own greedy BLEU", "17.7 → 19.6", (TEACHER, TUNED_TEACHER), gain(GREEDY)),
    ]


def _larger_greedily(baseline: Measured, model: Measured) -> Judged:
    greedy, beam = (model.bleu(beam) - baseline.bleu(beam) for beam in BEAMS)
    return greedy > max(beam, 0), {"greedy": greedy, "beam 5": beam}


def _as_good_greedily(model: Measured) -> Judged:
    greedy, beam = (model.bleu(beam) for beam in BEAMS)
    return greedy >= beam - NEAR, {"greedy": greedy, "beam 5": beam}


def _tenfold(baseline: Measured, model: Measured) -> Judged:
    before, after = (each.get("p_mode", BEAM) or 0.0 for each in (baseline, model))
    return after >= 10 * before, {"from": before, "to": after}


def _worse_perplexity(baseline: Measured, model: Measured) -> Judged:
    before, after = baseline.of_model("perplexity"), model.of_model("perplexity")
    bleu = [each.bleu(BEAM) for each in (baseline, model)]
    return after > before and bleu[1] > bleu[0], {
        "PPL from": before,
        "to": after,
        "BLEU from": bleu[0],
        "to BLEU": bleu[1],
    }


def _speed_claims(found: _Found) -> list[Claim]:
    if found.study.speed is None:
        return []
    text = "The greedy student is 10 times as fast as the teacher with beam 5"
    paper = "10.3 (GPU), 8.1 (CPU)"
    rows = found.speeds(BEAM, GREEDY)
    if not rows:
        return [Claim(text, paper, None, {}, ["speed"])]
    return [
        Claim(
            f"{text}: {row['row']}, {row['engine']} {row['precision']}, batch {row['batch_size']}",
            paper,
            row["times"] >= 10,
            {"times": row["times"]},
            [],
        )
        for row in rows
    ]


def _pruning_claims(found: _Found) -> list[Claim]:
    if found.study.pruning is None:
        return []
    text = "80 % pruned: at most 0.4 BLEU below the teacher's beam 5, with 25 times fewer parameters"
    paper = "19.5 → 19.1, 13 times fewer"
    names = (TEACHER, found.study.pruning.row, "pruned-80")
    models = [found.row(name, found.study.seed) for name in names]
    missing = [name for name, model in zip(names, models, strict=True) if model is None]
    teacher, whole, pruned = models
    if teacher is None or whole is None or pruned is None:
        return [Claim(text, paper, None, {}, missing)]
    loss, times = teacher.bleu(BEAM) - pruned.bleu(BEAM), teacher.weights / pruned.weights
    ours = {"teacher": teacher.bleu(BEAM), "unpruned": whole.bleu(BEAM), "pruned": pruned.bleu(BEAM)}
    ours |= {
        "below the teacher": loss,
        "below the unpruned": whole.bleu(BEAM) - pruned.bleu(BEAM),
        "times fewer": times,
    }
    return [Claim(text, paper, loss <= 0.4 and times >= 25, ours, [])]


def _family_claims(found: _Found) -> list[Claim]:
    """What the two systems do together; no paper has figures of it."""
    claims = []
    for member in found.members:
        if "beam" not in str(member.of_model("targets")):
            continue
        holds, ours = _as_good_greedily(member)
        name = f"{member.row} {member.model}"
        claims.append(Claim(f"{name}: greedy is within {NEAR} of its own beam 5", "–", holds, ours, []))
        alone = _same_shape_alone(found, member)
        if alone is None:
            claims.append(Claim(f"{name}: greedy as good as the same student alone", "–", None, {}, ["its seq-kd row"]))
            continue
        ours = {"member": member.bleu(GREEDY), f"{alone.row}": alone.bleu(GREEDY)}
        p_value = found.bootstrap.p_value(alone, member, GREEDY)
        ours |= {} if p_value is None else {"p": p_value}
        not_below = member.bleu(GREEDY) >= alone.bleu(GREEDY)
        luck = p_value is not None and p_value >= SIGNIFICANT
        claims.append(Claim(f"{name}: greedy as good as the same student alone", "–", not_below or luck, ours, []))
    return claims


def _same_shape_alone(found: _Found, member: Measured) -> Measured | None:
    shape = ("architecture", "model", "parameters")
    rows = [found.row("seq-kd", member.seed), found.row(f"seq-kd-{member.model}", found.study.seed)]
    alike = (row for row in rows if row and all(row.of_model(key) == member.of_model(key) for key in shape))
    return next(alike, None)


# --- tables -----------------------------------------------------------------------------------------------------------


def _markdown(found: _Found, claims: Sequence[Claim]) -> str:
    study = found.study
    first = next(iter(found.models), None)
    about = "nothing is measured yet"
    if first is not None:
        about = f"{first.of_model('test_set')}; {first.of_model('engine')}, {first.of_model('precision')}"
        about += f"; BLEU {first.of_model('bleu_signature')}"
    parts = [
        f"# Kim & Rush: {study.name}",
        f"{about}. The paper's columns: Kim & Rush (2016), table 1, {LANGUAGES[study.paper]}.",
        _main_table(found),
    ]
    if study.families:
        parts += ["## Families", _family_table(found)]
    if study.speed:
        parts += ["## Words per second", _speed_table(found), _paper_speed()]
    if study.pruning:
        parts += ["## Pruning", _pruning_table(found)]
    parts += ["## Claims", claims_table(claims)]
    return "\n\n".join(parts) + "\n"


TITLES = ("greedy", "Δ", "beam 5", "Δ", "PPL", "p(mode)")


def _main_table(found: _Found) -> str:
    study = found.study
    rows = []
    for seed in (study.seed, *study.more_seeds):
        asked = [*ROWS, *(f"seq-kd-{depth}" for depth in study.depths)]
        for name in asked:
            model = found.row(name, seed)
            if model is None and (seed != study.seed or name not in (study.rows or ROWS)):
                continue
            paper = TABLES[study.paper].get(name, {})
            base = TEACHER if name in (TEACHER, TUNED_TEACHER) else BASELINE
            size = "" if model is None else f"{model.weights / 1e6:.2f} M"
            own = [""] * len(TITLES) if model is None else _cells(model, found.row(base, seed))
            rows.append(
                [row_id(study, name, seed), size, *own, *_paper_cells(paper, TABLES[study.paper].get(base, {}))]
            )
    titles = ["row", "parameters", *TITLES, *(f"paper: {title}" for title in TITLES)]
    return markdown(titles, rows)


def _cells(model: Measured, base: Measured | None) -> list[str]:
    cells = []
    for beam in BEAMS:
        before = None if base is None or base is model else base.get("bleu", beam)
        after = model.get("bleu", beam)
        cells += [shown(after), _difference(before, after)]
    return [*cells, shown(model.of_model("perplexity")), _percent(model.get("p_mode", BEAM))]


def _paper_cells(row: Row, base: Row) -> list[str]:
    cells = []
    for key in ("greedy", "beam"):
        before = None if base is row else base.get(key)
        cells += [shown(row.get(key), 1), _difference(before, row.get(key), 1)]
    return [*cells, shown(row.get("perplexity"), 1), _percent(row.get("p_mode"))]


def _difference(before: float | None, after: float | None, digits: int = 2) -> str:
    return "" if before is None or after is None else f"{after - before:+.{digits}f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"


def _family_table(found: _Found) -> str:
    rows = []
    for model in found.members:
        greedy, beam = (model.get("bleu", each) for each in BEAMS)
        figures = [shown(greedy), shown(beam), _difference(beam, greedy), shown(model.of_model("perplexity"))]
        size = f"{model.weights / 1e6:.2f} M"
        rows.append([f"{model.row} {model.model}", size, *figures, _percent(model.get("p_mode", BEAM))])
    return markdown(["member", "parameters", "greedy", "beam 5", "greedy − beam", "PPL", "p(mode)"], rows)


def _speed_table(found: _Found) -> str:
    rows = []
    for row in found.speed.get("rows", []):
        who = TEACHER if row["student"] == TEACHER else Path(row["student"]).parts[-2]
        how = f"{row['engine']} {row['precision']}"
        times = row.get("speed_to_teacher_same_engine", {}).get("median")
        speed = f"{row['words_per_second']['median']:,.0f}"
        rows.append([who, how, str(row["batch_size"]), str(row["beam"]), speed, shown(times)])
    return markdown(["row", "engine", "batch", "beam", "words/s", "times the teacher's beam 5"], rows)


def _paper_speed() -> str:
    """The paper's table on speed in a sentence."""
    parts = []
    for device in ("gpu", "cpu"):
        (t1, t5), (s1, s5) = SPEED["teacher"][device], SPEED["student"][device]
        parts.append(f"{device.upper()} teacher {t1} greedy, {t5} beam 5, student {s1} and {s5} ({s1 / t5:.1f} times)")
    return f"The paper's table on speed, source words per second: {'; '.join(parts)}."


def _pruning_table(found: _Found) -> str:
    settings = found.study.pruning
    assert settings is not None
    seed = found.study.seed
    teacher, whole = found.row(TEACHER, seed), found.row(settings.row, seed)
    rows = []
    for sparsity in (0.0, *settings.sparsities):
        model = whole if sparsity == 0 else found.row(f"pruned-{100 * sparsity:g}", seed)
        cells = [""] * 6
        if model is not None:
            beam = model.get("bleu", BEAM)
            fewer = "" if teacher is None else f"{teacher.weights / model.weights:.1f}"
            below = [_difference(None if each is None else each.get("bleu", BEAM), beam) for each in (teacher, whole)]
            cells = [f"{model.weights / 1e6:.3f} M", fewer, shown(model.get("bleu", GREEDY)), shown(beam), *below]
        rows.append([f"{100 * sparsity:g} %", *cells, shown(PRUNED.get(sparsity), 1)])
    titles = ["pruned", "not zero", "times fewer than the teacher", "greedy", "beam 5", "Δ teacher", "Δ unpruned"]
    return markdown([*titles, "paper: BLEU"], rows)
