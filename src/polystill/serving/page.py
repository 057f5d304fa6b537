"""The server's two pages: one to try the students, one that describes the API. No file comes from elsewhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from polystill.data.languages import language_name
from polystill.serving.browser import BrowserModels
from polystill.serving.models import Family, Student

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
"""Students that are ticked when the page opens: the largest, the smallest and some between."""


def render_page(family: Family, browser: BrowserModels, chart: str, *, needs_key: bool) -> str:
    """The page to try all students on a sentence."""
    source, target = family.source_language, family.target_language
    return Template((_FOLDER / "page.html").read_text(encoding="utf-8")).substitute(
        name=escape(family.name),
        source=escape(source),
        target=escape(target),
        source_name=escape(language_name(source)),
        target_name=escape(language_name(target)),
        students="\n".join(_choices(family, browser)),
        key=_KEY if needs_key else "",
        chart=_figure(family, chart) if chart else "",
    )


def _choices(family: Family, browser: BrowserModels) -> list[str]:
    """A box to tick for each student, and one more for each that runs in the browser."""
    students = sorted(family.students, key=lambda s: (s.measured.parameters or 0, s.name))
    last = len(students) - 1
    chosen = {round(i * last / (CHOSEN - 1)) for i in range(CHOSEN)}
    rows = [_choice(student.name, student, i in chosen) for i, student in enumerate(students)]
    for student in students:
        if student.name in browser.students:
            rows.append(_choice(student.name, student, True, browser.students[student.name]))
    return rows


def _choice(name: str, student: Student, checked: bool, metadata: dict[str, Any] | None = None) -> str:
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


def _figure(family: Family, chart: str) -> str:
    beside = next((s.measured.test_set for s in family.students if s.measured.test_set), "")
    return (
        f'<section class="quality" aria-labelledby="quality"><h2 id="quality">Quality and size</h2>{chart}'
        f"<p>Measured on {escape(str(beside))}. Filled: chosen on this page. "
        "The line joins the students that no smaller one equals.</p></section>"
    )


_KEY = (
    '<p><label for="key">API key</label> <input id="key" type="password" autocomplete="off" '
    'spellcheck="false" required></p>'
)


def render_docs(schema: dict[str, Any]) -> str:
    """The API, from its OpenAPI description."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    return Template((_FOLDER / "docs.html").read_text(encoding="utf-8")).substitute(
        title=escape(schema["info"]["title"]),
        description=escape(schema["info"]["description"]),
        operations="\n".join(parts),
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
    for name, field in schema["properties"].items():
        need = "needed" if name in schema.get("required", []) else ""
        rows += f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(_kind(field))}</td>"
        rows += f"<td>{need}</td><td>{escape(field.get('description', ''))}</td></tr>"
    head = "<tr><th scope=col>Field</th><th scope=col>Kind</th><th scope=col></th><th scope=col>Meaning</th></tr>"
    return f'<div class="wide"><table><caption>Body, JSON or a form</caption>{head}{rows}</table></div>'


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    return f"list of {_kind(field['items'])}s" if field["type"] == "array" else str(field["type"])
