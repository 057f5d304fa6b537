"""A report in a real browser: Debian's chromium, or what CHROMIUM names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from polystill.reporting.write import write_report

HERE = Path(__file__).parent
HOSTILE = "</script><script>window.injected = 1</script><img src=https://example.org/x.png onerror='window.injected=1'>"


@pytest.fixture(scope="module")
def views(small_run: Path, node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the browser saw of a run whose first translations and test sentence are code."""
    chromium = os.environ.get("CHROMIUM", shutil.which("chromium"))
    if chromium is None:
        pytest.skip("chromium is missing")
    run = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(small_run, run)
    for path in [*(run / "hypotheses").rglob("*.txt"), run / "data" / "test" / "counting.source.txt"]:
        first, rest = path.read_text().split("\n", 1)
        path.write_text(f"{HOSTILE} {first}\n{rest}")
    (page,) = write_report([run])
    command = ["node", str(HERE / "report.mjs"), str(node_modules), str(page)]
    environment = {**os.environ, "CHROMIUM": chromium}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_chart_is_drawn_and_named(views: list[dict[str, Any]]) -> None:
    assert [view["drawn"] for view in views] == ["light", "dark", "light", "dark"]
    for view in views:
        assert view["charts"] == view["svgs"] == view["named"] == 7
        assert min(view["marks"]) > 0


def test_no_errors_and_no_requests(views: list[dict[str, Any]]) -> None:
    assert [(view["problems"], view["foreign"]) for view in views] == [([], [])] * 4


def test_a_phone_does_not_scroll_sideways(views: list[dict[str, Any]]) -> None:
    assert [view["scrollWidth"] for view in views] == [view["width"] for view in views]


def test_text_is_text(views: list[dict[str, Any]]) -> None:
    assert [view["injected"] for view in views] == [None] * 4
