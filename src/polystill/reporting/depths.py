"""Quality by encoder and decoder depth: a heat map of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polystill.reporting.document import Cell, Chart, Table
from polystill.reporting.families import Row
from polystill.reporting.noise import NOISE, Noise
from polystill.reporting.points import Point
from polystill.students import Student


def depth_chart(points: Sequence[Point], name: str, title: str, noise: Noise) -> Chart:
    """`points`: the students of one family, all measured in one way."""
    best = max(points, key=lambda point: point.bleu)
    others = [point for point in points if point is not best]
    p_values = noise.p_values(best, others)
    equals = {others[i].row["model"] for i, p in p_values.items() if noise.is_noise_at(p)}
    worst = min(points, key=lambda point: point.bleu)
    summary = (
        f"BLEU of {len(points)} students by encoder and decoder layers, from {worst.bleu:.2f} ({worst.row['model']}) "
        f"to {best.bleu:.2f} ({best.row['model']})."
    )
    if p_values:
        summary += f" From the best one, {len(equals)} of the {len(others)} others differ by noise only."
    rows = [point.row for point in points]
    return Chart(name, title, summary, _spec(rows, equals), _table(rows, best.row, equals, bool(p_values)))


def _spec(rows: Sequence[Row], equals: set[str]) -> dict[str, Any]:
    values = []
    for row in rows:
        student = Student.parse(row["model"])
        mark = "≈ " if row["model"] in equals else ""
        values.append(
            {
                "encoder": student.encoder_layers,
                "decoder": student.decoder_layers,
                "bleu": row["bleu"],
                "text": f"{mark}{row['bleu']:.1f}",
                "student": row["model"],
            }
        )
    scores = [row["bleu"] for row in rows]
    dark_until = min(scores) + 0.6 * (max(scores) - min(scores))
    depths = len({value["encoder"] for value in values})
    return {
        "height": 46 * max(2, depths),
        "data": {"values": values},
        "encoding": {
            "x": {"field": "decoder", "type": "ordinal", "title": "decoder layers", "axis": {"labelAngle": 0}},
            "y": {"field": "encoder", "type": "ordinal", "title": "encoder layers", "sort": "descending"},
        },
        "layer": [
            {
                "mark": {"type": "rect", "cornerRadius": 3},
                "encoding": {
                    "color": {
                        "field": "bleu",
                        "type": "quantitative",
                        "scale": {"scheme": "viridis", "zero": False},
                        "legend": None,
                    },
                    "tooltip": [{"field": "student"}, {"field": "bleu", "title": "BLEU", "format": ".2f"}],
                },
            },
            {
                "mark": {"type": "text", "fontWeight": 600},
                "encoding": {
                    "text": {"field": "text"},
                    "color": {
                        "condition": {"test": f"datum.bleu < {dark_until}", "value": "#ffffff"},
                        "value": "#111111",
                    },
                },
            },
        ],
        "config": {"axis": {"grid": False, "domain": False, "ticks": False}},
    }


def _table(rows: Sequence[Row], best: Row, equals: set[str], tested: bool) -> Table:
    students = {Student.parse(row["model"]): row for row in rows}
    decoders = sorted({student.decoder_layers for student in students})
    cells: list[list[Cell | str]] = []
    for encoder in sorted({student.encoder_layers for student in students}, reverse=True):
        line: list[Cell | str] = [f"{encoder} enc."]
        for decoder in decoders:
            row = students.get(Student(encoder, decoder))
            line.append(_cell(row, best, equals) if row is not None else "")
        cells.append(line)
    note = f"Bold: the best. ≈: its difference from the best is {NOISE}." if tested else "Bold: the best."
    return Table("BLEU by depth", ["", *(f"{decoder} dec." for decoder in decoders)], cells, note=note)


def _cell(row: Row, best: Row, equals: set[str]) -> Cell:
    if row["model"] in equals:
        return Cell(f"≈ {row['bleu']:.2f}", "noise")
    return Cell(f"{row['bleu']:.2f}", "best" if row is best else "")
