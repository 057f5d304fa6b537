"""Results of a Kim & Rush study: tables with the paper's figures beside ours, and its claims one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import yaml

from experiments.finished import Finished, change, markdown, shown
from experiments.kim_rush import (
    BASELINE,
    FAMILY,
    METHODS,
    NETWORK,
    PRUNED,
    SEQ_KD,
    SPARSE_VALUES,
    SPEED,
    TEACHER,
    TUNED_TEACHER,
    KimRush,
    sparse_name,
)
from experiments.measured import Measured
from experiments.significance import Bootstrap, Claim, Values, Verdict, as_good, better
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.errors import UserError
from polystill.models.folder import weights_path

NEAR = 0.3
"""BLEU by which greedy search may stay behind beam search and still count as good as it."""
BEST = "seq-kd+seq-inter"

PAPER: Values = yaml.safe_load(Path(__file__).with_name("kim_rush_paper.yaml").read_text(encoding="utf-8"))
Figures = dict[str, Values]
"""The rows of the paper's table for one language pair."""
TABLES: dict[str, Figures] = PAPER["tables"]


def write(study: KimRush, folder: Path, rows: Sequence[Row], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Bootstraps are computed at the end (`final`); until then only differences that were tested before say how sure they
    are.
    """
    done = Done(study, folder, rows, Bootstrap(folder, final))
    claims = claims_of(done)
    content: Values = {"significance": _significance(done)}
    content |= {"speed": done.speed} if done.speed else {}
    content |= {"pruning": done.bytes_on_disk} if done.bytes_on_disk else {}
    done.write("kim-rush", content, claims, list(_tables(done)))
    return claims


class Done(Finished[KimRush]):
    """The finished rows, with the timings and the sizes on disk."""

    def __init__(self, study: KimRush, folder: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
        super().__init__(study, folder, rows, bootstrap)
        self.speed = _timings(folder / "speed.json")
        self.bytes_on_disk = list(self._bytes_on_disk())

    def of_kind(self, kind: str) -> list[Row]:
        return [row for row in self.rows.values() if row.kind == kind]

    def family_members(self) -> list[tuple[Row, Measured]]:
        """All members, with the rows of their families."""
        return [(row, member) for row in self.of_kind(FAMILY) for member in self.members(row.name)]

    def pruned_and_whole(self) -> list[Row]:
        """The row that is pruned as it was, and the pruned ones."""
        before = self.rows.get(self.study.pruning.row) if self.study.pruning else None
        return [*([before] if before else []), *self.of_kind(PRUNED)]

    def whole(self) -> Measured | None:
        """The model that pruned ones are compared with: the whole one trained on likewise, or else their origin."""
        models = [self.only(row.name) for row in self.pruned_and_whole() if not row.sparsity]
        return next((model for model in reversed(models) if model is not None), None)

    def _bytes_on_disk(self) -> Iterator[Values]:
        """Bytes of the weights: `dense` is the run's own file in float32, `float32` and `int8` the sparse forms."""
        for row in self.pruned_and_whole():
            forms = {"dense": row.name, **{values: sparse_name(row.name, values) for values in SPARSE_VALUES}}
            sizes = {form: self._size(name) for form, name in forms.items() if name in self.written}
            if sizes:
                yield {"row": row.name, "sparsity": row.sparsity, "bytes": sizes}

    def _size(self, name: str) -> int:
        return (
            weights_path(self.runs[name].family if name in self.runs else self.folder / self.rows[name].out)
            .stat()
            .st_size
        )


def _timings(path: Path) -> Values:
    """The output of `polystill bench decode`."""
    if not path.is_file():
        return {}
    try:
        result: Values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and speed is measured again") from None
    for row in result.get("rows", []):
        row["student"] = "/".join(Path(row["student"]).parts[-3:])  # as in the study's folder
    return result


def _timed_row(timing: Values) -> str:
    """The row whose student, in runs/<row>, was timed."""
    return TEACHER if timing["student"] == TEACHER else Path(timing["student"]).parts[-2]


def _significance(done: Done) -> list[Values]:
    """Paired bootstraps of each model against those that it is compared with; of members the same networks."""
    whole, rows = done.whole(), []
    for row in (row for kind in (NETWORK, PRUNED, FAMILY) for row in done.of_kind(kind)):
        firsts = [first for name in row.against for first in done.members(name)]
        firsts += [whole] if whole is not None and row.sparsity else []
        for model in done.members(row.name):
            for first in firsts:
                if row.kind != FAMILY or first.network == model.network:
                    rows += [values for beam in BEAMS for values in done.bootstrap.pair(first, model, beam)]
    return rows


# --- claims -----------------------------------------------------------------------------------------------------------


def claims_of(done: Done) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    claims = [claim for seed in done.study.seeds for claim in _student_claims(done, seed)]
    claims += _speed_claims(done) if done.study.speed else ()
    claims += _pruning_claims(done) if done.study.pruning else ()
    return [*claims, *_family_claims(done)]


def _student_claims(done: Done, seed: int) -> Iterator[Claim]:
    for text, written, labels, judge in _STATEMENTS:
        try:
            paper = written(TABLES[done.study.paper])
        except KeyError:
            paper = "–"  # not quoted
        names = [done.study.named(label, seed) for label in labels]
        yield from done.claim(text, paper, {name: done.only(name) for name in names}, partial(judge, done), seed)


def _raises(beam: int, done: Done, before: Measured, after: Measured) -> Verdict:
    first, second = before.bleu(beam), after.bleu(beam)
    p = done.bootstrap.p_value(before, after, beam)
    return better(second - first, p.get("p")), {"from": first, "to": second, "gain": second - first, **p}


def _larger_greedily(done: Done, baseline: Measured, model: Measured) -> Verdict:
    greedy, beam = (model.bleu(size) - baseline.bleu(size) for size in BEAMS)
    return greedy > max(beam, 0), {"greedy": greedy, "beam 5": beam}


def _near_beam(done: Done, model: Measured) -> Verdict:
    """Whether greedy search is as good as beam search: not where it is significantly more than `NEAR` behind."""
    greedy, beam = (model.bleu(size) for size in BEAMS)
    outputs = ({model.model: model.translations(size)} for size in BEAMS)
    gap = done.bootstrap.families(model, *outputs).get(model.model, {})
    ours = {"greedy": greedy, "beam 5": beam, "behind": beam - greedy}
    ours |= {key: gap[key] for key in ("low", "high") if gap}
    return True if beam - greedy <= NEAR else False if gap and gap["low"] > NEAR else None, ours


def _tenfold(done: Done, baseline: Measured, model: Measured) -> Verdict:
    before, after = baseline.p_mode, model.p_mode
    if before is None or after is None:
        return None, {}
    times = {"times": after / before} if before > 0 else {}
    return after >= 10 * before and after > before, {"from": before, "to": after, **times}


def _worse_perplexity(done: Done, baseline: Measured, model: Measured) -> Verdict:
    before, after = baseline.any.perplexity, model.any.perplexity
    if before is None or after is None:
        return None, {}
    first, second = baseline.bleu(BEAM), model.bleu(BEAM)
    ours = {"PPL from": before, "to": after, "BLEU from": first, "to BLEU": second}
    return after > before and second > first, ours


def _gain(table: Figures, row: str, key: str) -> str:
    """Of the paper's student over its baseline."""
    return f"{table[row][key] - table[BASELINE][key]:+.1f}"


def _from_to(table: Figures, rows: tuple[str, str], key: str, written: Callable[[float], str] = str) -> str:
    return " → ".join(written(table[row][key]) for row in rows)


_TAUGHT, _BEST, _TUNED = (BASELINE, SEQ_KD), (BASELINE, BEST), (TEACHER, TUNED_TEACHER)
_GREEDILY, _WITH_BEAM = partial(_raises, GREEDY), partial(_raises, BEAM)
_STATEMENTS: list[tuple[str, Callable[[Figures], str], tuple[str, ...], Callable[..., Verdict]]] = [
    ("Seq-KD raises the student's greedy BLEU", lambda t: _gain(t, SEQ_KD, "greedy"), _TAUGHT, _GREEDILY),
    ("Seq-KD raises the student's BLEU with beam 5", lambda t: _gain(t, SEQ_KD, "beam"), _TAUGHT, _WITH_BEAM),
    ("Seq-KD + Seq-Inter raises greedy BLEU", lambda t: _gain(t, BEST, "greedy"), _BEST, _GREEDILY),
    ("Seq-KD + Seq-Inter raises BLEU with beam 5", lambda t: _gain(t, BEST, "beam"), _BEST, _WITH_BEAM),
    ("Word-KD raises greedy BLEU", lambda t: _gain(t, "word-kd", "greedy"), (BASELINE, "word-kd"), _GREEDILY),
    (
        "The gain from Seq-KD is larger greedily",
        lambda t: f"{_gain(t, SEQ_KD, 'greedy')} / {_gain(t, SEQ_KD, 'beam')}",
        _TAUGHT,
        _larger_greedily,
    ),
    (
        f"After Seq-KD greedy is within {NEAR} of beam 5",
        lambda t: f"{t[SEQ_KD]['greedy']} / {t[SEQ_KD]['beam']}",
        (SEQ_KD,),
        _near_beam,
    ),
    ("Seq-KD raises p(mode) at least tenfold", lambda t: _from_to(t, _TAUGHT, "p_mode", _percent), _TAUGHT, _tenfold),
    (
        "Perplexity is worse while BLEU is better",
        lambda t: _from_to(t, _TAUGHT, "perplexity"),
        _TAUGHT,
        _worse_perplexity,
    ),
    ("Seq-Inter raises the teacher's own greedy BLEU", lambda t: _from_to(t, _TUNED, "greedy"), _TUNED, _GREEDILY),
]
"""Each claim's text, the paper's figures by its table, the rows that decide it, and how they do."""


def _speed_claims(done: Done) -> Iterator[Claim]:
    """Of each student, engine and batch size: its greedy search and the teacher's beam search, timed in turn."""
    text = "The greedy student is 10 times as fast as the teacher with beam 5"
    student, teacher = PAPER["speed"]["student"], PAPER["speed"]["teacher"]
    gpu, cpu = (f"{student[device][0] / teacher[device][1]:.1f}" for device in ("gpu", "cpu"))
    paper = f"English→German: {gpu} (GPU), {cpu} (CPU)"
    timings = [row for row in done.speed.get("rows", []) if row["student"] != TEACHER and row["beam"] == GREEDY]
    if not timings:
        yield Claim(text, paper, None, {}, [SPEED])
    for timing in timings:
        times = timing["speed_to_teacher_same_engine"]
        which = f"{_timed_row(timing)}, {timing['engine']} {timing['precision']}, batch {timing['batch_size']}"
        ours = {"times": times["median"], "from": times["min"], "to": times["max"]}
        yield Claim(f"{text}: {which}", paper, times["median"] >= 10, ours)


def _pruning_claims(done: Done) -> Iterator[Claim]:
    assert done.study.pruning is not None
    text = "80 % pruned: at most 0.4 BLEU below the teacher's beam 5, with 25 times fewer parameters"
    before = TABLES["english-german"][TEACHER]["beam"]
    paper = f"English→German: {before} → {PAPER['pruned'][0.8]}, {PAPER['times_fewer'][0.8]} times fewer"
    row = next((row.name for row in done.of_kind(PRUNED) if row.sparsity == 0.8), f"{PRUNED}-80")

    def judge(teacher: Measured, whole: Measured, pruned: Measured) -> Verdict:
        first, second, third = (model.bleu(BEAM) for model in (teacher, whole, pruned))
        loss, times = first - third, teacher.weights / pruned.weights
        ours = {"teacher": first, "unpruned": second, "pruned": third, "below the teacher": loss}
        ours |= {"below the unpruned": second - third, "times fewer": times}
        return loss <= 0.4 and times >= 25, ours

    models = {TEACHER: done.only(TEACHER), done.study.pruning.row: done.whole(), row: done.only(row)}
    yield from done.claim(text, paper, models, judge)


def _family_claims(done: Done) -> Iterator[Claim]:
    """Claims about the two systems together; no paper has figures of it."""

    def as_good_as_alone(member: Measured, alone: Measured) -> Verdict:
        p = done.bootstrap.p_value(alone, member, GREEDY)
        first, second = alone.bleu(GREEDY), member.bleu(GREEDY)
        return as_good(second - first, p.get("p")), {"member": second, alone.row: first, **p}

    for row, member in done.family_members():
        if "beam" not in member.any.targets:
            continue
        name = f"{row.name} {member.model}"
        yield Claim(f"{name}: greedy is within {NEAR} of its own beam 5", "–", *_near_beam(done, member))
        for label in row.trained_alone:
            network, alone = done.rows[label].parsed.model, done.only(label)
            same = (network.architecture, str(network.teacher)) == (member.any.architecture, member.model)
            expected = member.seed == done.study.seed if alone is None else alone.network == member.network
            if same and expected:
                text = f"{name}: greedy as good as the same student alone"
                yield from done.claim(text, "–", {label: alone}, partial(as_good_as_alone, member))


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(done: Done) -> Iterator[str]:
    study = done.study
    yield f"# Kim & Rush: {study.name}"
    yield f"{done.conditions()} The paper's columns: Kim & Rush (2016), table 1, {PAPER['languages'][study.paper]}."
    yield _main_table(done)
    if study.families:
        yield "## Families"
        yield _family_table(done)
    if study.speed:
        yield "## Words per second"
        yield _speed_table(done)
        yield _paper_speed()
    if study.pruning:
        yield "## Pruning"
        yield _pruning_table(done)


_TITLES = ("greedy", "Δ", "beam 5", "Δ", "PPL", "p(mode)")


def _main_table(done: Done) -> str:
    """In the order of the paper's table. A row that the recipe asks for has its line before it is measured, too."""
    study, paper, labels = done.study, TABLES[done.study.paper], [*METHODS]
    rows = sorted(
        done.of_kind(NETWORK), key=lambda row: labels.index(row.label) if row.label in METHODS else len(labels)
    )
    lines = []
    for row in (row for seed in study.seeds for row in rows if row.seed == seed):
        model = done.only(row.name)
        if model is None and (row.seed != study.seed or row.label not in (study.rows or METHODS)):
            continue
        base = METHODS[row.label].against if row.label in METHODS else BASELINE
        before = done.only(study.named(base, row.seed)) if base else None
        ours = _cells(_figures(model), _figures(before), 2)
        theirs = _cells(paper.get(row.label, {}), paper.get(base or "", {}), 1)
        lines.append([row.name, _millions(model), *ours, *theirs])
    return markdown(["row", "parameters", *_TITLES, *(f"paper: {title}" for title in _TITLES)], lines)


def _figures(model: Measured | None) -> Values:
    """With the keys that the paper's have."""
    if model is None:
        return {}
    bleu = {"greedy": model.bleu(GREEDY), "beam": model.bleu(BEAM)}
    return {**bleu, "perplexity": model.any.perplexity, "p_mode": model.p_mode}


def _cells(figures: Values, base: Values, digits: int) -> list[str]:
    bleu = [(figures.get(key), change(base.get(key), figures.get(key), digits)) for key in ("greedy", "beam")]
    cells = [cell for score, difference in bleu for cell in (shown(score, digits), difference)]
    return [*cells, shown(figures.get("perplexity"), digits), _percent(figures.get("p_mode"))]


def _millions(model: Measured | None, digits: int = 2) -> str:
    return "" if model is None else f"{model.weights / 1e6:.{digits}f} M"


def _percent(share: float | None) -> str:
    """Label smoothing leaves shares far below one percent."""
    return "" if share is None else f"{100 * share:{'.1f' if share >= 0.01 else '.2g'}} %"


def _family_table(done: Done) -> str:
    lines = []
    for row, model in done.family_members():
        greedy, beam = model.bleu(GREEDY), model.bleu(BEAM)
        figures = [shown(greedy), shown(beam), change(beam, greedy), shown(model.any.perplexity)]
        lines.append([f"{row.name} {model.model}", _millions(model), *figures, _percent(model.p_mode)])
    return markdown(["member", "parameters", "greedy", "beam 5", "greedy − beam", "PPL", "p(mode)"], lines)


def _speed_table(done: Done) -> str:
    lines = []
    for timing in done.speed.get("rows", []):
        how = [f"{timing['engine']} {timing['precision']}", str(timing["batch_size"]), str(timing["beam"])]
        speeds = [_spread(timing["words_per_second"], ",.0f"), _spread(timing["speed_to_teacher_same_engine"], ".2f")]
        lines.append([_timed_row(timing), *how, *speeds])
    return markdown(["row", "engine", "batch", "beam", "words/s", "times the teacher's beam 5"], lines)


def _spread(figure: Values, form: str) -> str:
    """Median, lowest and highest of the rounds."""
    return f"{figure['median']:{form}} ({figure['min']:{form}}–{figure['max']:{form}})"


def _paper_speed() -> str:
    parts = []
    for device in ("gpu", "cpu"):
        (t1, t5), (s1, s5) = PAPER["speed"]["teacher"][device], PAPER["speed"]["student"][device]
        parts.append(f"{device.upper()} teacher {t1} greedy, {t5} beam 5, student {s1} and {s5} ({s1 / t5:.1f} times)")
    return f"The paper's table on speed (English→German), source words per second: {'; '.join(parts)}."


def _pruning_table(done: Done) -> str:
    on_disk = {row["row"]: row["bytes"] for row in done.bytes_on_disk}
    teacher, whole = done.only(TEACHER), done.whole()
    lines = []
    for row in done.pruned_and_whole():
        model = done.only(row.name)
        cells = [""] * 6
        if model is not None:
            fewer = f"{teacher.weights / model.weights:.1f}" if teacher else ""
            below = [change(each.bleu(BEAM) if each else None, model.bleu(BEAM)) for each in (teacher, whole)]
            cells = [_millions(model, 3), fewer, *(shown(model.bleu(beam)) for beam in BEAMS), *below]
        sizes = [on_disk.get(row.name, {}).get(form) for form in ("dense", *SPARSE_VALUES)]
        megabytes = ["" if size is None else f"{size / 1e6:.2f}" for size in sizes]
        title = f"{100 * row.sparsity:g} %" if row.kind == PRUNED else "as it was"
        lines.append([title, *cells, *megabytes, shown(PAPER["pruned"].get(row.sparsity), 1)])
    titles = ["pruned", "not zero", "times fewer than the teacher", "greedy", "beam 5", "Δ teacher", "Δ unpruned"]
    titles += ["MB dense", *(f"MB sparse {values}" for values in SPARSE_VALUES)]
    return markdown([*titles, "paper: BLEU (English→German)"], lines)
