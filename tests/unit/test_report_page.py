"""The page: whole, offline, and with nothing of a user's text in force. Pictures without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.reporting.document import Chart, Report, Sample, Samples, Section, Table, Verbatim, Version
from polystill.reporting.page import to_html, write_static

HOSTILE = '</script><script>window.injected = 1</script><img src=x onerror="window.injected = 1">'


@pytest.fixture
def hostile() -> Report:
    """A report whose every text is code."""
    spec = {
        "data": {"values": [{"x": 1, "label": HOSTILE}]},
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "tooltip": {"field": "label"}},
    }
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]], note=HOSTILE)
    samples = Samples(HOSTILE, [Sample(HOSTILE, HOSTILE, [Version([HOSTILE], [(HOSTILE, True)])])])
    parts = [HOSTILE, Chart("one", HOSTILE, HOSTILE, spec, table), samples, Verbatim(HOSTILE, HOSTILE)]
    return Report(HOSTILE, HOSTILE, [Section("all", HOSTILE, parts)])


def test_no_text_becomes_code(hostile: Report) -> None:
    page = to_html(hostile)
    assert page.count("<script") == page.count("</script>") == 4  # ours
    assert "<img src=x" not in page
    assert page.count("&lt;/script&gt;") >= 12


def test_the_page_asks_for_nothing_outside(hostile: Report) -> None:
    page = to_html(hostile)
    head = page[: page.index("<body>")]
    assert "default-src 'none'" in head
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page.replace(HOSTILE, ""))
    assert len(page) < 1_100_000


def test_pictures(hostile: Report, tmp_path: Path) -> None:
    write_static(hostile, tmp_path / "pictures")
    assert (tmp_path / "pictures" / "one.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "pictures" / "one.svg").read_text()
    assert svg.startswith("<svg") and "<script" not in svg
    with pytest.raises(UserError, match="exists already"):
        write_static(hostile, tmp_path / "pictures")
