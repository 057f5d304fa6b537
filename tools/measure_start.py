"""Measure how fast a family trains with each installed malloc, or with each number of spins of waiting threads.

    python tools/measure_start.py recipes/multi30k.yaml --set data.folder=multi30k --rounds 3
    python tools/measure_start.py recipes/multi30k.yaml --set data.folder=multi30k --spins 1000,2000 --beside 2

Each training is a fresh process, all of them in turn. It makes one update on each of so many batches, each of lengths
of its own as in a real training, and the first quarter is not counted. Memory is that of the process at most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

from polystill.bench.rounds import shown_speed
from polystill.cli.bench import prepared_data, tool_parser
from polystill.cli.common import user_errors
from polystill.environment import process

LIBRARIES = (*process.MALLOC_LIBRARIES, "jemalloc", "mimalloc")


def mallocs() -> dict[str, dict[str, str]]:
    """The settings to start with for each malloc."""
    found = {name: path for name in LIBRARIES if (path := find_library(name))}
    return {process.SYSTEM_MALLOC: {}} | {name: {"LD_PRELOAD": path} for name, path in found.items()}


def waits(spins: str) -> dict[str, dict[str, str]]:
    """The settings to start with for each number of spins, "1000,2000"; OpenMP's own number first."""
    same = {"LD_PRELOAD": library} if (library := process.installed_malloc()) else {}
    return {"OpenMP's": same} | {f"{count} spins": {**same, process.SPINS_SETTING: count} for count in spins.split(",")}


def trained(changes: Mapping[str, str], arguments: Sequence[str]) -> dict[str, float]:
    """Target tokens a second and the peak of resident memory of a process that trains in this environment."""
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", process.SPINS_SETTING)}
    command = [sys.executable, __file__, *arguments, "--in-this-process"]
    done = subprocess.run(command, env={**clean, **changes}, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def train(run: Path, settings: list[str], mode: str, precision: str, batches: int) -> dict[str, float]:
    """What `trained` returns, measured in this process."""
    from polystill.bench.train import Trial, Variant, load_workload
    from polystill.environment.child import peak_memory

    with prepared_data(run, settings, None) as (recipe, data):
        workload = load_workload(recipe, data, students=2, batches=batches)
    warm_up = batches // 4
    with peak_memory() as peak:
        trial = Trial(Variant("family", mode, precision), workload)
        for number in range(batches):
            if number == warm_up:
                start = time.perf_counter()
            trial.update(number)
        seconds = time.perf_counter() - start
    tokens = sum(batch.target_tokens for batch in workload.batches[warm_up:])
    return {"target_tokens_per_second": tokens / seconds, "peak_bytes": peak.peak}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that compute all the time, until this one ends at the latest."""
    code = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = tool_parser(__doc__, rounds=3)
    parser.add_argument("--batches", type=int, default=120)
    parser.add_argument("--mode", default="shared")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--spins", metavar="N,N", help="compare how long OpenMP's threads spin, and not mallocs")
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="beside so many processes that compute")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.in_this_process:
        print(json.dumps(train(given.recipe, given.set, given.mode, given.precision, given.batches)))
        return
    variants = waits(given.spins) if given.spins else mallocs()
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with user_errors(), prepared_data(given.recipe, given.set, None) as (_, data), busy(given.beside):
        options = ["--mode", given.mode, "--precision", given.precision, "--batches", str(given.batches)]
        if given.recipe.is_dir():  # a recipe's settings are in what was prepared from it
            options += [part for setting in given.set for part in ("--set", setting)]
        for number in range(given.rounds):
            for name, changes in variants.items():
                measured[name].append(trained(changes, [str(data.parent), *options]))
            print(f"round {number + 1} of {given.rounds}")
    speeds = {name: [row["target_tokens_per_second"] for row in rows] for name, rows in measured.items()}
    for name, rows in measured.items():
        memory = max(row["peak_bytes"] for row in rows) / 2**20
        print(f"{shown_speed(name, speeds[name], speeds[next(iter(variants))])}, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
