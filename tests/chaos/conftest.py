"""Faults at random moments: CHAOS_SEED repeats those of a run, CHAOS_PART=0.1 does a tenth of them."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apart import start_command
from tests.chaos.faults import Watch

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
PART = float(os.environ.get("CHAOS_PART") or 1)
NOTES: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.chaos)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if NOTES:
        terminalreporter.section(f"chaos: CHAOS_SEED={SEED} CHAOS_PART={PART:g}")
        for line in NOTES:
            terminalreporter.line(line)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """The seed decides what it gives to this test, whichever others run."""
    print(f"CHAOS_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Add a line to the summary: what was done and counted."""
    return lambda line: NOTES.append(f"{request.node.name}: {line}")


@pytest.fixture(scope="session")
def part() -> Callable[[int], int]:
    """So many of them as CHAOS_PART asks for, one at least."""
    return lambda number: max(1, round(PART * number))


@pytest.fixture
def chaos_recipe(counting_recipe: dict[str, Any], tmp_path: Path) -> Path:
    return _write_recipe(counting_recipe, tmp_path)


def _write_recipe(recipe: dict[str, Any], folder: Path) -> Path:
    """A family of two supernets, trained in two stages and evaluated, in some seconds."""
    tiny = {"encoder_layers": 2, "decoder_layers": 1, "d_model": 8, "ffn_dim": 16, "heads": 2}
    recipe = {**recipe, "supernets": {"tiny": tiny}}
    recipe["evaluation"] = {"beams": [1], "students": ["e2d2", "tiny-e1d1"]}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


class Whole:
    """A run of the recipe that nothing disturbed."""

    def __init__(self, folder: Path, recipe: Path) -> None:
        self.folder = folder / "whole"
        touched = folder / "touched"
        start = time.monotonic()
        arguments = ["run", str(recipe), "--out", str(self.folder)]
        process = start_command(arguments, folder / "log", before=Watch(self.folder, touched))
        process.join()
        assert process.exitcode == 0, (folder / "log").read_text()
        self.seconds = time.monotonic() - start
        self.touches = touched.stat().st_size
        """How often the run opened a file of its folder for writing, or renamed or removed one."""


@pytest.fixture(scope="session")
def whole(counting_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    from tests.conftest import recipe_on

    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder, _write_recipe(recipe_on(counting_data), folder))
