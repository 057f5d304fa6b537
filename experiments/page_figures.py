"""What pages quote: figures and tables from the JSON in docs/results/, as functions of the expressions in pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from experiments.aio_kd_results import detaching_table
from experiments.claims import Values
from experiments.costs import ABOUT, HEADINGS, about_estimates, table_lines
from experiments.finished import between, markdown, mean_over_seeds, shown, shown_rounds, signed, timed_row
from experiments.kim_rush import base_of
from polystill.errors import UserError
from polystill.evaluation.figures import megabytes, search

RESULTS = Path(__file__).parents[1] / "docs" / "results"


@cache
def content(source: str) -> Values:
    """A file of docs/results/, or the results.json of a study there.

    Raises:
        UserError: there is none.
    """
    path = RESULTS / f"{source}.json"
    path = path if path.is_file() else RESULTS / source / "results.json"
    if not path.is_file():
        raise UserError(f"docs/results: neither {source}.json nor {source}/results.json is there")
    values: Values = json.loads(path.read_text(encoding="utf-8"))
    return values


def row(
    source: str,
    name: str,
    beam: int,
    model: str = "",
    *,
    precision: str = "float32",
    shortlist: bool = False,
    test_set: str = "",
) -> Values:
    """The row of a student of a run, or of a row of a study (its student `model` where it has several).

    test_set: by default a study's own.

    Raises:
        UserError: there is none, or several.
    """
    is_study = "study" in content(source)
    names = {"row": name, "model": model} if is_study else {"model": name}
    names["test_set"] = test_set or content(source).get("test_set", "")  # a study's rows are of the validation set, too
    wanted = {key: value for key, value in names.items() if value} | {"beam": beam, "precision": precision}
    found = [
        each
        for each in content(source)["rows"]
        if all(each.get(key) == value for key, value in wanted.items()) and each.get("shortlist", False) == shortlist
    ]
    if len(found) != 1:
        raise UserError(f"docs/results: {source} has {len(found)} rows with {wanted}")
    result: Values = found[0]
    return result


def gain(source: str, before: str, after: str, beam: int, metric: str, model: str = "") -> float:
    """The score of a study's row `after` minus that of `before`."""
    first, second = (row(source, name, beam, model)[metric] for name in (before, after))
    return float(second - first)


def family(source: str, name: str) -> Values:
    """A family of an AIO-KD study."""
    found: Values = next(each for each in content(source)["families"] if each["row"] == name)
    return found


def cpu_seconds(source: str, *rows: str) -> float:
    """Processor time of the training of a run, or of these rows of a study."""
    cost = content(source)["cost"]
    stages = [stage for name in rows for stage in cost[name].items()] if rows else list(cost.items())
    return float(sum(each["cpu_seconds"] for stage, each in stages if stage.startswith("training.")))


# --- tables -----------------------------------------------------------------------------------------------------------


def students(source: str, mean: bool = False, lowercased: bool = True) -> str:
    """All students of a run in float32: size, perplexity and, by search, BLEU, BLEU -lc (if `lowercased`) and chrF."""
    metrics = {"bleu": "BLEU", "bleu_lc": "-lc", "chrf": "chrF"}
    if not lowercased:
        del metrics["bleu_lc"]
    models = dict.fromkeys(each["model"] for each in content(source)["rows"])
    lines, scores = [], []
    for model in sorted(models, key=lambda model: -row(source, model, 1)["parameters"]):
        by_beam = [row(source, model, beam) for beam in (1, 5)]
        figures = [each[key] for each in by_beam for key in metrics]
        first = by_beam[0]
        size = [f"{first['parameters'] / 1e6:.2f} M", megabytes(first["size_bytes"]), shown(first["perplexity"])]
        lines.append([model, *size, *map(shown, figures)])
        scores.append(figures)
    if mean:
        lines.append(["mean", "", "", "", *(shown(sum(column) / len(column)) for column in zip(*scores, strict=True))])
    greedy, beam = (
        [title.replace("BLEU", f"BLEU {how}") for title in metrics.values()] for how in ("greedy", "beam 5")
    )
    titles = ["student", "parameters", "size", "PPL", *greedy, *beam]
    return markdown(titles, lines)


def members(source: str, test_set: str) -> str:
    """All students of a run as they ship, in int8: size and scores, and how far these are from float32's."""
    models = dict.fromkeys(each["model"] for each in content(source)["rows"])
    lines = []
    for model in sorted(models, key=lambda model: -row(source, model, 1, test_set=test_set)["parameters"]):
        by_beam = {beam: _both_precisions(source, model, beam, test_set) for beam in (1, 5)}
        first = by_beam[1][0]
        cells = [model, f"{first['parameters'] / 1e6:.2f} M", megabytes(first["size_bytes"])]
        for int8, float32 in by_beam.values():
            cells += [each for key in ("bleu", "chrf") for each in (shown(int8[key]), signed(int8[key] - float32[key]))]
        lines.append(cells)
    scores = [f"{title} {how}" for how in ("greedy", "beam 5") for title in ("BLEU", "chrF")]
    return markdown(["student", "parameters", "size", *(each for score in scores for each in (score, "int8"))], lines)


def _both_precisions(source: str, model: str, beam: int, test_set: str) -> list[Values]:
    return [row(source, model, beam, precision=each, test_set=test_set) for each in ("int8", "float32")]


def beside_firefox(sources: dict[str, str], labels: Sequence[str]) -> str:
    """Firefox's model and students with these labels, as `tools/compare_firefox.py` measured them, by text."""
    first = next(iter(sources.values()))
    lines = []
    for label in ("Firefox", *labels):
        rows = {source: _of_firefox(source, label) for source in sources.values()}
        one, *batches = rows[first]
        cells = [label, f"{one['megabytes']:.1f}"]
        cells += [shown(each[0][key]) for each in rows.values() for key in ("bleu", "chrf")]
        speed = [shown_rounds(each["times_as_fast"], ".1f") for each in (one, *batches)]
        lines.append([*cells, shown_rounds(one["p50_ms"], ".1f"), *speed, *[""] * (2 - len(speed))])
    scores = [f"{title} {text}" for text in sources for title in ("BLEU", "chrF")]
    return markdown(["model", "MB", *scores, "ms a sentence", "times as fast", "in batches"], lines)


def _of_firefox(source: str, label: str) -> list[Values]:
    """A model's rows: one sentence at a time, and perhaps in batches."""
    rows = [each for each in content(source)["rows"] if each["label"] == label]
    if not rows:
        raise UserError(f"docs/results: {source} has no rows of {label}")
    return sorted(rows, key=lambda each: "p50_ms" not in each)


def stages(runs: dict[str, Sequence[str]]) -> str:
    """What the stages of these runs cost, each from one or several files with a `cost`."""
    by_run = {
        title: {stage: cost for source in sources for stage, cost in content(source)["cost"].items()}
        for title, sources in runs.items()
    }
    names = dict.fromkeys(stage for costs in by_run.values() for stage in costs)
    totals = {title: sum(cost["cpu_seconds"] for cost in costs.values()) for title, costs in by_run.items()}
    lines = [
        [stage, *(cell for title, costs in by_run.items() for cell in _minutes(costs.get(stage), totals[title]))]
        for stage in names
    ]
    lines.append(["all", *(cell for total in totals.values() for cell in _minutes({"cpu_seconds": total}, total))])
    return markdown(["stage", *(each for title in runs for each in (f"{title}: CPU minutes", "share"))], lines)


def _minutes(cost: Values | None, total: float) -> list[str]:
    if cost is None:
        return ["", ""]
    return [f"{cost['cpu_seconds'] / 60:.1f}", f"{cost['cpu_seconds'] / total:.0%}"]


def pairs(first: Sequence[str], second: Sequence[str], models: Sequence[str], titles: Sequence[str], mean: str) -> str:
    """The same students of two runs: BLEU as `sacrebleu -lc` counts it, and chrF, with their differences.

    `first` and `second` are the sources of each model, or one for all; `mean` is the title of the line with means.
    """
    lines = {}
    for beam in (5, 1):
        columns = []
        for number, model in enumerate(models):
            sides = [row(sources[number % len(sources)], model, beam) for sources in (first, second)]
            columns.append([side[key] for key in ("bleu_lc", "chrf") for side in sides])
            if not mean or len(models) == 2:
                lines[number, beam] = [model, *_with_changes(beam, columns[-1])]
        if mean:
            means = [sum(each) / len(each) for each in zip(*columns, strict=True)]
            lines[len(models), beam] = [mean, *_with_changes(beam, means)]
    scores = [each for name in ("BLEU -lc", "chrF") for each in (f"{name}, {titles[0]}", titles[1], "difference")]
    return markdown(["student", "search", *scores], [lines[key] for key in sorted(lines, key=lambda k: (k[0], -k[1]))])


def _with_changes(beam: int, scores: Sequence[float]) -> list[str]:
    cells = [search(beam)]
    for before, after in (scores[:2], scores[2:]):
        cells += [shown(before), shown(after), signed(after - before)]
    return cells


def as_shipped(source: str) -> str:
    """All students of a run in int8, without and with a shortlist: size, BLEU and latency by search."""
    models = dict.fromkeys(each["model"] for each in content(source)["rows"])
    lines, columns = [], []
    for model in sorted(models, key=lambda model: -row(source, model, 1)["parameters"]):
        both = [{beam: _int8(source, model, beam, shortlist) for beam in (1, 5)} for shortlist in (False, True)]
        cells = [f"{each[1]['size_bytes'] / 1e6:.1f}" for each in both]
        for beam in (1, 5):
            cells += [shown(each[beam]["bleu"]) for each in both] + [_latency(each[beam]) for each in both]
        keys = (("bleu", 1), ("latency_p50_ms", 1), ("bleu", 5), ("latency_p50_ms", 5))
        columns.append([each[beam][key] for key, beam in keys for each in both])
        lines.append([model, *cells])
    means = [sum(column) / len(column) for column in zip(*columns, strict=True)]
    lines.append(["mean", "", "", *(f"{each:.{1 if i % 4 > 1 else 2}f}" for i, each in enumerate(means))])
    by_search = [each for how in ("greedy", "beam 5") for each in (f"BLEU {how}", "+list", "ms", "+list")]
    return markdown(["student", "MB", "+list", *by_search], lines)


def _int8(source: str, model: str, beam: int, shortlist: bool) -> Values:
    return row(source, model, beam, precision="int8", shortlist=shortlist)


def _latency(figures: Values) -> str:
    middle, *limits = (figures[f"latency_p50_ms{end}"] for end in ("", "_min", "_max"))
    return f"{middle:.1f} ({limits[0]:.1f}–{limits[1]:.1f})"


def gains(source: str, titles: dict[str, str]) -> str:
    """Rows of a Kim & Rush study by their titles: BLEU, its gain over the row that it is compared with, and chrF.

    Also perplexity and p(mode). The gain is over the same seed. A name with a slash is a run of its own.

    """
    lines = []
    for name, title in titles.items():
        label, seed, number = name.partition("-seed")
        base = base_of(label)
        cells = []
        for beam in (1, 5):
            here = row(name, "", beam) if "/" in name else row(source, name, beam)
            before = row(source, f"{base}{seed}{number}", beam) if base else None
            for key in ("bleu", "chrf"):
                cells += [shown(here[key]), signed(here[key] - before[key]) if before else ""]
        lines.append([title, *cells, shown(here["perplexity"]), f"{100 * here['p_mode']:.1f} %"])
    scores = [f"{title} {how}" for how in ("greedy", "beam 5") for title in ("BLEU", "chrF")]
    return markdown(["row", *(each for score in scores for each in (score, "gain")), "PPL", "p(mode)"], lines)


def families(source: str, titles: dict[str, str]) -> str:
    """Families of an AIO-KD study: mean, worst and teacher's BLEU, mean chrF, and the difference to `family`."""
    lines = []
    for name, title in titles.items():
        each, cells = family(source, name), []
        for beam in (1, 5):
            scores = each[f"beam {beam}"]
            gap = scores.get("against_published", {}).get("mean")
            told = between(gap["difference"], gap["low"], gap["high"]) if gap else ""
            cells += [shown(scores["mean"]), told, shown(scores["worst"]), shown(scores["teacher"])]
        chrf = [row(source, name, 5, model)["chrf"] for model in each["members"]]
        lines.append([title, *cells, shown(sum(chrf) / len(chrf)), powers(each["cost"]["flops"])])
    scores = [f"{how}{what}" for how in ("greedy", "beam 5") for what in (" mean", "")]
    titles_of = [each for score in (scores[0], scores[2]) for each in (score, "difference (95 %)", "worst", "teacher")]
    return markdown(["family", *titles_of, "chrF mean", "FLOPs"], lines)


def speed(source: str, titles: dict[str, str], engines: bool = False) -> str:
    """Timings of a Kim & Rush study: medians of the rounds, with the slowest and the fastest."""
    timings = {(timed_row(t), t["engine"], t["precision"], t["batch_size"], t["beam"]): t for t in _timings(source)}
    lines = []
    forms = dict.fromkeys(key[1:3] for key in timings if engines is False or key[1] == "ctranslate2")
    for batch in dict.fromkeys(key[3] for key in timings):
        for form in forms:
            for name, title in titles.items():
                cells = [title, *([f"CTranslate2 {form[1]}"] if engines else []), str(batch)]
                for beam in (1, 5):
                    timing = timings[name, *form, batch, beam]
                    times = timing["speed_to_teacher_same_engine"]
                    cells.append(shown_rounds(timing["words_per_second"], ",.0f"))
                    cells.append("1" if times["min"] == times["max"] == 1 else shown_rounds(times, ".2f"))
                lines.append(cells)
    head = ["", *(["engine"] if engines else []), "batch", "greedy", "times the teacher's beam 5", "beam 5", "times"]
    return markdown(head, lines)


def fast_students(runs: dict[str, str], student: str) -> str:
    """Students that are to be fast, by the run that made each: scores by search, and how many times as fast each is.

    A run has its rows in `SOURCE.json`, and its timings by `bench decode` in `SOURCE-speed.json`: greedily with a
    shortlist against the teacher with beam 5 in float32, in batches and sentence by sentence.
    """
    lines, held_out = [], ("test_2016_flickr", "validation")
    for title, source in runs.items():
        name = next(each["model"] for each in content(source)["rows"] if each["model"].startswith(student))
        rows = [row(source, name, beam, test_set=test_set) for test_set in held_out for beam in (1, 5)]
        cells = [title, f"{rows[0]['parameters'] / 1e6:.2f} M", *(shown(each["bleu"]) for each in rows)]
        timings = [each for each in content(f"{source}-speed")["rows"] if each["shortlist"]]
        lines.append([*cells, *(shown_rounds(each["speed_to_reference"], ".1f") for each in timings)])
    scores = [f"{test_set}: {search}" for test_set in ("test", "validation") for search in ("greedy", "beam 5")]
    forms = [f"{each['precision']}, batch {each['batch_size']}" for each in timings]
    return markdown(["student", "parameters", *scores, *forms], lines)


def _timings(source: str) -> list[Values]:
    found: list[Values] = content(source)["speed"]["rows"]
    return found


def powers(value: float) -> str:
    """As 7.5 × 10¹³."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def pruning(source: str, whole: str) -> str:
    """Pruned rows of a Kim & Rush study, after the row that was pruned."""
    sizes = {each["row"]: each["bytes"] for each in content(source)["pruning"]}
    names = dict.fromkeys(each["row"] for each in content(source)["rows"] if each["row"].startswith("pruned-"))
    teacher, lines = row(source, "teacher", 5), []
    for name in (whole, *names):
        here = row(source, name, 5)
        left: float = here.get("nonzero_parameters") or here["parameters"]
        cells = [f"{left / 1e6:.3f} M", f"{teacher['parameters'] / left:.1f}"]
        cells += [shown(row(source, name, beam)[key]) for key in ("bleu", "chrf") for beam in (1, 5)]
        cells.append(shown(teacher["bleu"] - here["bleu"]))
        on_disk = [sizes.get(name, {}).get(form) for form in ("dense", "float32", "int8")]
        cells += ["" if size is None else f"{size / 1e6:.2f}" for size in on_disk]
        sparsity, _, seed = name.removeprefix("pruned-").partition("-seed")
        title = "not pruned, as it was" if name == whole else f"{sparsity} %{', seed ' * bool(seed)}{seed}"
        lines.append([title, *cells])
    titles = ["pruned", "not zero", "times fewer than the teacher", "BLEU greedy", "beam 5", "chrF greedy", "beam 5"]
    return markdown([*titles, "below the teacher's beam 5", "MB dense", "MB sparse", "sparse int8"], lines)


def one_by_one(source: str, students: Sequence[str], seeds: dict[str, str]) -> str:
    """Students alone, by Word-KD and in the family, with their means, for each seed's ending of the rows' names."""
    lines = []
    for seed, suffix in seeds.items():
        columns = []
        for student in students:
            names = [f"alone-{student}{suffix}", f"word-kd-{student}{suffix}", f"family{suffix}"]
            rows = [(row(source, name, beam, student), key) for key, beam in _ONE_BY_ONE for name in names]
            columns.append([each[key] for each, key in rows])
            lines.append([student, seed, *map(shown, columns[-1])])
        lines.append(["mean", seed, *(shown(sum(each) / len(each)) for each in zip(*columns, strict=True))])
    ways = [f"{title} alone" for title in ("greedy", "beam 5", "chrF")]
    titles = [title for way in ways for title in (way, "Word-KD", "in the family")]
    return markdown(["student", "seed", *titles], lines)


def over_seeds(source: str, models: Sequence[str], ways: dict[str, str], test_set: str = "") -> str:
    """Students of a study by the ways in which they were trained: means over seeds, and their standard deviations.

    `ways` has the row of each way, in which `{}` stands for the student. Ways that are not finished are left out.
    test_set: by default the study's own.
    """
    known = dict.fromkeys(each["row"] for each in content(source)["rows"])
    lines = []
    for model in models:
        for title, label in ways.items():
            name = label.format(model)
            inside = model if name == label else model.rpartition("-")[2]  # alone it is in no supernet
            seeds = [each for each in known if each == name or each.startswith(f"{name}-seed")]
            rows = {beam: [row(source, seed, beam, inside, test_set=test_set) for seed in seeds] for beam in (1, 5)}
            columns = [[each[metric] for each in rows[beam]] for beam, metric in _SHOWN]
            if seeds:
                lines.append([model, title, *map(mean_over_seeds, columns), str(len(seeds))])
    scores = [f"{title} {how}" for how in ("greedy", "beam 5") for title in ("BLEU", "chrF")]
    return markdown(["student", "trained", *scores, "PPL", "seeds"], lines)


_SHOWN = ((1, "bleu"), (1, "chrf"), (5, "bleu"), (5, "chrf"), (1, "perplexity"))


_ONE_BY_ONE = (("bleu", 1), ("bleu", 5), ("chrf", 5))


def costs(source: str) -> str:
    """What all students of an AIO-KD study cost as one family and one by one, beside the paper's Table 3."""
    ways = content(source)["cost_of_all"]
    return f"{markdown(HEADINGS, table_lines(ways))}\n\n{ABOUT} {about_estimates(ways)}".rstrip()


def detaching(source: str, families: Sequence[str]) -> str:
    """How often these families of a study kept gradients from their teacher, and how poor their students were."""
    return detaching_table({name: content(source)["interaction"][name] for name in families})


def verdicts(source: str, claims: dict[str, str], title: str) -> str:
    """Claims of a study by what the page calls them, under a title: the difference in both metrics, and the verdict."""
    known = {each["claim"]: each for each in content(source)["claims"]}
    lines = []
    for name, text in claims.items():
        claim = known[text]
        ours = claim.get("ours", {})
        found = [between(ours[m]["difference"], ours[m]["low"], ours[m]["high"]) for m in ("BLEU", "chrF") if m in ours]
        seeds = " / ".join(map(str, ours.get("seeds", [])))
        lines.append([name, *(found or ["", ""]), seeds, claim["paper"], claim["verdict"]])
    return markdown([title, "BLEU", "chrF", "seeds", "paper: BLEU", "holds"], lines)


FUNCTIONS: dict[str, Any] = {
    **{"content": content, "row": row, "gain": gain, "family": family, "cpu_seconds": cpu_seconds},
    **{each.__name__: each for each in (students, gains, one_by_one, families, costs, speed, pruning, verdicts)},
    **{each.__name__: each for each in (over_seeds, fast_students, detaching, pairs, as_shipped)},
    **{each.__name__: each for each in (members, beside_firefox, stages)},
    **{"table": markdown, "sum": sum, "signed": signed},
}
