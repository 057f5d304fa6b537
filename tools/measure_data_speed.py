"""Measure how many pairs a second are cleaned and tokenised, by this checkout and others, on one core and on several.

    python tools/measure_data_speed.py 500000 --checkout ../before --checkout . --cores 0 --cores 0,1 --rounds 3

Generates pairs as tools/measure_data_memory.py does, or takes the files --source and --target, and runs the data stage
in fresh processes, in turn: each checkout on the first set of cores, and the last checkout on the others. The
vocabulary is trained once and its time left out. Processor seconds leave out what other programs take; those of several
cores are added. Says whether all checkouts wrote the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.measure_data_memory import recipe_of, write_corpus

Variant = tuple[Path, str]
"""A checkout and the cores that it runs on."""


def measure(folder: Path, checkout: Path, cores: str) -> dict[str, Any]:
    """The record of a data stage in a process of its own."""
    count = str(len(cores.split(",")))
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": count}
    command = [sys.executable, __file__, "0", "--folder", str(folder), "--cores", cores, "--in-this-process"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    record = dict(json.loads(done.stdout))
    print(f"{checkout.name} on {cores}: {record['seconds']}", file=sys.stderr, flush=True)
    return record


def prepare(folder: Path, cores: str) -> None:
    """The measured process: seconds and processor seconds up to each line of the log, and the files' checksums."""
    import datasets  # noqa: F401  # what every run imports at some time
    import ftfy  # noqa: F401

    from polystill.data.prepare import prepare_data
    from polystill.data.tokenizer import Tokenizer

    os.sched_setaffinity(0, set(map(int, cores.split(","))))
    tokenizer = Tokenizer.load(folder / "first" / "tokenizer") if (folder / "first").exists() else None
    clocks: dict[str, tuple[float, float]] = {}

    def log(line: str) -> None:
        clocks[line.split(":")[0]] = time.perf_counter(), time.process_time()

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        data = Path(temporary) if tokenizer else folder / "first"
        record = prepare_data(recipe_of(folder), data, tokenizer=tokenizer, log=log)
    parts = {"clean": ("validation", "cleaned"), "pack": ("cleaned", "packed")}
    seconds = {
        part: [end - start for start, end in zip(clocks[first], clocks[last], strict=True)]
        for part, (first, last) in parts.items()
    }
    print(json.dumps({"seconds": seconds, "files": record["files"], "pairs": record["pairs"]["read"]}))


def shown(values: list[float], digits: int = 0) -> str:
    least, largest = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return f"{median(values):,.{digits}f} ({least}–{largest})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int, help="generated training pairs")
    parser.add_argument("--source", type=Path, help="training text instead of generated pairs")
    parser.add_argument("--target", type=Path)
    parser.add_argument("--checkout", type=Path, action="append", help="the first is what the others are compared with")
    parser.add_argument("--cores", action="append", help='such as "0" or "0,1"')
    parser.add_argument("--vocabulary", type=Path, help="a tokenizer's folder, instead of training one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go while it runs (the system's temporary folder)")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        return prepare(arguments.folder, arguments.cores[0])
    variants = [
        (path.resolve(), cores) for cores in arguments.cores or ["0"] for path in arguments.checkout or [Path()]
    ]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_corpus(folder, arguments.pairs or 2_000)
        for name, path in (("train.source", arguments.source), ("train.target", arguments.target)):
            if path:
                (folder / name).write_bytes(path.read_bytes())
        if arguments.vocabulary:
            copytree(arguments.vocabulary, folder / "first" / "tokenizer")
        else:
            measure(folder, *variants[-1])
        rounds = [[measure(folder, *variant) for variant in variants] for _ in range(arguments.rounds)]
    show(variants, rounds)


def show(variants: list[Variant], rounds: list[list[dict[str, Any]]]) -> None:
    """The table of all rounds."""
    pairs = rounds[0][0]["pairs"]
    for clock, unit in enumerate(("second", "processor second")):
        print(f"\n| checkout | cores | clean, {unit}s | tokenise, {unit}s | pairs a {unit} | times the first |")
        print("|---|---|---|---|---|---|")
        parts = [[[record["seconds"][part][clock] for part in ("clean", "pack")] for record in row] for row in rounds]
        for i, (checkout, cores) in enumerate(variants):
            clean, tokenise = (shown([row[i][part] for row in parts], 1) for part in (0, 1))
            speed = shown([pairs / sum(row[i]) for row in parts])
            ratio = shown([sum(row[0]) / sum(row[i]) for row in parts], 2)
            print(f"| {checkout.name} | {cores} | {clean} | {tokenise} | {speed} | {ratio} |")
    same = all(record["files"] == rounds[0][0]["files"] for row in rounds for record in row)
    print(f"\n{pairs:,} pairs; {'the same bytes' if same else 'NOT the same bytes'} by all")


if __name__ == "__main__":
    main()
