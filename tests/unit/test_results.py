"""results.json as types: the same JSON as ever, one merge for all kinds of rows, and what tells rows apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polystill.config import Recipe
from polystill.errors import UserError
from polystill.runs.results import Cost, DeviceRow, PackageRow, QualityRow, Results, RobustnessRow, Row, Variant

COMMITTED = Path(__file__).parents[2] / "docs" / "results" / "multi30k-family.json"
SYSTEM: dict[str, Any] = {"model": "e2d2", "engine": "ctranslate2", "precision": "int8", "beam": 1}
ROW = QualityRow(**SYSTEM, model_id="x-e2d2", test_set="t", length_penalty=1.0, bleu=10.0)
DEVICE = DeviceRow(**SYSTEM, device="phone")


def in_order(value: Any) -> Any:
    """JSON whose comparison also sees the order of keys."""
    return json.dumps(value)


def test_committed_results_are_written_as_they_were_read() -> None:
    values = json.loads(COMMITTED.read_text(encoding="utf-8"))
    written = Results.from_json(values).to_json()
    assert written.keys() == values.keys()
    for section in ("rows", "cost", "provenance", "robustness", "devices", "packages"):
        assert values[section] and in_order(written[section]) == in_order(values[section])


def test_what_was_not_measured_is_absent() -> None:
    expected = {**SYSTEM, "model_id": "x-e2d2", "test_set": "t", "length_penalty": 1.0, "bleu": 10.0}
    assert ROW.to_json() == expected
    assert replace(ROW, shortlist=True, p_mode=0.0).to_json() == {**expected, "shortlist": True, "p_mode": 0.0}
    assert Results().to_json() == {"rows": [], "cost": {}, "provenance": {}}


def test_rows_of_every_kind_are_merged_by_their_key(tmp_path: Path) -> None:
    package = PackageRow(model="e2d2", format="onnx", precision="float32", family_sha256="a", size_bytes=1)
    probed = RobustnessRow(**SYSTEM, model_id="x-e2d2", length_penalty=1.0, kinds={}, outputs="a")
    first = Results().merge([ROW, replace(ROW, beam=5), DEVICE, package, probed])
    newer: list[Row] = [replace(ROW, bleu=11.0), replace(DEVICE, latency_p50_ms=1.0), replace(package, size_bytes=2)]
    merged = first.merge([*newer, replace(probed, outputs="b"), replace(DEVICE, device="board")])
    assert [(row.beam, row.bleu) for row in merged.rows] == [(1, 11.0), (5, 10.0)]
    assert [(row.device, row.latency_p50_ms) for row in merged.devices] == [("phone", 1.0), ("board", None)]
    assert [row.size_bytes for row in merged.packages] == [2]
    assert [row.outputs for row in merged.robustness] == ["b"]
    merged.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json", "") == merged


def refusal(path: Path, changes: dict[str, Any]) -> str:
    """The message about results that have these changes."""
    path.write_text(json.dumps({"rows": [], "cost": {}, "provenance": {}, **changes}))
    with pytest.raises(UserError) as caught:
        Results.read(path, "measure again")
    return str(caught.value)


def test_cost_is_kept_by_stage_and_figure() -> None:
    results = Results().add_cost("data", Cost(seconds=1.5, device="cpu")).add_cost("data", Cost(seconds=3.5))
    assert results.to_json()["cost"] == {"data": {"seconds": 3.5, "device": "cpu"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {}}, "rows: expected a list, not {}"),
        ({"devices": None}, "devices: expected a list, not null"),
        ({"rows": [{**ROW.to_json(), "bleu": "high"}]}, 'rows.0.bleu: expected a number, not "high"'),
        ({"rows": [{**ROW.to_json(), "beam": True}]}, "rows.0.beam: expected a whole number, not true"),
        ({"rows": [{"model": "e2d2"}]}, "rows.0: no key 'model_id'"),
        ({"rows": [3]}, "rows.0: expected an object, not 3"),
        ({"robustness": [{**SYSTEM, "kinds": 1}]}, "robustness.0: no key 'model_id'"),
        ({"provenance": {"time": "now", "hardware": {}}}, "provenance.hardware: no key 'summary'"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    assert refusal(path, changes) == f"{path}: damaged ({message}); measure again"
    path.write_text("{}")
    with pytest.raises(UserError, match="no key 'rows'"):
        Results.read(path, "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": []}, "unknown key 'more'"),
        ({"rows": [{**ROW.to_json(), "color": "red"}]}, "rows.0: unknown key 'color'"),
        ({"cost": {"data": {"hours": 1}}}, "cost.data: unknown key 'hours'"),
    ],
)
def test_files_of_another_version_are_not_called_damaged(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    assert refusal(path, changes) == f"{path}: {message}; another version of polystill wrote it, so use that one"


@pytest.mark.parametrize("row", [ROW, DEVICE])
def test_a_shortlist_makes_another_row(row: QualityRow | DeviceRow) -> None:
    short = replace(row, shortlist=True)
    assert short.key != row.key and short.system != row.system and short.variant != row.variant


def test_names() -> None:
    assert ROW.label == "e2d2"
    assert replace(ROW, shortlist=True).label == "e2d2 +list"
    assert Variant("ctranslate2", "int8").file_name == "ctranslate2-int8"
    assert Variant("ctranslate2", "int8", True).file_name == "ctranslate2-int8-shortlist"


def test_measured_as_the_recipe_says_is_without_a_shortlist(counting_recipe: dict[str, Any]) -> None:
    settings = {"engine": "ctranslate2", "precision": "int8", "length_penalty": 1.0}
    recipe = Recipe.model_validate({**counting_recipe, "evaluation": settings})
    short = replace(ROW, shortlist=True)
    assert ROW.measured_as(recipe) and not short.measured_as(recipe)
    assert short.measured_as(recipe, shortlist=True) and not ROW.measured_as(recipe, shortlist=True)
    assert replace(ROW, precision="float32").measured_as(recipe, "float32")
    assert not replace(ROW, length_penalty=0.6).measured_as(recipe)
