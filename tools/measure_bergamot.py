"""Measure gain and cost of a shortlist in Bergamot's runtime (WebAssembly under node, one thread).

    npm install @browsermt/bergamot-translator@0.4.9
    polystill export RUN e2d2 --to bergamot --shortlist --out e2d2
    python tools/measure_bergamot.py RUN e2d2 --runtime node_modules/@browsermt/bergamot-translator

Every export translates the run's first test set with its shortlist and without, a number of lines at a time and line by
line; then some of its sentences again, timed, all in turn.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.bench.rounds import interleaved, quotients, shown_spread, spread
from polystill.cli.bench import text_tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.decoding.ctranslate2 import read_info
from polystill.decoding.metrics import corpus_scores
from polystill.errors import UserError
from polystill.evaluation.speed import percentile
from polystill.runs import Run
from polystill.storage import text_lines

SCRIPT = Path(__file__).with_suffix(".mjs")
Ask = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def bergamot(package: Path) -> Iterator[Ask]:
    """The runtime in a process of its own, which keeps the models that it has loaded."""
    with TemporaryDirectory(prefix="polystill-") as temporary:
        copy = shutil.copytree(package, Path(temporary) / "package")
        # The package calls all its files modules, but its worker is a classic script, which node has to be told.
        (copy / "worker" / "package.json").write_text('{"type": "commonjs"}')
        command = ["node", str(SCRIPT), str(copy)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:

            def ask(request: dict[str, Any]) -> dict[str, Any]:
                assert node.stdin is not None and node.stdout is not None
                print(json.dumps(request), file=node.stdin, flush=True)
                if not (answer := node.stdout.readline()):
                    raise UserError(f"{package}: the runtime stopped; its message is above")
                return dict(json.loads(answer))

            try:
                yield ask
            finally:
                node.kill()


@dataclass(frozen=True)
class Text:
    """A test set, of which the first lines are timed."""

    sources: list[str]
    references: list[str]
    language: str
    timed: int


@dataclass
class System:
    """A student with or without its shortlist, given so many lines at a time."""

    name: str
    folder: Path
    batch: int
    shortlist: bool
    ask: Ask
    translations: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    """Until each call's translations were there, of those that are timed."""

    def translate(self, text: Text) -> None:
        self.translations = self._ask(text.sources)["translations"]

    def time(self, text: Text) -> None:
        self.milliseconds += self._ask(text.sources[: text.timed])["milliseconds"]

    def _ask(self, lines: list[str]) -> dict[str, Any]:
        return self.ask({"folder": str(self.folder), "shortlist": self.shortlist, "batch": self.batch, "lines": lines})


def measure(text: Text, exports: Sequence[Path], package: Path, batch: int, rounds: int) -> dict[str, Any]:
    with bergamot(package) as ask:
        systems = {
            (out, size, shortlist): System(read_info(out)["name"], out, size, shortlist, ask)
            for out in exports
            for size in (batch, 1)
            for shortlist in (False, True)
        }
        for system in systems.values():
            system.translate(text)
        say("translated; now the rounds")
        subjects = {str(key): partial(system.time, text) for key, system in systems.items()}
        seconds = interleaved(subjects, rounds, log=say, warm_up=False)
    rows = []
    for (out, size, shortlist), system in systems.items():
        taken, taken_without = (seconds[str((out, size, which))] for which in (shortlist, False))
        same = zip(system.translations, systems[out, size, False].translations, strict=True)
        row = _row(system, text, taken) | {"speed": quotients(taken_without, taken)}
        rows.append(row | {"same_translations": sum(a == b for a, b in same)})
    return {"sentences": len(text.sources), "timed": text.timed, "rounds": rounds, "rows": rows}


def _row(system: System, text: Text, seconds: list[float]) -> dict[str, Any]:
    words = sum(len(line.split()) for line in text.sources[: text.timed])
    scores = corpus_scores(system.translations, text.references, target_language=text.language)
    row = {"student": system.name, "lines_at_a_time": system.batch, "shortlist": system.shortlist}
    row |= {"words_per_second": spread([words / s for s in seconds])}
    row |= {key: scores[key] for key in ("bleu", "bleu_signature")}
    if system.batch == 1:
        row["latency_ms"] = {f"p{p}": percentile(system.milliseconds, p) for p in (50, 95)}
    return row


def _sizes(export: Path) -> dict[str, dict[str, int]]:
    """Of each file: unpacked, and as it is downloaded."""
    files = json.loads((export / "metadata.json").read_text())["files"]
    return {
        kind: {"unpacked": file["size"], "gzipped": (export / f"{file['name']}.gz").stat().st_size}
        for kind, file in files.items()
    }


def report(result: dict[str, Any]) -> None:
    print("| student | lines at a time | shortlist | words/s | times as fast | p50 ms | p95 ms | BLEU | the same |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in result["rows"]:
        waits = row.get("latency_ms", {})
        cells = [row["student"], row["lines_at_a_time"], "yes" if row["shortlist"] else "no"]
        cells += [shown_spread(row["words_per_second"], 0), shown_spread(row["speed"], 2)]
        cells += [f"{waits[p]:.1f}" if waits else "" for p in ("p50", "p95")]
        cells += [f"{row['bleu']:.2f}", f"{row['same_translations']} of {result['sentences']}"]
        print("|", " | ".join(map(str, cells)), "|")
    for name, files in result["bytes"].items():
        print(name, *(f"{kind} {size['unpacked']:,} ({size['gzipped']:,} gzipped)" for kind, size in files.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = text_tool_parser(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--runtime", type=Path, required=True, help="the npm package's folder")
    parser.add_argument("--batch", type=int, default=32, help="lines at a time")
    given = parser.parse_args(arguments)
    with user_errors():
        check_new_file("--json", given.json)
        run = Run.open(given.run)
        test_set = next(iter(run.recipe.data.test))
        sources = text_lines(run.data / "test" / f"{test_set}.source.txt")
        text = Text(sources, run.test_lines(test_set, "target"), run.recipe.data.target_language, given.sentences)
        for out in given.exports:
            if read_info(out).get("format") != "bergamot":
                raise UserError(f"{out}: no Bergamot export; write it with polystill export … --to bergamot")
        result = measure(text, given.exports, given.runtime, given.batch, given.rounds)
        result |= {"test_set": test_set, "bytes": {read_info(out)["name"]: _sizes(out) for out in given.exports}}
        report(result)
        write_benchmark(given.json, "bergamot", result)


if __name__ == "__main__":
    main()
