"""COMET scores of stored translations, from the package unbabel-comet in an environment of its own.

unbabel-comet pins older versions of libraries that polystill needs. It is never imported here: another Python, which
has it, runs `comet_scorer.py`.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.results import VALIDATION, QualityRow
from polystill.storage import text_lines

BATCH_SIZE = 16
SCORER = Path(__file__).with_name("comet_scorer.py")

_HOW_TO = """COMET needs an environment of its own, as its package pins older libraries. To make one and use it:
  python3 -m venv comet-env
  comet-env/bin/pip install unbabel-comet
  polystill comet {run} --python comet-env/bin/python
The first time it downloads the model {model} (2 GB) and its encoder from the Hugging Face Hub. A model that
you have: --model FOLDER/checkpoints/model.ckpt, with hparams.yaml in FOLDER and the encoder in the hub's cache"""


def how_to(run: Path, model: str) -> str:
    """Instructions for making the environment, with a command for this run."""
    return _HOW_TO.format(run=run, model=model)


def score_run(
    run: Run, python: Path, model: str, *, force: bool = False, log: Callable[[str], object]
) -> list[QualityRow]:
    """Add `comet` (the system score) and `comet_signature` to the rows of test sets, one after the other.

    Rows that have a score of this model are left alone, unless `force`. Returns the rows that were scored now.

    Raises:
        UserError: nothing is evaluated, a file of translations is missing or of another length than the test set, or
            the other environment fails; the message is its last line.
    """
    rows = [row for row in run.results().rows if row.test_set != VALIDATION]
    if not rows:
        raise UserError(f"{run.folder}: nothing is evaluated yet; polystill evaluate {run.folder} does that")
    wanted = [row for row in rows if force or not row.comet_signature.startswith(f"{model}|")]
    if not wanted:
        return []
    systems = {row.hypotheses: _triples(run, row) for row in wanted}
    log(f"scoring {len(systems)} sets of translations with {model}")
    scored: list[QualityRow] = []
    for answer in _answers(python, {"model": model, "batch_size": BATCH_SIZE, "systems": systems}):
        score, signature = answer["score"], f"{model}|unbabel-comet:{answer['version']}"
        new = [replace(r, comet=score, comet_signature=signature) for r in wanted if r.hypotheses == answer["key"]]
        run.add(new)
        scored += new
        for row in new:
            log(f"{row.test_set} {row.label} {row.precision} beam {row.beam}: COMET {row.comet:.4f}")
    return scored


def _triples(run: Run, row: QualityRow) -> list[dict[str, str]]:
    """COMET's input: source, translation and reference of each sentence."""
    source, references = run.test_lines(row.test_set, "source"), run.test_lines(row.test_set, "target")
    path = run.folder / row.hypotheses
    translated = text_lines(path)
    if not len(source) == len(references) == len(translated):
        raise UserError(f"{path}: {len(translated)} lines, but the test set has {len(source)}; evaluate with --force")
    columns = zip(source, translated, references, strict=True)
    return [{"src": src, "mt": mt, "ref": ref} for src, mt, ref in columns]


def _answers(python: Path, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answers of the other environment, one for each system, as they come."""
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as errors:
        json.dump(request, stdin)
        stdin.seek(0)
        # The script goes there as text: run as a file, it would import the comet.py that lies beside it.
        command = [str(python), "-c", SCORER.read_text(encoding="utf-8")]
        try:
            process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            raise UserError(f"--python {python}: cannot be run ({error.strerror})") from None
        answered = set()
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                answer = _answer(line, request["systems"])
                if answer is not None:
                    answered.add(answer["key"])
                    yield answer
        if process.returncode or answered != request["systems"].keys():
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["it ended before all was scored"])[-1]
            hint = "; install unbabel-comet there" if "No module named 'comet'" in last else ""
            raise UserError(f"--python {python}: scoring failed: {last}{hint}")


def _answer(line: str, systems: dict[str, Any]) -> dict[str, Any] | None:
    """The answer in a line; None for lines that COMET itself prints."""
    try:
        answer = json.loads(line)
        is_valid = answer["key"] in systems and math.isfinite(answer["score"]) and "version" in answer
    except (ValueError, KeyError, TypeError):
        return None
    return answer if is_valid else None
