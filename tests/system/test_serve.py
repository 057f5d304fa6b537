"""polystill serve of a run: its students side by side, what was measured of them, a latency budget."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from polystill.decoding.translator import DecodingOptions
from polystill.translation import open_translator


def test_a_run_is_served(finished_run: Path, tmp_path: Path, start_server: Any) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    results = json.loads((run / "results.json").read_text())
    measured = {"e1d1": (5.0, 20.0), "e2d1": (9.0, 30.0)}
    for row in results["rows"]:
        if row["beam"] == 2 and row["model"] in measured:
            latency, bleu = measured[row["model"]]
            row |= {"latency_p95_ms": latency, "bleu": bleu}
    (run / "results.json").write_text(json.dumps(results))
    scores = {row["model"]: row["bleu"] for row in results["rows"] if row["beam"] == 2}
    line = "A dog runs."
    with start_server(run, tmp_path / "log", "--beam", "2") as server:
        models = server.json("/models")[1]
        assert [model["name"] for model in models] == ["e2d2", "e1d1", "e2d1"]
        assert {model["name"]: model["bleu"] for model in models} == scores
        assert models[1]["latency_p95_ms"] == 5.0
        assert server.translate(line)["model"] == "e2d2"
        for name in scores:
            with open_translator(run, name, threads=1) as translator:
                expected = translator.translate([line], DecodingOptions(beam_size=2))[0][0].text
            assert server.translate(line, model=name)["translatedText"] == expected
        assert server.translate(line, latency_budget_ms=6)["model"] == "e1d1"
        assert server.translate(line, latency_budget_ms=9)["model"] == "e2d1"
        status, answer = server.json("/translate", {"q": line, "source": "en", "target": "de", "latency_budget_ms": 1})
        assert (status, "the fastest is e1d1, 5 ms" in answer["error"]) == (400, True)
        page = server.ask("GET", "/")[2].decode()
        assert re.findall(r'type="checkbox" name="student" value="(\w+)"', page) == ["e1d1", "e2d1", "e2d2"]
        assert set(re.findall(r'circle data-model="(\w+)"', page)) == set(scores)


def test_students_that_are_named(finished_run: Path, tmp_path: Path, start_server: Any, polystill: Any) -> None:
    options = ("--student", "smallest", "--student", "e2d2")
    with start_server(finished_run, tmp_path / "log", *options, "--precision", "float32") as server:
        assert [model["name"] for model in server.json("/models")[1]] == ["e1d1", "e2d2"]
        assert server.translate("A dog runs.")["model"] == "e1d1"
    twice = ("--student", "teacher", "--student", "e2d2")
    polystill("serve", finished_run, "--port", "0", *twice).refused("--student", "twice")
    polystill("serve", finished_run, "--port", "0", "--student", "e9d9").refused("e9d9", "not in this family")


def test_what_a_latency_budget_lacks_is_told_and_helps(
    finished_run: Path, tmp_path: Path, start_server: Any, polystill: Any
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    asked = {"q": "A dog runs.", "source": "en", "target": "de", "latency_budget_ms": 10_000}
    with start_server(run, tmp_path / "log", "--student", "e1d1") as server:
        status, answer = server.json("/translate", asked)
    measure, serve = re.findall(r"`polystill evaluate RUN (.+?)`.*`serve RUN (.+?)`", answer["error"])[0]
    assert (status, measure) == (400, serve)
    polystill("evaluate", run, "--student", "e1d1", *measure.split()).ok()
    with start_server(run, tmp_path / "log", "--student", "e1d1", *serve.split()) as server:
        assert server.json("/translate", asked)[1]["model"] == "e1d1"
    with start_server(run, tmp_path / "log", "--student", "e1d1", "--precision", "int8") as server:
        status, answer = server.json("/translate", asked)
    assert status == 400 and f"has to be started with {measure}, which were measured" in answer["error"]
