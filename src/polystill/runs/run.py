"""A run's folder: its recipe, its finished stages, its results.

    RUN/recipe.yaml    the resolved recipe; a folder is a run when it has one
    RUN/state.json     the run's identity and the record of each finished stage
    RUN/results.json   rows of measurements, cost of each stage, provenance
    RUN/data  RUN/checkpoints  RUN/logs  RUN/family  RUN/students  RUN/hypotheses  RUN/shortlist.json

Everything is written atomically (see `storage`); temporaries of killed processes are removed at the next start.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from polystill.environment.process import cpu_seconds
from polystill.errors import UserError, reason
from polystill.runs.changes import FREE, Done, can_be_added, in_order_of, recipe_differences, shown_value
from polystill.runs.provenance import provenance
from polystill.runs.results import VALIDATION, Cost, Provenance, QualityRow, Results, RobustnessRow, Row
from polystill.storage import (
    check_checksum,
    checked_json,
    clear_left_overs,
    lock_folder,
    read_checked_json,
    storage_errors,
    temporary_of,
    text_lines,
    write_atomic,
)

if TYPE_CHECKING:
    from polystill.config import Recipe

_log = logging.getLogger(__name__)


class Run:
    """One run's folder. `start` creates or continues it as its only writer; `open` reads it.

    Further ranks of a training, beside the one that holds the lock, make their own `Run`.
    """

    def __init__(self, folder: Path, recipe: Recipe, lock: IO[str] | None = None) -> None:
        self.folder = folder = Path(folder)
        self.recipe = recipe
        self._lock = lock
        self.data, self.family, self.students = folder / "data", folder / "family", folder / "students"
        self.checkpoints, self.logs = folder / "checkpoints", folder / "logs"
        self._results_path = folder / "results.json"

    @classmethod
    def start(cls, folder: Path, recipe: Recipe) -> Run:
        """Create a run in `folder`, or continue the one that is there; holds the folder's lock until `close`.

        The recipe must be the one that the folder was started with. Three additions are possible; each makes the
        stages that depend on it unfinished again, and keeps the others:

        - `data.test.<name>`: a further test set;
        - `stages.N.updates`: more updates in the last stage, unless the schedule is `cosine`, whose learning rate
          at every update depends on their number;
        - `evaluation.*`: other students, beam sizes, precision and so on.

        `training.on_nonfinite`, `checkpoint_every` and `threads` may change at any time, all of `training` before the
        first checkpoint, `data.folder` once the data are prepared. A folder without a finished stage takes any recipe.

        Raises:
            UserError: the recipe differs elsewhere (the message has all differing keys with old and new values), the
                folder holds other things than a run, another process works on it, a file of the run is damaged,
                or the folder cannot be written.
        """
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_other_things(folder)  # before anything in it is touched
            lock = lock_folder(folder)
        try:
            with storage_errors(folder):
                clear_left_overs(folder)
            if (folder / "recipe.yaml").is_file():
                return cls._continue(folder, recipe, lock)
            return cls._create(folder, recipe, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(cls, folder: Path, *, lock: bool = False) -> Run:
        """Open an existing run for reading; with `lock` also for writing, as the only process.

        Raises:
            UserError: the folder is missing or no run, another process works on it (with `lock`), or its recipe
                is damaged.
        """
        from polystill.config import load_recipe

        if not folder.is_dir():
            raise UserError(f"{folder}: no such run")
        if not (folder / "recipe.yaml").is_file():
            raise UserError(
                f"{folder}: this folder is not a run (it has no recipe.yaml); give one that polystill run wrote"
            )
        recipe = load_recipe(folder / "recipe.yaml")
        if not lock:
            return cls(folder, recipe)
        with storage_errors(folder):
            return cls(folder, recipe, lock_folder(folder))

    @classmethod
    def _create(cls, folder: Path, recipe: Recipe, lock: IO[str]) -> Run:
        run = cls(folder, recipe, lock)
        run._write_state({"run_id": f"{recipe.name}-{secrets.token_hex(4)}", "stages": {}})
        run._write_recipe()
        return run

    @classmethod
    def _continue(cls, folder: Path, recipe: Recipe, lock: IO[str]) -> Run:
        before = cls.open(folder).recipe
        run = cls(folder, recipe, lock)
        begun = run._state()["stages"]
        run.results()  # Damaged files raise before anything is done.
        if not begun:  # The first start was refused or stopped at once, so no result depends on its recipe.
            return cls._create(folder, recipe, lock)
        changes = recipe_differences(before, recipe)
        test_sets = [name for name in before.data.test if (run.data / "test" / f"{name}.target.txt").is_file()]
        updates = run._updates_done(before.stages[-1].name)
        done = Done(run.finished("data"), test_sets, run.has_trained(before), updates)
        refused = [change for change in changes if not can_be_added(change, before, recipe, done)]
        if refused:
            lines = "\n".join(f"  {key}: was {shown_value(old)}, now {shown_value(new)}" for key, old, new in refused)
            raise UserError(
                f"{folder}: this run was started with another recipe:\n{lines}\n"
                "use the old values or another folder; to a run that has begun one can add test sets (data.test), "
                "updates of the last stage (not with a cosine schedule) and what is evaluated (evaluation); "
                f"{', '.join(FREE)} may change, and all of training before the first checkpoint"
            )
        run.recipe = in_order_of(before, recipe)
        run._refuse_vain_updates(before)
        if changes:
            run._reopen({key for key, _, _ in changes})
            run._write_recipe()
        return run

    def has_trained(self, recipe: Recipe) -> bool:
        """Whether a stage of this recipe, which is the folder's, has a checkpoint or is finished."""
        return any(self._updates_done(stage.name) for stage in recipe.stages)

    def _updates_done(self, stage: str) -> int:
        """The updates of a training stage that are done, by its record or its newest checkpoint."""
        if record := self.record(f"training.{stage}"):
            return int(record["updates"])
        states = (self.checkpoints / stage).glob("state-*.pt")
        return max((int(path.stem.removeprefix("state-")) for path in states), default=0)

    def _refuse_vain_updates(self, before: Recipe) -> None:
        """Raise UserError where updates are added to a stage that stopped early: it would stop there again."""
        index = len(before.stages) - 1
        stage, planned = before.stages[index], self.recipe.stages[index].updates
        record = self.record(f"training.{stage.name}") or {}
        if planned > stage.updates and record.get("stopped_early"):
            raise UserError(
                f"{self.folder}: stages.{index}.updates: was {stage.updates}, now {planned}, but stage {stage.name} "
                f"stopped early after {record['updates']} (training.early_stopping "
                f"{before.training.early_stopping}) and would again; use the old value, or start in another folder"
            )

    def _reopen(self, changed: set[str]) -> None:
        """Make those stages unfinished that depend on added or changed keys."""
        stages = {"evaluation"} if changed - {*FREE, "data.folder"} else set()
        if any(key.startswith("stages.") for key in changed):
            last = f"training.{self.recipe.stages[-1].name}"
            stages |= {last, "family"}
            results = self.results()
            cost = {name: spent for name, spent in results.cost.items() if name != last}  # the longer stage has it all
            _log.info("%s: %d rows of results are of the family before; removed", self.folder, len(results.rows))
            replace(results, rows=[], robustness=[], devices=[], cost=cost).write(self._results_path)
        state = self._state()
        state["stages"] = {name: record for name, record in state["stages"].items() if name not in stages}
        self._write_state(state)

    def close(self) -> None:
        """Release the folder's lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Stages

    @property
    def run_id(self) -> str:
        """The recipe's name and a random number. Only copies of the folder share it."""
        return str(self._state()["run_id"])

    def finished(self, stage: str) -> bool:
        """Whether a stage is done. `data`, `family` and `evaluation` are undone when their output is removed."""
        output = {"data": self.data, "family": self.family, "evaluation": self._results_path}.get(stage)
        return self.record(stage) is not None and (output is None or output.exists())

    def need_family(self) -> None:
        """Raise UserError where the training is not finished; the message says how to go on."""
        if not self.finished("family"):
            raise UserError(
                f"{self.folder}: training is not finished; continue it with "
                f"polystill run {self.folder / 'recipe.yaml'} --out {self.folder}"
            )

    def record(self, stage: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None."""
        return self.stages().get(stage)

    def stages(self) -> dict[str, dict[str, Any]]:
        """The records of all finished stages, in the order in which they finished."""
        stages: dict[str, dict[str, Any]] = self._state()["stages"]
        return stages

    def finish(self, stage: str, record: dict[str, Any]) -> None:
        """Mark a stage as finished, with a record that JSON can hold; the time is added."""
        state = self._state()
        state["stages"].pop(stage, None)
        state["stages"][stage] = {**record, "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        self._write_state(state)

    @property
    def held_out(self) -> list[str]:
        """The sets that students are measured on: the test sets, and the validation set to choose by."""
        return [*self.recipe.data.test, VALIDATION]

    def test_lines(self, test_set: str, side: Literal["source", "target"]) -> list[str]:
        """The source sentences of a prepared test set, or its references. VALIDATION is the validation set.

        Raises:
            UserError: the file cannot be read, or has changed.
        """
        name = f"{'' if test_set == VALIDATION else 'test/'}{test_set}.{side}.txt"
        if expected := self._checksums().get(name):  # a test set that was added later has none
            self._check_data(name, expected)
        return text_lines(self.data / name)

    def check_data(self) -> None:
        """Compare all files of the data stage with the checksums in its record.

        Raises:
            UserError: one cannot be read, or has changed.
        """
        for name, expected in self._checksums().items():
            self._check_data(name, expected)

    def _check_data(self, name: str, expected: str) -> None:
        remedy = f"restore it from a copy, or remove {self.data}, and polystill run prepares the data again"
        check_checksum(self.data / name, expected, remedy)

    def _checksums(self) -> dict[str, str]:
        return (self.record("data") or {}).get("files", {})

    # Results

    def results(self) -> Results:
        """All that is in results.json; empty where nothing is measured yet.

        Raises:
            UserError: results.json is damaged; it is left as it is.
        """
        again = f"restore it from a copy, or remove it and measure again with polystill evaluate {self.folder}"
        return Results.read(self._results_path, again)

    def add(self, rows: Sequence[Row], measured: Provenance | None = None) -> None:
        """Add rows of any kind to results.json; a row replaces the one of its kind with the same `key`.

        Rows of quality get this run's `run_id` and `seed` and their machine's `hardware` and `commit` where they have
        none. Rows of quality and robustness update the provenance. `measured` is that of the process that has measured
        them, by default this one.
        """
        now = measured or provenance()
        stamped = [self._stamped(row, now) if isinstance(row, QualityRow) else row for row in rows]
        results = self.results().merge(stamped)
        if any(isinstance(row, QualityRow | RobustnessRow) for row in rows):
            results = replace(results, provenance=now)
        results.write(self._results_path)

    def _stamped(self, row: QualityRow, now: Provenance) -> QualityRow:
        return replace(
            row,
            run_id=row.run_id or self.run_id,
            seed=self.recipe.seed if row.seed is None else row.seed,
            hardware=row.hardware or now.hardware.summary,
            commit=row.commit or now.commit,
        )

    def add_cost(self, stage: str, cost: Cost) -> None:
        """Add what a stage cost; each figure that is given replaces the one before."""
        results = self.results().add_cost(stage, cost)
        # Existing figures keep their provenance: time is also spent by commands that fail.
        replace(results, provenance=results.provenance or provenance()).write(self._results_path)

    @contextmanager
    def spending(self, stage: str) -> Iterator[list[float]]:
        """Add the block's seconds to the stage's cost, also when the block fails: interrupted work was paid for.

        The block gets a list for the processor seconds of other machines' processes that work for it.
        """
        wall, cpu, elsewhere = time.perf_counter(), cpu_seconds(), list[float]()
        try:
            yield elsewhere
        finally:
            with suppress(UserError):  # A full disk; the block's own error says so.
                before = self.results().cost.get(stage, Cost())
                seconds = (before.seconds or 0) + time.perf_counter() - wall
                processor = (before.cpu_seconds or 0) + cpu_seconds() - cpu + sum(elsewhere)
                self.add_cost(stage, Cost(seconds=round(seconds, 3), cpu_seconds=round(processor, 3)))

    # Files

    def _state(self) -> dict[str, Any]:
        path = self.folder / "state.json"
        remedy = "it says which stages are finished: restore it from a copy, or start a run in a new folder"
        try:
            state: dict[str, Any] = read_checked_json(path)
        except FileNotFoundError:
            raise UserError(f"{path}: missing; {remedy}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: damaged ({reason(error)}); {remedy}") from None
        for key, kind in (("run_id", str), ("stages", dict)):
            if not isinstance(state.get(key), kind):
                raise UserError(f"{path}: damaged (no valid {key!r} in it); {remedy}")
        return state

    def _write_state(self, state: dict[str, Any]) -> None:
        write_atomic(self.folder / "state.json", checked_json(state))

    def _write_recipe(self) -> None:
        import yaml

        values = self.recipe.model_dump(mode="json")
        write_atomic(self.folder / "recipe.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _refuse_other_things(folder: Path) -> None:
    """Raise UserError where a folder without recipe.yaml holds more than the beginnings of a run."""
    # The names come first: another process may be starting a run here and write recipe.yaml meanwhile.
    names = sorted(path.name for path in folder.iterdir())
    if (folder / "recipe.yaml").is_file():
        return
    begun = (".lock", "state.json")
    others = [name for name in names if name not in begun and temporary_of(name) not in ("state.json", "recipe.yaml")]
    if others:
        raise UserError(
            f"{folder}: this folder is not empty and is not a run (it has {others[0]} but no recipe.yaml); "
            "give a new or empty folder"
        )
