"""Measure what the data stage takes: `python tools/measure_data_memory.py 10000000`.

Writes that many generated pairs (Zipf-distributed words, log-normal lengths, some duplicates and dirt) as plain text,
runs `prepare_data` on them in a process of its own, and samples that process and its children ten times a second.
Anonymous memory is what the stage holds; file-backed pages are mapped files, which the system drops when it needs to.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polystill.config import Recipe

WORDS = 60_000
VOCABULARY = 16_000


def write_corpus(folder: Path, pairs: int, seed: int = 1) -> None:
    """Write train.source, train.target, held.source, held.target; the training pairs have 2 % duplicates, 1 % dirt."""
    generator = random.Random(seed)
    letters = "eeeeennnniiirrrsssttaaaddhhuuullccggmmoobbwwffkkzzvpäöüß"
    sizes = [min(14, int(generator.lognormvariate(1.6, 0.4)) + 1) for _ in range(WORDS)]
    words = ["".join(generator.choices(letters, k=size)) for size in sizes]
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(WORDS)))
    # Sentences are cut from a long stretch of drawn words at random places: fast, and hardly ever twice the same.
    stretch = generator.choices(words, cum_weights=weights, k=4_000_000)

    def sentence(length: int) -> str:
        start = generator.randrange(len(stretch) - length)
        return " ".join(stretch[start : start + length])

    def pair() -> tuple[str, str]:
        length = min(120, max(2, int(generator.lognormvariate(2.9, 0.6))))
        return sentence(length), sentence(max(2, round(length * generator.uniform(0.8, 1.25))))

    for name, count in (("train", pairs), ("held", 2_000)):
        previous = pair()
        with (folder / f"{name}.source").open("wb") as source, (folder / f"{name}.target").open("wb") as target:
            for _ in range(count):
                dirt = generator.random() if name == "train" else 1.0
                if dirt >= 0.02:
                    previous = pair()
                first, second = (side.encode() for side in previous)
                if 0.02 <= dirt < 0.03:
                    first = (b"", b"\xff" + first, first * 8)[generator.randrange(3)]
                source.write(first + b"\n")
                target.write(second + b"\n")


def recipe_of(folder: Path) -> Recipe:
    """The recipe for the folder's corpus."""
    from polystill.config import parse_recipe

    def files(name: str) -> dict[str, str]:
        return {"kind": "text", "source": f"{name}.source", "target": f"{name}.target"}

    data = {
        "folder": str(folder),
        "train": [files("train")],
        "validation": files("held"),
        "cleaning": {"max_unreadable": 0.01},
        "tokenizer": {"vocabulary_size": VOCABULARY},
    }
    return parse_recipe({"data": data, "stages": [{"name": "only", "updates": 1}]}, "measurement")


def prepare(folder: Path, vocabulary: Path | None) -> None:
    """The measured process: run the data stage on the folder's corpus and print its record."""
    from polystill.data.prepare import prepare_data
    from polystill.data.tokenizer import Tokenizer

    def log(line: str) -> None:
        print(f"{time.process_time():.0f} s: {line}", file=sys.stderr, flush=True)

    tokenizer = Tokenizer.load(vocabulary) if vocabulary else None
    print(json.dumps(prepare_data(recipe_of(folder), folder / "data", tokenizer=tokenizer, log=log)))


def memory(root: int) -> tuple[int, int]:
    """(anonymous, file-backed) bytes of a process and all below it, from /proc; shared memory counts as anonymous."""
    parents, usage = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            lines = (entry / "status").read_text().splitlines()
        except OSError:  # It ended meanwhile.
            continue
        values = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        process = int(entry.name)
        parents[process] = int(values["PPid"])
        sizes = [int(values.get(key, "0 kB").split()[0]) * 1024 for key in ("RssAnon", "RssShmem", "RssFile")]
        usage[process] = (sizes[0] + sizes[1], sizes[2])
    below, newest = {root}, {root}
    while newest:
        newest = {process for process, parent in parents.items() if parent in newest}
        below |= newest
    totals = [usage[process] for process in below if process in usage]
    return sum(anonymous for anonymous, _ in totals), sum(mapped for _, mapped in totals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int, help="generated training pairs")
    parser.add_argument("--folder", type=Path, help="where the files go while it runs (the system's temporary folder)")
    parser.add_argument("--vocabulary", type=Path, help="a tokenizer's folder, instead of training one")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        return prepare(arguments.folder, arguments.vocabulary)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_corpus(folder, arguments.pairs)
        text = sum(path.stat().st_size for path in folder.iterdir())
        command = [sys.executable, __file__, str(arguments.pairs), "--folder", str(folder), "--prepare"]
        command += ["--vocabulary", str(arguments.vocabulary)] if arguments.vocabulary else []
        start = time.perf_counter()
        peak_anonymous = peak_mapped = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                anonymous, mapped = memory(process.pid)
                peak_anonymous, peak_mapped = max(peak_anonymous, anonymous), max(peak_mapped, mapped)
                time.sleep(0.1)
            assert process.stdout is not None
            output = process.stdout.read()
        seconds = time.perf_counter() - start
        if process.returncode:
            sys.exit(process.returncode)
    result = {
        "pairs": arguments.pairs,
        "text_bytes": text,
        "wall_seconds": round(seconds, 1),
        "peak_anonymous_mib": round(peak_anonymous / 2**20),
        "peak_file_backed_mib": round(peak_mapped / 2**20),
        "record": json.loads(output),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
