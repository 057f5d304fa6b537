"""Figures of a device come to the run whose student was measured, and to no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.evaluation.exported import describe
from polystill.evaluation.merging import merge_figures
from polystill.runs import Run

FIGURES = {"words_per_second": 90.5, "latency_p50_ms": 10.0, "latency_p95_ms": 20.0, "peak_memory_bytes": 50_000_000}


@pytest.fixture
def trained(
    counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], make_model: Callable[..., Any]
) -> Callable[..., Run]:
    """A run with its data and a (random) family."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family

    def train(name: str, seed: int) -> Run:
        run = prepared_run(counting_recipe, name)
        tokenizer = Tokenizer.load(run.data / "tokenizer")
        model = make_model(2, tokenizer.vocabulary_size, seed=seed)
        about = {"method": "aio_kd", "targets": "gold"}
        save_family(run.family, model, tokenizer, run.recipe.students.space(model.teacher), about)
        return run

    return train


def exported(run: Run, name: str) -> Path:
    from polystill.export.students import exported
    from polystill.students import Student

    return exported(run, Student.parse(name), "int8")


def measured(path: Path, *folders: Path, device: str = "board", **changes: Any) -> Path:
    """A file as `polystill measure` writes it."""
    rows = [
        {"folder": f.name, **describe(f), "engine": "ctranslate2", "beam": 1, "threads": 1, **FIGURES, **changes}
        for f in folders
    ]
    provenance = {"hardware": {"summary": "a board, 4 cores"}, "time": "2026-01-01T00:00:00+0000"}
    content = {"format": 1, "device": device, "rows": rows, "settings": {"text": "x"}, "provenance": provenance}
    path.write_text(json.dumps(content))
    return path


def test_only_students_with_the_same_weights_are_taken_up(trained: Callable[..., Run], tmp_path: Path) -> None:
    run, other = trained("run", 1), trained("other", 2)
    own, foreign = exported(run, "e2d1"), exported(other, "e2d1")
    somebodys = Path(shutil.copytree(own, tmp_path / "somebodys"))
    (somebodys / "polystill.json").write_text("{}")
    path = measured(tmp_path / "board.json", own, foreign, somebodys)
    shutil.rmtree(run.students)  # what was exported is known by its weights, not by where it lay
    added, left_out = merge_figures(run, [path])
    assert left_out == [
        "ctranslate2-int8, beam 1: other weights than this run's e2d1",
        "somebodys, beam 1: not exported by polystill, so nothing says which student it is",
    ]
    (row,) = run.results()["devices"]
    assert [row] == added
    expected = {"device": "board", "model": "e2d1", "model_id": "aio_kd-gold-e2d1", "precision": "int8", "beam": 1}
    assert {**row, **expected, **FIGURES, "hardware": "a board, 4 cores"} == row
    with pytest.raises(UserError, match="nothing merged: ctranslate2-int8, beam 1: other weights than this run's e2d1"):
        merge_figures(run, [measured(tmp_path / "foreign.json", foreign)])


def test_a_devices_later_figures_replace_its_earlier_ones(trained: Callable[..., Run], tmp_path: Path) -> None:
    run = trained("run", 1)
    folder = exported(run, "e1d1")
    first = measured(tmp_path / "1.json", folder)
    phone = measured(tmp_path / "2.json", folder, device="phone")
    merge_figures(run, [first, phone])
    merge_figures(run, [measured(tmp_path / "3.json", folder, latency_p95_ms=25.0)])
    merge_figures(run, [measured(tmp_path / "4.json", folder, beam=5)])
    merge_figures(run, [measured(tmp_path / "5.json", folder, shortlist=True, latency_p95_ms=9.0)])
    found = [(row["device"], row["beam"], row["latency_p95_ms"]) for row in run.results()["devices"]]
    assert found == [("board", 1, 25.0), ("phone", 1, 20.0), ("board", 5, 20.0), ("board", 1, 9.0)]
    assert [row.get("shortlist") for row in run.results()["devices"]] == [None, None, None, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"rows": []}', "not what polystill measure writes: format: Field required"),
        ("[1]", "not what polystill measure writes: the file"),
    ],
)
def test_files_of_another_kind_are_refused(
    content: str, message: str, trained: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"x.json: {message}"):
        merge_figures(trained("run", 1), [path])


def test_a_devices_name_means_nothing_else(trained: Callable[..., Run], tmp_path: Path) -> None:
    run = trained("run", 1)
    path = measured(tmp_path / "x.json", exported(run, "e1d1"), device="evaluation")
    with pytest.raises(UserError, match=r"x\.json: device evaluation: no name for a device"):
        merge_figures(run, [path])
    assert "devices" not in run.results()


def test_figures_must_be_sound(trained: Callable[..., Run], tmp_path: Path) -> None:
    run = trained("run", 1)
    for wrong in ({"latency_p95_ms": -1}, {"latency_p95_ms": float("nan")}, {"latency_p95_ms": "fast"}):
        path = measured(tmp_path / "x.json", exported(run, "e1d1"), **wrong)
        with pytest.raises(UserError, match=r"rows\.0\.latency_p95_ms"):
            merge_figures(run, [path])
    assert "devices" not in run.results()
