"""Each section of a report from a small real run, and what the run lacks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.models.folder import load_supernets
from polystill.reporting.build import build_report
from polystill.reporting.cost import alone
from polystill.reporting.document import Cell, Chart, Gap, Part, Report, Samples, Section, Table
from polystill.reporting.families import open_families
from polystill.reporting.page import to_markdown
from polystill.runs import Run
from polystill.runs.family import family_space
from polystill.storage import checked_json, read_checked_json, write_atomic
from polystill.training.update import stage_seed


@pytest.fixture(scope="module")
def report(small_run: Path) -> Report:
    return build_report([small_run])


@pytest.fixture
def changed(small_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run whose results.json a function has changed."""

    def copy(change: Callable[[dict[str, Any]], object] = lambda results: None, name: str = "copy") -> Path:
        folder = Path(shutil.copytree(small_run, tmp_path / name))
        results = json.loads((folder / "results.json").read_text())
        change(results)
        (folder / "results.json").write_text(json.dumps(results))
        return folder

    return copy


def section(report: Report, name: str) -> Section:
    return next(section for section in report.sections if section.name == name)


def parts(report: Report, name: str, kind: type) -> list[Any]:
    return [part for part in section(report, name).parts if isinstance(part, kind)]


def texts(table: Table) -> list[list[str]]:
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]


def test_all_sections_are_there(report: Report) -> None:
    names = ["overview", "size", "latency", "depth", "search", "training", "together"]
    more = ["cost", "samples", "robustness", "figures", "data", "provenance"]
    assert [section.name for section in report.sections] == [*names, *more]
    assert (report.title, report.subtitle) == ("counting", "en → de, test set counting")


def test_overview_names_best_and_smallest(report: Report, small_run: Path) -> None:
    (text,) = parts(report, "overview", str)
    rows = [row for row in json.loads((small_run / "results.json").read_text())["rows"]]
    rows = [row for row in rows if (row["beam"], row["test_set"]) == (2, "counting")]
    best = max(rows, key=lambda row: row["bleu"])
    assert text.startswith(f"Best of 3 students: {best['model']}, BLEU {best['bleu']:.2f}")


def test_size_shows_every_student_and_the_front(report: Report) -> None:
    (chart,) = parts(report, "size", Chart)
    assert {value["student"] for value in chart.spec["data"]["values"]} == {"e1d1", "e2d1", "e2d2"}
    front = {value["student"] for value in chart.spec["data"]["values"] if value["front"]}
    bold = {row[0].text for row in chart.table.rows if row[0].mark == "best"}
    assert front == bold and "e1d1" in front  # nothing is smaller
    assert "Pareto" in chart.summary


def test_what_is_not_measured_names_its_command(report: Report, small_run: Path) -> None:
    (latency,) = parts(report, "latency", Gap)
    assert latency.command.startswith(f"polystill evaluate {small_run} --engine ctranslate2")
    (robustness,) = parts(report, "robustness", Gap)
    assert robustness.command == f"polystill robustness {small_run}"


def test_latency_has_all_beams(changed: Callable[..., Path]) -> None:
    def add(results: dict[str, Any]) -> None:
        for i, row in enumerate(results["rows"]):
            row.update(latency_p50_ms=1.0 + i, latency_p95_ms=2.0 + i, peak_memory_bytes=10**8)

    (chart,) = parts(build_report([changed(add)]), "latency", Chart)
    assert {value["series"] for value in chart.spec["data"]["values"]} == {"greedy", "beam 2"}
    assert list(chart.table.columns[2:8]) == ["latency p50", "BLEU", "step", "chrF", "latency p95", "peak memory"]


def test_figures_of_devices_are_shown_beside_bleu(changed: Callable[..., Path]) -> None:
    figures = {"latency_p50_ms": 4.0, "latency_p95_ms": 9.0, "peak_memory_bytes": 50_000_000, "words_per_second": 80.0}
    common = {"engine": "ctranslate2", "precision": "float32", "size_bytes": 10**6, "threads": 2, **figures}

    def add(results: dict[str, Any]) -> None:
        rows = [("phone", "a phone", "e2d1", 1), ("phone", "a phone", "e1d1", 1), ("board", "a board", "e1d1", 9)]
        results["devices"] = [
            {**common, "device": device, "hardware": hardware, "model": model, "beam": beam}
            for device, hardware, model, beam in rows
        ]

    folder = changed(add)
    phone, board = parts(build_report([folder]), "devices", Table)
    (evaluated,) = (
        row
        for row in json.loads((folder / "results.json").read_text())["rows"]
        if (row["model"], row["beam"], row["test_set"]) == ("e1d1", 1, "counting")
    )
    expected = [
        "e1d1",
        "float32",
        "greedy",
        "1.0 MB",
        f"{evaluated['bleu']:.2f}",
        "4.0 ms",
        "9.0 ms",
        "50.0 MB",
        "80",
        "2",
    ]
    assert texts(phone)[0] == expected
    assert [row[0] for row in texts(phone)] == ["e1d1", "e2d1"]
    assert "a phone" in phone.note and "a board" in board.note
    assert "BLEU" not in board.columns  # nobody has evaluated beam 9


def test_rows_of_another_length_penalty_are_told_apart(changed: Callable[..., Path]) -> None:
    def add(results: dict[str, Any]) -> None:
        others = [{**row, "length_penalty": 0.6, "bleu": 1.0} for row in results["rows"] if row["model"] == "e1d1"]
        results["rows"] = [*others, *results["rows"]]
        device = {"engine": "ctranslate2", "precision": "float32", "size_bytes": 10**6, "device": "phone"}
        results["devices"] = [{**device, "hardware": "a phone", "model": "e1d1", "beam": 1}]

    report = build_report([changed(add)])
    (size,) = parts(report, "size", Chart)
    labels = [(value["student"], value["series"]) for value in size.spec["data"]["values"]]
    assert len(set(labels)) == len(labels) and ("e1d1", "length penalty 0.6") in labels
    table, *_ = parts(report, "figures", Table)
    assert {row[table.columns.index("length penalty")] for row in texts(table) if row[0] == "e1d1"} == {"0.6", "1"}
    (phone,) = parts(report, "devices", Table)
    assert "1.00" not in texts(phone)[0]


def test_more_rows_in_other_precisions_do_not_hide_the_recipes_own(changed: Callable[..., Path]) -> None:
    def add(results: dict[str, Any]) -> None:
        others = [{**row, "precision": precision, "beam": 4} for precision in ("int8", "x") for row in results["rows"]]
        results["rows"] += others

    (text,) = parts(build_report([changed(add)]), "overview", str)
    assert text.startswith("Best of 3 students:") and "beam 2" in text

    def only_others(results: dict[str, Any]) -> None:
        results["rows"] = [{**row, "precision": "int8"} for row in results["rows"]]

    report = build_report([changed(only_others, "other")])
    (gap,) = parts(report, "depth", Gap)
    assert "nothing is measured in the recipe's own engine" in gap.text
    (text,) = parts(report, "overview", str)
    assert text.startswith("Best of 3 students:")


def test_the_best_of_all_forms_stands_first(changed: Callable[..., Path]) -> None:
    def add(results: dict[str, Any]) -> None:
        rows = [row for row in results["rows"] if row["test_set"] == "counting"]
        best = max(rows, key=lambda row: float(row["bleu"]))
        results["rows"].append({**best, "precision": "int8", "bleu": best["bleu"] + 1, "size_bytes": 1_000_000})

    (text,) = parts(build_report([changed(add)]), "overview", str)
    assert "measured forms of students: " in text and ", int8, BLEU " in text.split("(")[0]


def test_texts_that_are_missing_are_named(changed: Callable[..., Path]) -> None:
    run = changed()
    row = json.loads((run / "results.json").read_text())["rows"][0]
    (run / row["hypotheses"]).unlink()
    (gap,) = parts(build_report([run]), "overview", Gap)
    assert f"1 of 6 files of translations are missing ({row['model']})" in gap.text
    other = run / json.loads((run / "results.json").read_text())["rows"][1]["hypotheses"]
    other.write_text("one line\n")
    with pytest.raises(UserError, match=r"txt: 1 lines, but the test set has \d+; measure them again"):
        build_report([run])
    shutil.rmtree(run / "data" / "test")
    (gap,) = parts(build_report([run]), "overview", Gap)
    assert "is missing, so no difference is tested" in gap.text


def test_depth_has_a_cell_for_each_student(report: Report) -> None:
    (chart,) = parts(report, "depth", Chart)
    cells = {(value["encoder"], value["decoder"]) for value in chart.spec["data"]["values"]}
    assert cells == {(1, 1), (2, 1), (2, 2)}
    assert texts(chart.table)[1][2] == ""  # e1d2 is no candidate


def test_search_sets_greedy_beside_beam_and_p_mode(report: Report) -> None:
    gain, mode = parts(report, "search", Chart)
    for row in texts(gain.table):
        assert float(row[3].removeprefix("≈ ")) == pytest.approx(float(row[2]) - float(row[1]), abs=0.011)
    assert len(mode.spec["data"]["values"]) == 3


def test_training_goes_through_both_stages(report: Report) -> None:
    loss, distance = parts(report, "training", Chart)
    updates = {value["update"] for value in loss.spec["data"]["values"]}
    assert updates == {5, 10, 12, 17, 18}  # validations of stages of 12 and 6 updates
    assert all(value["gap"] == 0 for value in distance.spec["data"]["values"] if value["student"] == "e2d2")


def test_cost_sums_stages_and_estimates_each_alone(report: Report, small_run: Path) -> None:
    (spent,) = parts(report, "cost", Table)
    assert [row[0] for row in texts(spent)] == ["data", "distillation", "mutual", "evaluation", "all stages"]
    (chart,) = parts(report, "cost", Chart)
    together, alone = texts(chart.table)
    assert (together[0], alone[0]) == ("together (measured)", "alone (estimated)")
    values = chart.spec["data"]["values"]
    cost = json.loads((small_run / "results.json").read_text())["cost"]
    counted = cost["training.distillation"]["flops"] + cost["training.mutual"]["flops"]
    assert values[0]["flops"] == counted
    assert sum(value["flops"] for value in values[1:]) > counted  # the family's passes are shared


def test_a_plain_family_is_compared_by_the_passes_that_it_made(changed: Callable[..., Path]) -> None:
    totals = {}
    for mode in ("plain", "exact", "shared"):
        folder = changed(name=mode)
        recipe = folder / "recipe.yaml"
        text, replaced = re.subn(r"^( +mode:) shared$", rf"\1 {mode}", recipe.read_text(), flags=re.MULTILINE)
        assert replaced == 1
        recipe.write_text(text)
        (family,) = open_families([folder])
        found = alone(family)
        assert found is not None
        totals[mode] = found.total
    assert totals["plain"] == totals["exact"] < totals["shared"]


def test_repeated_projections_are_no_part_of_a_student_alone(changed: Callable[..., Path]) -> None:
    (plain,) = open_families([changed(name="plain")])
    again = 40

    def repeat(results: dict[str, Any]) -> None:
        """As if guesses of the second stage had been wrong."""
        cost, model = results["cost"]["training.mutual"], load_supernets(plain.run.family)
        recipe = plain.run.recipe
        stage = recipe.stages[1]
        tokens = round(cost["target_tokens"] / stage.updates)
        drawn = recipe.stage_objective(stage).networks(family_space(plain.run.family), stage_seed(recipe.seed, 1), 1)
        cost["flops"] += again * model.projection_flops(model.plans(drawn), tokens)
        cost["projections_again"] += again

    (repeated,) = open_families([changed(repeat, name="repeated")])
    before, after = alone(plain), alone(repeated)
    assert before is not None and after is not None
    assert after.flops > 1.05 * before.flops
    assert after.total * after.flops == pytest.approx(before.total * before.flops, rel=0.01)


def test_energy_is_shown_with_how_it_is_known(changed: Callable[..., Path]) -> None:
    def add(results: dict[str, Any]) -> None:
        _without_energy(results)
        results["cost"]["training.mutual"] |= {"energy_kwh": 0.0125, "energy_by": "codecarbon: counters (RAPL)"}

    (spent,) = parts(build_report([changed(add)]), "cost", Table)
    column = spent.columns.index("energy")
    assert [row[column] for row in texts(spent)] == ["", "", "0.0125 kWh", "", "0.0125 kWh"]
    assert "Energy of training by codecarbon: counters (RAPL)." in spent.note


def test_energy_that_was_not_recorded_is_said(changed: Callable[..., Path]) -> None:
    (spent,) = parts(build_report([changed(_without_energy)]), "cost", Table)
    assert "Energy was not recorded" in spent.note and "energy" not in spent.columns


def _without_energy(results: dict[str, Any]) -> None:
    """As a run without codecarbon leaves them."""
    for cost in results["cost"].values():
        cost.pop("energy_kwh", None)
        cost.pop("energy_by", None)


def test_no_estimate_without_counted_flops(changed: Callable[..., Path]) -> None:
    report = build_report([changed(lambda results: results["cost"]["training.mutual"].pop("flops"))])
    assert not parts(report, "cost", Chart)
    assert parts(report, "cost", Gap)


def test_samples_group_equal_translations(report: Report, small_run: Path) -> None:
    groups = parts(report, "samples", Samples)
    sample = groups[0].samples[0]
    assert sample.source == (small_run / "data" / "test" / "counting.source.txt").read_text().split("\n")[0]
    assert sorted(name for version in sample.versions for name in version.students) == ["e1d1", "e2d1", "e2d2"]
    assert len({"".join(text for text, _ in version.stretches) for version in sample.versions}) == len(sample.versions)


def test_data_and_provenance(report: Report, small_run: Path) -> None:
    assert "1,500 pairs" in parts(report, "data", str)[0]
    (facts,) = parts(report, "provenance", Table)
    known = {row[0]: row[1] for row in texts(facts)}
    assert known["signature of BLEU"].startswith("nrefs:1|")
    assert known["run"] == json.loads((small_run / "state.json").read_text())["run_id"]


def test_what_cleaning_dropped_and_repaired_is_shown(changed: Callable[..., Path]) -> None:
    folder = changed(lambda results: None)
    path = folder / "data" / "cleaning.json"
    cleaning = json.loads(path.read_text())
    example = {"corpus": "a.en", "line": 1, "source": "a", "target": None}
    cleaning["dropped"]["nul_byte"] = 2
    cleaning["repaired"]["mojibake"] = 1
    cleaning["examples"] = {"nul_byte": [example], "mojibake": [{**example, "target": "Fuß"}]}
    path.write_text(json.dumps(cleaning))
    tables = {table.caption: texts(table) for table in parts(build_report([folder]), "data", Table)}
    dropped = tables["Dropped pairs, by the first reason that applied"]
    assert dropped[0] == ["nul byte", "a side has a NUL byte", "2"]
    assert tables["Repaired pairs"][0][::2] == ["mojibake", "1"]
    assert tables["Examples of repaired pairs"] == [["mojibake", "a", "Fuß"]]
    assert len(tables["Examples of dropped pairs"]) == 1


def test_what_each_source_gave_is_shown(small_run: Path, changed: Callable[..., Path]) -> None:
    def by_source(folder: Path) -> list[Table]:
        tables = parts(build_report([folder]), "data", Table)
        return [table for table in tables if table.caption == "Training text by source"]

    (table,) = by_source(small_run)
    run = Run.open(small_run)
    record, name = run.record("data"), f"{run.recipe.data.folder}/train.en"
    assert record is not None
    counts = [f"{record['pairs']['train']:,}", f"{record['tokens']['target']:,}"]
    assert (list(table.columns), texts(table)) == (["source", "pairs", "target tokens"], [[name, *counts]])

    folder = changed()
    state = read_checked_json(folder / "state.json")
    del state["stages"]["data"]["sources"]
    write_atomic(folder / "state.json", checked_json(state))
    assert by_source(folder) == []  # as in runs of before sources were counted


def test_robustness_is_shown(changed: Callable[..., Path]) -> None:
    counts = {"lines": 4, "crashed": 0, "empty": 1, "invented": 0, "loops": 2, "cut": 0, "to_copy": 4, "copied": 3}
    row = {"model_id": "aio_kd-gold-e1d1", "model": "e1d1", "engine": "ctranslate2", "precision": "int8", "beam": 1}
    row |= {"length_penalty": 1.0, "kept": {"numbers": counts}, "kinds": {"numbers": {**counts, "loops": 4}}}
    row |= {"outputs": "robustness/x.jsonl"}
    report = build_report([changed(lambda results: results.update(robustness=[row]))])
    table = parts(report, "robustness", Table)[0]
    assert texts(table) == [
        ["e1d1", "4", "0", "1", "0", "2", "0", "3 of 4"],
        ["e1d1 by itself", "4", "0", "1", "0", "4", "0", "3 of 4"],
    ]


def test_two_runs_come_into_one_front(small_run: Path, changed: Callable[..., Path]) -> None:
    def smaller(results: dict[str, Any]) -> None:
        for row in results["rows"]:
            row["size_bytes"] //= 2

    report = build_report([small_run, changed(smaller)])
    assert report.title == "small and copy"  # the recipes' names are the same
    (chart,) = parts(report, "size", Chart)
    values = chart.spec["data"]["values"]
    assert len(values) == 6
    assert {value["series"] for value in values if value["front"]} == {"copy"}
    assert len({chart.name for chart in report.charts}) == len(report.charts)


def test_differences_of_equal_translations_are_noise(changed: Callable[..., Path], small_run: Path) -> None:
    """Two students that say the same; the larger one's row claims a better BLEU."""

    def alike(results: dict[str, Any]) -> None:
        of = {(row["model"], row["beam"]): row for row in results["rows"]}
        of["e2d2", 2]["hypotheses"] = of["e2d1", 2]["hypotheses"]
        of["e2d2", 2]["bleu"] = of["e2d1", 2]["bleu"] + 50

    (chart,) = parts(build_report([changed(alike)]), "depth", Chart)
    assert [value["text"][0] == "≈" for value in chart.spec["data"]["values"] if value["student"] == "e2d1"] == [True]


def test_a_run_without_results(changed: Callable[..., Path]) -> None:
    report = build_report([changed(lambda results: results.update(rows=[], cost={}, provenance={}))])
    (gap,) = parts(report, "overview", Gap)
    assert gap.command.startswith("polystill run ")
    assert parts(report, "training", Chart)  # state.json has those


def test_a_copy_without_texts_has_no_samples_and_judges_no_noise(changed: Callable[..., Path]) -> None:
    folder = changed()
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / "hypotheses")
    report = build_report([folder])
    assert parts(report, "samples", Gap) and parts(report, "data", Gap)
    assert "≈" not in to_markdown(report).split("### Quality by depth")[1].split("Bold")[0]


def test_runs_that_do_not_go_together(small_run: Path, changed: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        open_families([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="given twice"):
        open_families([small_run, small_run])
    other = changed(name="other")
    text = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(text.replace("    counting:\n", "    unseen:\n"))
    with pytest.raises(UserError, match="no test set in common"):
        open_families([small_run, other])
    another = changed(name="another")
    with Run.open(another, lock=True) as run:  # one that was prepared like this
        run.finish("data", {**(run.record("data") or {}), "files": {}})
    (another / "data" / "test" / "counting.target.txt").write_text("eins\n")
    with pytest.raises(UserError, match=r"its test set \S+ is not the same as that of"):
        open_families([small_run, another])


def test_markdown_has_the_tables_and_escapes(report: Report) -> None:
    text = to_markdown(report)
    assert "### Quality against size" in text and "| **e1d1** |" in text
    assert "Translations side by side" not in text
    hostile: list[Part] = ["a <b> [x](y)", Table("t|", ["c|d"], [["`e` | f"]])]
    escaped = to_markdown(Report("t", "s", [Section("x", "X", hostile)]))
    assert "<b>" not in escaped and "[x]" not in escaped and "| &#124;" not in escaped
    assert r"| \`e\` &#124; f |" in escaped
