"""Results of a Kim & Rush study: tables with the paper's figures beside ours, and its claims one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import yaml

from experiments import aio_kd_paper
from experiments.claims import Claim, Values, Verdict, all_seeds, as_good, better, judged
from experiments.finished import Finished, change, markdown, shown, shown_rounds, signed, timed_row
from experiments.forest import write_forest
from experiments.kim_rush import (
    AS_LONG,
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
    base_of,
    pruned_label,
    sparse_name,
)
from experiments.measured import Measured
from experiments.study import BEAM, BEAMS, GREEDY, Row
from polystill.config import GOLD
from polystill.errors import UserError
from polystill.evaluation.figures import search
from polystill.evaluation.resampling import Difference

TIMES = 10
"""The greedy student is so many times as fast as the teacher with beam 5."""
SPARSITY, FEWER, NEAR = 0.8, 25, 0.4
"""The student that is pruned so far has at least FEWER times fewer parameters than the teacher (the paper: 13, for its
student is larger beside its teacher), and is at most NEAR below it in BLEU, as in the paper, and in chrF."""
BEST = "seq-kd+seq-inter"

PAPER: Values = yaml.safe_load(Path(__file__).with_name("kim_rush_paper.yaml").read_text(encoding="utf-8"))
Figures = dict[str, Values]
"""The rows of the paper's table for one language pair."""
TABLES: dict[str, Figures] = PAPER["tables"]


def write(study: KimRush, folder: Path, rows: Sequence[Row], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Comparisons are computed and drawn at the end (`final`). Until then only those have results that had them before.
    """
    done = Done(study, folder, rows, final=final)
    claims = claims_of(done)
    _compare_all(done)
    content: Values = {"speed": done.speed} if done.speed else {}
    content |= {"pruning": done.bytes_on_disk} if done.bytes_on_disk else {}
    plot = write_forest(done.compared.values(), folder) if final else ""
    done.write("kim-rush", content, claims, [*_tables(done), *([plot] if plot else [])])
    return claims


class Done(Finished[KimRush]):
    """The finished rows, with the timings and the sizes on disk."""

    teachers = (TEACHER, TUNED_TEACHER, AS_LONG)

    def __init__(self, study: KimRush, folder: Path, rows: Sequence[Row], *, final: bool) -> None:
        super().__init__(study, folder, rows, final=final)
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
        rows = [row for row in self.pruned_and_whole() if not row.sparsity and row.seed == self.study.seed]
        models = [self.only(row.name) for row in rows]
        return next((model for model in reversed(models) if model is not None), None)

    def _bytes_on_disk(self) -> Iterator[Values]:
        """Bytes of the weights: `dense` is the run's own file in float32, `float32` and `int8` the sparse forms."""
        for row in self.pruned_and_whole():
            forms = {"dense": row.name, **{values: sparse_name(row.name, values) for values in SPARSE_VALUES}}
            sizes = {form: self.bytes_of_weights(name) for form, name in forms.items() if name in self.written}
            if sizes:
                yield {"row": row.name, "sparsity": row.sparsity, "bytes": sizes}


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


def _compare_all(done: Done) -> None:
    """Each row with those that it is to be compared with; of members the same networks."""
    whole = done.whole()
    for row in (row for kind in (NETWORK, PRUNED, FAMILY) for row in done.of_kind(kind)):
        if row.seed != done.study.seed or not done.members(row.name):
            continue
        against = [*row.against, *([whole.row] if whole is not None and row.sparsity else [])]
        for base, beam in ((base, beam) for base in against if done.members(base) for beam in BEAMS):
            if row.kind != FAMILY:
                done.compare(base, row.label, beam)
                continue
            firsts = {first.network for first in done.members(base)}
            for member in done.members(row.name):
                if member.network in firsts:
                    done.compare(base, row.label, beam, [member.model])


# --- claims -----------------------------------------------------------------------------------------------------------


def claims_of(done: Done) -> list[Claim]:
    """All claims about rows that the study has, measured or not."""
    claims = list(_student_claims(done))
    claims += _speed_claims(done) if done.study.speed else ()
    claims += _pruning_claims(done) if done.study.pruning else ()
    return [*claims, *_family_claims(done)]


def _student_claims(done: Done) -> Iterator[Claim]:
    known = {row.label for row in done.rows.values()}
    for text, written, labels, judge in (statement for statement in _STATEMENTS if known.issuperset(statement[2])):
        try:
            paper = written(TABLES[done.study.paper])
        except KeyError:
            paper = "–"  # not quoted
        yield from done.claim(text, paper, labels, partial(judge, done, *labels))


def _raises(beam: int, done: Done, before: str, after: str) -> Verdict | None:
    compared = done.compare(before, after, beam)
    return judged(compared, better)


def _larger_greedily(done: Done, baseline: str, label: str) -> Verdict:
    """The seeds of both, one by one: a difference of differences has no interval here."""
    pairs = done.pairs(baseline, label)
    gains = [[after.bleu(beam) - before.bleu(beam) for before, after in pairs] for beam in BEAMS]
    holds, why = all_seeds([greedy > max(beam, 0) for greedy, beam in zip(*gains, strict=True)])
    return holds, {"greedy": " and ".join(map(signed, gains[0])), "beam 5": " and ".join(map(signed, gains[1]))}, why


def _near_beam(done: Done, label: str, members: Sequence[str] | None = None) -> Verdict | None:
    """Whether greedy search is as good as beam search with the same models."""
    compared = done.compare(label, label, (BEAM, GREEDY), members)
    return judged(compared, as_good)


def _tenfold(done: Done, baseline: str, label: str) -> Verdict | None:
    pairs = [(a.p_mode, b.p_mode) for a, b in done.pairs(baseline, label)]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if not known:
        return None
    holds, why = all_seeds([after >= 10 * before and after > before for before, after in known])
    ours = {"from": " and ".join(_percent(before) for before, _ in known)}
    ours |= {"to": " and ".join(_percent(after) for _, after in known)}
    times = [f"{after / before:.1f}" for before, after in known if before > 0]
    return holds, ours | ({"times": " and ".join(times)} if times else {}), why


def _worse_perplexity(done: Done, baseline: str, label: str) -> Verdict | None:
    pairs = [(a.any.perplexity, b.any.perplexity) for a, b in done.pairs(baseline, label)]
    worse = [after > before for before, after in pairs if before is not None and after is not None]
    compared = done.compare(baseline, label, BEAM)
    if not worse or compared is None:
        return None
    holds, ours, why = compared.judge(better)
    ours |= {"PPL": " and ".join(f"{shown(before)} → {shown(after)}" for before, after in pairs)}
    of_perplexity, unclear = all_seeds(worse)
    if of_perplexity is None:
        return None, ours, unclear
    return (holds if of_perplexity else False), ours, why


def _gain(table: Figures, row: str, key: str) -> str:
    """Of the paper's student over its baseline."""
    return f"{table[row][key] - table[BASELINE][key]:+.1f}"


def _from_to(table: Figures, rows: tuple[str, str], key: str, written: Callable[[float], str] = str) -> str:
    return " → ".join(written(table[row][key]) for row in rows)


_TAUGHT, _BEST, _TUNED = (BASELINE, SEQ_KD), (BASELINE, BEST), (TEACHER, TUNED_TEACHER)
_GREEDILY, _WITH_BEAM = partial(_raises, GREEDY), partial(_raises, BEAM)
_STATEMENTS: list[tuple[str, Callable[[Figures], str], tuple[str, ...], Callable[..., Verdict | None]]] = [
    ("Seq-KD raises the student's greedy BLEU", lambda t: _gain(t, SEQ_KD, "greedy"), _TAUGHT, _GREEDILY),
    ("Seq-KD raises the student's BLEU with beam 5", lambda t: _gain(t, SEQ_KD, "beam"), _TAUGHT, _WITH_BEAM),
    ("Seq-KD + Seq-Inter raises the student's greedy BLEU", lambda t: _gain(t, BEST, "greedy"), _BEST, _GREEDILY),
    ("Seq-KD + Seq-Inter raises the student's BLEU with beam 5", lambda t: _gain(t, BEST, "beam"), _BEST, _WITH_BEAM),
    (
        "Word-KD raises the student's greedy BLEU",
        lambda t: _gain(t, "word-kd", "greedy"),
        (BASELINE, "word-kd"),
        _GREEDILY,
    ),
    (
        "Seq-KD brings more BLEU with greedy search than with beam 5",
        lambda t: f"{_gain(t, SEQ_KD, 'greedy')} / {_gain(t, SEQ_KD, 'beam')}",
        _TAUGHT,
        _larger_greedily,
    ),
    (
        "After Seq-KD the student's greedy search is as good as its beam 5",
        lambda t: f"{t[SEQ_KD]['greedy']} / {t[SEQ_KD]['beam']}",
        (SEQ_KD,),
        _near_beam,
    ),
    (
        "Seq-KD raises the probability of the student's best translation, p(mode), at least tenfold",
        lambda t: _from_to(t, _TAUGHT, "p_mode", _percent),
        _TAUGHT,
        _tenfold,
    ),
    (
        "After Seq-KD the student's perplexity is worse, and its BLEU with beam 5 better",
        lambda t: _from_to(t, _TAUGHT, "perplexity"),
        _TAUGHT,
        _worse_perplexity,
    ),
    ("Seq-Inter raises the teacher's own greedy BLEU", lambda t: _from_to(t, _TUNED, "greedy"), _TUNED, _GREEDILY),
]
"""Each claim's text, the paper's figures by its table, the rows that decide it, and how they do."""


def _speed_claims(done: Done) -> Iterator[Claim]:
    """Of each student, engine and batch size: its greedy search and the teacher's beam search, timed in turn."""
    text = f"The student is greedily at least {TIMES} times as fast as the teacher with beam 5"
    student, teacher = PAPER["speed"]["student"], PAPER["speed"]["teacher"]
    gpu, cpu = (f"{student[device][0] / teacher[device][1]:.1f}" for device in ("gpu", "cpu"))
    paper = f"English→German: {gpu} (GPU), {cpu} (CPU)"
    timings = [row for row in done.speed.get("rows", []) if row["student"] != TEACHER and row["beam"] == GREEDY]
    if not timings:
        yield Claim(text, paper, None, {}, [SPEED])
    for timing in timings:
        times = timing["speed_to_teacher_same_engine"]
        which = f"row {timed_row(timing)}, {timing['engine']} {timing['precision']}, batch {timing['batch_size']}"
        ours = {"times": times["median"], "from": times["min"], "to": times["max"]}
        holds = True if times["min"] >= TIMES else False if times["max"] < TIMES else None
        yield Claim(f"{text} ({which})", paper, holds, ours)


def _pruning_claims(done: Done) -> Iterator[Claim]:
    assert done.study.pruning is not None
    before = TABLES["english-german"][TEACHER]["beam"]
    paper = f"English→German: {before} → {PAPER['pruned'][SPARSITY]}, {PAPER['times_fewer'][SPARSITY]} times fewer"
    if (row := pruned_label(SPARSITY)) not in done.rows:
        return

    def near(found: Difference) -> bool | None:
        return True if found.low > -NEAR else False if found.high < -NEAR else None

    def judge(label: str) -> Verdict | None:
        teacher, pruned, compared = done.only(label), done.only(row), done.compare(label, row, BEAM)
        if teacher is None or pruned is None or compared is None:
            return None
        times = teacher.weights / pruned.weights
        holds, ours, why = compared.judge(near)
        return (holds if times >= FEWER else False), ours | {"times fewer": times}, why

    teachers = {TEACHER: "the teacher"}
    if done.study.pruning.teacher_as_long:
        teachers[AS_LONG] = "a teacher trained for as many updates as it"
    for label, teacher in teachers.items():
        text = f"Pruned by {100 * SPARSITY:g} % and trained on, the student is at most {NEAR} below {teacher} (beam 5)"
        yield from done.claim(
            f"{text}, with {FEWER} times fewer parameters", paper, [label, row], partial(judge, label)
        )


def _family_claims(done: Done) -> Iterator[Claim]:
    """Claims about the two systems together."""
    for row in (row for row in done.of_kind(FAMILY) if row.seed == done.study.seed):
        for gold in (label for label in row.against if done.rows[label].kind == FAMILY):
            yield from _better_than_on_gold(done, gold, row.label)

    def as_good_as_alone(alone: str, row: Row, member: Measured) -> Verdict | None:
        compared = done.compare(alone, row.label, GREEDY, [member.model])
        return judged(compared, as_good)

    for row, member in done.family_members():
        if member.any.targets == GOLD or row.seed != done.study.seed:
            continue
        name = f"{member.model} of {row.label}"
        near = partial(_near_beam, done, row.label, [member.model])
        yield from done.claim(f"{name} is as good greedily as with beam 5", "–", [row.label], near)
        for label in row.trained_alone:
            network, alone = done.rows[label].parsed.model, done.only(label)
            same = (network.architecture, str(network.teacher)) == (member.any.architecture, member.model)
            if same and (alone is None or alone.network == member.network):
                text = f"{name} is as good greedily as the same student trained alone on the same translations"
                judge = partial(as_good_as_alone, label, row, member)
                yield from done.claim(text, "–", [label, row.label], judge)


def _better_than_on_gold(done: Done, gold: str, label: str) -> Iterator[Claim]:
    """Of a family on translations, beside the same one on references; the paper has beam search's."""
    members = [member.model for member in done.members(label)]
    paper = aio_kd_paper.gain("family", "family-on-seq-kd", members) if members else "–"
    for beam in BEAMS:
        text = f"{label} is better than {gold}, {search(beam)}, on the mean of its members"
        judge = partial(_raises, beam, done, gold, label)
        yield from done.claim(text, paper if beam == BEAM else "–", [gold, label], judge)


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
_CHRF = ("chrF greedy", "chrF beam 5")


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
        base = base_of(row.label)
        before = done.only(study.named(base, row.seed)) if base else None
        ours = _cells(_figures(model), _figures(before), 2)
        theirs = _cells(paper.get(row.label, {}), paper.get(base or "", {}), 1)
        lines.append([row.name, _millions(model), *ours, *_chrf(model), *theirs])
    return markdown(["row", "parameters", *_TITLES, *_CHRF, *(f"paper: {title}" for title in _TITLES)], lines)


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


def _chrf(model: Measured | None) -> list[str]:
    return ["" if model is None else shown(model.by_beam[beam].chrf) for beam in BEAMS]


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
        lines.append([f"{row.name} {model.model}", _millions(model), *figures, _percent(model.p_mode), *_chrf(model)])
    return markdown(["member", "parameters", "greedy", "beam 5", "greedy − beam", "PPL", "p(mode)", *_CHRF], lines)


def _speed_table(done: Done) -> str:
    lines = []
    for timing in done.speed.get("rows", []):
        how = [f"{timing['engine']} {timing['precision']}", str(timing["batch_size"]), str(timing["beam"])]
        speed, times = timing["words_per_second"], timing["speed_to_teacher_same_engine"]
        lines.append([timed_row(timing), *how, shown_rounds(speed, ",.0f"), shown_rounds(times, ".2f")])
    return markdown(["row", "engine", "batch", "beam", "words/s", "times the teacher's beam 5"], lines)


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
        title += f", seed {row.seed}" if row.seed != done.study.seed else ""
        lines.append([title, *cells, *_chrf(model), *megabytes, shown(PAPER["pruned"].get(row.sparsity), 1)])
    titles = [
        "pruned",
        "not zero",
        "times fewer than the teacher",
        "greedy",
        "beam 5",
        "Δ teacher",
        "Δ unpruned",
        *_CHRF,
    ]
    titles += ["MB dense", *(f"MB sparse {values}" for values in SPARSE_VALUES)]
    return markdown([*titles, "paper: BLEU (English→German)"], lines)
