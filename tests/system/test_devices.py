"""From a finished run to packages for devices: evaluate, measure, merge, pick, ship, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

FIGURES = {"words_per_second", "latency_p50_ms", "latency_p95_ms", "size_bytes", "peak_memory_bytes", "threads"}


def devices_file(folder: Path, **devices: Any) -> Path:
    path = folder / "devices.yaml"
    path.write_text(yaml.safe_dump({"devices": devices}))
    return path


def test_from_evaluation_to_packages(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    polystill("pick", own_run, "--max-latency", "5s").refused("max_latency", f"measure: polystill evaluate {own_run}")
    few = ["--student", "e1d1,e2d2", "--beam", "1"]
    done = polystill("evaluate", own_run, "--engine", "ctranslate2", "--precision", "int8,float32", *few).ok()
    assert "p50 | p95" in done.stdout and "memory" in done.stdout and "words/s" in done.stdout
    rows = [row for row in json.loads((own_run / "results.json").read_text())["rows"] if row.keys() >= FIGURES]
    assert {row["test_set"] for row in rows} == {"unseen", "validation"}
    rows = [row for row in rows if row["test_set"] == "validation"]
    assert [(row["model"], row["precision"]) for row in rows] == [
        *(("e1d1", "float32"), ("e2d2", "float32")),
        *(("e1d1", "int8"), ("e2d2", "int8")),
    ]

    done = polystill("pick", own_run, "--max-latency", "5s").ok()
    assert done.stdout.startswith(f"{own_run}/e")
    done = polystill("pick", own_run, "--max-size", "1kB", "--max-latency", "5s")
    assert done.status == 1 and "nothing fits" in done.stdout and "is missed by" in done.stdout

    wider = ["--student", "e1d1", "--beam", "4", "--precision", "int8"]  # what Argos searches with
    polystill("evaluate", own_run, "--engine", "ctranslate2", *wider).ok()
    package = own_run / "students" / "e1d1" / "ctranslate2-int8"
    figures = tmp_path / "board.json"
    done = polystill(
        *("measure", package, "--device", "board", "--sentences", "4", "--rounds", "1", "--beam", "1,4"),
        *("--out", figures),
    ).ok()
    assert "e1d1" in done.stdout and "board" in done.stdout
    polystill("measure", package, "--out", figures).refused("--out", "exists already")

    server = {"max_latency": "5s", "beam": 1, "measured_on": "evaluation"}
    devices = devices_file(
        tmp_path,
        server=server,
        tower={**server, "format": "hf"},
        board={"max_latency": "5s", "format": "argos"},
    )
    done = polystill("pick", own_run, "--devices", devices)
    done.refused("device board", "polystill merge", "board.json")
    assert done.stdout.startswith("server: ")
    assert "board" in polystill("merge", own_run, figures).ok().stdout
    polystill("pick", own_run, "--devices", devices, "--device", "phone").refused(
        "--device phone", "it has: board server tower"
    )

    out = tmp_path / "packages"
    done = polystill("ship", own_run, "--devices", devices, "--out", out).ok()
    assert sorted(path.name for path in out.iterdir()) == ["board", "server", "tower"]
    assert list((out / "board").glob("*.argosmodel"))
    card = (out / "server" / "README.md").read_text()
    assert "Picked for the device server (max_latency 5000.0 ms), beam 1: BLEU" in card
    card = (out / "board" / "README.md").read_text()
    assert "measured on board" in card and "## Measured on devices" in card
    assert json.loads((out / "server" / "polystill.json").read_text())["beam_size"] == 1
    assert json.loads((out / "tower" / "generation_config.json").read_text())["num_beams"] == 1
    polystill("translate", out / "server", "--n-best", "2", stdin="A dog runs.\n").refused("a beam of 1")
    done = polystill("measure", *sorted(out.iterdir()), "--sentences", "2", "--rounds", "1").ok()
    assert f"left out: {out / 'board'}: no CTranslate2 model here" in done.stderr
    polystill("measure", out / "server", out / "none").refused(f"{out / 'none'}: no such folder")
    polystill("measure", out).refused("no CTranslate2 model here", "inside: server")
    polystill("ship", own_run, "--devices", devices, "--out", out).refused("--out", "exists already")


def test_what_was_measured_with_a_shortlist_ships_with_one(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    how = ["--engine", "ctranslate2", "--precision", "int8", "--student", "e1d1", "--beam", "1"]
    polystill("evaluate", own_run, *how).ok()
    assert "e1d1 +list" in polystill("evaluate", own_run, *how, "--shortlist").ok().stdout
    polystill("evaluate", own_run, "--engine", "torch", "--shortlist").refused("--shortlist", "torch has no shortlists")
    assert "e1d1:int8+list" in polystill("compare", own_run, "--beam", "1", "e1d1:int8", "e1d1:int8+list").ok().stdout
    polystill("compare", own_run, "--beam", "1", "e1d1:int8", "e2d2+list").refused(
        "with its shortlist", "it was with ctranslate2 float32 beam 1"
    )
    path = own_run / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({**results, "rows": [row for row in results["rows"] if row.get("shortlist")]}))
    assert polystill("pick", own_run).ok().stdout.startswith(f"{own_run}/e1d1 +list int8 beam 1")

    package, figures = tmp_path / "packages" / "phone", tmp_path / "phone.json"
    devices = devices_file(tmp_path, phone={})
    polystill("ship", own_run, "--devices", devices, "--out", package.parent).ok()
    assert (package / "vmap.txt").is_file() and "| yes |" in (package / "README.md").read_text()
    polystill("measure", package, "--sentences", "2", "--rounds", "1", "--device", "phone", "--out", figures).ok()
    assert "e1d1 +list" in polystill("merge", own_run, figures).ok().stdout
    devices = devices_file(tmp_path, phone={"max_latency": "5s"})
    assert "measured on phone" in polystill("pick", own_run, "--devices", devices).ok().stdout


def test_nothing_is_written_where_a_device_gets_nothing(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    devices = devices_file(tmp_path, any={}, tiny={"max_size": "1kB"})
    done = polystill("ship", finished_run, "--devices", devices, "--out", tmp_path / "packages")
    assert done.status == 1 and "nothing fits tiny" in done.stderr
    assert not (tmp_path / "packages").exists()


def set_bleu(run: Path, **by_student: float) -> None:
    path = run / "results.json"
    results = json.loads(path.read_text())
    rows = [{**row, "bleu": by_student[row["model"]]} for row in results["rows"] if row["model"] in by_student]
    path.write_text(json.dumps({**results, "rows": rows}))


def sizes(run: Path) -> dict[str, int]:
    """Of the packages that the run remembers."""
    return {row["model"]: row["size_bytes"] for row in json.loads((run / "results.json").read_text())["packages"]}


def test_max_size_is_of_packages_in_the_devices_format(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    """Exported and weighed once; again where the family was trained again."""
    set_bleu(own_run, e1d1=1.0, e2d2=2.0)

    def pick(max_size: str) -> Any:
        web = {"format": "onnx", "max_size": max_size, "measured_on": "evaluation"}
        return polystill("pick", own_run, "--devices", devices_file(tmp_path, web=web))

    done = pick("1kB")
    assert done.status == 1 and "nothing fits" in done.stdout
    assert f"{own_run / 'e1d1'}: exporting as onnx, to know its size (1 of 2)" in done.stderr
    found = sizes(own_run)
    polystill("export", own_run, "e1d1", "--to", "onnx", "--out", tmp_path / "e1d1").ok()
    assert found["e1d1"] == sum(path.stat().st_size for path in (tmp_path / "e1d1").rglob("*") if path.is_file())

    done = pick(f"{found['e2d2'] - 1}B").ok()  # the CTranslate2 folder is much smaller
    assert "exporting" not in done.stderr and done.stdout.startswith(f"web: {own_run}/e1d1 float32 beam 1\n")
    assert f"{found['e1d1'] / 1e6:.1f} MB as onnx" in done.stdout and "words/s of its CTranslate2 folder" in done.stdout
    assert pick(f"{found['e2d2']}B").ok().stdout.startswith(f"web: {own_run}/e2d2 float32 beam 1\n")

    path = own_run / "results.json"
    results = json.loads(path.read_text())
    earlier = {**results["packages"][0], "family_sha256": "0" * 64, "size_bytes": 1}
    path.write_text(json.dumps({**results, "packages": [earlier, results["packages"][1]]}))
    assert "(1 of 1)" in pick("1kB").stderr
    assert sizes(own_run) == found


def test_no_package_is_exported_in_vain(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    free, unmeasured = {"format": "hf"}, {"format": "hf", "max_size": "1GB", "max_latency": "5s"}
    devices = devices_file(tmp_path, free=free, board=unmeasured)
    done = polystill("pick", own_run, "--devices", devices)
    done.refused("device board: max_latency 5000.0 ms: nothing is measured", "polystill merge")
    assert "MB of its CTranslate2 folder" in done.stdout or "words/s of its CTranslate2 folder" in done.stdout
    assert "exporting" not in done.stderr
    assert "packages" not in json.loads((own_run / "results.json").read_text())


def test_a_format_that_cannot_be_exported_says_why(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    devices = devices_file(tmp_path, firefox={"format": "marian", "max_size": "1GB", "measured_on": "evaluation"})
    done = polystill("pick", own_run, "--devices", devices)
    done.refused("error: device firefox: ", "model.positions: marian")
    assert done.stderr.count("\n") == 2  # what it did, and why it failed


def test_a_run_that_may_only_be_read_is_picked_from(
    polystill: Any, own_run: Path, tmp_path: Path, read_only: Any
) -> None:
    set_bleu(own_run, e1d1=1.0)
    devices = devices_file(tmp_path, laptop={"format": "hf", "max_size": "1GB"})
    done = polystill("pick", own_run, "--devices", devices, before=read_only(own_run)).ok()
    own_run.chmod(0o755)
    assert "MB as hf" in done.stdout and "sizes of its packages are not remembered" in done.stderr
    assert "packages" not in json.loads((own_run / "results.json").read_text())


def test_the_next_best_is_shipped_where_a_card_is_too_long(polystill: Any, own_run: Path, tmp_path: Path) -> None:
    set_bleu(own_run, e1d1=1.0, e2d2=2.0)
    laptop = {"format": "hf", "max_size": "1GB", "beam": 1}
    polystill("pick", own_run, "--devices", devices_file(tmp_path, laptop=laptop)).ok()
    exact = {**laptop, "max_size": f"{sizes(own_run)['e2d2']}B"}  # without what the package's card says of the device
    devices = devices_file(tmp_path, laptop=exact)
    assert "e2d2" in polystill("pick", own_run, "--devices", devices).ok().stdout.splitlines()[0]
    out = tmp_path / "packages"
    done = polystill("ship", own_run, "--devices", devices, "--out", out).ok()
    assert f"laptop: not {own_run}/e2d2 float32 beam 1, whose package has " in done.stderr
    assert f"laptop: {own_run}/e1d1 float32 beam 1, hf, " in done.stderr
    assert json.loads((out / "laptop" / "polystill.json").read_text())["name"] == "e1d1"
    assert "Picked for the device laptop" in (out / "laptop" / "README.md").read_text()
    done = polystill("ship", own_run, "--devices", devices, "--out", out)
    done.refused("--out", "exists already")
    assert done.stdout == ""  # before anything is picked


def test_nothing_fits_where_no_package_does(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    """A package's model card is longer than that of the folder that was evaluated."""
    rows = json.loads((finished_run / "results.json").read_text())["rows"]
    least = min(row["size_bytes"] for row in rows if row["engine"] == "ctranslate2")
    devices = devices_file(tmp_path, tight={"max_size": f"{least}B"})
    done = polystill("ship", finished_run, "--devices", devices, "--out", tmp_path / "packages")
    assert done.status == 1
    assert f"(max_size {least:,})" in done.stderr and "nothing written: nothing fits tight" in done.stderr
    assert not (tmp_path / "packages").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "phone"], ["--device phone", "--devices FILE"]),
        (["--devices", "DEVICES", "--min-bleu", "3"], ["--min-bleu", "the devices file has the limits"]),
        (["--max-size", "20"], ["--max-size 20", "such as 20MB"]),
        (["--max-size", "0MB"], ["--max-size 0MB: must be more than 0"]),
        (["--test-set", "x"], ["--test-set x", "unseen"]),
        (["--devices", "none.yaml"], ["none.yaml", "no such devices file"]),
    ],
)
def test_mistakes(polystill: Any, finished_run: Path, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    devices = str(devices_file(tmp_path, phone={}))
    polystill("pick", finished_run, *(a.replace("DEVICES", devices) for a in arguments)).refused(*words)


def test_figures_of_another_run_are_refused(polystill: Any, finished_run: Path, own_run: Path, tmp_path: Path) -> None:
    """Also where the student has the same name and the recipe is the same."""
    model, figures = tmp_path / "model", tmp_path / "figures.json"
    polystill("export", finished_run, "e1d1", "--out", model).ok()
    polystill("measure", model, "--sentences", "1", "--rounds", "1", "--out", figures).ok()
    polystill("merge", own_run, figures).ok()  # a copy: the same weights
    content = json.loads(figures.read_text())
    content["rows"][0]["source_sha256"] = "0" * 64
    figures.write_text(json.dumps(content))
    polystill("merge", own_run, figures).refused("nothing merged", "other weights than this run's e1d1")


def test_a_device_cannot_be_called_evaluation(polystill: Any, tmp_path: Path) -> None:
    polystill("measure", tmp_path, "--device", "evaluation").refused(
        "--device evaluation: give the device another name"
    )


def test_comet_says_how_to_get_it(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    polystill("comet", finished_run).refused("pip install unbabel-comet", f"polystill comet {finished_run} --python")
    polystill("comet", tmp_path).refused("this folder is not a run")
    polystill("comet", finished_run, "--python", tmp_path / "none").refused("--python", "cannot be run")
