"""The clock jumps by up to ten years, to and fro, all the time (libfaketime): nothing is other than it would be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from polystill.runs import Run
from tests.chaos.faults import outcome

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
RUNS = 3
REQUESTS = 2_000
DAYS = 3650

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian's package libfaketime)")


@contextmanager
def _jumping(dice: Random, folder: Path) -> Iterator[dict[str, str]]:
    """What a process's environment needs, so that its clock jumps ten times a second. Its timers do not, as in life."""
    offset, ended = folder / "offset", threading.Event()
    offset.write_text("+0\n")

    def jump() -> None:
        while not ended.wait(0.1):
            new = folder / "offset.new"
            new.write_text(f"{dice.uniform(-DAYS, DAYS):+.3f}d\n")
            new.replace(offset)

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    finally:
        ended.set()
        thread.join()


def test_a_run(
    chaos_recipe: Path,
    whole: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    expected, years = outcome(whole.folder), set[str]()
    for number in range(part(RUNS)):
        folder = tmp_path / f"run-{number}"
        command = [sys.executable, "-m", "polystill", "run", str(chaos_recipe), "--out", str(folder)]
        with _jumping(dice, tmp_path) as environment:
            done = subprocess.run(
                command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stderr
        assert outcome(folder) == expected
        years |= {record["finished_at"][:4] for record in Run.open(folder).stages().values()}
        for stage, cost in Run.open(folder).results().cost.items():
            for seconds in (cost.seconds, cost.cpu_seconds):
                assert seconds is not None and 0 <= seconds < 3600, (stage, cost)
    assert len(years) > 1, "the clock did not jump"
    note(f"{part(RUNS)} runs, their stages ended in the years {', '.join(sorted(years))}: all bit for bit")


def test_a_server(
    counting_ctranslate2: Path,
    start_server: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    dates = set[str]()
    with _jumping(dice, tmp_path) as environment, monkeypatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        with start_server(counting_ctranslate2, tmp_path / "log", "--beam", "1") as server:
            first = server.translate("one two three")["translatedText"]
            for _ in range(part(REQUESTS)):
                assert server.translate("one two three")["translatedText"] == first
                dates.add(server.ask("GET", "/health")[1]["date"][12:16])
            said = server.stop()
    assert "Traceback" not in said
    assert len(dates) > 1, "the clock did not jump"
    note(f"{part(REQUESTS)} requests, dated in {len(dates)} different years: all answered")
