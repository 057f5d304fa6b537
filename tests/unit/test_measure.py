"""Exported folders measured in fresh processes, the file of their figures, and the run that takes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.translator import DecodingOptions
from polystill.environment import child
from polystill.errors import UserError
from polystill.evaluation import speed
from polystill.evaluation.measure import built_in_lines, describe, measure_folders, merge_figures
from polystill.evaluation.speed import Subject, measure_once, percentile, sample
from polystill.export.driver import export_folder
from polystill.runs import Run

LINES = ["one two three", "nine", "four five six seven"]


@pytest.fixture(scope="module")
def package(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_folder(counting_student, folder, "ctranslate2", "int8")
    return folder


def test_a_fresh_process_without_torch_measures(package: Path) -> None:
    found = measure_once(Subject(package, LINES, DecodingOptions(beam_size=2)), speed=True)
    assert 0 < found["latency_p50_ms"] <= found["latency_p95_ms"]
    assert found["latency_sentences"] == 3
    assert found["words_per_second"] > 0
    # Python and CTranslate2 alone; this process, which has torch, holds several times as much.
    assert 10e6 < found["peak_memory_bytes"] < 200e6
    assert found["compute_type"].startswith("int8")
    assert "words_per_second" not in measure_once(Subject(package, LINES, DecodingOptions()))


def test_measuring_loads_no_heavy_library(package: Path) -> None:
    code = (
        "import sys, polystill.cli.devices\nfrom polystill.evaluation import speed, measure\n"
        f"speed.measure_here({str(package)!r}, {LINES}, 1, 1.0, 'default', 1, True)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert loaded & {"torch", "transformers", "sacrebleu", "datasets", "pydantic"} == set()
    assert "ctranslate2" in loaded


def test_the_users_files_are_not_taken_for_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "statistics.py").write_text("raise SystemExit('this is my own script')")
    monkeypatch.chdir(tmp_path)
    assert child.call("statistics:median", data=[1, 2, 9]) == 2


def test_mistakes_of_the_other_process_are_the_users(package: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision 'int9' is not available on this device"):
        measure_once(Subject(package, LINES, DecodingOptions(), precision="int9"))
    with pytest.raises(UserError, match="no CTranslate2 model here"):
        measure_once(Subject(tmp_path, LINES, DecodingOptions()))


def test_a_sample_is_spread_evenly_over_lines_with_words() -> None:
    lines = ["a", " ", "b", "c", "", "d"]
    assert sample(lines, 2) == ["a", "c"]
    assert sample(lines, 9) == ["a", "b", "c", "d"]
    with pytest.raises(UserError, match="all lines are blank"):
        sample(["", " "], 3)


def test_percentile_is_the_value_that_so_many_do_not_exceed() -> None:
    assert percentile(range(1, 101), 95) == 95
    assert percentile([3.0, 1.0, 2.0], 95) == 3.0
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0


def test_an_export_says_what_it_is(package: Path, counting_student: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    info = json.loads((copy / "polystill.json").read_text())
    described = {
        "model": "e2d2",
        "precision": "int8",
        "source_sha256": info["source_sha256"],
        "size_bytes": sum(path.stat().st_size for path in copy.iterdir()),
    }
    assert describe(copy) == described
    run = Path(shutil.copytree(package, tmp_path / "of-a-run"))
    (run / "polystill.json").write_text(json.dumps({**info, "method": "aio_kd", "targets": "gold"}))
    assert describe(run)["model_id"] == "aio_kd-gold-e2d2"
    (run / "polystill.json").write_text(json.dumps({**info, "shortlist": {"frequent": 50}}))
    assert describe(run)["shortlist"] is True
    (run / "polystill.json").unlink()
    assert set(describe(run)) == {"size_bytes"}
    with (copy / "model.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"copy: model\.bin is not the file that was exported"):
        describe(copy)
    with pytest.raises(UserError, match="there are some inside: copy of-a-run"):
        describe(tmp_path)
    with pytest.raises(UserError, match="nothere: no such folder; expected a CTranslate2 folder"):
        describe(tmp_path / "nothere")


def test_folders_are_measured_in_turn(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, int]] = []
    values = {1: [30.0, 10.0, 20.0], 5: [3.0, 1.0, 2.0]}

    def invented(subject: Subject, **_: Any) -> dict[str, Any]:
        beam = subject.options.beam_size
        value = values[beam][[size for _, size in measured].count(beam)]
        measured.append((subject.folder.name, beam))
        return dict.fromkeys(("words_per_second", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes"), value)

    monkeypatch.setattr(speed, "measure_once", invented)
    how: dict[str, Any] = {"text": "counting", "device": "board", "threads": 2, "log": lambda line: None}
    result = measure_folders([package], LINES, beams=[1, 5], rounds=3, **how).to_json()
    assert measured == [("model", 1), ("model", 5)] * 3
    assert (result["format"], result["device"]) == (1, "board")
    assert result["settings"] == {"text": "counting", "sentences": 3, "words": 8, "threads": 2, "rounds": 3}
    assert [(row["beam"], row["threads"]) for row in result["rows"]] == [(1, 2), (5, 2)]
    assert [(row["latency_p95_ms"], row["peak_memory_bytes"]) for row in result["rows"]] == [(20.0, 30.0), (2.0, 3.0)]
    assert [(row["words_per_second_min"], row["words_per_second_max"]) for row in result["rows"]] == [(10, 30), (1, 3)]
    assert result["provenance"]["hardware"]["summary"]


def test_built_in_sentences_are_in_the_models_language(package: Path, tmp_path: Path) -> None:
    lines = built_in_lines([package], 5)
    assert len(lines) == 5 and all(line.isascii() for line in lines)
    for language, message in (("fr", "translates from fr"), (None, "does not say what it translates from")):
        other = tmp_path / str(language)
        other.mkdir()
        (other / "model.bin").touch()
        (other / "polystill.json").write_text(json.dumps({"source_language": language} if language else {}))
        with pytest.raises(UserError, match=f"{message}.*--text FILE"):
            built_in_lines([package, other], 5)
    (tmp_path / "fr" / "polystill.json").write_text('{"source_language": "de"}')
    with pytest.raises(UserError, match="different languages"):
        built_in_lines([package, tmp_path / "fr"], 5)


# --- figures come to the run whose student was measured, and to no other ----------------------------------------------


FIGURES = {"words_per_second": 90.5, "latency_p50_ms": 10.0, "latency_p95_ms": 20.0, "peak_memory_bytes": 50_000_000}


@pytest.fixture
def trained(
    counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], make_model: Callable[..., Any]
) -> Callable[..., Run]:
    """A run with its data and a (random) family."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family
    from polystill.models.supernets import Supernets

    def train(name: str, seed: int) -> Run:
        run = prepared_run(counting_recipe, name)
        tokenizer = Tokenizer.load(run.data / "tokenizer")
        model = make_model(2, tokenizer.vocabulary_size, seed=seed)
        about = {"method": "aio_kd", "targets": "gold"}
        save_family(run.family, Supernets(model), tokenizer, run.recipe.students.space(model.teacher), about)
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
    assert run.results().devices == added
    (row,) = run.results().to_json()["devices"]
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
    found = [(row.device, row.beam, row.latency_p95_ms) for row in run.results().devices]
    assert found == [("board", 1, 25.0), ("phone", 1, 20.0), ("board", 5, 20.0), ("board", 1, 9.0)]
    assert [row.shortlist for row in run.results().devices] == [False, False, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"rows": []}', "not what polystill measure writes: no key 'format'"),
        ("[1]", "not what polystill measure writes: expected an object"),
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
    with pytest.raises(UserError, match=r"x\.json: device evaluation: give the device another name"):
        merge_figures(run, [path])
    assert not run.results().devices


def test_figures_must_be_sound(trained: Callable[..., Run], tmp_path: Path) -> None:
    run = trained("run", 1)
    for wrong in ({"latency_p95_ms": -1}, {"latency_p95_ms": float("nan")}, {"latency_p95_ms": "fast"}):
        path = measured(tmp_path / "x.json", exported(run, "e1d1"), **wrong)
        with pytest.raises(UserError, match=r"rows\.0\.latency_p95_ms"):
            merge_figures(run, [path])
    assert not run.results().devices
