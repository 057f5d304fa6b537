"""A report in a real browser, at desktop and phone width, light and dark: drawn, silent, and asking for nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from polystill.reporting.build import write_report
from polystill.runs import Run
from polystill.storage import checksums

HOSTILE = "</script><script>window.injected = 1</script><img src=https://example.org/x.png onerror='window.injected=1'>"
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
LOOK = """() => ({
    drawn: document.documentElement.dataset.drawn,
    charts: document.querySelectorAll(".plot").length,
    drawings: document.querySelectorAll(".plot svg").length,
    named: document.querySelectorAll(".plot[aria-label], .plot [role=graphics-document][aria-label]").length,
    marks: [...document.querySelectorAll(".plot")].map((p) => p.querySelectorAll("[role=graphics-symbol]").length),
    scrollWidth: document.documentElement.scrollWidth,
    cut: [...document.querySelectorAll("figure > .table > .scroll")].filter(
        (table) => table.scrollWidth > table.clientWidth).length,
    injected: window.injected ?? null,
})"""


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run whose first translations and test sentence are code."""
    run = Run.open(Path(shutil.copytree(small_run, tmp_path_factory.mktemp("report") / "run")))
    for path in [*(run.folder / "hypotheses").rglob("*.txt"), run.data / "test" / "counting.source.txt"]:
        first, rest = path.read_text().split("\n", 1)
        path.write_text(f"{HOSTILE} {first}\n{rest}")
    run.finish("data", {**run.stages()["data"], "files": checksums(run.data)})
    return write_report([run.folder])[0]


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_in_a_browser(page: Path, chromium: Browser, width: int, scheme: Any) -> None:
    """With POLYSTILL_SCREENSHOTS, a folder, the whole page is kept there as a picture."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, is_mobile=width < 600)
    tab = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: problems.append(message.text) if message.type != "log" else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn", timeout=120_000)
    seen = tab.evaluate(LOOK)
    if folder := os.environ.get("POLYSTILL_SCREENSHOTS"):
        tab.screenshot(path=str(Path(folder) / f"{width}-{scheme}.png"), full_page=True)
    context.close()
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert seen["drawn"] == scheme
    assert seen["charts"] == seen["drawings"] == seen["named"] >= 9  # one more where a student was detached
    assert min(seen["marks"]) > 0
    assert seen["scrollWidth"] == width  # nothing scrolls sideways
    assert width < 600 or seen["cut"] == 0  # no chart's table loses its last columns
    assert seen["injected"] is None
