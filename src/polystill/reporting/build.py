"""A report from runs: which sections, and what stands in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polystill.evaluation.figures import search
from polystill.reporting.beams import gain_chart, mode_chart, pairs_of
from polystill.reporting.cost import cost_parts
from polystill.reporting.curves import curve_charts, read_curves
from polystill.reporting.data import data_parts
from polystill.reporting.depths import depth_chart
from polystill.reporting.devices import device_parts
from polystill.reporting.document import Gap, Part, Report, Section
from polystill.reporting.families import Family, open_families, shown_beam
from polystill.reporting.front import front_chart
from polystill.reporting.interaction_charts import interaction_parts
from polystill.reporting.noise import Noise
from polystill.reporting.origin import origin_parts
from polystill.reporting.overview import all_figures, overview_parts
from polystill.reporting.points import Point
from polystill.reporting.robust import robustness_parts
from polystill.reporting.samples import sample_parts
from polystill.reporting.shown import listed


def build_report(folders: Sequence[Path]) -> Report:
    """One report of one or several runs, from what lies in their folders; nothing is measured or written.

    Raises:
        UserError: a folder is no run or a file of it is damaged, or the runs have no test set in common.
    """
    families = open_families(folders)
    beam = shown_beam(families)
    language = families[0].run.recipe.data.target_language
    noise = Noise(families[0].text("target") if families[0].test_set else None, language)
    recipes = [family.run.recipe.data for family in families]
    pairs = dict.fromkeys(f"{data.source_language} → {data.target_language}" for data in recipes)
    test_set = f", test set {families[0].test_set}" if families[0].test_set else ""
    return Report(
        title=listed([family.name for family in families]),
        subtitle=f"{', '.join(pairs)}{test_set}",
        sections=[section for section in _sections(families, beam, noise) if section.parts],
    )


def _sections(families: Sequence[Family], beam: int | None, noise: Noise) -> Iterator[Section]:
    yield Section("overview", "In short", overview_parts(families, _weighed(families, beam), noise))
    yield Section("size", "Quality against size", list(_size(families, beam, noise)))
    yield Section("latency", "Quality against latency", list(_latency(families, noise)))
    yield Section("devices", "On devices", [part for family in families for part in device_parts(family)])
    yield Section("depth", "Quality by depth", list(_depth(families, beam, noise)))
    yield Section("search", "Greedy search and beam search", list(_search(families, noise)))
    yield Section("training", "Training", list(_training(families)))
    yield Section("together", "How the students act on each other", list(_together(families, beam)))
    yield Section("cost", "Cost", cost_parts(families))
    yield Section("samples", "Translations side by side", sample_parts(families, beam))
    yield Section("robustness", "Robustness", [part for family in families for part in robustness_parts(family)])
    yield Section("figures", "All figures", [part for family in families for part in all_figures(family)])
    yield Section("data", "Data and cleaning", [part for family in families for part in data_parts(family)])
    yield Section("provenance", "Provenance", [part for family in families for part in origin_parts(family)])


def _size(families: Sequence[Family], beam: int | None, noise: Noise) -> Iterator[Part]:
    points = _weighed(families, beam)
    if beam is not None and points:
        yield front_chart(points, "size_bytes", "size", f"BLEU ({search(beam)}) and size", noise)


def _weighed(families: Sequence[Family], beam: int | None) -> list[Point]:
    """All that was measured with this beam size."""
    return [Point(f, row) for f in families for row in f.rows if row["beam"] == beam and "size_bytes" in row]


def _latency(families: Sequence[Family], noise: Noise) -> Iterator[Part]:
    points = [Point(f, row) for f in families for row in f.rows if row.get("latency_p50_ms") is not None]
    if points:
        yield front_chart(points, "latency_p50_ms", "latency", "BLEU and latency, one sentence at a time", noise)
    without = [f for f in families if not any(row.get("latency_p50_ms") is not None for row in f.rows)]
    for family in without:
        name = f"{family.name}: no" if len(families) > 1 else "No"
        command = f"polystill evaluate {family.run.folder} --engine ctranslate2 --precision int8 --beam 1"
        if family.run.recipe.model.architecture == "lstm":
            yield Gap(f"{name} latency: it is measured with CTranslate2, which has no LSTM.")
        else:
            yield Gap(f"{name} latency was measured.", command)


def _depth(families: Sequence[Family], beam: int | None, noise: Noise) -> Iterator[Part]:
    for number, family in enumerate(families, 1):
        points = [Point(family, row) for row in family.as_recipe(beam)] if beam else []
        if family.rows and not points:
            what = f"{family.name}: nothing is measured in the recipe's own engine, precision and length penalty."
            yield Gap(what, f"polystill evaluate {family.run.folder}")
        if len(points) > 1:
            suffix = f": {family.name}" if len(families) > 1 else ""
            yield depth_chart(points, f"depth-{number}", f"BLEU by encoder and decoder layers{suffix}", noise)


def _search(families: Sequence[Family], noise: Noise) -> Iterator[Part]:
    every = []
    for number, family in enumerate(families, 1):
        pairs = pairs_of(family)
        every += pairs
        if pairs:
            suffix = f": {family.name}" if len(families) > 1 else ""
            yield gain_chart(pairs, f"search-{number}", f"What a beam adds to each student{suffix}", noise)
        elif family.rows:
            command = f"polystill evaluate {family.run.folder} --beam 1 --beam 5"
            yield Gap(f"{family.name}: greedy and beam search were not both measured.", command)
    chart = mode_chart(every, "p-mode")
    if chart is not None:
        yield chart
    for family in families:
        if family.rows and not any("p_mode" in row for row in family.rows):
            yield Gap(f"{family.name}: p(mode) was not measured.", f"polystill evaluate {family.run.folder} --force")


def _training(families: Sequence[Family]) -> Iterator[Part]:
    for number, family in enumerate(families, 1):
        curves = read_curves(family)
        suffix = f": {family.name}" if len(families) > 1 else ""
        if curves is None:
            yield Gap(f"{family.name}: no training stage is finished; `tensorboard --logdir` shows it as it goes on.")
        else:
            yield from curve_charts(curves, f"training-{number}", suffix)


def _together(families: Sequence[Family], beam: int | None) -> Iterator[Part]:
    for number, family in enumerate(families, 1):
        suffix = f": {family.name}" if len(families) > 1 else ""
        yield from interaction_parts(family, number, beam, suffix)
