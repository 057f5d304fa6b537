"""Two domains, drawn by a schedule over two stages, from the command line; interrupted, and with mistakes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from polystill.training.update import Update, Updated

SOFTWARE, EVERYDAY = 0, 1


@pytest.fixture
def recipe_of_two(counting_recipe: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Of 200 pairs about software and 100 of every day."""
    folder = Path(counting_recipe["data"]["folder"])
    train = []
    for domain, first, last in (("software", 0, 200), ("everyday", 200, 300)):
        for side in ("en", "de"):
            lines = (folder / f"train.{side}").read_text(encoding="utf-8").splitlines(keepends=True)[first:last]
            (tmp_path / f"{domain}.{side}").write_text("".join(lines), encoding="utf-8")
        files = {"source": str(tmp_path / f"{domain}.en"), "target": str(tmp_path / f"{domain}.de")}
        train.append({"kind": "text", "domain": domain, **files})
    counting_recipe["data"] |= {"train": train, "cleaning": {"drop_duplicates": False}}
    counting_recipe["evaluation"] = {"beams": [1], "students": ["e1d1"], "engine": "torch"}
    counting_recipe["domains"] = {"software": 0.5, "everyday": 2.0}
    counting_recipe["stages"] = [
        {"name": "both", "updates": 20, "objective": {"mutual": "none"}},
        {"name": "software", "updates": 8, "domains": {"software": 1.0}},
    ]
    return counting_recipe


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The rows of every update that is made; the command is interrupted in the 7th, and in the 29th."""
    rows: list[np.ndarray] = []
    update = Update.__call__

    def noted(self: Update, batch: Any, *arguments: Any) -> Updated:
        rows.append(batch.rows)
        if len(rows) in (7, 29):
            raise KeyboardInterrupt
        return update(self, batch, *arguments)

    monkeypatch.setattr(Update, "__call__", noted)
    return rows


def test_two_domains_in_two_stages(
    polystill: Any, recipe_of_two: dict[str, Any], tmp_path: Path, trained_on: list[np.ndarray]
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(recipe_of_two))
    assert polystill("run", recipe, "--out", run).status == 130
    assert polystill("run", recipe, "--out", run).status == 130
    said = polystill("run", recipe, "--out", run).ok().stderr
    assert "software: continues after update 4 of 8" in said
    resumed = trained_on[-4:]
    said = polystill("run", recipe, "--out", tmp_path / "whole").ok().stderr
    assert "domains of train: software 200 pairs, " in said and "; everyday 100 pairs, " in said
    families = (folder / "family" / "model.safetensors" for folder in (run, tmp_path / "whole"))
    assert len({path.read_bytes() for path in families}) == 1

    domains = np.load(run / "data" / "train" / "domains.npy")
    both, software = trained_on[-28:-8], trained_on[-8:]
    assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in software[-4:]]
    drawn = Counter(domains[np.concatenate(both)].tolist())
    assert 1.3 < drawn[EVERYDAY] / drawn[SOFTWARE] < 2.7  # 2 over whole epochs
    assert set(domains[np.concatenate(software)].tolist()) == {SOFTWARE}

    label = "0.5xsoftware+2xeveryday,software"
    assert {row["domains"] for row in json.loads((run / "results.json").read_text())["rows"]} == {label}
    assert json.loads((run / "family" / "family.json").read_text())["domains"] == label
    data = json.loads((run / "state.json").read_text())["stages"]["data"]
    assert [(source["domain"], source["pairs"]) for source in data["sources"]] == [("software", 200), ("everyday", 100)]
    polystill("report", run, "--markdown", tmp_path / "report.md").ok()
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"Weights of the domains, stage by stage: {label}." in page
    assert "/everyday.en | everyday | 100 |" in page
    polystill("export", run, "e1d1", "--to", "hf", "--out", tmp_path / "model").ok()
    assert f"domains: {label}" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_mistakes_are_found_before_training(polystill: Any, recipe_of_two: dict[str, Any], tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(recipe_of_two))
    wrong = polystill("run", recipe, "--out", out, "--set", "domains={sofware: 1}")
    wrong.refused("domains: 'sofware' is no domain of data.train (did you mean 'software'?); there are: software every")
    none_left = polystill(
        "run", recipe, "--out", out, "--set", "data.first_pairs=200", "--set", "domains={everyday: 1}"
    )
    none_left.refused("stage both: no pair of the domains (everyday) is left in the targets (gold)")
    assert not (out / "data").exists() and not (out / "checkpoints").exists()
