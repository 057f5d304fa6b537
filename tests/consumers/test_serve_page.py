"""The page of `polystill serve` in Chromium: students side by side, and one that runs in the browser itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from polystill.data.shortlist import Shortlist
from polystill.export.driver import export_folder

SENTENCE = "one two three four"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture
def model(marian_student: Path, with_pymarian: Path, tmp_path: Path) -> Path:
    """A folder to serve, with an export for the browser."""
    folder = tmp_path / "model"
    export_folder(marian_student, folder, "ctranslate2")
    everything = Shortlist(list(range(300)), {}, 1)
    export_folder(marian_student, folder / "exports" / "e2d2-bergamot", "bergamot", shortlist=everything)
    return folder


def test_a_sentence_is_answered_by_the_server_and_in_the_browser(
    model: Path,
    tmp_path: Path,
    node_modules: Path,
    run_node: Callable[..., list[str]],
    start_server: Any,
    chromium: Browser,
) -> None:
    runtime = node_modules / "@browsermt" / "bergamot-translator"
    with start_server(model, tmp_path / "log", "--bergamot-runtime", runtime) as server:
        page = chromium.new_page()
        problems, asked = listen(page)
        lists: list[str] = []
        page.on("request", lambda request: lists.append(request.url) if "/lex." in request.url else None)
        page.goto(server.url)
        field = page.get_by_label("Text in English")
        expect(field).to_be_focused()
        page.keyboard.type(SENTENCE)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("status")).to_have_text("2 translations.", timeout=60_000)
        answers = page.locator("#list .text").all_inner_texts()
        by_server, in_browser = answers
        assert by_server == server.translate(SENTENCE)["translatedText"]
        assert [in_browser] == run_node("bergamot.mjs", model / "exports" / "e2d2-bergamot", [SENTENCE])
        assert asked == ["e2d2"]  # the browser's own was not asked for
        assert [url.rsplit("/", 1)[-1] for url in lists] == ["lex.ende.s2t.bin"]
        for facts in page.locator("#list .facts").all_inner_texts():
            assert "MB" in facts and facts.endswith(" ms")

        page.get_by_role("checkbox", name="e2d2", exact=False).first.uncheck()
        server.stop()  # what runs in the browser needs it no longer
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_role("status")).to_have_text("1 translation.", timeout=60_000)
        assert page.locator("#list .text").all_inner_texts() == [in_browser]
        page.get_by_role("button", name="All").click()
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_role("status")).to_have_text("1 translation, 1 failed.", timeout=60_000)
        assert page.locator("#list .wrong").all_inner_texts() == ["The server does not answer."]
        assert [problem for problem in problems if "ERR_CONNECTION_REFUSED" not in problem] == []


def listen(page: Page) -> tuple[list[str], list[str]]:
    """Lists that fill with what the browser complains of, and with the students that the server is asked for."""
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))

    def note(request: Any) -> None:
        if request.url.endswith("/translate"):
            asked.append(request.post_data_json["model"])

    page.on("request", note)
    return problems, asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_can_be_read(
    size: str, scheme: Any, counting_ctranslate2: Path, tmp_path: Path, start_server: Any, chromium: Browser
) -> None:
    (tmp_path / "keys").write_text("mine\n")
    width, height = SIZES[size]
    with start_server(counting_ctranslate2, tmp_path / "log", "--api-keys", tmp_path / "keys") as server:
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(server.url)
        page.get_by_label("Text in English").fill(SENTENCE)
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_text("a valid api_key is needed")).to_be_visible()
        page.get_by_label("API key").fill("mine")
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_role("status")).to_have_text("1 translation.")
        page.route("**/translate", lambda route: route.fulfill(status=503, body="too many", content_type="text/plain"))
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_text("The server answers with status 503.")).to_be_visible()  # as at the limit
        page.unroute("**/translate")
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_role("status")).to_have_text("1 translation.")
        page.screenshot(path=tmp_path / f"{size}-{scheme}.png", full_page=True)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        for kind in ("body", "header p", ".facts", "button[type=submit]", "legend", "#status", "#list .text"):
            assert contrast(page, kind) >= 4.5, kind
        page.goto(f"{server.url}/docs")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert contrast(page, "caption") >= 4.5


def contrast(page: Page, selector: str) -> float:
    """WCAG's contrast of an element's text to the nearest ground that is painted."""
    script = """(element) => {
        const colour = (of) => getComputedStyle(of ?? document.body).backgroundColor;
        let ground = element;
        while (ground && /rgba\\(.*, 0\\)/.test(colour(ground))) ground = ground.parentElement;
        return [getComputedStyle(element).color, colour(ground)];
    }"""
    colours = page.locator(selector).first.evaluate(script)
    darker, lighter = sorted(luminance(colour) for colour in colours)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
