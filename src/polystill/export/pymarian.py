"""Marian's own program, which the `pymarian` package brings: it converts models, and translates with scores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from polystill.errors import UserError

PROGRAM = "POLYSTILL_PYMARIAN"
"""Environment variable: where the program is, if it is in another environment than polystill."""
LONGEST_RUN = 1800
"""Seconds after which a call is given up."""


class Scored(NamedTuple):
    """Marian's translation of a line."""

    pieces: list[str]
    log_probs: list[float]
    """Natural logarithms, one for each piece, and one for the end mark if the translation reached it."""


def find_pymarian() -> str:
    """The path of the program.

    Raises:
        UserError: it is not installed; the message says how to get it.
    """
    named = os.environ.get(PROGRAM)
    if named is not None:
        if not os.access(named, os.X_OK):
            raise UserError(f"{PROGRAM}={named}: no such program; it names the pymarian of another environment")
        return named
    beside = Path(sys.executable).with_name("pymarian")
    path = shutil.which("pymarian") or (str(beside) if beside.is_file() else None)
    if path is None:
        raise UserError(
            "this format needs Marian, to convert and to check: pip install pymarian (1 GB; in another environment if "
            f"you like, and then {PROGRAM}=/path/to/its/bin/pymarian)"
        )
    return path


def run_pymarian(*arguments: str | Path, stdin: str = "") -> str:
    """Run a command of the program; returns what it prints.

    Raises:
        UserError: it is not installed, takes longer than LONGEST_RUN, or fails; the message has Marian's own.
    """
    command = [find_pymarian(), *map(str, arguments)]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, encoding="utf-8", timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        raise UserError(f"pymarian {arguments[0]}: not done after {LONGEST_RUN} seconds; given up") from None
    if done.returncode != 0:
        errors = (line.split("] ", 1)[-1] for line in done.stderr.splitlines() if "Error:" in line)
        raise UserError(f"pymarian {arguments[0]}: {next(errors, f'status {done.returncode}')}")
    return done.stdout


def decode_with_scores(
    model: Path, vocabularies: Sequence[Path], lines: Sequence[str], shortlist: Path | None = None
) -> list[Scored]:
    """Marian's greedy translations of lines, with the log-probability of each piece."""
    files: list[str | Path] = ["--models", model, "--vocabs", *vocabularies]
    options = [
        *("--quiet", "--cpu-threads", "1"),
        *("--beam-size", "1", "--word-scores", "--no-spm-decode", "--allow-unk"),
        *("--max-length-factor", "8", "--workspace", "256", "--mini-batch", "16"),
    ]
    if shortlist is not None:
        options += ["--shortlist", str(shortlist), "1"]  # 1: checked
    output = run_pymarian("decode", *files, *options, stdin="".join(f"{line}\n" for line in lines))
    rows = [row.rsplit(" ||| WordScores=", 1) for row in output.split("\n") if row]  # pieces may have other line ends
    assert len(rows) == len(lines), "Marian gives a line for a line"
    pieces = [[piece for piece in text.split(" ") if piece] for text, _ in rows]
    return [Scored(row, [float(x) for x in scores.split()]) for row, (_, scores) in zip(pieces, rows, strict=True)]
