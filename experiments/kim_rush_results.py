"""Results of a Kim & Rush study: tables with the paper's figures beside ours, and its claims one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

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
from experiments.measured import Finished, Measured, Values, change, claims_table, markdown, shown
from experiments.significance import (
    NO_CLEAR_DIFFERENCE,
    NOT_MEASURED,
    NOT_TESTED,
    Bootstrap,
    Claim,
    as_good,
    better,
)
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.errors import UserError
from polystill.models.folder import weights_path
from polystill.storage import write_atomic

NEAR = 0.3
"""BLEU by which greedy search may stay behind beam search and still count as good as it."""
BEST = "seq-kd+seq-inter"

PAPER: Values = yaml.safe_load(Path(__file__).with_name("kim_rush_paper.yaml").read_text(encoding="utf-8"))
TABLES: dict[str, dict[str, Values]] = PAPER["tables"]
UNQUOTED = "–"


def write(study: KimRush, folder: Path, rows: Sequence[Row], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Bootstraps are computed at the end (`final`); until then only differences that were tested before say how sure they
    are.
    """
    done = Done(study, folder, rows, Bootstrap(folder, final))
    claims = claims_of(done)
    content: Values = {"claims": [claim.record() for claim in claims], "significance": _significance(done)}
    content |= {"speed": done.speed} if done.speed else {}
    content |= {"pruning": done.bytes_on_disk} if done.bytes_on_disk else {}
    done.write("kim-rush", content)
    write_atomic(folder / "results.md", _to_markdown(done, claims))
    return claims


class Done(Finished[KimRush]):
    """What is finished, with the timings and the sizes on disk."""

    def __init__(self, study: KimRush, folder: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
        super().__init__(study, folder, rows, bootstrap)
        self.speed = _timings(folder / "speed.json")
        self.bytes_on_disk = list(self._bytes_on_disk())

    def network(self, label: str, seed: int | None = None) -> Measured | None:
        return self.only(self.study.named(label, self.study.seed if seed is None else seed))

    def of_kind(self, kind: str) -> list[Row]:
        """In the order of the paper's table, seed by seed."""
        order = {name: i for i, name in enumerate(METHODS)}
        seeds = self.study.seeds
        rows = [row for row in self.rows.values() if row.kind == kind]
        return sorted(rows, key=lambda row: (seeds.index(row.seed), order.get(row.label, len(order))))

    def family_members(self) -> list[tuple[Row, Measured]]:
        """All members, with the rows of their families."""
        return [(row, member) for row in self.rows.values() if row.kind == FAMILY for member in self.members(row.name)]

    def pruned_and_whole(self) -> list[Row]:
        """The row that is pruned as it was, and the pruned ones."""
        assert self.study.pruning is not None
        before = [self.rows[self.study.pruning.row]] if self.study.pruning.row in self.rows else []
        return [*before, *(row for row in self.rows.values() if row.kind == PRUNED)]

    def whole(self) -> Measured | None:
        """What pruned models are compared with: the whole one trained on likewise, or else the one that was pruned."""
        models = [self.only(row.name) for row in self.pruned_and_whole() if not row.sparsity]
        return next((model for model in reversed(models) if model is not None), None)

    def compared(self, row: Row) -> list[Measured]:
        """The models that those of a row are to be better than, or as good as."""
        models = [model for name in row.against for model in self.members(name)]
        whole = self.whole() if row.kind == PRUNED and row.sparsity else None
        return models if whole is None else [*models, whole]

    def _bytes_on_disk(self) -> Iterator[Values]:
        """Bytes of the weights: `dense` is the run's own file in float32, `float32` and `int8` the sparse forms."""
        for row in self.pruned_and_whole() if self.study.pruning else ():
            forms = {"dense": row.name, **{values: sparse_name(row.name, values) for values in SPARSE_VALUES}}
            sizes = {form: self._size(name) for form, name in forms.items() if name in self.written}
            if sizes:
                yield {"row": row.name, "sparsity": row.sparsity, "bytes": sizes}

    def _size(self, name: str) -> int:
        folder = self.folder / self.rows[name].out
        return weights_path(folder / "family" if (folder / "family").is_dir() else folder).stat().st_size


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
    rows: list[Values] = []
    for kind in (NETWORK, PRUNED, FAMILY):
        for row in (row for row in done.rows.values() if row.kind == kind):
            for model in done.members(row.name):
                for first in done.compared(row):
                    if kind != FAMILY or first.network == model.network:
                        rows += done.bootstrap.against(first, [model], BEAMS)
    return rows


# --- claims -----------------------------------------------------------------------------------------------------------

Judged = tuple[bool | None, Values]


def claims_of(done: Done) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    students = [claim for seed in done.study.seeds for claim in _student_claims(done, seed)]
    return [*students, *_speed_claims(done), *_pruning_claims(done), *_family_claims(done)]


def _student_claims(done: Done, seed: int) -> Iterator[Claim]:
    """What a student gains, for one seed."""
    for text, paper, labels, judge in _statements(done):
        models = [done.network(label, seed) for label in labels]
        missing = [done.study.named(label, seed) for label, model in zip(labels, models, strict=True) if model is None]
        if not missing:
            suffix = "" if seed == done.study.seed else f" (seed {seed})"
            holds, ours = judge(*models)
            yield Claim(text + suffix, paper, holds, ours, undecided=_undecided(ours))
        elif seed == done.study.seed:  # a further seed has the rows that were asked for
            yield Claim(text, paper, None, {}, missing)


def _statements(done: Done) -> list[tuple[str, str, tuple[str, ...], Callable[..., Judged]]]:
    """Each claim's text, the paper's figures, the rows that decide it, and how they do."""

    def gain(beam: int) -> Callable[[Measured, Measured], Judged]:
        return lambda before, after: _gain(done, before, after, beam)

    def near(model: Measured) -> Judged:
        return _near_beam(done, model)

    table, taught, best = TABLES[done.study.paper], (BASELINE, SEQ_KD), (BASELINE, BEST)
    greedy, beam = (_paper_gain(table, SEQ_KD, key) for key in ("greedy", "beam"))
    both = UNQUOTED if UNQUOTED in (greedy, beam) else f"{greedy} / {beam}"
    alike = f"{table[SEQ_KD]['greedy']} / {table[SEQ_KD]['beam']}" if SEQ_KD in table else UNQUOTED
    tenfold = _paper_change(table, *taught, "p_mode", lambda share: f"{100 * share:.1f} %")
    worse = _paper_change(table, *taught, "perplexity")
    tuned = _paper_change(table, TEACHER, TUNED_TEACHER, "greedy")
    best_greedy, best_beam = (_paper_gain(table, BEST, key) for key in ("greedy", "beam"))
    word = _paper_gain(table, "word-kd", "greedy")
    return [
        ("Seq-KD raises the student's greedy BLEU", greedy, taught, gain(GREEDY)),
        ("Seq-KD raises the student's BLEU with beam 5", beam, taught, gain(BEAM)),
        ("Seq-KD + Seq-Inter raises greedy BLEU", best_greedy, best, gain(GREEDY)),
        ("Seq-KD + Seq-Inter raises BLEU with beam 5", best_beam, best, gain(BEAM)),
        ("Word-KD raises greedy BLEU", word, (BASELINE, "word-kd"), gain(GREEDY)),
        ("The gain from Seq-KD is larger greedily", both, taught, _larger_greedily),
        (f"After Seq-KD greedy is within {NEAR} of beam 5", alike, (SEQ_KD,), near),
        ("Seq-KD raises p(mode) at least tenfold", tenfold, taught, _tenfold),
        ("Perplexity is worse while BLEU is better", worse, taught, _worse_perplexity),
        ("Seq-Inter raises the teacher's own greedy BLEU", tuned, (TEACHER, TUNED_TEACHER), gain(GREEDY)),
    ]


def _paper_gain(table: dict[str, Values], row: str, key: str) -> str:
    """Over the baseline."""
    before, after = (table.get(name, {}).get(key) for name in (BASELINE, row))
    return UNQUOTED if before is None or after is None else f"{after - before:+.1f}"


def _paper_change(
    table: dict[str, Values], first: str, second: str, key: str, written: Callable[[float], str] = str
) -> str:
    before, after = (table.get(name, {}).get(key) for name in (first, second))
    return UNQUOTED if before is None or after is None else f"{written(before)} → {written(after)}"


def _gain(done: Done, before: Measured, after: Measured, beam: int) -> Judged:
    first, second = before.by_beam[beam].bleu, after.by_beam[beam].bleu
    p_value = done.bootstrap.p_value(before, after, beam)
    ours = {"from": first, "to": second, "gain": second - first} | ({} if p_value is None else {"p": p_value})
    return better(second - first, p_value), ours


def _larger_greedily(baseline: Measured, model: Measured) -> Judged:
    greedy, beam = model.greedy - baseline.greedy, model.beam - baseline.beam
    return greedy > max(beam, 0), {"greedy": greedy, "beam 5": beam}


def _near_beam(done: Done, model: Measured) -> Judged:
    """Whether greedy search is as good as beam search: not where it is significantly more than `NEAR` behind."""
    behind = model.beam - model.greedy
    ours = {"greedy": model.greedy, "beam 5": model.beam, "behind": behind}
    gap = done.bootstrap.of_searches(model, GREEDY, BEAM)
    ours |= {} if gap is None else {"low": gap["low"], "high": gap["high"]}
    if behind <= NEAR:
        return True, ours
    return (False if gap is not None and gap["low"] > NEAR else None), ours


def _undecided(ours: Values) -> str:
    """Why figures do not decide a claim."""
    return NO_CLEAR_DIFFERENCE if {"p", "low"} & ours.keys() else NOT_TESTED if ours else NOT_MEASURED


def _tenfold(baseline: Measured, model: Measured) -> Judged:
    before, after = baseline.p_mode, model.p_mode
    if before is None or after is None:
        return None, {}
    ours = {"from": before, "to": after} | ({"times": after / before} if before > 0 else {})
    return after >= 10 * before and after > before, ours


def _worse_perplexity(baseline: Measured, model: Measured) -> Judged:
    before, after = baseline.any.perplexity, model.any.perplexity
    if before is None or after is None:
        return None, {}
    ours = {"PPL from": before, "to": after, "BLEU from": baseline.beam, "to BLEU": model.beam}
    return after > before and model.beam > baseline.beam, ours


def _speed_claims(done: Done) -> Iterator[Claim]:
    """Of each student, engine and batch size: its greedy search and the teacher's beam search, timed in turn."""
    if done.study.speed is None:
        return
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
    if done.study.pruning is None:
        return
    text = "80 % pruned: at most 0.4 BLEU below the teacher's beam 5, with 25 times fewer parameters"
    before = TABLES["english-german"][TEACHER]["beam"]
    paper = f"English→German: {before} → {PAPER['pruned'][0.8]}, {PAPER['times_fewer'][0.8]} times fewer"
    row = next((row.name for row in done.rows.values() if row.kind == PRUNED and row.sparsity == 0.8), f"{PRUNED}-80")
    teacher, whole, pruned = done.network(TEACHER), done.whole(), done.only(row)
    if teacher is None or whole is None or pruned is None:
        models = {TEACHER: teacher, done.study.pruning.row: whole, row: pruned}
        yield Claim(text, paper, None, {}, [name for name, model in models.items() if model is None])
        return
    loss, times = teacher.beam - pruned.beam, teacher.weights / pruned.weights
    ours = {"teacher": teacher.beam, "unpruned": whole.beam, "pruned": pruned.beam, "below the teacher": loss}
    ours |= {"below the unpruned": whole.beam - pruned.beam, "times fewer": times}
    yield Claim(text, paper, loss <= 0.4 and times >= 25, ours)


def _family_claims(done: Done) -> Iterator[Claim]:
    """What the two systems do together; no paper has figures of it."""
    for row, member in done.family_members():
        if "beam" not in member.any.targets:
            continue
        holds, ours = _near_beam(done, member)
        name = f"{row.name} {member.model}"
        text = f"{name}: greedy is within {NEAR} of its own beam 5"
        yield Claim(text, "–", holds, ours, undecided=_undecided(ours))
        for alone in row.trained_alone:
            network = done.rows[alone].parsed.model
            if (network.architecture, str(network.teacher)) == (member.any.architecture, member.model):
                yield from _as_good_as_alone(done, member, f"{name}: greedy as good as the same student alone", alone)


def _as_good_as_alone(done: Done, member: Measured, text: str, name: str) -> Iterator[Claim]:
    """Nothing where the row turns out to train another network, or is of a further seed and missing."""
    alone = done.only(name)
    if alone is None:
        if member.seed == done.study.seed:
            yield Claim(text, "–", None, {}, [name])
    elif alone.network == member.network:
        p_value = done.bootstrap.p_value(alone, member, GREEDY)
        ours = {"member": member.greedy, alone.row: alone.greedy} | ({} if p_value is None else {"p": p_value})
        yield as_good(text, "–", member.greedy - alone.greedy, p_value, ours)


# --- tables -----------------------------------------------------------------------------------------------------------


def _to_markdown(done: Done, claims: Sequence[Claim]) -> str:
    study = done.study
    about = f"{done.conditions()}. The paper's columns: Kim & Rush (2016), table 1, {PAPER['languages'][study.paper]}."
    parts = [f"# Kim & Rush: {study.name}", about, _main_table(done)]
    if study.families:
        parts += ["## Families", _family_table(done)]
    if study.speed:
        parts += ["## Words per second", _speed_table(done), _paper_speed()]
    if study.pruning:
        parts += ["## Pruning", _pruning_table(done)]
    return "\n\n".join([*parts, "## Claims", claims_table(claims)]) + "\n"


_TITLES = ("greedy", "Δ", "beam 5", "Δ", "PPL", "p(mode)")


def _main_table(done: Done) -> str:
    """A row that the recipe asks for has its line before it is measured, too."""
    table = TABLES[done.study.paper]
    lines = []
    for row in done.of_kind(NETWORK):
        model = done.only(row.name)
        if model is None and (row.seed != done.study.seed or row.label not in (done.study.rows or METHODS)):
            continue
        base = TEACHER if row.label in (TEACHER, TUNED_TEACHER) else BASELINE
        size = "" if model is None else f"{model.weights / 1e6:.2f} M"
        own = [""] * len(_TITLES) if model is None else _cells(model, done.network(base, row.seed))
        lines.append([row.name, size, *own, *_paper_cells(table.get(row.label, {}), table.get(base, {}))])
    return markdown(["row", "parameters", *_TITLES, *(f"paper: {title}" for title in _TITLES)], lines)


def _cells(model: Measured, base: Measured | None) -> list[str]:
    cells = []
    for beam in BEAMS:
        before = None if base is None or base is model else base.bleu(beam)
        cells += [shown(model.bleu(beam)), change(before, model.bleu(beam))]
    return [*cells, shown(model.any.perplexity), _percent(model.p_mode)]


def _paper_cells(row: Values, base: Values) -> list[str]:
    cells = []
    for key in ("greedy", "beam"):
        before = None if base is row else base.get(key)
        cells += [shown(row.get(key), 1), change(before, row.get(key), 1)]
    return [*cells, shown(row.get("perplexity"), 1), _percent(row.get("p_mode"))]


def _percent(share: float | None) -> str:
    """Label smoothing leaves shares far below one percent."""
    return "" if share is None else f"{100 * share:{'.1f' if share >= 0.01 else '.2g'}} %"


def _family_table(done: Done) -> str:
    lines = []
    for row, model in done.family_members():
        greedy, beam = model.bleu(GREEDY), model.bleu(BEAM)
        figures = [shown(greedy), shown(beam), change(beam, greedy), shown(model.any.perplexity)]
        lines.append([f"{row.name} {model.model}", f"{model.weights / 1e6:.2f} M", *figures, _percent(model.p_mode)])
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
    teacher, whole = done.network(TEACHER), done.whole()
    lines = []
    for row in done.pruned_and_whole():
        model = done.only(row.name)
        title = f"{100 * row.sparsity:g} %" if row.kind == PRUNED else "as it was"
        cells = [""] * 6
        if model is not None:
            fewer = "" if teacher is None else f"{teacher.weights / model.weights:.1f}"
            below = [change(each.bleu(BEAM) if each else None, model.bleu(BEAM)) for each in (teacher, whole)]
            bleu = [shown(model.bleu(beam)) for beam in BEAMS]
            cells = [f"{model.weights / 1e6:.3f} M", fewer, *bleu, *below]
        sizes = [on_disk.get(row.name, {}).get(form) for form in ("dense", *SPARSE_VALUES)]
        megabytes = ["" if size is None else f"{size / 1e6:.2f}" for size in sizes]
        lines.append([title, *cells, *megabytes, shown(PAPER["pruned"].get(row.sparsity), 1)])
    titles = ["pruned", "not zero", "times fewer than the teacher", "greedy", "beam 5", "Δ teacher", "Δ unpruned"]
    titles += ["MB dense", *(f"MB sparse {values}" for values in SPARSE_VALUES)]
    return markdown([*titles, "paper: BLEU (English→German)"], lines)
