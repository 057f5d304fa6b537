"""Greedy search against beam search, and how it goes with p(mode)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polystill.evaluation.figures import figure, search
from polystill.reporting.document import Cell, Chart, Table
from polystill.reporting.families import Family, Row
from polystill.reporting.noise import NOISE, Noise
from polystill.reporting.points import Point


@dataclass(frozen=True)
class Pair:
    """One student searched both ways."""

    family: Family
    greedy: Row
    beam: Row

    @property
    def gain(self) -> float:
        return float(self.beam["bleu"] - self.greedy["bleu"])


def pairs_of(family: Family) -> list[Pair]:
    """Each student of a run in its recipe's own engine, greedy and with the largest beam; empty without both."""
    if len(family.beams) < 2 or family.beams[0] != 1:
        return []
    greedy = {row["model"]: row for row in family.as_recipe(1)}
    with_beam = {row["model"]: row for row in family.as_recipe(family.beams[-1])}
    return [Pair(family, row, with_beam[model]) for model, row in greedy.items() if model in with_beam]


def gain_chart(pairs: Sequence[Pair], name: str, title: str, noise: Noise) -> Chart:
    """BLEU of both searches of one family, a line for each student."""
    beam = search(pairs[0].beam["beam"])
    gains = [pair.gain for pair in pairs]
    summary = (
        f"BLEU by greedy search and with {beam} for {len(pairs)} students. The beam adds from {min(gains):+.2f} to "
        f"{max(gains):+.2f} BLEU, {sum(gains) / len(gains):+.2f} on average."
    )
    return Chart(name, title, summary, _gain_spec(pairs, beam), _table(pairs, beam, noise))


def _gain_spec(pairs: Sequence[Pair], beam: str) -> dict[str, Any]:
    values = [
        {"student": pair.greedy["model"], "low": pair.greedy["bleu"], "high": pair.beam["bleu"], "gain": pair.gain}
        for pair in pairs
    ]
    points = [
        {"student": value["student"], "bleu": value[key], "search": name}
        for value in values
        for key, name in (("low", "greedy"), ("high", beam))
    ]
    series = {"field": "search", "type": "nominal", "scale": {"domain": ["greedy", beam]}, "legend": {"orient": "top"}}
    students = [value["student"] for value in reversed(values)]
    y = {"field": "student", "type": "nominal", "sort": students, "title": None}
    return {
        "height": 22 * len(values),
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "rule", "strokeWidth": 2, "style": "quiet"},
                "encoding": {"y": y, "x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "bleu", "type": "quantitative", "title": "BLEU", "scale": {"zero": False}},
                    "color": series,
                    "shape": series,
                    "tooltip": [
                        {"field": "student"},
                        {"field": "search"},
                        {"field": "bleu", "title": "BLEU", "format": ".2f"},
                    ],
                },
            },
        ],
    }


def _table(pairs: Sequence[Pair], beam: str, noise: Noise) -> Table:
    with_mode = any("p_mode" in pair.greedy for pair in pairs)
    rows: list[list[Cell | str]] = []
    for pair in pairs:
        row: list[Cell | str] = [pair.greedy["model"], f"{pair.greedy['bleu']:.2f}", f"{pair.beam['bleu']:.2f}"]
        points = Point(pair.family, pair.greedy), Point(pair.family, pair.beam)
        is_noise = noise.is_noise(*points)
        row.append(Cell(f"{'≈ ' if is_noise else ''}{pair.gain:+.2f}", "noise" if is_noise else ""))
        if with_mode:
            row += [figure("p_mode", pair.greedy), figure("p_mode", pair.beam)]
        rows.append(row)
    columns = ["student", "greedy", beam, "gain", *(["p(mode) greedy", f"p(mode) {beam}"] if with_mode else [])]
    return Table("BLEU by search", columns, rows, note=f"≈: the gain is {NOISE}.", folded=len(rows) > 20)


def mode_chart(pairs: Sequence[Pair], name: str) -> Chart | None:
    """What the beam adds against p(mode), all families in one chart; None where p(mode) was not measured."""
    pairs = [pair for pair in pairs if pair.beam.get("p_mode") is not None]
    if len(pairs) < 2:
        return None
    highest = max(pairs, key=lambda pair: pair.beam["p_mode"])
    summary = (
        f"What beam search adds in BLEU against p(mode) for {len(pairs)} students. p(mode) is highest for "
        f"{highest.beam['model']} ({figure('p_mode', highest.beam)}), where the beam adds {highest.gain:+.2f}."
    )
    several = len({pair.family.name for pair in pairs}) > 1
    values = [
        {"p": 100 * pair.beam["p_mode"], "gain": pair.gain, "student": pair.beam["model"], "run": pair.family.name}
        for pair in pairs
    ]
    legend = {"orient": "top", "title": None, "columns": 2}
    spec = {
        "height": 280,
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.9},
        "encoding": {
            "x": {
                "field": "p",
                "type": "quantitative",
                "title": "p(mode) (%)",
                "scale": {"zero": False, "padding": 14},
            },
            "y": {
                "field": "gain",
                "type": "quantitative",
                "title": "BLEU that the beam adds",
                "scale": {"zero": False, "padding": 14},
            },
            "tooltip": [
                {"field": "student"},
                {"field": "run"},
                {"field": "p", "title": "p(mode) %", "format": ".2f"},
                {"field": "gain", "title": "BLEU gained", "format": "+.2f"},
            ],
            **({"color": {"field": "run", "type": "nominal", "legend": legend}} if several else {}),
        },
    }
    rows = [[pair.beam["model"], pair.family.name, figure("p_mode", pair.beam), f"{pair.gain:+.2f}"] for pair in pairs]
    table = Table("Gain and p(mode)", ["student", "run", "p(mode)", "gain in BLEU"], rows, words=2, folded=True)
    return Chart(name, "What a beam adds, against p(mode)", summary, spec, table)
