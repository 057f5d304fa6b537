"""Sections of words and tables: overview, all figures, devices, robustness, sample translations, data, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from polystill.data.repetition import Repetition
from polystill.data.scripts import is_unspaced
from polystill.errors import UserError
from polystill.evaluation.figures import TITLES, figure, measured, search, sort_rows
from polystill.evaluation.robustness import KINDS, has_words
from polystill.evaluation.significance import SIGNIFICANT
from polystill.reporting.document import Gap, Line, Part, Sample, Samples, Table, Verbatim, Version
from polystill.reporting.families import SAMPLES, Family, Labels, Noise, Point
from polystill.runs.results import DeviceRow, ProbeCounts, QualityRow, RobustnessRow
from polystill.students import Student

# --- overview -------------------------------------------------------------------------------------------------------


def overview_parts(families: Sequence[Family], points: Sequence[Point], noise: Noise) -> Iterator[Part]:
    """The best student and the smallest ones. `points` were all measured with one beam size."""
    if not points:
        run = families[0].run.folder
        yield Gap("Nothing is measured yet.", f"polystill run {run / 'recipe.yaml'} --out {run}")
        return
    best = max(points, key=lambda point: point.bleu)
    smallest = min(points, key=lambda point: point.cost("size_bytes"))
    labels = Labels(points)
    forms = len({labels.series(point) for point in points})
    how = f"{search(best.row.beam)}, test set {best.row.test_set}"
    count = f"{len(points)} {'students' if forms == 1 else 'measured forms of students'}"
    lines = [f"Best of {count}: {_described(best, labels)} ({how})."]
    if smallest is not best:
        lines.append(f"Smallest: {_described(smallest, labels)}.")
    smaller = [point for point in points if point.cost("size_bytes") < best.cost("size_bytes")]
    lines += _as_good(best, sorted(smaller, key=lambda point: point.cost("size_bytes")), labels, noise)
    yield " ".join(lines)
    yield from _untested(families)


def _as_good(best: Point, smaller: Sequence[Point], labels: Labels, noise: Noise) -> list[str]:
    """The smallest student whose difference from the best is noise. Empty if no translations are stored."""
    tested = False
    about = f"Noise is judged by sacreBLEU's paired bootstrap ({SAMPLES:,} samples) of BLEU."
    for point in smaller:
        for p_value in noise.p_values(best, [point]).values():
            tested = True
            if noise.is_noise_at(p_value):
                what = "Smallest that is as good as the best, as far as this test set can tell"
                return [f"{what}: {_described(point, labels)}.", about]
    return [f"Everything smaller is worse than the best by more than noise (p < {SIGNIFICANT:g}).", about] * tested


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
    rows = sort_rows(family.results.rows)
    for test_set in dict.fromkeys(row.test_set for row in rows):
        yield _figure_table(family, test_set, [row for row in rows if row.test_set == test_set])


def _figure_table(family: Family, test_set: str, rows: Sequence[QualityRow]) -> Table:
    several_engines = len({_engine(row) for row in rows}) > 1
    names = measured(_FIGURES, rows)
    lines: list[Line] = []
    for row in rows:
        words = [row.label, *([_engine(row)] if several_engines else []), search(row.beam)]
        lines.append([*words, *(figure(name, row) for name in names)])
    columns = ["student", *(["engine"] if several_engines else []), "search", *(TITLES[name] for name in names)]
    caption = f"{family.name} on {test_set}" + ("" if several_engines else f", {_engine(rows[0])}")
    threads = sorted({row.threads for row in rows if row.threads is not None})
    note = f"Speed with {' or '.join(map(str, threads))} threads." if threads else ""
    return Table(caption, columns, lines, words=2 + several_engines, note=note, folded=True)


def _engine(row: QualityRow) -> str:
    return f"{row.engine} {row.precision}"


# --- devices --------------------------------------------------------------------------------------------------------

_DEVICE_FIGURES = ("latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "words_per_second", "threads")


def device_parts(family: Family) -> Iterator[Part]:
    """A table of the merged figures of each device (`polystill measure`, `merge`), with the BLEU of the run."""
    rows = family.results.devices
    for device in dict.fromkeys(row.device for row in rows):
        yield _device_table(family, device, [row for row in rows if row.device == device])


def _device_table(family: Family, device: str, rows: Sequence[DeviceRow]) -> Table:
    # BLEU does not depend on the device: it comes from the run's own row of the same student and search.
    quality = {row.system: row for row in reversed(family.rows)}
    parameters = {system: row.parameters or 0 for system, row in quality.items()}
    bleu = {system: figure("bleu", row) for system, row in quality.items()}
    rows = sorted(rows, key=lambda row: (parameters.get(row.system, 0), Student.parse(row.model)))
    has_bleu = any(row.system in bleu for row in rows)
    names = measured(_DEVICE_FIGURES, rows)
    lines: list[Line] = [
        [
            *(row.label, row.precision, search(row.beam), figure("size_bytes", row)),
            *([bleu.get(row.system, "")] if has_bleu else []),
            *(figure(name, row) for name in names),
        ]
        for row in rows
    ]
    hardware = " or ".join(dict.fromkeys(row.hardware for row in rows))
    note = f"Measured on {device}: {hardware}." + (" BLEU as evaluated." if has_bleu else "")
    titles = [TITLES[name] for name in ("size_bytes", *(["bleu"] if has_bleu else []), *names)]
    return Table(f"{family.name} on {device}", ["student", "precision", "search", *titles], lines, words=3, note=note)


# --- robustness -----------------------------------------------------------------------------------------------------

_COUNTS = ("lines", "crashed", "empty", "invented", "loops", "cut")
_EXAMPLES = 6
_EXAMPLE_CHARACTERS = 160


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
    kinds = [kind for kind, counts in rows[0].kinds.items() if counts.to_copy]
    lines: list[Line] = [
        [row.label, *_counts(row.totals), *(_copied(row.kinds.get(kind)) for kind in kinds)] for row in rows
    ]
    note = (
        "Empty: a line with words whose translation is empty. Invented: a translation of a line without any character. "
        "Loops: a repeated phrase that the source does not repeat. Cut: a line longer than the model takes."
    )
    caption = f"{family.name}, {rows[0].engine}, {rows[0].precision}, {search(rows[0].beam)}"
    return Table(caption, ["student", *_COUNTS, *(f"{kind} copied" for kind in kinds)], lines, note=note)


def _counts(counts: ProbeCounts) -> list[str]:
    return [str(getattr(counts, name)) for name in _COUNTS]


def _copied(counts: ProbeCounts | None) -> str:
    return f"{counts.copied} of {counts.to_copy}" if counts else ""


def _kind_table(rows: Sequence[RobustnessRow]) -> Table:
    lines: list[Line] = []
    for kind in dict.fromkeys(kind for row in rows for kind in row.kinds):
        counts = sum((row.kinds[kind] for row in rows if kind in row.kinds), ProbeCounts())
        lines.append([kind, KINDS.get(kind, ""), *_counts(counts)])
    columns = ["kind", "lines that are", *_COUNTS]
    return Table("By kind of line, all students together", columns, lines, words=2, folded=True)


def _examples(family: Family, rows: Sequence[RobustnessRow]) -> list[Line]:
    """One failure of each sort for each kind of line, as far as there is room."""
    data = family.run.recipe.data
    repetition = Repetition((data.source_language, data.target_language))
    lines: list[Line] = []
    sorts: set[tuple[str, str]] = set()
    for row in rows:
        for probe in _read_probes(family, row):
            failure = _failure(probe["source"], probe["output"], repetition)
            if failure and (failure, probe["kind"]) not in sorts and len(lines) < _EXAMPLES:
                sorts.add((failure, probe["kind"]))
                lines.append([f"{row.label}: {failure}", _clipped(probe["source"]), _clipped(probe["output"] or "")])
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
        raise UserError(f"{path}: damaged ({error}); make it again with polystill robustness") from None


def _clipped(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[:_EXAMPLE_CHARACTERS]} …"


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

    def samples(title: str, indices: Sequence[int]) -> Samples:
        texts = {i: {name: lines[i] for name, lines in translations.items()} for i in indices}
        return Samples(title, [_sample(sources[i], references[i], texts[i], unspaced) for i in indices])

    yield (
        f"Marked: words that differ from the first translation, by {next(iter(translations))}. {MISSING} stands where "
        "words of the first translation are missing. Students with the same translation share a line."
    )
    yield samples("Sentences evenly spread over the test set", even)
    if len(translations) > 1 and different:
        yield samples("Sentences that the students disagree on most", sorted(different))


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
    meaning, examples = report.get("meaning", {}), report.get("examples", {})
    lines: list[Line] = [
        [reason.replace("_", " "), meaning.get(reason, ""), f"{n:,}"] for reason, n in report["dropped"].items() if n
    ]
    if lines:
        caption = "Dropped pairs, by the first reason that applied"
        yield Table(caption, ["reason", "means", "pairs"], lines, words=2)
    lines = [[reason.replace("_", " "), e["source"], e["target"]] for reason in examples for e in examples[reason]]
    if lines:
        yield Table("Examples of dropped pairs", ["reason", "source", "target"], lines, words=3, folded=True)
    if leakage := record.get("leakage"):
        lines = [[name, f"{leaked['sources']:,}", f"{leaked['pairs']:,}"] for name, leaked in leakage.items()]
        caption = "Held-out sentences that also stand in the training text"
        yield Table(caption, ["held out", "sources", "pairs"], lines)


def _read_cleaning(family: Family) -> dict[str, Any] | None:
    path = family.run.data / "cleaning.json"
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sum(report["dropped"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy") from None
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
