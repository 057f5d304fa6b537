"""A million lines are translated while workers, and the command itself, are killed: none is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import psutil

from polystill.targets.store import TargetSet

LINES = 1_000_000
SHARD = 2_000
KILLED_WORKERS = 50
KILLED_COMMANDS = 5
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_killed(
    counting_ctranslate2: Path,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """The lines are the numbers of six digits, in words; the teacher is a small network that reads such numbers."""
    lines = [" ".join(WORDS[int(digit)] for digit in f"{number:06d}") for number in range(part(LINES))]
    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
    out, shards = tmp_path / "targets", -(-len(lines) // SHARD)
    commands, workers = part(KILLED_COMMANDS), part(KILLED_WORKERS)
    events = ["command"] * commands + ["worker"] * workers
    dice.shuffle(events)
    moments = sorted(dice.sample(range(shards), min(shards, len(events))))
    said, process = "", _start(counting_ctranslate2, tmp_path)
    for moment, event in zip(moments, events, strict=False):
        while process.poll() is None and len(list(out.glob("shards/*.parquet"))) < moment:
            time.sleep(0.01)
        if event == "command":
            process.kill()
            said += _end(process, tmp_path)
            process = _start(counting_ctranslate2, tmp_path)
        elif victims := _workers(process):
            time.sleep(dice.uniform(0, 0.5))
            dice.choice(victims).send_signal(signal.SIGKILL)
    said += _end(process, tmp_path)
    assert process.returncode == 0, said
    assert "Traceback" not in said

    ids, texts = list[int](), list[str]()
    for entry in TargetSet.open(out).entries():
        ids += entry.ids
        texts.append(entry.source)
    assert ids == list(range(len(lines)))
    assert texts == lines
    (tmp_path / "few").mkdir()
    (tmp_path / "few/lines").write_text("".join(f"{line}\n" for line in lines[: 2 * SHARD]))
    undisturbed = _start(counting_ctranslate2, tmp_path / "few")
    assert undisturbed.wait() == 0, _end(undisturbed, tmp_path / "few")
    few = list(TargetSet.open(tmp_path / "few/targets").entries())
    assert few == list(islice(TargetSet.open(out).entries(), len(few)))
    deaths = said.count("its worker died (signal 9); it is done again")
    note(f"{len(lines):,} lines in {shards} shards, {deaths} workers and {commands} times the command killed: all once")


def _start(teacher: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "polystill", "generate", teacher, "--source", folder / "lines"]
    search = ["--beam", "1", "--workers", "2", "--threads", "1", "--shard-size", SHARD, "--batch-tokens", "8192"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*map(str, [*command, "--out", folder / "targets", *search])], stderr=log)


def _end(process: subprocess.Popen[bytes], folder: Path) -> str:
    """What it and those before have said since the last call, once it has ended."""
    process.wait()
    said = (folder / "log").read_text()
    (folder / "log").unlink()
    return said


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []
