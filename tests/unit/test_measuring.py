"""Exported folders measured in fresh processes, and what the file of them says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.contract import DecodingOptions
from polystill.environment import child
from polystill.errors import UserError
from polystill.evaluation import exported as artefact
from polystill.evaluation import measure as folders
from polystill.evaluation import speed_rounds as rounds
from polystill.evaluation.speed import figures, percentile, sample
from polystill.export.driver import export_folder

LINES = ["one two three", "nine", "four five six seven"]


@pytest.fixture(scope="module")
def exported(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_folder(counting_student, folder, "ctranslate2", "int8")
    return folder


def test_a_fresh_process_without_torch_measures(exported: Path) -> None:
    found = figures(exported, LINES, options=DecodingOptions(beam_size=2), speed=True)
    assert 0 < found["latency_p50_ms"] <= found["latency_p95_ms"]
    assert found["latency_sentences"] == 3
    assert found["words_per_second"] > 0
    # Python and CTranslate2 alone; this process, which has torch, holds several times as much.
    assert 10e6 < found["peak_memory_bytes"] < 200e6
    assert found["compute_type"].startswith("int8")
    assert "words_per_second" not in figures(exported, LINES, options=DecodingOptions())


def test_measuring_loads_no_heavy_library(exported: Path) -> None:
    code = (
        "import sys, polystill.cli.devices\nfrom polystill.evaluation import exported, speed, measure\n"
        f"speed.measure_here({str(exported)!r}, {LINES}, 1, 1.0, 'default', 1, True)\n"
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


def test_mistakes_of_the_other_process_are_the_users(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision 'int9' is not available on this device"):
        figures(exported, LINES, options=DecodingOptions(), precision="int9")
    with pytest.raises(UserError, match="no CTranslate2 model here"):
        figures(tmp_path, LINES, options=DecodingOptions())


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


def test_an_export_says_what_it_is(exported: Path, counting_student: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    info = json.loads((copy / "polystill.json").read_text())
    described = {
        "model": "e2d2",
        "precision": "int8",
        "source_sha256": info["source_sha256"],
        "size_bytes": sum(path.stat().st_size for path in copy.iterdir()),
    }
    assert artefact.describe(copy) == described
    run = Path(shutil.copytree(exported, tmp_path / "of-a-run"))
    (run / "polystill.json").write_text(json.dumps({**info, "method": "aio_kd", "targets": "gold"}))
    assert artefact.describe(run)["model_id"] == "aio_kd-gold-e2d2"
    (run / "polystill.json").write_text(json.dumps({**info, "shortlist": {"frequent": 50}}))
    assert artefact.describe(run)["shortlist"] is True
    (run / "polystill.json").unlink()
    assert set(artefact.describe(run)) == {"size_bytes"}
    with (copy / "model.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"copy: model\.bin is not the file that was exported"):
        artefact.describe(copy)
    with pytest.raises(UserError, match="there are some inside: copy of-a-run"):
        artefact.describe(tmp_path)
    with pytest.raises(UserError, match="nothere: no such folder; expected a CTranslate2 folder"):
        artefact.describe(tmp_path / "nothere")


def test_folders_are_measured_in_turn(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, int]] = []
    values = {1: [30.0, 10.0, 20.0], 5: [3.0, 1.0, 2.0]}

    def invented(folder: Path, lines: list[str], *, options: DecodingOptions, **_: Any) -> dict[str, Any]:
        beam = options.beam_size
        value = values[beam][[size for _, size in measured].count(beam)]
        measured.append((folder.name, beam))
        return dict.fromkeys(("words_per_second", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes"), value)

    monkeypatch.setattr(rounds, "figures", invented)
    how: dict[str, Any] = {"text": "counting", "device": "board", "threads": 2, "log": lambda line: None}
    result = folders.measure_folders([exported], LINES, beams=[1, 5], rounds=3, **how)
    assert measured == [("model", 1), ("model", 5)] * 3
    assert (result["format"], result["device"]) == (1, "board")
    assert result["settings"] == {"text": "counting", "sentences": 3, "words": 8, "threads": 2, "rounds": 3}
    assert [(row["beam"], row["threads"]) for row in result["rows"]] == [(1, 2), (5, 2)]
    assert [(row["latency_p95_ms"], row["peak_memory_bytes"]) for row in result["rows"]] == [(20.0, 30.0), (2.0, 3.0)]
    assert [(row["words_per_second_min"], row["words_per_second_max"]) for row in result["rows"]] == [(10, 30), (1, 3)]
    assert result["provenance"]["hardware"]["summary"]


def test_built_in_sentences_are_in_the_models_language(exported: Path, tmp_path: Path) -> None:
    lines = folders.built_in_lines([exported], 5)
    assert len(lines) == 5 and all(line.isascii() for line in lines)
    for language, message in (("fr", "translates from fr"), (None, "does not say what it translates from")):
        other = tmp_path / str(language)
        other.mkdir()
        (other / "model.bin").touch()
        (other / "polystill.json").write_text(json.dumps({"source_language": language} if language else {}))
        with pytest.raises(UserError, match=f"{message}.*--text FILE"):
            folders.built_in_lines([exported, other], 5)
    (tmp_path / "fr" / "polystill.json").write_text('{"source_language": "de"}')
    with pytest.raises(UserError, match="different languages"):
        folders.built_in_lines([exported, tmp_path / "fr"], 5)
