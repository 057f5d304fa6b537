"""Measure the processor seconds of training that a recipe needs until its whole family is so good.

    python tools/time_to_quality.py recipes/multi30k.yaml --set data.folder=multi30k --below 4 3 2.5

Trains by the recipe's stages and stops at the last quality. A family's quality is the mean negative log-likelihood of
all its networks on the validation set, in nats a target token; untrained ones count, too. Seconds are those of updates
on all threads, batches included, validations not. Where a quality lies between two validations, seconds are
interpolated. Each stage goes on from the last weights of the one before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from polystill.cli.bench import recipe_tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.config import Recipe, load_recipe
from polystill.pipeline import prepare_data
from polystill.runs import Run
from polystill.training.feed import Position
from polystill.training.loop import StageTraining
from polystill.training.session import Session
from polystill.training.validation import validate

Point = tuple[float, float]
"""Processor seconds, and the family's quality after them."""


def curve(run: Run, every: int, lowest: float) -> list[Point]:
    """Train the run's stages until the quality is at most `lowest`; a point every so many updates."""
    session, points, seconds = Session(run), list[Point](), 0.0
    for index, stage in enumerate(run.recipe.stages):
        with closing(StageTraining(session, index, stage)) as training:
            started = time.process_time()
            for number, batch in enumerate(islice(training.feed().updates(Position()), stage.updates), start=1):
                training.update(batch, number)
                if number % every and number < stage.updates:
                    continue
                seconds += time.process_time() - started
                result = validate(session.model, session.validation_set, session.space, 0.0)
                points.append((seconds, fmean(result.nll.values())))
                say(f"{stage.name} {number}: {points[-1][1]:.3f} nats after {seconds:.0f} s")
                if points[-1][1] <= lowest:
                    return points
                started = time.process_time()
    return points


def seconds_until(points: Sequence[Point], quality: float) -> float | None:
    """The seconds after which the quality is first so good, by interpolation; None where it never is."""
    before: Point | None = None
    for seconds, reached in points:
        if reached <= quality:
            if before is None or before[1] <= reached:
                return seconds
            return before[0] + (seconds - before[0]) * (before[1] - quality) / (before[1] - reached)
        before = seconds, reached
    return None


def measure(recipe: Recipe, below: Sequence[float], every: int) -> dict[str, Any]:
    """The curve, and the seconds until each quality."""
    with TemporaryDirectory() as folder:
        prepare_data(recipe, Path(folder) / "run")
        points = curve(Run.open(Path(folder) / "run"), every, min(below))
    return {"every": every, "points": points, "seconds": {str(q): seconds_until(points, q) for q in below}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = recipe_tool_parser(__doc__)
    parser.add_argument("--below", type=float, nargs="+", default=[4.0, 3.0, 2.5], help="qualities, in nats a token")
    parser.add_argument("--every", type=int, default=50, help="updates between two validations")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    given = parser.parse_args(arguments)
    with user_errors():
        check_new_file("--json", given.json)
        result = measure(load_recipe(given.recipe, given.set), given.below, given.every)
        for quality, seconds in result["seconds"].items():
            print(f"{quality} nats: " + ("not reached" if seconds is None else f"{seconds:.0f} processor seconds"))
        write_benchmark(given.json, "time-to-quality", result)


if __name__ == "__main__":
    main()
