"""Prove a refactoring: two commits train on the same data from the same seed, and every update's loss is compared
(every micro-batch's, where `training.accumulate` cuts an update into several).

    python tools/compare_commits.py HEAD~1 HEAD recipes/quickstart.yaml --mode plain --updates 20
    python tools/compare_commits.py main . recipes/quickstart.yaml --mode shared --tolerance 1e-5

A commit is anything that git names; a folder such as "." stands for its files as they are. Each side runs in a process
of its own with its own src/, prepares the recipe's data, and trains its first stage. Exit status: 0 where the data and
all losses are identical (or within --tolerance, relative), 1 where they are not, 2 where a side fails.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Runs in either commit, so it uses only what all of them have: the pipeline's functions and a batch's loss.
SIDE = """
import hashlib, json, sys
from pathlib import Path

recipe, folder, settings, out = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
from polystill.config import load_recipe
from polystill.pipeline import prepare_data
from polystill.runs import Run
try:
    from polystill.training.loop import train_family
    from polystill.training.update import BatchLoss
except ImportError:  # a commit from before `training.update`
    from polystill.training.step import TrainingStep as BatchLoss
    from polystill.training.trainer import train_family

losses = []
forward = BatchLoss.forward
def recorded(self, *arguments):
    result = forward(self, *arguments)
    losses.append(float(result.loss))
    return result
BatchLoss.forward = recorded

recipe = load_recipe(recipe, settings)
stage = recipe.stages[0].model_copy(update={"updates": int(sys.argv[5])})
recipe = recipe.model_copy(update={"stages": [stage]})
prepare_data(recipe, folder)
data = hashlib.sha256()
for path in sorted((folder / "data" / "train").glob("*.arrow")):
    data.update(path.read_bytes())
with Run.open(folder, lock=True) as run:
    train_family(run)
    validation = run.record(f"training.{stage.name}")["validation"]["nll"]
result = {"data": data.hexdigest(), "losses": losses, "validation": validation}
Path(out).write_text(json.dumps(result))
"""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison; `largest` is the largest relative difference of two losses.

    `validation` is that of the losses of the validation at the end.
    """

    same_data: bool
    validation: float
    largest: float
    at: int

    @property
    def identical(self) -> bool:
        """Losses and validation."""
        return self.largest == 0 == self.validation

    def holds(self, tolerance: float | None) -> bool:
        return self.same_data and max(self.largest, self.validation) <= (tolerance or 0.0)


def compare(first: dict[str, Any], second: dict[str, Any]) -> Verdict:
    """Compare what two sides wrote."""
    losses = list(zip(first["losses"], second["losses"], strict=True))
    differences = [_relative(a, b) for a, b in losses]
    largest = max(differences)
    before, after = first["validation"], second["validation"]
    same_networks = before.keys() == after.keys()
    validation = max(_relative(before[name], after[name]) for name in before) if same_networks else math.inf
    return Verdict(first["data"] == second["data"], validation, largest, differences.index(largest) + 1)


def _relative(a: float, b: float) -> float:
    """Difference of two losses, infinite where one is no number."""
    difference = 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))
    return difference if math.isfinite(difference) else math.inf


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The folder of a commit's files: a worktree that is removed afterwards, or the given folder itself."""
    if (Path(commit) / "src" / "polystill").is_dir():
        yield Path(commit).resolve()
        return
    with TemporaryDirectory(prefix="compare-") as temporary:
        folder = Path(temporary) / "worktree"
        git("worktree", "add", "--detach", "--quiet", str(folder), commit)
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))


def git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"git {' '.join(arguments)}: {done.stderr.strip()}")


class Failed(Exception):
    """A message, and exit status 2."""


def train(commit: str, recipe: Path, settings: Sequence[str], updates: int) -> dict[str, Any]:
    """Train one side; returns its losses, its validation and a hash of its data."""
    with checked_out(commit) as folder, TemporaryDirectory(prefix="compare-") as temporary:
        out = Path(temporary) / "side.json"
        given = [str(recipe), str(Path(temporary) / "run"), json.dumps(list(settings)), str(out), str(updates)]
        done = subprocess.run(
            [sys.executable, "-c", SIDE, *given],
            env={**os.environ, "PYTHONPATH": str(folder / "src")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise Failed(f"{commit}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        result: dict[str, Any] = json.loads(out.read_text())
    return result


def settings_for(mode: str, seed: int, updates: int, more: Sequence[str]) -> list[str]:
    """One thread, so that sums have one order; one validation, at the end."""
    fixed = [f"training.mode={mode}", f"seed={seed}", "training.threads=1", "training.precision=fp32"]
    return [*fixed, f"training.validate_every={updates}", f"training.checkpoint_every={updates}", *more]


def report(
    commits: Sequence[str], sides: Sequence[dict[str, Any]], verdict: Verdict, updates: int, tolerance: float | None
) -> None:
    shown = max(1, len(sides[0]["losses"]) // 10)
    what = "update" if len(sides[0]["losses"]) == updates else "micro-batch"
    print(f"{what:>11}  {commits[0]:>22}  {commits[1]:>22}")
    for i, (a, b) in enumerate(zip(sides[0]["losses"], sides[1]["losses"], strict=True), start=1):
        if i % shown == 0 or i == verdict.at:
            print(f"{i:>11}  {a!r:>22}  {b!r:>22}  {'' if a == b else f'{abs(a - b) / abs(a):.2e}'}")
    if not verdict.same_data:
        print("the prepared data differ")
    if verdict.identical:
        print(f"identical: all {len(sides[0]['losses'])} losses and the validation at the end")
        return
    wanted = "identical ones were asked for" if tolerance is None else f"the tolerance is {tolerance:g}"
    if verdict.largest:
        print(f"largest relative difference {verdict.largest:.3e} at {what} {verdict.at}; {wanted}")
        print(f"largest relative difference of the validation at the end: {verdict.validation:.3e}")
    else:
        print(f"all {len(sides[0]['losses'])} losses are identical, the validation at the end is not:")
        for commit, side in zip(commits, sides, strict=True):
            print(f"  {commit}: {json.dumps(side['validation'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT", help="a commit, or a folder with src/polystill")
    parser.add_argument("recipe", type=Path, help="a recipe; its first stage is trained")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in polystill run")
    parser.add_argument("--mode", choices=("plain", "exact", "shared"), default="plain")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance", type=float, help="largest relative difference of a loss; identical by default")
    given = parser.parse_args()
    if given.updates < 1:
        parser.error("--updates: expected at least 1")
    settings = settings_for(given.mode, given.seed, given.updates, given.set)
    try:
        sides = [train(commit, given.recipe.resolve(), settings, given.updates) for commit in given.commits]
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    verdict = compare(sides[0], sides[1])
    report(given.commits, sides, verdict, given.updates, given.tolerance)
    sys.exit(0 if verdict.holds(given.tolerance) else 1)


if __name__ == "__main__":
    main()
