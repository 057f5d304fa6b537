"""A family of several supernets by the commands: every student of it leaves as an ordinary model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from polystill.runs import Run

from .conftest import TINY_RECIPE

SUPERNETS = "supernets:\n  tiny: {encoder_layers: 2, decoder_layers: 1, d_model: 8, ffn_dim: 16, heads: 2}\n"


@pytest.fixture(scope="module")
def run(polystill: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernets")
    (folder / "recipe.yaml").write_text(TINY_RECIPE.replace("beams: [1, 2]", "beams: [1]") + SUPERNETS)
    done = polystill("run", folder / "recipe.yaml", "--out", folder / "run").ok()
    assert "tiny-e2d1" in done.stdout
    return folder / "run"


def test_results_say_which_shape_a_student_has(run: Path) -> None:
    rows = {row["model"]: row for row in json.loads((run / "results.json").read_text())["rows"]}
    assert list(rows) == ["tiny-e1d1", "tiny-e2d1", "e1d1", "e2d1", "e2d2"]
    shape = ("supernet", "encoder_layers", "decoder_layers", "d_model", "ffn_dim")
    assert tuple(rows["tiny-e2d1"][key] for key in shape) == ("tiny", 2, 1, 8, 16)
    assert tuple(rows["e2d1"].get(key) for key in shape) == (None, 2, 1, 16, 32)
    assert rows["tiny-e2d1"]["size_bytes"] < rows["e2d1"]["size_bytes"]


def test_a_student_of_a_further_supernet_is_used_as_any_other(polystill: Any, run: Path, tmp_path: Path) -> None:
    text = "A dog runs.\nThe small house is old.\n"
    expected = polystill("translate", run, "--student", "tiny-e1d1", stdin=text).ok().stdout
    assert expected == polystill("translate", run / "tiny-e1d1", stdin=text).ok().stdout
    polystill("extract", run, "tiny-e1d1", "--out", tmp_path / "student").ok()
    assert expected == polystill("translate", tmp_path / "student", stdin=text).ok().stdout
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert (config["d_model"], config["encoder_layers"], config["decoder_layers"]) == (8, 1, 1)
    polystill("export", run, "tiny-e2d1", "--to", "ctranslate2", "--out", tmp_path / "exported").ok()
    assert polystill("translate", tmp_path / "exported", stdin=text).ok().stdout.count("\n") == 2
    polystill("export", run / "family", "tiny-e1d1", "--to", "sparse", "--out", tmp_path / "sparse").ok()
    polystill("translate", run, "--student", "tiny-e2d2", stdin=text).refused("tiny-e2d2", "it has: tiny-e1d1")
    polystill("translate", run, "--student", "huge-e2d2", stdin=text).refused("huge-e2d2", "it has: tiny-e1d1")


def test_the_family_is_a_folder_with_its_supernets_in_it(polystill: Any, run: Path, tmp_path: Path) -> None:
    family = Path(shutil.copytree(run / "family", tmp_path / "family"))
    for folder in (family, family / "tiny"):
        assert polystill("translate", folder, stdin="A dog.\n").ok().stdout.count("\n") == 1
    polystill("prune", family, "--sparsity", "0.5", "--out", tmp_path / "pruned").ok()
    for student in ("tiny-e1d1", "e1d1"):
        polystill("translate", tmp_path / "pruned", "--student", student, stdin="A dog.\n").ok()


def test_report_and_pick_see_all_supernets(polystill: Any, run: Path, tmp_path: Path) -> None:
    polystill("report", run, "--out", tmp_path / "report.html").ok()
    page = (tmp_path / "report.html").read_text()
    assert "BLEU by encoder and decoder layers of tiny" in page
    rows = json.loads((run / "results.json").read_text())["rows"]
    limit = max(row["size_bytes"] for row in rows if row["model"].startswith("tiny"))
    picked = polystill("pick", run, "--max-size", f"{limit}B").ok().stdout
    assert "tiny-" in picked


def test_another_family_learns_from_a_student_of_this_one(polystill: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY_RECIPE + SUPERNETS)
    taught = ["--set", f"objective={{kind: word_kd, teacher: {run}/tiny-e2d1, students_per_step: 1}}"]
    short = ["--set", "stages=[{name: one, updates: 2}]", "--set", "evaluation={beams: [1], students: [tiny-e1d1]}"]
    polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", *taught, *short).ok()
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert {(row["model"], row["method"]) for row in rows} == {("tiny-e1d1", "word_kd")}


def test_stages_of_one_network_a_supernet_train_and_score_these_alone(polystill: Any, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY_RECIPE + SUPERNETS)
    stages = ", ".join(f"{{name: {each}, updates: 2, networks: {each}}}" for each in ("smallest", "largest", "all"))
    short = ["--set", f"stages=[{stages}]", "--set", "evaluation={beams: [1], students: [tiny-e1d1]}"]
    polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", *short).ok()
    run = Run.open(tmp_path / "run")
    records = {each: run.record(f"training.{each}") or {} for each in ("smallest", "largest", "all")}
    scored = {name: [*record["validation"]["nll"]] for name, record in records.items()}
    assert scored["smallest"] == ["tiny-e1d1", "e1d1"]
    assert scored["largest"] == ["tiny-e2d1", "e2d2"]
    assert scored["all"] == ["tiny-e1d1", "tiny-e2d1", "e1d1", "e2d1", "e2d2"]
    polystill("report", tmp_path / "run").ok()


def test_each_architecture_is_evaluated_in_its_own_engine(polystill: Any, tmp_path: Path) -> None:
    recurrent = "supernets:\n  recurrent: {architecture: lstm, encoder_layers: 1, decoder_layers: 1, d_model: 8}\n"
    (tmp_path / "recipe.yaml").write_text(TINY_RECIPE.replace("beams: [1, 2]", "beams: [1]") + recurrent)
    run, short = tmp_path / "run", ["--set", "stages=[{name: all, updates: 2}]"]
    short += ["--set", "evaluation={beams: [1], students: [e1d1, recurrent-e1d1]}"]
    shown = polystill("run", tmp_path / "recipe.yaml", "--out", run, *short).ok().stdout
    assert "ctranslate2 float32, torch float32" in shown
    engines = {"recurrent-e1d1": "torch", "e1d1": "ctranslate2"}
    assert _engines(run, "rows") == engines

    polystill("evaluate", run, "--beam", "1").ok()
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {row["model"] for row in rows if "latency_p50_ms" in row} == {"e1d1"}
    reason = [
        "precision 'int8': torch has",
        "recurrent-e1d1 runs in this engine, so choose other students with --student",
    ]
    polystill("evaluate", run, "--precision", "float32,int8").refused(*reason)
    polystill("evaluate", run, "--engine", "ctranslate2").refused("CTranslate2 has no LSTM")

    shown = polystill("robustness", run).ok().stdout
    assert "torch float32" in shown and "ctranslate2 float32" in shown
    assert _engines(run, "robustness") == engines
    assert "recurrent-e1d1" in polystill("compare", run, "e1d1", "recurrent-e1d1").ok().stdout
    polystill("report", run, "--out", tmp_path / "report.html").ok()
    picked = polystill("pick", run, "--max-size", "1GB").ok().stdout
    assert "recurrent" not in picked


def _engines(run: Path, section: str) -> dict[str, str]:
    return {row["model"]: row["engine"] for row in json.loads((run / "results.json").read_text())[section]}


def test_a_supernet_starts_from_the_weights_of_the_first(polystill: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY_RECIPE + SUPERNETS)
    start = ["--set", f"model={{start: {run}}}", "--set", "data.tokenizer={}"]
    start += ["--set", "objective.detach_threshold=0", "--set", "stages=[{name: all, updates: 1}]"]
    start += ["--set", "evaluation={beams: [1], students: [tiny-e1d1]}"]
    first = []
    for kind in ("new", "projected"):
        chosen = [*start, "--set", f"supernets.tiny.start={kind}"]
        polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / kind, *chosen).ok()
        record = Run.open(tmp_path / kind).record("training.all") or {}
        first.append(record["validation"]["nll"])
    new, projected = first
    assert new["e2d2"] == projected["e2d2"] and new["tiny-e2d1"] != projected["tiny-e2d1"]
    deep = ["--set", "supernets.tiny.start=projected", "--set", "supernets.tiny.encoder_layers=3"]
    again = ["--out", tmp_path / "deep", *start, *deep]
    too_deep = "supernets.tiny.encoder_layers: 3", "at most the first supernet's 2"
    polystill("prepare", tmp_path / "recipe.yaml", *again).refused(*too_deep)
    untrained = ["--out", tmp_path / "untrained", "--set", "supernets.tiny.start=projected"]
    told = "supernets.tiny.start", "needs a trained first supernet"
    polystill("run", tmp_path / "recipe.yaml", *untrained).refused(*told)
    assert not (tmp_path / "deep").exists() and not (tmp_path / "untrained").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("supernets.e2d2={d_model: 8, heads: 2}", ["supernets.e2d2", "reads like a student's name"]),
        ("supernets.teacher={d_model: 8, heads: 2}", ["supernets.teacher", "reads like a student's name"]),
        ("supernets.Big={d_model: 8, heads: 2}", ["supernets.Big", "a-z, 0-9 and _"]),
        ("supernets.tiny.heads=3", ["supernets.tiny", "d_model 8 must be even and divisible by heads 3"]),
        ("supernets.tiny.d_model=32", ["supernets.tiny", "32 is larger than the model's (16)"]),
        ("supernets.tiny.width=8", ["unknown key 'supernets.tiny.width'"]),
        ("supernets.tiny.ffn_dims=8", ["unknown key 'supernets.tiny.ffn_dims' (did you mean 'ffn_dim'?)"]),
        ("supernets.tiny.vocabulary_size=300", ["supernets.tiny.vocabulary_size", "belongs under 'data.tokenizer'"]),
        ("supernets.tiny.students={encoder: [1, 3]}", ["supernets.tiny.students.encoder: [1, 3]", "2 encoder layers"]),
        ("supernets.tiny.architecture=lstm", ["supernets.tiny", "an lstm has none"]),
        ("students={only: [tiny-e9d1]}", ["tiny-e9d1 is deeper than the largest network of its supernet, tiny-e2d1"]),
        ("students={only: [huge-e1d1]}", ["huge-e1d1: there is no supernet huge; there are: tiny"]),
        ("evaluation.students=[tiny-e2d2]", ["tiny-e2d2 is not in this family; it has: tiny-e1d1"]),
    ],
)
def test_bad_input(polystill: Any, tmp_path: Path, change: str, words: list[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY_RECIPE + SUPERNETS)
    polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--set", change).refused(*words)
    assert not (tmp_path / "run").exists()
