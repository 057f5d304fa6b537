"""`polystill report` and `robustness` as a user gives them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.system.conftest import Polystill


def test_report_and_robustness(polystill: Polystill, own_run: Path, tmp_path: Path) -> None:
    done = polystill("robustness", own_run, "--student", "e1d1", "--beam", "1", "--precision", "default").ok()
    assert "e1d1" in done.stdout and "of 20" in done.stdout
    assert "translating unusual lines 1/1" in done.stderr
    (row,) = json.loads((own_run / "results.json").read_text())["robustness"]
    assert row["precision"] == "float32"
    outputs = (own_run / row["outputs"]).read_text().splitlines()
    assert len(outputs) == sum(counts["lines"] for counts in row["kinds"].values())
    before = {path: path.read_bytes() for path in own_run.rglob("*") if path.is_file()}
    out, pictures, card = tmp_path / "page.html", tmp_path / "pictures", tmp_path / "card.md"
    done = polystill("report", own_run, "--out", out, "--static", pictures, "--markdown", card).ok()
    sections, drawings, *written = done.stderr.splitlines()
    assert sections.startswith("reporting 14/14: ")
    assert re.match(r"drawing (\d+)/\1: ", drawings)
    assert [line.split()[-1] for line in written] == [str(out), str(pictures), str(card)]
    assert "Robustness" in out.read_text() and "### Robustness" in card.read_text()
    assert {path.suffix for path in pictures.iterdir()} == {".png", ".svg"}
    assert {path: path.read_bytes() for path in own_run.rglob("*") if path.is_file()} == before
    polystill("report", own_run, "--out", out).ok()  # its own page is replaced


def test_bad_input(polystill: Polystill, finished_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "mine.html"
    page.write_text("<p>my own page</p>")
    polystill("report", finished_run, "--out", page).refused(page, "not a page of polystill's")
    assert page.read_text() == "<p>my own page</p>"
    polystill("report", finished_run, "--out", tmp_path / "x.pdf").refused("x.pdf", ".html")
    polystill("report", finished_run, "--out", tmp_path).refused(tmp_path, "is a folder")
    polystill("report", finished_run, "--out", tmp_path / "a.html", "--static", tmp_path).refused("exists already")
    polystill("report", finished_run, "--out", tmp_path / "a.html", "--markdown", page).refused(page, "exists already")
    polystill("report", tmp_path / "none").refused("no such run")
    polystill("report", finished_run, finished_run).refused("given twice")
    polystill("report", finished_run, "--out", tmp_path / "no" / "a.html").refused(tmp_path / "no")
    polystill("robustness", finished_run, "--student", "e9d9").refused("e9d9")
    polystill("robustness", tmp_path).refused("not a run")
    assert not (tmp_path / "a.html").exists()
