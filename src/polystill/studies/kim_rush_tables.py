"""A Kim & Rush study's results.md: tables with the paper's figures beside ours, and claims."""

from __future__ import annotations

from collections.abc import Sequence

from polystill.studies.claims import Claim, claims_table, markdown, shown, signed
from polystill.studies.kim_rush import BASELINE, ROWS, SPARSE_VALUES, TEACHER, TUNED_TEACHER, pruned_row
from polystill.studies.kim_rush_found import Found, row_of
from polystill.studies.kim_rush_paper import LANGUAGES, PRUNED, SPEED, TABLES
from polystill.studies.measured import Measured, Row
from polystill.studies.recipe import BEAM, BEAMS, GREEDY, row_id


def to_markdown(found: Found, claims: Sequence[Claim]) -> str:
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


def _main_table(found: Found) -> str:
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
    return "" if before is None or after is None else signed(after - before, digits)


def _percent(share: float | None) -> str:
    """Label smoothing leaves shares far below one percent."""
    return "" if share is None else f"{100 * share:{'.1f' if share >= 0.01 else '.2g'}} %"


def _family_table(found: Found) -> str:
    rows = []
    for model in found.members:
        greedy, beam = (model.get("bleu", each) for each in BEAMS)
        figures = [shown(greedy), shown(beam), _difference(beam, greedy), shown(model.of_model("perplexity"))]
        size = f"{model.weights / 1e6:.2f} M"
        rows.append([f"{model.row} {model.model}", size, *figures, _percent(model.get("p_mode", BEAM))])
    return markdown(["member", "parameters", "greedy", "beam 5", "greedy − beam", "PPL", "p(mode)"], rows)


def _speed_table(found: Found) -> str:
    rows = []
    for row in found.speed.get("rows", []):
        how = f"{row['engine']} {row['precision']}"
        figures = [_spread(row["words_per_second"], ",.0f"), _spread(row["speed_to_teacher_same_engine"], ".2f")]
        rows.append([row_of(row["student"]), how, str(row["batch_size"]), str(row["beam"]), *figures])
    return markdown(["row", "engine", "batch", "beam", "words/s", "times the teacher's beam 5"], rows)


def _spread(figure: Row, form: str) -> str:
    """Median, lowest and highest of the rounds."""
    return f"{figure['median']:{form}} ({figure['min']:{form}}–{figure['max']:{form}})"


def _paper_speed() -> str:
    """The paper's table on speed in a sentence."""
    parts = []
    for device in ("gpu", "cpu"):
        (t1, t5), (s1, s5) = SPEED["teacher"][device], SPEED["student"][device]
        parts.append(f"{device.upper()} teacher {t1} greedy, {t5} beam 5, student {s1} and {s5} ({s1 / t5:.1f} times)")
    return f"The paper's table on speed (English→German), source words per second: {'; '.join(parts)}."


def _pruning_table(found: Found) -> str:
    settings = found.study.pruning
    assert settings is not None
    seed = found.study.seed
    teacher, whole = found.row(TEACHER, seed), found.unpruned()
    on_disk = {row["row"]: row["bytes"] for row in found.pruning()}
    named = {"as it was": (settings.row, 0.0)}
    named |= {f"{100 * sparsity:g} %": (pruned_row(sparsity), sparsity) for sparsity in settings.sparsities}
    rows = []
    for title, (name, sparsity) in named.items():
        model = found.row(name, seed)
        cells = [""] * 6
        if model is not None:
            beam = model.get("bleu", BEAM)
            fewer = "" if teacher is None else f"{teacher.weights / model.weights:.1f}"
            below = [_difference(None if each is None else each.get("bleu", BEAM), beam) for each in (teacher, whole)]
            cells = [f"{model.weights / 1e6:.3f} M", fewer, shown(model.get("bleu", GREEDY)), shown(beam), *below]
        sizes = [on_disk.get(name, {}).get(form) for form in ("dense", *SPARSE_VALUES)]
        megabytes = ["" if size is None else f"{size / 1e6:.2f}" for size in sizes]
        rows.append([title, *cells, *megabytes, shown(PRUNED.get(sparsity), 1)])
    titles = ["pruned", "not zero", "times fewer than the teacher", "greedy", "beam 5", "Δ teacher", "Δ unpruned"]
    titles += ["MB dense", *(f"MB sparse {values}" for values in SPARSE_VALUES)]
    return markdown([*titles, "paper: BLEU (English→German)"], rows)
