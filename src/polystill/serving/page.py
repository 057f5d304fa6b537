"""Make what a browser loads from the server: its two pages, the quality chart, and Bergamot models with their runtime.

No file comes from another server. All files are read once, at the start.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from polystill.decoding.ctranslate2 import read_info
from polystill.errors import UserError
from polystill.serving.family import Family, Student
from polystill.serving.languages import full_name

_log = logging.getLogger(__name__)
_FOLDER = files("polystill.serving") / "static"
ASSETS = {
    name: (kind, (_FOLDER / name).read_bytes())
    for name, kind in (
        ("style.css", "text/css"),
        ("page.js", "text/javascript"),
        ("bergamot.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    )
}
CHOSEN = 4
"""The number of students that are ticked when the page opens: the largest, the smallest and some between."""


def render_page(family: Family, browser: BrowserModels, *, needs_key: bool) -> str:
    """Return the page to try the students on a text."""
    source, target = family.source_language, family.target_language
    return Template((_FOLDER / "page.html").read_text(encoding="utf-8")).substitute(
        name=escape(family.name),
        source=escape(source),
        target=escape(target),
        source_name=escape(full_name(source)),
        target_name=escape(full_name(target)),
        students="\n".join(_choices(family, browser)),
        key=_KEY if needs_key else "",
        chart=_figure(family),
    )


def _choices(family: Family, browser: BrowserModels) -> list[str]:
    """Return a box to tick for each student, and one more for each that runs in the browser."""
    students = sorted(family.students, key=lambda s: (s.measured.parameters or 0, s.name))
    last = len(students) - 1
    chosen = {round(i * last / (CHOSEN - 1)) for i in range(CHOSEN)}
    rows = [_choice(student, i in chosen) for i, student in enumerate(students)]
    in_browser = [student for student in students if student.name in browser.students]
    return [*rows, *(_choice(student, True, browser.students[student.name]) for student in in_browser)]


def _choice(student: Student, checked: bool, metadata: dict[str, Any] | None = None) -> str:
    name = student.name
    size = student.measured.size_bytes if metadata is None else metadata.get("byteSize")
    facts = [f"{size / 1e6:.1f} MB"] if size else []
    if metadata is None and student.measured.bleu is not None:
        facts.append(f"BLEU {student.measured.bleu:.1f}")
    where = ' data-browser="true"' if metadata is not None else ""
    label = f"{name} in this browser" if metadata is not None else name
    return (
        f'<label class="choice"><input type="checkbox" name="student" value="{escape(name)}" '
        f'data-facts="{escape(" · ".join(facts))}"{where}{" checked" if checked else ""}>'
        f"<span>{escape(label)}</span> <small>{escape(' · '.join(facts))}</small></label>"
    )


def _figure(family: Family) -> str:
    """Return the quality chart with its words, or "" where fewer than two students have a size and a BLEU."""
    figures = [(student.name, student.measured) for student in family.students]
    points = [Point(name, m.size_bytes / 1e6, m.bleu) for name, m in figures if m.size_bytes and m.bleu is not None]
    if len(points) < 2:
        return ""
    test_set = next((m.test_set for _, m in figures if m.test_set), "")
    return (
        '<section class="quality" aria-labelledby="quality"><h2 id="quality">Quality and size</h2>'
        f"{quality_chart(points, test_set)}<p>Measured on {escape(test_set)}. Filled: chosen on this page. "
        "The line joins the students that no smaller one equals.</p></section>"
    )


_KEY = (
    '<p><label for="key">API key</label> <input id="key" type="password" autocomplete="off" '
    'spellcheck="false" required></p>'
)


def render_docs(schema: dict[str, Any]) -> str:
    """Return the page that describes the API, made from its OpenAPI description."""
    paths = schema["paths"].items()
    return Template((_FOLDER / "docs.html").read_text(encoding="utf-8")).substitute(
        title=escape(schema["info"]["title"]),
        description=escape(schema["info"]["description"]),
        operations="\n".join(_operation(path, *method) for path, methods in paths for method in methods.items()),
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    name = operation["operationId"]
    text = "".join(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    fields = _fields(operation.get("requestBody"))
    answers = "".join(
        f"<tr><th scope=row>{escape(status)}</th><td>{escape(answer['description'])}</td></tr>"
        for status, answer in sorted(operation["responses"].items())
        if status not in ("200", "422")  # 422 is what FastAPI would answer, which does not read the body here
    )
    errors = f"<table><caption>Errors</caption>{answers}</table>" if answers else ""
    head = f'<h2 id="{escape(name)}"><code>{method.upper()} {escape(path)}</code></h2>'
    return f'<section aria-labelledby="{escape(name)}">{head}{text}{fields}{errors}</section>'


def _fields(body: dict[str, Any] | None) -> str:
    if body is None:
        return ""
    schema = body["content"]["application/json"]["schema"]
    rows = ""
    for name, values in schema["properties"].items():
        need = "needed" if name in schema.get("required", []) else ""
        rows += f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(_kind(values))}</td>"
        rows += f"<td>{need}</td><td>{escape(values.get('description', ''))}</td></tr>"
    head = "<tr><th scope=col>Field</th><th scope=col>Kind</th><th scope=col></th><th scope=col>Meaning</th></tr>"
    return f'<div class="wide"><table><caption>Body, JSON or a form</caption>{head}{rows}</table></div>'


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    return f"list of {_kind(field['items'])}s" if field["type"] == "array" else str(field["type"])


# --- quality chart --------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 34, 28, 44
_LABEL_HEIGHT, _LABEL_WIDTH = 11, 30


class Point(NamedTuple):
    """One model: size in MB and BLEU."""

    name: str
    size: float
    bleu: float


class Box(NamedTuple):
    """The room that something takes in the chart."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


def quality_chart(points: Sequence[Point], test_set: str) -> str:
    """Return the chart as a small SVG, or "" without points. The line joins the models that no smaller one equals.

    The colours come from the page's style sheet.
    """
    if not points:
        return ""
    points = sorted(points, key=lambda p: (p.size, -p.bleu))
    xs, ys = _ticks([p.size for p in points]), _ticks([p.bleu for p in points])

    def x(size: float) -> float:
        return round(LEFT + (size - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT), 1)

    def y(bleu: float) -> float:
        return round(HEIGHT - BOTTOM - (bleu - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM), 1)

    front = [p for i, p in enumerate(points) if all(p.bleu > other.bleu for other in points[:i])]
    words = "; ".join(f"{p.name}: {p.size:.1f} MB, {p.bleu:.1f} BLEU" for p in points)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-title chart-words">',
        f'<title id="chart-title">BLEU on {escape(test_set)} against size</title>',
        f'<desc id="chart-words">{escape(words)}</desc>',
        *(_line("grid", x(xs[0]), y(tick), x(xs[-1]), y(tick)) for tick in ys),
        *(_text("tick end", LEFT - 6, y(tick) + 4, f"{tick:g}") for tick in ys),
        *(_text("tick middle", x(tick), HEIGHT - BOTTOM + 17, f"{tick:g}") for tick in xs),
        _text("axis middle", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "size on disk, MB"),
        _text("axis", 4, 12, "BLEU"),
        f'<polyline class="front" points="{" ".join(f"{x(p.size)},{y(p.bleu)}" for p in front)}"/>',
        *(_circle(p.name, x(p.size), y(p.bleu)) for p in points),
    ]
    taken = [Box(x(p.size) - 6, y(p.bleu) - 6, x(p.size) + 6, y(p.bleu) + 6) for p in points]
    for p in sorted(points, key=lambda p: p not in front):  # label those on the line first
        if place := _free_place(x(p.size), y(p.bleu), taken):
            taken.append(place)
            parts.append(_text("name", place.left, place.bottom - 2, p.name))
    return "\n".join([*parts, "</svg>"])


def _ticks(values: Sequence[float]) -> list[float]:
    """Return four to seven round numbers around the values."""
    low, high = min(values), max(values)
    span = max(high - low, 0.1 * abs(high), 0.1)
    step = 10.0 ** math.floor(math.log10(span / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 6) for i in range(first, max(last, first + 2) + 1)]


def _free_place(x: float, y: float, taken: Sequence[Box]) -> Box | None:
    """Return a place for a label that hides nothing: above, below, right or left of its point, or None."""
    for left, bottom in ((x - 14, y - 7), (x - 14, y + 20), (x + 8, y + 6), (x - 38, y + 6)):
        place = Box(left, bottom - _LABEL_HEIGHT, left + _LABEL_WIDTH, bottom)
        if not any(place.overlaps(other) for other in taken) and left >= 0 and place.right <= WIDTH and place.top > 0:
            return place
    return None


def _circle(name: str, x: float, y: float) -> str:
    name = escape(name)
    return f'<circle data-model="{name}" cx="{x}" cy="{y}" r="5"><title>{name}</title></circle>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{round(x, 1)}" y="{round(y, 1)}">{escape(text)}</text>'


# --- models that run in the browser ---------------------------------------------------------------------------------

RUNTIME = {
    "translator.js": "text/javascript",
    "worker/translator-worker.js": "text/javascript",
    "worker/bergamot-translator-worker.js": "text/javascript",
    "worker/bergamot-translator-worker.wasm": "application/wasm",
}
"""The files of the npm package that a browser loads."""


@dataclass(frozen=True)
class BrowserModels:
    """Files by the name under which a browser asks for them. No other file is ever read."""

    runtime: dict[str, bytes] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Gzipped files by student and file name."""
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The metadata.json of each student's export."""

    def __bool__(self) -> bool:
        return bool(self.students)


def read_runtime(folder: Path) -> dict[str, bytes]:
    """Read the unpacked npm package @browsermt/bergamot-translator.

    Raises:
        UserError: one of its files is missing.
    """
    runtime = {}
    for name in RUNTIME:
        try:
            runtime[name] = (Path(folder) / name).read_bytes()
        except OSError as error:
            raise UserError(
                f"{folder}: {name} cannot be read ({error.strerror}); expected the npm package "
                "@browsermt/bergamot-translator, such as node_modules/@browsermt/bergamot-translator"
            ) from None
    return runtime


def bergamot_exports(run: Path, weights: Mapping[str, str | None]) -> tuple[dict[str, Path], list[Path]]:
    """Find the folders in RUN/exports that hold these students for Bergamot.

    `weights` maps students' names to the checksums of their weights, or to None where that is unknown. Returns folders
    by the student's name, and the folders of exports that were made from other weights, for example before more
    training.
    """
    fresh, stale = {}, []
    for metadata in sorted((Path(run) / "exports").glob("*/metadata.json")):
        folder, info = metadata.parent, read_info(metadata.parent)
        name = str(info.get("name"))
        if info.get("format") != "bergamot" or name not in weights:
            continue
        if weights[name] in (None, info.get("source_sha256")):
            fresh[name] = folder
        else:
            stale.append(folder)
    return fresh, stale


def read_browser_models(runtime: Path, exports: dict[str, Path]) -> BrowserModels:
    """Read these students' exports and the runtime.

    Raises:
        UserError: a file is missing or damaged.
    """
    models = BrowserModels(read_runtime(runtime))
    for student, folder in exports.items():
        try:
            metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
            for file in metadata["files"].values():
                content = (folder / Path(f"{file['name']}.gz").name).read_bytes()
                if len(gzip.decompress(content)) != file["size"]:
                    raise ValueError(f"{file['name']} has another size")
                models.files[student, file["name"]] = content
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zlib.error) as error:
            raise UserError(f"{folder}: not a whole Bergamot export ({error}); export it again") from None
        models.students[student] = metadata
    return models


def browser_models(family: Family, run: Path, runtime: Path | None) -> BrowserModels:
    """Read the students in RUN/exports that can run in the browser; nothing without the runtime's folder.

    Raises:
        UserError: the runtime cannot be read, or there is no student that it can run.
    """
    weights = {student.name: student.weights_sha256 for student in family.students}
    exports, stale = bergamot_exports(run, weights)
    for folder in stale:
        _log.warning("%s: of other weights than the student that is served; export it again", folder)
    if runtime is None:
        if exports:
            _log.info("%s can run in the browser itself: give --bergamot-runtime", ", ".join(exports))
        return BrowserModels()
    if not exports:
        raise UserError(
            f"--bergamot-runtime: {run / 'exports'} holds no Bergamot export of a student that is served; "
            f"make one with polystill export {run} {family.students[0].name} --to bergamot"
        )
    return read_browser_models(runtime, exports)
