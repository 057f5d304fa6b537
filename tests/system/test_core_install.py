"""The core install, in an environment of its own: what a device needs works, and torch is not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.set_up import uv_environment

REPOSITORY = Path(__file__).parents[2]
# What must not come with the core. (pydantic may: some versions of typer bring it.)
TRAINING_ONLY = [
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "pyarrow",
    "safetensors",
    "sacrebleu",
    "tensorboard",
]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the core install."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv:  # which takes seconds where pip takes half a minute
        install, environment = (
            [uv, "pip", "install", "--python", python],
            uv_environment(Path(sys.executable), os.environ),
        )
    else:
        install, environment = [sys.executable, "-m", "pip", "--python", python, "install"], dict(os.environ)
    install += ["--quiet", "-c", str(REPOSITORY / "constraints.txt"), str(REPOSITORY)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=500, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(command: Path | str, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [command, *arguments], input=stdin, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_core_install(core: Path, polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    for package in TRAINING_ONLY:
        assert "ModuleNotFoundError" in run(core / "python", "-c", f"import {package}").stderr, package

    assert "translate" in run(core / "polystill", "--help").stdout
    assert run(core / "polystill", "--version").stdout.startswith("polystill ")

    model = tmp_path / "model"
    polystill("export", finished_run, "e2d1", "--to", "ctranslate2", "--quantization", "int8", "--out", model).ok()
    text = (finished_run / "data/test/unseen.source.txt").read_text(encoding="utf-8")
    for options in ([], ["--beam", "1"], ["--n-best", "2"]):
        here = polystill("translate", model, *options, stdin=text).ok()
        there = run(core / "polystill", "translate", model, *options, stdin=text)
        assert there.returncode == 0, there.stderr
        assert there.stdout == here.stdout

    out = tmp_path / "figures.json"
    measured = run(core / "polystill", "measure", model, "--sentences", "3", "--rounds", "1", "--out", out)
    assert measured.returncode == 0, measured.stderr
    (figures,) = json.loads(out.read_text())["rows"]
    assert (figures["model"], figures["precision"]) == ("e2d1", "int8")
    assert figures["peak_memory_bytes"] > 0

    (model / "source.spm").write_text("garbage")
    refused = run(core / "polystill", "translate", model, stdin="A dog.\n")
    assert refused.returncode == 2
    assert "source.spm is not the file that was exported" in refused.stderr

    refused = run(core / "polystill", "run", "recipe.yaml", "--out", tmp_path / "run")
    assert refused.returncode == 2
    assert "pip install -c constraints.txt '.[train]'" in refused.stderr
    refused = run(core / "polystill", "translate", finished_run, stdin="A dog.\n")
    assert refused.returncode == 2
    assert "pip install -c constraints.txt '.[train]'" in refused.stderr
