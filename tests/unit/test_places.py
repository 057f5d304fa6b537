"""What may be named as a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.places import Place, find_model


def test_runs_students_and_folders_are_found(tmp_path: Path) -> None:
    run, device, model = tmp_path / "run", tmp_path / "device", tmp_path / "model"
    for path in (run / "recipe.yaml", run / "family" / "config.json", device / "model.bin", model / "config.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_model(run) == Place(run / "family", None, run)
    assert find_model(run / "e4d2") == Place(run / "family", "e4d2", run)
    assert find_model(run / "family") == Place(run / "family")
    assert find_model(device) == Place(device)
    assert find_model(model) == Place(model)


def test_what_is_none_is_said_with_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; expected a model's folder .*, a run .*RUN/STUDENT"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no model here; expected"):
        find_model(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(UserError, match=r"no family yet; continue it with polystill run .*recipe\.yaml --out"):
        find_model(tmp_path)
