"""A forest plot of a study's comparisons: each difference with its interval, BLEU beside chrF (extra `report`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from experiments.claims import Compared, Values
from polystill.evaluation.figures import TITLES
from polystill.evaluation.resampling import MARGIN
from polystill.reporting.document import Chart, Table, category, layer, quantity
from polystill.reporting.page import drawn
from polystill.storage import write_atomic

NAME = "comparisons"


def forest(compared: Iterable[Compared]) -> Chart | None:
    """None where nothing is compared yet."""
    values = list(_values(compared))
    if not values:
        return None
    rows = list(dict.fromkeys(value["what"] for value in values))
    band = [{"low": -MARGIN, "high": MARGIN}]
    low, high = quantity("low", title="difference"), {"field": "high"}
    panels = [
        {
            "title": TITLES[name],
            "height": 20 * len(rows),
            "width": 260,
            "data": {"values": [value for value in values if value["metric"] == name]},
            "layer": [
                layer({"type": "rect", "opacity": 0.12}, band, x=low, x2=high),
                layer({"type": "rule", "style": "quiet"}, [{"at": 0}], x=quantity("at")),
                layer({"type": "rule"}, y=_names(rows, name), x=low, x2=high, color=_seeds()),
                layer({"type": "point", "filled": True}, y=_names(rows, name), x=quantity("value"), color=_seeds()),
            ],
        }
        for name in ("bleu", "chrf")
    ]
    summary = "The second minus the first, with two-sided 95 % intervals; the band is what counts as equally good."
    return Chart(NAME, "Differences and their intervals", summary, {"hconcat": panels}, Table("", [], []))


def write_forest(compared: Iterable[Compared], folder: Path) -> str:
    """Draw it, if vl-convert is installed, and return Markdown that shows it; empty where there is nothing to show."""
    chart = forest(compared)
    if chart is None or find_spec("vl_convert") is None:
        return ""
    svg, _ = drawn(chart)
    write_atomic(folder / f"{NAME}.svg", svg)
    return f"![{chart.title}. {chart.summary}]({NAME}.svg)"


def _values(compared: Iterable[Compared]) -> Iterator[Values]:
    for each in compared:
        what = f"{each.second} – {each.first} ({each.search})"
        told = "sentences and trainings" if each.seeds_tell else "sentences only: one seed"
        for name, found in each.differences.items():
            limits = {"low": found.low, "value": found.value, "high": found.high}
            yield {"what": what, "metric": name, "interval": told, **limits}


def _names(rows: list[str], metric: str) -> Values:
    """Beside the first panel only."""
    return category("what", title=None, sort=rows, axis={"labelLimit": 420, "labels": metric == "bleu"})


def _seeds() -> Values:
    return category("interval", title=None, legend={"orient": "top"})
