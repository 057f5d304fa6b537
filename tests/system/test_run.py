"""polystill run, prepare, evaluate, status: the whole way, and again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.config import load_recipe

STUDENTS = ["e1d1", "e2d1", "e2d2"]


def rows_of(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((run / "results.json").read_text())["rows"]
    return rows


def finished(run: Path) -> list[str]:
    return list(json.loads((run / "state.json").read_text())["stages"])


def test_results_have_a_row_for_every_student_and_beam(finished_run: Path) -> None:
    rows = rows_of(finished_run)
    keys = {(row["model"], row["test_set"], row["beam"]) for row in rows}
    assert keys == {(s, name, beam) for s in STUDENTS for name in ("unseen", "validation") for beam in (1, 2)}
    assert len(rows) == len(keys)
    for row in rows:
        assert 0 <= row["bleu"] <= 100
        assert 0 <= row["chrf"] <= 100
        assert "nrefs:1" in row["bleu_signature"]
        assert "nrefs:1" in row["chrf_signature"]
        assert (row["engine"], row["precision"], row["method"]) == ("ctranslate2", "float32", "aio_kd")
        assert row["parameters"] > 0
        assert row["size_bytes"] > 0
        assert row["hardware"]
        assert row["run_id"].startswith("tiny-")
        lines = (finished_run / row["hypotheses"]).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert len(lines) == (12 if row["test_set"] == "unseen" else 20)
    sizes = {row["model"]: row["parameters"] for row in rows}
    assert sizes["e1d1"] < sizes["e2d1"] < sizes["e2d2"]


def test_the_rows_figures_are_those_of_the_stored_translations(finished_run: Path) -> None:
    import sacrebleu

    def lines_of(path: str) -> list[str]:
        return (finished_run / path).read_text(encoding="utf-8").removesuffix("\n").split("\n")

    texts = {"unseen": lines_of("data/test/unseen.target.txt"), "validation": lines_of("data/validation.target.txt")}
    for row in rows_of(finished_run):
        references = texts[row["test_set"]]
        lines = (finished_run / row["hypotheses"]).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert row["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, [references]).score, abs=0.01)
        assert row["chrf"] == pytest.approx(sacrebleu.corpus_chrf(lines, [references]).score, abs=0.01)


def test_stages_and_their_cost_are_on_record(finished_run: Path) -> None:
    stages = ["data", "training.distillation", "training.mutual", "family", "evaluation"]
    assert finished(finished_run) == stages
    cost = json.loads((finished_run / "results.json").read_text())["cost"]
    for stage in ("data", "training.distillation", "training.mutual", "evaluation"):
        assert cost[stage]["seconds"] > 0
        assert cost[stage]["cpu_seconds"] > 0
    assert cost["training.distillation"]["target_tokens"] > 0


def test_no_temporary_is_left(finished_run: Path) -> None:
    assert [path for path in finished_run.rglob("*") if ".tmp-" in path.name or ".old-" in path.name] == []


def test_run_again_does_nothing_and_prints_the_same(polystill: Any, own_run: Path) -> None:
    def content() -> dict[str, tuple[bytes, int]]:
        files = [path for path in own_run.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = content()
    again = polystill("run", own_run / "recipe.yaml", "--out", own_run).ok()
    assert content() == before
    assert again.stdout == polystill("status", own_run).ok().stdout


def test_summary_shows_stages_table_samples_and_what_is_next(polystill: Any, finished_run: Path) -> None:
    shown = polystill("status", finished_run).ok().stdout
    for word in (*STUDENTS, "parameters", "BLEU", "chrF", "greedy", "beam 2", "finished", "results.json", "nrefs:1"):
        assert word in shown
    assert f"polystill export {finished_run} e1d1 --to ctranslate2" in shown
    source = (finished_run / "data/test/unseen.source.txt").read_text().splitlines()[0]
    assert source in shown
    assert shown.count("reference ") == 3


def test_prepare_stops_after_the_data_and_run_goes_on(polystill: Any, tiny_recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    polystill("prepare", tiny_recipe, "--out", folder).ok()
    assert finished(folder) == ["data"]
    assert "Continue with: polystill run" in polystill("status", folder).ok().stdout
    polystill("evaluate", folder).refused("training is not finished", "polystill run", folder)
    polystill("translate", folder).refused("no family yet")
    record = json.loads((folder / "state.json").read_text())["stages"]["data"]
    polystill("run", tiny_recipe, "--out", folder, "--set", "evaluation.students=[e1d1]").ok()
    assert json.loads((folder / "state.json").read_text())["stages"]["data"] == record


def test_a_test_set_and_a_student_can_be_added(polystill: Any, tiny_recipe: Path, own_run: Path) -> None:
    more = "    more: {kind: synthetic, pairs: 5, split: test}\n"
    tiny_recipe.write_text(tiny_recipe.read_text().replace("  tokenizer:", f"{more}  tokenizer:"))
    family = (own_run / "family/model.safetensors").read_bytes()
    polystill("run", tiny_recipe, "--out", own_run).ok()
    assert {row["test_set"] for row in rows_of(own_run)} == {"unseen", "more", "validation"}
    assert len(rows_of(own_run)) == 18
    assert (own_run / "family/model.safetensors").read_bytes() == family
    polystill("run", tiny_recipe, "--out", own_run, "--set", "evaluation.beams=[1, 2, 3]").ok()
    assert {row["beam"] for row in rows_of(own_run)} == {1, 2, 3}


def test_updates_can_be_added_to_the_last_stage(
    polystill: Any, tiny_recipe: Path, own_run: Path, tmp_path: Path
) -> None:
    """The family is then the one that a run with so many updates from the start gives."""
    more = ("--set", "stages.1.updates=8", "--set", "evaluation.students=[e1d1]")
    before = (own_run / "family/model.safetensors").read_bytes()
    polystill("run", tiny_recipe, "--out", own_run, *more).ok()
    after = (own_run / "family/model.safetensors").read_bytes()
    polystill("run", tiny_recipe, "--out", tmp_path / "at-once", *more).ok()
    assert after == (tmp_path / "at-once/family/model.safetensors").read_bytes()
    assert before != after
    measured = {(row["model"], row["beam"]): row["bleu"] for row in rows_of(own_run)}
    assert measured == {(row["model"], row["beam"]): row["bleu"] for row in rows_of(tmp_path / "at-once")}


def test_a_changed_recipe_is_refused(polystill: Any, tiny_recipe: Path, own_run: Path) -> None:
    settings = ("--set", "training.learning_rate=0.25", "--set", "model.dropout=0.2")
    polystill("run", tiny_recipe, "--out", own_run, *settings).refused(
        "training.learning_rate: was 0.005, now 0.25", "model.dropout: was 0.1, now 0.2"
    )
    assert load_recipe(own_run / "recipe.yaml") == load_recipe(tiny_recipe).with_absolute_paths()


def test_a_family_that_was_lost_is_written_again(polystill: Any, own_run: Path) -> None:
    family = (own_run / "family/model.safetensors").read_bytes()
    shutil.rmtree(own_run / "family")
    assert "Continue with: polystill run" in polystill("status", own_run).ok().stdout
    polystill("translate", own_run, stdin="A dog.\n").refused("polystill run")
    polystill("run", own_run / "recipe.yaml", "--out", own_run).ok()
    assert (own_run / "family/model.safetensors").read_bytes() == family


def test_a_finished_run_needs_neither_its_start_model_nor_the_folder_it_began_in(
    polystill: Any, tiny_recipe: Path, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = yaml.safe_load(tiny_recipe.read_text())
    values["model"], values["stages"] = {"start": "start"}, [{"name": "only", "updates": 2}]
    values["evaluation"] = {"beams": [1], "students": ["e1d1"]}
    del values["data"]["tokenizer"]
    tiny_recipe.write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run / "family", "start")
    polystill("prepare", tiny_recipe, "--out", "run").ok()
    monkeypatch.chdir("/")
    run = tmp_path / "run"
    polystill("run", run / "recipe.yaml", "--out", run).ok()
    shutil.rmtree(tmp_path / "start")
    polystill("run", run / "recipe.yaml", "--out", run, "--set", "evaluation.beams=[1, 2]").ok()
    assert {row["beam"] for row in rows_of(run)} == {1, 2}


def test_lowercase_scores_come_with_their_signature(polystill: Any, own_run: Path) -> None:
    hypotheses = {path: path.stat().st_mtime_ns for path in (own_run / "hypotheses").rglob("*.txt")}
    shown = polystill("run", own_run / "recipe.yaml", "--out", own_run, "--set", "evaluation.lowercase=true").ok()
    assert "BLEU -lc" in shown.stdout
    assert "|case:lc|" in shown.stdout
    assert {path: path.stat().st_mtime_ns for path in (own_run / "hypotheses").rglob("*.txt")} == hypotheses


def test_rows_measured_by_hand_outlive_a_change_of_the_length_penalty(polystill: Any, own_run: Path) -> None:
    done = polystill("evaluate", own_run, "--precision", "int8", "--student", "e1d1", "--beam", "1").ok()
    assert re.search(r"evaluating [12]/2: .* left", done.stderr)
    assert re.search(r"round 1 of 3, .* left\nround 2 of 3, .* left\nround 3 of 3\n", done.stderr)
    settings = ("--set", "evaluation.length_penalty=0.5", "--set", "evaluation.students=[e1d1]")
    shown = polystill("run", own_run / "recipe.yaml", "--out", own_run, *settings).ok().stdout
    rows = [row for row in rows_of(own_run) if row["test_set"] == "unseen"]
    assert [(row["precision"], row["length_penalty"]) for row in rows[6:]] == [
        ("int8", 1.0),
        ("float32", 0.5),
        ("float32", 0.5),
    ]
    assert "e2d2" not in shown[shown.index("test set") : shown.index("nrefs")]


def test_evaluate_again_gives_the_same_figures(polystill: Any, own_run: Path) -> None:
    figures = [(row["model_id"], row["beam"], row["bleu"], row["chrf"]) for row in rows_of(own_run)]
    (own_run / "results.json").unlink()
    polystill("evaluate", own_run).ok()
    assert sorted(figures) == sorted(
        (row["model_id"], row["beam"], row["bleu"], row["chrf"]) for row in rows_of(own_run)
    )
