"""Measure `polystill generate` beside a bare loop over CTranslate2, which generation with CTranslate2 cannot outrun.

    polystill export runs/teacher teacher --to ctranslate2 --out teacher-ct2
    python tools/measure_generation.py teacher-ct2 train.en --lines 10000 --rounds 3

The bare loop hands pieces that were made before to CTranslate2, all of them before it waits for any, and drops what
comes back. Its translations have the length limit of `generate --source`: three times the source's tokens, rounded up
to a multiple of 16 first, and no more than the model's positions. Lines of one limit are one call.

`generate` is the whole command: it starts, reads text, tokenises, translates, detokenises, filters and writes shards.
Its time for a single line, which is that of starting, is measured as well. All on the same cores, in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ctranslate2

from polystill.bench.rounds import shown_spread, spread
from polystill.cli.bench import write_benchmark
from polystill.cli.common import check_new_file, user_errors
from polystill.decoding.ctranslate2 import CTranslate2Translator, begin_batch
from polystill.decoding.translator import Cuts, DecodingOptions, by_limit, longest_of_each
from polystill.environment.process import available_cores
from polystill.storage import text_lines


class Bare:
    """CTranslate2 by itself on lines whose pieces are known."""

    def __init__(self, folder: Path, lines: Sequence[str], options: DecodingOptions) -> None:
        translator = CTranslate2Translator(folder)
        sources = Cuts().fit_sources(lines, translator.tokenizer.source_pieces, translator.max_source_tokens)
        limits = longest_of_each(options, translator.max_source_tokens, sources)
        self._options = options
        self._calls = [(limit, [sources[i] for i in group]) for limit, group in by_limit(range(len(lines)), limits)]
        self.words = sum(len(h[0].text.split()) for h in translator.translate(lines, options))
        """Target words of all translations."""
        self._engine = ctranslate2.Translator(
            str(folder), compute_type="default", inter_threads=available_cores(), intra_threads=1
        )

    def run(self) -> float:
        """Seconds."""
        started = time.perf_counter()
        begun = [begin_batch(self._engine, sources, self._options, limit) for limit, sources in self._calls]
        for result in chain.from_iterable(begun):
            result.result()
        return time.perf_counter() - started


def generate(folder: Path, text: Path, beam: int) -> float:
    """Seconds of the command, from its start to its end."""
    with TemporaryDirectory() as out:
        command = [sys.executable, "-m", "polystill", "generate", str(folder), "--source", str(text)]
        started = time.perf_counter()
        subprocess.run([*command, "--beam", str(beam), "--out", f"{out}/new"], check=True, capture_output=True)
        return time.perf_counter() - started


def measure(folder: Path, lines: Sequence[str], beam: int, rounds: int) -> dict[str, Any]:
    """Seconds by round, and what they come to."""
    bare = Bare(folder, lines, DecodingOptions(beam_size=beam))
    seconds: dict[str, list[float]] = {"bare": [], "generate": [], "start": []}
    with TemporaryDirectory() as temporary:
        text, one = Path(temporary) / "text", Path(temporary) / "one"
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        one.write_text(lines[0] + "\n", encoding="utf-8")
        for _ in range(rounds):
            seconds["bare"].append(bare.run())
            seconds["generate"].append(generate(folder, text, beam))
            seconds["start"].append(generate(folder, one, beam))
    by_round = list(zip(*seconds.values(), strict=True))
    return {
        "lines": len(lines),
        "beam": beam,
        "cores": available_cores(),
        "seconds": seconds,
        "words_per_second": {name: [bare.words / s for s in seconds[name]] for name in ("bare", "generate")},
        "share_of_bare": [b / g for b, g, _ in by_round],
        "share_of_bare_without_start": [b / (g - s) for b, g, s in by_round],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an export for CTranslate2")
    parser.add_argument("text", type=Path, help="one sentence a line")
    parser.add_argument("--lines", type=int, default=10_000, help="different lines, from the beginning of the text")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write all figures here")
    given = parser.parse_args(arguments)
    with user_errors():
        check_new_file("--json", given.json)
        lines = list(islice(dict.fromkeys(line for line in text_lines(given.text) if line.strip()), given.lines))
        result = measure(given.folder, lines, given.beam, given.rounds)
        for name, values in result["words_per_second"].items():
            print(f"{name}: {shown_spread(spread(values), 0)} target words a second")
        print(f"generate / bare: {shown_spread(spread(result['share_of_bare']), 3)}")
        print(f"without the start: {shown_spread(spread(result['share_of_bare_without_start']), 3)}")
        write_benchmark(given.json, "generation", result)


if __name__ == "__main__":
    main()
