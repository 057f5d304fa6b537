"""polystill bench: each sub-command on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

from polystill.cli.bench import prepared_data

SPREAD = {"min", "median", "max"}


def test_train_compares_all_variants(polystill, tiny_recipe: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "steps.json", tmp_path / "run"
    polystill("prepare", tiny_recipe, "--out", run).ok()
    polystill("bench", "train", run, "--set", "data.max_tokens=9").refused("--set data.max_tokens=9", "a run's data")
    polystill("bench", "train", run, "--out", tmp_path / "other").refused("--out", "is a run")
    done = polystill("bench", "train", run, "--rounds", "1", "--batches", "1", "--json", out).ok()
    result = json.loads(out.read_text())
    rows = {row["variant"]: row for row in result["rows"]}
    fp32 = {"teacher", "teacher-plain", "family-plain", "family-exact", "family-shared"}
    assert fp32 <= set(rows)
    assert all(name in done.stdout for name in rows)
    for row in rows.values():
        for figure in ("target_tokens_per_second", "speed_to_family_plain", "cost_in_teacher_steps", "share_of_gemm"):
            assert set(row[figure]) == SPREAD
        assert row["memory"]["peak_bytes"] > row["memory"]["start_bytes"] > 0
        assert abs(sum(row["shares"].values()) - 1) < 1e-6
    assert rows["family-plain"]["speed_to_family_plain"]["median"] == 1
    assert (result["format"], result["benchmark"]) == (1, "train")
    assert result["settings"]["students_per_step"] == 2
    assert result["provenance"]["hardware"]
    polystill("bench", "train", run, "--json", out).refused("--json", out, "exists already")


def test_data_of_a_recipe_are_kept_on_request(polystill, tiny_recipe: Path, tmp_path: Path) -> None:
    with prepared_data(tiny_recipe, ["training.batch_tokens=64"], None) as (recipe, data):
        assert recipe.training.batch_tokens == 64
        assert list((data / "train").glob("*.arrow"))
    assert not data.exists()
    with prepared_data(tiny_recipe, None, tmp_path / "run") as (_, data):
        assert data == tmp_path / "run" / "data"
    with prepared_data(tmp_path / "run", ["seed=7"], None) as (recipe, again):
        assert (recipe.seed, again) == (7, data)
    polystill("bench", "train", tmp_path / "none.yaml").refused("none.yaml", "no such recipe")
    polystill("bench", "train", tiny_recipe, "--json", tmp_path / "no" / "x.json").refused("--json", "no such folder")


def test_loss_compares_memory(polystill, tmp_path: Path) -> None:
    out = tmp_path / "loss.json"
    sizes = ["--vocabulary", "1000", "--tokens", "200", "--d-model", "16", "--rounds", "1", "--threads", "1"]
    done = polystill("bench", "loss", "--students", "2", *sizes, "--json", out).ok()
    assert "fused" in done.stdout and "plain" in done.stdout
    result = json.loads(out.read_text())
    assert [(row["loss"], row["students"]) for row in result["rows"]] == [("fused", 2), ("plain", 2)]
    assert set(result["rows"][0]["seconds"]) == SPREAD
    polystill("bench", "loss", "--students", "1,x").refused("--students 1,x", "1,2,4")


def test_decode_compares_members_and_engines(polystill, own_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "decode.json"
    few = [
        "--student",
        "e1d1",
        "--sentences",
        "4",
        "--rounds",
        "1",
        "--batch-sizes",
        "3,1",
        "--shortlist",
        "--json",
        out,
    ]
    done = polystill("bench", "decode", own_run, *few).ok()
    assert "times transformers' generate" in done.stdout
    result = json.loads(out.read_text())
    assert result["settings"]["sentences"] == 4
    engines = {(row["engine"], row["precision"]) for row in result["rows"]}
    assert engines == {("ctranslate2", "float32"), ("ctranslate2", "int8"), ("torch", "float32")}
    whole = [row for row in result["rows"] if not row["shortlist"]]
    assert len(whole) == 3 * 3 * 2  # teacher twice and the student, on each engine, in both batch sizes
    short = [(row["student"], row["engine"], row["precision"]) for row in result["rows"] if row["shortlist"]]
    assert sorted(short) == [("e1d1", "ctranslate2", precision) for precision in ("float32", "int8") for _ in range(2)]
    for row in result["rows"]:
        assert set(row["words_per_second"]) == set(row["speed_to_reference"]) == SPREAD
        assert ("latency_ms" in row) == (row["batch_size"] == 1)
        assert row["device"] == "cpu" or row["engine"] == "torch"
    assert [row["batch_size"] for row in result["generate"]] == [3, 1]
    fast = ("--engine", "ctranslate2", "--sentences", "2", "--rounds", "1", "--batch-sizes", "2")
    done = polystill("bench", "decode", own_run, "--student", "e1d1", *fast).ok()
    assert "transformers" not in done.stdout and "torch" not in done.stdout
    polystill("bench", "decode", own_run, "--engine", "torhc").refused("torhc", "did you mean 'torch'")
    polystill("bench", "decode", own_run, "--student", "e9d9").refused("e9d9", "not in this family")
    polystill("bench", "decode", own_run, "--student", "nowhere/e1d1").refused("nowhere", "no such run")
    polystill("bench", "decode", own_run, "--test-set", "x").refused("--test-set x", "unseen")
