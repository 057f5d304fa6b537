"""experiments.pages: the pages' figures are those of docs/results/, and a wrong one is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import page_figures, pages
from experiments.claims import figures
from experiments.comparisons import SIGNIFICANCE, TRANSLATIONS, Comparison, Known, Side, Texts, write_translations
from polystill.errors import UserError


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_figures_are_those_of_the_results(page: Path) -> None:
    assert list(pages.problems_of(page.read_text(encoding="utf-8"), every_figure=page in pages.EVIDENCE)) == []


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of docs/results/, with a run."""
    rows = [
        {"model": "e1d1", "beam": beam, "precision": "float32", "bleu": 20.123 + beam, "chrf": 50.0} for beam in (1, 5)
    ]
    (tmp_path / "run.json").write_text(json.dumps({"rows": rows, "cost": {"training.a": {"cpu_seconds": 1791.2}}}))
    monkeypatch.setattr(page_figures, "RESULTS", tmp_path)
    page_figures.content.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('21.12<!-- = row("run", "e1d1", 1).bleu -->', ""),
        ('+4.00<!-- = row("run", "e1d1", 5).bleu - row("run", "e1d1", 1).bleu -->', ""),
        ('−4.00 <!-- = row("run", "e1d1", 1).bleu - row("run", "e1d1", 5).bleu -->', ""),
        ('1,791<!-- = cpu_seconds("run") -->', ""),
        ("7.5 × 10¹³<!-- = 7.46e13 -->", ""),
        ('1,792<!-- = cpu_seconds("run") -->', "is 1,791.2"),
        ('21.13<!-- = row("run", "e1d1", 1).bleu -->', "is 21.123"),
        ("a dropout of 0.3, `0.4` and\n```\n0.5\n```\n<!-- unchecked: 1 -->", ""),
        ("it has 21.12", "1 decimal figures are not checked, and the page says 0"),
    ],
)
def test_a_figure_is_checked_to_its_digits(results: Path, text: str, problem: str) -> None:
    found = list(pages.problems_of(text))
    assert [problem in one for one in found] == ([True] if problem else [])


def test_a_table_is_written_and_checked(results: Path) -> None:
    text = '<!-- table: table(["a", "b"], [["x", "1.5"]]) -->\nold\n<!-- end -->\n'
    (problem, _) = pages.problems_of(text)
    assert "should be" in problem
    written = pages.written(text)
    assert "| x | 1.5 |" in written
    assert list(pages.problems_of(written)) == []
    (problem,) = pages.problems_of(written.replace("1.5 |", "1.6 |"))
    assert "line 3: '| x | 1.6 |' should be '| x | 1.5 |'" in problem


def test_students_are_shown_by_their_means_over_seeds(results: Path) -> None:
    rows = [
        {
            **{"row": name, "model": "e1d1", "beam": beam, "precision": "float32", "test_set": test_set},
            **{"bleu": bleu + (test_set == "validation"), "chrf": 50.0, "perplexity": 5.0},
        }
        for name, bleu in (("family", 20.0), ("family-seed2", 22.0), ("alone-e1d1", 19.0))
        for beam in (1, 5)
        for test_set in ("captions", "validation")
    ]
    (results / "seeds.json").write_text(json.dumps({"study": "aio-kd", "test_set": "captions", "rows": rows}))
    ways = {"alone": "alone-{}", "by Word-KD": "word-kd-{}", "in": "family"}
    table = page_figures.over_seeds("seeds", ["e1d1"], ways)
    assert table.splitlines()[2:] == [
        "| e1d1 | alone | 19.00 | 50.00 | 19.00 | 50.00 | 5.00 | 1 |",
        "| e1d1 | in | 21.00 ± 1.41 | 50.00 ± 0.00 | 21.00 ± 1.41 | 50.00 ± 0.00 | 5.00 ± 0.00 | 2 |",
    ]
    assert "| e1d1 | alone | 20.00 |" in page_figures.over_seeds("seeds", ["e1d1"], ways, "validation")


def test_students_are_shown_as_they_ship(results: Path) -> None:
    rows = [
        {"model": name, "test_set": "test", "beam": beam, "precision": precision, "parameters": size}
        | {"size_bytes": size * bytes_each, "bleu": 20.0 + beam - 4 / bytes_each, "chrf": 50.0}
        for name, size in (("e1d1", 1_000_000), ("e2d2", 2_000_000))
        for beam in (1, 5)
        for precision, bytes_each in (("int8", 1), ("float32", 4))
    ]
    (results / "family.json").write_text(json.dumps({"rows": rows}))
    _, _, first, second = page_figures.members("family", "test").splitlines()
    assert first == "| e2d2 | 2.00 M | 2.0 MB | 17.00 | -3.00 | 50.00 | +0.00 | 21.00 | -3.00 | 50.00 | +0.00 |"
    assert second.startswith("| e1d1 | 1.00 M | 1.0 MB |")


def test_students_are_shown_beside_firefox(results: Path) -> None:
    def timed(label: str, times: float, **more: Any) -> dict[str, Any]:
        speed = {end: times for end in ("median", "min", "max")}
        return {"label": label, "megabytes": 3.0, "bleu": 20.0, "chrf": 50.0, "times_as_fast": speed} | more

    waits = {"p50_ms": {"median": 2.0, "min": 1.0, "max": 3.0}}
    rows = [timed("Firefox", 1.0, **waits), timed("e1d1", 4.0, **waits), timed("e1d1", 9.0)]
    (results / "text.json").write_text(json.dumps({"rows": rows}))
    _, _, firefox, student = page_figures.beside_firefox({"here": "text"}, ["e1d1"]).splitlines()
    assert firefox.startswith("| Firefox | 3.0 | 20.00 | 50.00 | 2.0 (1.0–3.0) |") and firefox.endswith("|  |")
    assert [cell.split()[0] for cell in student.split("|")[-3:-1]] == ["4.0", "9.0"]
    with pytest.raises(UserError, match="text has no rows of e2d2"):
        page_figures.beside_firefox({"here": "text"}, ["e2d2"])


def test_stages_are_shown_with_their_shares(results: Path) -> None:
    (results / "more.json").write_text(json.dumps({"cost": {"packages": {"cpu_seconds": 597.0666}}}))
    lines = page_figures.stages({"a": ["run", "more"], "b": ["more"]}).splitlines()
    assert lines[2:] == ["| training.a | 29.9 | 75% |  |  |", "| packages | 10.0 | 25% | 10.0 | 100% |", lines[-1]]
    assert lines[-1] == "| all | 39.8 | 100% | 10.0 | 100% |"


@pytest.mark.parametrize("expression", ['row("run", "e9d9", 1)', 'row("none", "e1d1", 1)', "().__class__", "1 +"])
def test_an_expression_that_does_not_work_is_named(results: Path, expression: str) -> None:
    with pytest.raises(UserError):
        pages.evaluate(expression)


@pytest.fixture
def study(results: Path) -> Callable[..., Path]:
    """A study with two outputs and their comparison, whose rows claim this BLEU."""
    references = [f"sentence {i} of the references" for i in range(30)]
    outputs = {f"{row} e1d1 beam 5": [*references[:n], *["x y"] * (30 - n)] for row, n in (("a", 10), ("b", 20))}

    def make(bleu: float | None = None) -> Path:
        folder = results / "study"
        folder.mkdir()
        texts = Texts(references, "de", outputs.__getitem__)
        first, second = (Side(((name,),)) for name in outputs)
        known = Known(folder, compute=True)
        found = known.differences(texts, Comparison(first, second))
        known.write()
        write_translations(folder / TRANSLATIONS, texts, list(outputs))
        rows = [{"row": n[0], "model": "e1d1", "beam": 5, "test_set": "t", **texts.scores(n)} for n in outputs]
        rows[0] |= {} if bleu is None else {"bleu": bleu}
        about = {"study": "kim-rush", "test_set": "t", "target_language": "de", "rows": rows}
        compared = {metric: figures(each) for metric, each in found.items()}
        about["comparisons"] = [{"first": "a", "second": "b", "search": "beam 5", **compared}]
        about["claims"] = [{"claim": "b is better", "ours": {"BLEU": figures(found["bleu"])}}, {"claim": "not yet"}]
        (folder / "results.json").write_text(json.dumps(about))
        return folder

    return make


def problems(folder: Path) -> list[str]:
    return list(pages.problems_of_study(folder, log=lambda line: None))


def test_a_studys_translations_have_its_scores(study: Callable[..., Path]) -> None:
    assert problems(study()) == []


def test_a_wrong_score_is_found(study: Callable[..., Path]) -> None:
    (problem,) = problems(study(bleu=99.0))
    assert problem.startswith("a e1d1 beam 5: no row has the scores of its translations")


@pytest.mark.parametrize("place", ["comparisons", "claims"])
def test_a_difference_that_is_not_the_studys_is_found(study: Callable[..., Path], place: str) -> None:
    path = study() / "results.json"
    values = json.loads(path.read_text())
    told = values["comparisons"][0]["chrf"] if place == "comparisons" else values["claims"][0]["ours"]["BLEU"]
    told["low"] += 1
    path.write_text(json.dumps(values))
    (problem,) = problems(path.parent)
    what = "b – a (beam 5)" if place == "comparisons" else "b is better"
    assert problem == f"results.json: {what}: significance.json has no such difference"


def test_a_wrong_comparison_is_found(study: Callable[..., Path]) -> None:
    path = study() / SIGNIFICANCE
    values = json.loads(path.read_text())
    values["comparisons"][0]["differences"]["bleu"]["low"] += 1
    path.write_text(json.dumps(values))
    problem, *of_results = problems(path.parent)
    assert problem.startswith("significance.json: a e1d1 beam 5 | b e1d1 beam 5: is not what the translations give")
    assert all(each.endswith("significance.json has no such difference") for each in of_results)
