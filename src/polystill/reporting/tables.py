"""Sections of words and tables: overview, all figures, devices, robustness, sample translations, data, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from polystill.data.cleaning import Repetition
from polystill.errors import UserError, reason
from polystill.evaluation.figures import TITLES, figure, search, sort_rows
from polystill.evaluation.resampling import MARGIN
from polystill.evaluation.robustness import KINDS, has_words
from polystill.languages import is_unspaced
from polystill.reporting.document import Gap, Line, Part, Sample, Samples, Table, Verbatim, Version
from polystill.reporting.families import Family, Labels, Noise, Point, figure_columns
from polystill.runs.results import DeviceRow, ProbeCounts, QualityRow, RobustnessRow, totals
from polystill.students import Student

# --- overview -------------------------------------------------------------------------------------------------------


def overview_parts(families: Sequence[Family], points: Sequence[Point], noise: Noise) -> Iterator[Part]:
    """The best student and the smallest ones. `points` were all measured with one beam size."""
    if not points:
        run = families[0].run.folder
        yield Gap("Nothing is measured yet.", f"polystill run {run / 'recipe.yaml'} --out {run}")
        return
    best = max(points, key=lambda point: point.bleu)
    by_size = sorted(points, key=lambda point: point.cost("size_bytes"))
    labels = Labels(points)
    forms = len({labels.series(point) for point in points})
    how = f"{search(best.row.beam)}, test set {best.row.test_set}"
    count = f"{len(points)} {'students' if forms == 1 else 'measured forms of students'}"
    lines = [f"Best of {count}: {_described(best, labels)} ({how})."]
    if by_size[0] is not best:
        lines.append(f"Smallest: {_described(by_size[0], labels)}.")
    smaller = [point for point in by_size if point.cost("size_bytes") < best.cost("size_bytes")]
    lines += _as_good(best, smaller, labels, noise)
    yield " ".join(lines)
    yield from _untested(families)


def _as_good(best: Point, smaller: Sequence[Point], labels: Labels, noise: Noise) -> list[str]:
    """The smallest student that is as good as the best. Empty if no translations are stored."""
    was_tested = False
    limit = f"less than {MARGIN:g} BLEU and {MARGIN:g} chrF"
    for point in smaller:
        for found in noise.differences(best, [point]).values():
            was_tested = True
            if all(each.as_good for each in found.values()):
                what = f"Smallest that is as good as the best, surely {limit} behind it"
                return [f"{what}: {_described(point, labels)}."]
    return [f"Nothing smaller is surely {limit} behind the best; more test sentences may tell."] * was_tested


def _described(point: Point, labels: Labels) -> str:
    return f"{labels.full(point)}, BLEU {point.bleu:.2f}, {figure('size_bytes', point.row)}"


def _untested(families: Sequence[Family]) -> Iterator[Gap]:
    """Texts that are missing. Without them no difference is tested and nothing is marked as noise."""
    for family in families:
        if family.rows and family.text("target") is None:
            yield Gap(f"{family.name}: {family.run.data / 'test'} is missing, so no difference is tested.")
        elif missing := [row for row in family.rows if family.translations(row) is None]:
            names = " ".join(dict.fromkeys(row.label for row in missing))
            what = f"{family.name}: {len(missing)} of {len(family.rows)} files of translations are missing ({names})"
            yield Gap(f"{what}; their differences are not tested.", f"polystill evaluate {family.run.folder}")


# --- all figures ----------------------------------------------------------------------------------------------------

_FIGURES = (
    *("parameters", "size_bytes", "perplexity", "bleu", "bleu_lc", "chrf", "comet", "p_mode"),
    *("words_per_second", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes"),
)


def figure_parts(family: Family) -> Iterator[Part]:
    """A table for each test set, with a line for each row of results."""
    for test_set, rows in groupby(sort_rows(family.results.rows), key=lambda row: row.test_set):
        yield _figure_table(family, test_set, list(rows))


def _figure_table(family: Family, test_set: str, rows: Sequence[QualityRow]) -> Table:
    engines = [f"{row.engine} {row.precision}" for row in rows]
    several_engines = len(set(engines)) > 1
    penalties = [f"{row.length_penalty:g}" for row in rows]
    several_penalties = len(set(penalties)) > 1
    columns = {
        "student": [row.label for row in rows],
        **({"engine": engines} if several_engines else {}),
        "search": [search(row.beam) for row in rows],
        **({"length penalty": penalties} if several_penalties else {}),
        **figure_columns(_FIGURES, rows),
    }
    caption = f"{family.name} on {test_set}" + ("" if several_engines else f", {engines[0]}")
    threads = sorted({row.threads for row in rows if row.threads is not None})
    note = f"Speed with {' or '.join(map(str, threads))} threads." if threads else ""
    words = 2 + several_engines + several_penalties
    return Table.of_columns(caption, columns, words=words, note=note, folded=True)


# --- devices --------------------------------------------------------------------------------------------------------

_DEVICE_FIGURES = ("latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "words_per_second", "threads")


def device_parts(family: Family) -> Iterator[Part]:
    """A table of the merged figures of each device (`polystill measure`, `merge`), with the BLEU of the run."""
    rows = family.results.devices
    for device in dict.fromkeys(row.device for row in rows):
        yield _device_table(family, device, [row for row in rows if row.device == device])


def _device_table(family: Family, device: str, rows: Sequence[DeviceRow]) -> Table:
    # BLEU does not depend on the device: it comes from the run's own row of the same student and search.
    penalty = family.run.recipe.evaluation.length_penalty
    quality = {row.system: row for row in sorted(family.rows, key=lambda row: row.length_penalty == penalty)}
    parameters = {system: row.parameters or 0 for system, row in quality.items()}
    rows = sorted(rows, key=lambda row: (parameters.get(row.system, 0), Student.parse(row.model)))
    bleu = [figure("bleu", quality[row.system]) if row.system in quality else "" for row in rows]
    columns = {
        "student": [row.label for row in rows],
        "precision": [row.precision for row in rows],
        "search": [search(row.beam) for row in rows],
        TITLES["size_bytes"]: [figure("size_bytes", row) for row in rows],
        **({TITLES["bleu"]: bleu} if any(bleu) else {}),
        **figure_columns(_DEVICE_FIGURES, rows),
    }
    hardware = " or ".join(dict.fromkeys(row.hardware for row in rows))
    note = f"Measured on {device}: {hardware}." + (" BLEU as evaluated." if any(bleu) else "")
    return Table.of_columns(f"{family.name} on {device}", columns, words=3, note=note)


# --- robustness -----------------------------------------------------------------------------------------------------

_COUNTS = ("lines", "crashed", "empty", "invented", "loops", "cut")
_EXAMPLES = 6
_LONGEST = 160
"""Characters of a line in an example."""


def robustness_parts(family: Family) -> Iterator[Part]:
    rows = family.results.robustness
    if not rows:
        command = f"polystill robustness {family.run.folder}"
        yield Gap(f"{family.name}: lines unlike the data were not tried.", command)
        return
    parameters = {row.model_id: row.parameters or 0 for row in family.results.rows}
    rows = sorted(rows, key=lambda row: (-parameters.get(row.model_id, 0), *row.key))
    for group in dict.fromkeys((row.variant, row.beam) for row in rows):
        yield _robustness_table(family, [row for row in rows if (row.variant, row.beam) == group])
    yield _kind_table(rows)
    if examples := _examples(family, rows):
        yield Table("Examples of what went wrong", ["student", "line", "translation"], examples, words=3, folded=True)


def _robustness_table(family: Family, rows: Sequence[RobustnessRow]) -> Table:
    ways = {name: kinds for row in rows for name, kinds in row.ways.items()}
    columns: dict[str, list[str]] = {"student": [*ways]}
    columns |= {name: [str(getattr(totals(kinds), name)) for kinds in ways.values()] for name in _COUNTS}
    for kind in (kind for kind, counts in rows[0].kinds.items() if counts.to_copy):
        of_kind = [kinds.get(kind) for kinds in ways.values()]
        columns[f"{kind} copied"] = [f"{counts.copied} of {counts.to_copy}" if counts else "" for counts in of_kind]
    note = (
        "Empty: a line with words whose translation is empty. Invented: a translation of a line without any character. "
        "Loops: a repeated phrase that the source does not repeat. Cut: a line longer than the model takes. By itself: "
        "what other programs show, which put nothing back that the model loses."
    )
    caption = f"{family.name}, {rows[0].engine}, {rows[0].precision}, {search(rows[0].beam)}"
    return Table.of_columns(caption, columns, note=note)


def _kind_table(rows: Sequence[RobustnessRow]) -> Table:
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.kinds))
    of_kind = [sum((row.kinds[kind] for row in rows if kind in row.kinds), ProbeCounts()) for kind in kinds]
    columns = {"kind": kinds, "lines that are": [KINDS.get(kind, "") for kind in kinds]}
    columns |= {name: [str(getattr(counts, name)) for counts in of_kind] for name in _COUNTS}
    return Table.of_columns("By kind of line, all students together", columns, words=2, folded=True)


def _examples(family: Family, rows: Sequence[RobustnessRow]) -> list[Line]:
    """One failure of each sort for each kind of line, as far as there is room."""
    data = family.run.recipe.data
    repetition = Repetition((data.source_language, data.target_language))
    lines: list[Line] = []
    sorts: set[tuple[str, str]] = set()
    for row in rows:
        for probe in _read_probes(family, row):
            failure = _failure(probe["source"], probe["text"], repetition)
            if failure and (failure, probe["kind"]) not in sorts and len(lines) < _EXAMPLES:
                sorts.add((failure, probe["kind"]))
                texts = probe["source"], probe["text"] or ""
                clipped = (f"{text[:_LONGEST]} …" if len(text) > _LONGEST else text for text in texts)
                lines.append([f"{row.label}: {failure}", *clipped])
    return lines


def _failure(source: str, output: str | None, repetition: Repetition) -> str:
    if output is None:
        return "crashed"
    if has_words(source) and not output.strip():
        return "empty"
    return "loop" if repetition.is_looping(source, output) else ""


def _read_probes(family: Family, row: RobustnessRow) -> list[dict[str, Any]]:
    path = family.run.folder / row.outputs
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); make it again with polystill robustness") from None


# --- sample translations --------------------------------------------------------------------------------------------

_EVENLY, _MOST_DIFFERENT = 6, 4
_LONGEST_SOURCE = 400
"""Characters of a source sentence in the samples."""
MISSING = "∅"
"""Written where a translation lacks words that the first one has."""


def sample_parts(families: Sequence[Family], beam: int | None) -> Iterator[Part]:
    sources, references = families[0].text("source"), families[0].text("target")
    translations = _translations(families, beam) if beam is not None else {}
    if sources is None or references is None:
        yield Gap(f"{families[0].run.data / 'test'} is missing, so there are no sentences to show.")
        return
    if not translations:
        yield Gap("No translations are stored.", f"polystill evaluate {families[0].run.folder}")
        return
    short = [i for i, source in enumerate(sources) if 0 < len(source) <= _LONGEST_SOURCE]
    if not short:
        yield Gap(f"No sentence of the test set has at most {_LONGEST_SOURCE} characters.")
        return
    even = sorted({short[len(short) * i // _EVENLY] for i in range(_EVENLY)})
    others = [i for i in short if i not in even]
    different = sorted(others, key=lambda i: -len({lines[i] for lines in translations.values()}))[:_MOST_DIFFERENT]
    unspaced = is_unspaced(families[0].run.recipe.data.target_language)
    samples = {
        i: _sample(sources[i], references[i], {name: lines[i] for name, lines in translations.items()}, unspaced)
        for i in [*even, *different]
    }
    yield (
        f"Marked: words that differ from the first translation, by {next(iter(translations))}. {MISSING} stands where "
        "words of the first translation are missing. Students with the same translation share a line."
    )
    yield Samples("Sentences evenly spread over the test set", [samples[i] for i in even])
    if len(translations) > 1 and different:
        yield Samples("Sentences that the students disagree on most", [samples[i] for i in sorted(different)])


def _translations(families: Sequence[Family], beam: int) -> dict[str, list[str]]:
    """Stored translations by the student's name, the largest of the first run first."""
    translations = {}
    for family in families:
        name = f"{family.name} " if len(families) > 1 else ""
        for row in reversed(family.as_recipe(beam)):
            if (lines := family.translations(row)) is not None:
                translations[f"{name}{row.model}"] = lines
    return translations


def _sample(source: str, reference: str, translations: Mapping[str, str], unspaced: bool) -> Sample:
    students: dict[str, list[str]] = {}
    for name, text in translations.items():
        students.setdefault(text, []).append(name)
    first = next(iter(students))
    versions = [Version(names, differing(first, text, unspaced)) for text, names in students.items()]
    return Sample(source, reference, versions)


def differing(first: str, text: str, unspaced: bool = False) -> list[tuple[str, bool]]:
    """Stretches of `text` and whether they differ from `first`, by words, or by characters in unspaced languages."""
    gap = "" if unspaced else " "
    before, after = (list(first), list(text)) if unspaced else (first.split(), text.split())
    stretches: list[tuple[str, bool]] = []
    for kind, _, _, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if stretches and gap:
            stretches.append((gap, False))
        stretches.append((gap.join(after[start:end]) if end > start else MISSING, kind != "equal"))
    return stretches


# --- data -----------------------------------------------------------------------------------------------------------


def data_parts(family: Family) -> Iterator[Part]:
    """The size of the training text and what cleaning dropped."""
    report = _read_cleaning(family)
    if report is None:
        yield Gap(f"{family.name}: data/cleaning.json is missing; the run was copied without it.")
        return
    record = family.run.record("data") or {}
    yield _in_words(report, record)
    yield from _sources(family, record)
    yield from _counted(report, "dropped", "Dropped pairs, by the first reason that applied", "reason")
    yield from _counted(report, "repaired", "Repaired pairs", "repair")
    if leakage := record.get("leakage"):
        lines: list[Line] = [
            [name, f"{leaked['sources']:,}", f"{leaked['pairs']:,}"] for name, leaked in leakage.items()
        ]
        caption = "Held-out sentences that also stand in the training text"
        yield Table(caption, ["held out", "sources", "pairs"], lines)


def _sources(family: Family, record: dict[str, Any]) -> Iterator[Part]:
    """What each source gave to the training text; nothing in runs of before these were counted."""
    sources = record.get("sources", [])
    if not sources:
        return
    domains = {"domain": [source["domain"] for source in sources]} if "domains" in record else {}
    columns = {
        "source": [source["name"] for source in sources],
        **domains,
        "pairs": [f"{source['pairs']:,}" for source in sources],
        "target tokens": [f"{source['target_tokens']:,}" for source in sources],
    }
    label = family.run.recipe.domains_label
    note = f"Weights of the domains, stage by stage: {label}." if label else ""
    yield Table.of_columns("Training text by source", columns, words=1 + len(domains), note=note)


def _counted(report: dict[str, Any], what: str, caption: str, column: str) -> Iterator[Part]:
    """How many pairs were dropped or repaired, by the reason or repair, with examples."""
    counts = {name: n for name, n in report[what].items() if n}
    meaning, examples = report.get("meaning", {}), report.get("examples", {})
    lines: list[Line] = [[name.replace("_", " "), meaning.get(name, ""), f"{n:,}"] for name, n in counts.items()]
    if lines:
        yield Table(caption, [column, "means", "pairs"], lines, words=2)
    lines = [
        [name.replace("_", " "), e["source"], e["target"]]
        for name in examples
        if name in counts
        for e in examples[name]
    ]
    if lines:
        yield Table(f"Examples of {what} pairs", [column, "source", "target"], lines, words=3, folded=True)


def _read_cleaning(family: Family) -> dict[str, Any] | None:
    path = family.run.data / "cleaning.json"
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sum(report["dropped"].values()), sum(report["repaired"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); restore it from a copy") from None
    return report


def _in_words(report: dict[str, Any], record: dict[str, Any]) -> str:
    dropped = sum(report["dropped"].values())
    text = f"Of {report['total']:,} pairs that were read, {report['kept']:,} are trained on"
    text += f" and {dropped:,} were dropped." if dropped else "; none was dropped."
    if tokens := record.get("tokens"):
        text += f" They have {tokens['source']:,} source and {tokens['target']:,} target tokens"
        text += f" of a vocabulary of {record['vocabulary_size']:,}." if "vocabulary_size" in record else "."
    return text


# --- provenance -----------------------------------------------------------------------------------------------------

_SCORES = (("bleu", "BLEU"), ("bleu_lc", "BLEU -lc"), ("chrf", "chrF"), ("comet", "COMET"))


def provenance_parts(family: Family) -> Iterator[Part]:
    """Run, seed, commits, hardware, signatures of scores, versions and recipe."""
    known = family.results.provenance
    if known is None:
        yield Gap(f"{family.name}: nothing is recorded yet.")
        return
    lines: list[Line] = [["run", family.run.run_id], ["seed", str(family.run.recipe.seed)]]
    lines += [[f"last {name}", value] for name, value in (("command", known.command), ("time", known.time)) if value]
    names = {"commit": "commit of figures", "hardware": "measured on"}
    names |= {f"{name}_signature": f"signature of {title}" for name, title in _SCORES}
    for name, title in names.items():
        values = dict.fromkeys(getattr(row, name) for row in family.results.rows)
        lines += [[title, value] for value in values if value]
    lines += [[package, version] for package, version in known.versions.items()]
    yield Table(f"Provenance of {family.name}", ["", ""], lines, words=2)
    yield Verbatim(f"Recipe of {family.name}", (family.run.folder / "recipe.yaml").read_text(encoding="utf-8"))
