"""A run's folder: what is finished, resume, results.

    RUN/recipe.yaml    the resolved recipe; a folder is a run when it has one
    RUN/state.json     the run's identity and the record of each finished stage
    RUN/results.json   rows of measurements, cost of each stage, provenance
    RUN/data  RUN/checkpoints  RUN/logs  RUN/family  RUN/students  RUN/hypotheses  RUN/shortlist.json

Everything is written atomically (see `storage`); left-over temporaries are removed at the next start.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from polystill.errors import UserError
from polystill.locks import lock_folder
from polystill.runs.changes import FREE, can_be_added, recipe_differences, shown_value
from polystill.runs.provenance import provenance
from polystill.runs.rows import device_key, package_key, row_key
from polystill.storage import clear_left_overs, storage_errors, temporary_of, write_atomic

if TYPE_CHECKING:
    from polystill.config import Recipe

_log = logging.getLogger(__name__)


class Run:
    """One run's folder. `start` creates or continues it as its only writer; `open` reads it."""

    def __init__(self, folder: Path, recipe: Recipe, lock: IO[str] | None = None) -> None:
        self.folder = folder
        self.recipe = recipe
        self._lock = lock

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def family(self) -> Path:
        return self.folder / "family"

    @property
    def students(self) -> Path:
        return self.folder / "students"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @classmethod
    def start(cls, folder: Path, recipe: Recipe) -> Run:
        """Create a run in `folder`, or continue the one that is there; holds the folder's lock until `close`.

        The recipe must be the one that the folder was started with, but for what can be added to a run that has
        begun. Each of these makes the stages that depend on it unfinished again, and keeps the others:

        - `data.test.<name>`: a further test set;
        - `stages.N.updates`: more updates in the last stage, unless the schedule is `cosine`, whose learning rate
          at every update depends on their number;
        - `evaluation.*`: other students, beam sizes, precision and so on.

        Nothing depends on `training.on_nonfinite`, `checkpoint_every` and `threads`, nor, once the data are prepared,
        on `data.folder`. A folder in which no stage is finished takes any recipe.

        Raises:
            UserError: the recipe differs elsewhere (all differing keys are named, with old and new values), the
                folder holds other things than a run, another process works on it, a file of the run is damaged,
                or the folder cannot be written.
        """
        folder = Path(folder)
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
        """An existing run, to read; with `lock` also to write, as the only process.

        Raises:
            UserError: the folder is missing or no run, another process works on it (with `lock`), or its recipe
                is damaged.
        """
        from polystill.config import load_recipe

        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such run")
        if not (folder / "recipe.yaml").is_file():
            raise UserError(f"{folder}: this folder is no run (it has no recipe.yaml)")
        recipe = load_recipe(folder / "recipe.yaml")
        if not lock:
            return cls(folder, recipe)
        with storage_errors(folder):
            return cls(folder, recipe, lock_folder(folder))

    @classmethod
    def follow(cls, folder: Path, recipe: Recipe) -> Run:
        """The run as seen by a process beside the one that holds it: another rank of the same training."""
        return cls(Path(folder), recipe)

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
        begun = run._state()["stages"]  # Damaged files are found before anything is done.
        run.results()
        if not begun:  # its input was refused, say, or it was stopped at once: nothing is there that could differ
            return cls._create(folder, recipe, lock)
        changes = recipe_differences(before, recipe)
        prepared = run.finished("data")
        refused = [c for c in changes if not can_be_added(c, before, recipe, data_finished=prepared)]
        if refused:
            lines = "\n".join(f"  {key}: was {shown_value(old)}, now {shown_value(new)}" for key, old, new in refused)
            raise UserError(
                f"{folder}: this run was started with another recipe:\n{lines}\n"
                "use the old values or another folder; to a run that has begun one can add test sets (data.test), "
                "updates of the last stage (not with a cosine schedule) and what is evaluated (evaluation); "
                f"{', '.join(FREE)} may change"
            )
        run._refuse_vain_updates(before)
        if changes:
            run._reopen({key for key, _, _ in changes})
            run._write_recipe()
        return run

    def _refuse_vain_updates(self, before: Recipe) -> None:
        """Raises UserError where updates are added to a stage that stopped early: it would stop there again."""
        index = len(before.stages) - 1
        stage, planned = before.stages[index], self.recipe.stages[index].updates
        record = self.record(f"training.{stage.name}") or {}
        done = record.get("updates", stage.updates)
        if planned > stage.updates > done:
            raise UserError(
                f"{self.folder}: stages.{index}.updates: was {stage.updates}, now {planned}, but stage {stage.name} "
                f"stopped early after {done} (training.early_stopping {before.training.early_stopping}) and would "
                "again; use the old value, or start in another folder"
            )

    def _reopen(self, changed: set[str]) -> None:
        """Make the stages unfinished that depend on keys which were added or changed."""
        stages = {"evaluation"} if changed - {*FREE, "data.folder"} else set()
        if any(key.startswith("stages.") for key in changed):
            stages |= {f"training.{self.recipe.stages[-1].name}", "family"}
            results = self.results()
            _log.info("%s: %d rows of results are of the family before; removed", self.folder, len(results["rows"]))
            self._write_results({**results, "rows": [], "robustness": [], "devices": []})
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
        """The recipe's name and a random number: tells this run from every other, but for copies of its folder."""
        return str(self._state()["run_id"])

    def finished(self, stage: str) -> bool:
        """Whether a stage is done; `data`, `family` and `evaluation` are only as long as what they made is there."""
        made = {"data": self.data, "family": self.family, "evaluation": self.folder / "results.json"}.get(stage)
        return self.record(stage) is not None and (made is None or made.exists())

    def need_family(self) -> None:
        """Raises UserError where the training is not finished, and says how to go on."""
        if not self.finished("family"):
            raise UserError(
                f"{self.folder}: training is not finished; continue it with "
                f"polystill run {self.folder / 'recipe.yaml'} --out {self.folder}"
            )

    def record(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage left on record, or None."""
        record: dict[str, Any] | None = self._state()["stages"].get(stage)
        return record

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

    # Results

    def results(self) -> dict[str, Any]:
        """`{"rows": [...], "cost": {...}, "provenance": {...}}`, empty where nothing is measured yet.

        Where they were added also "robustness", "devices" and "packages", lists of rows.

        Raises:
            UserError: results.json is damaged; it is left as it is.
        """
        path = self.folder / "results.json"
        if not path.exists():
            return {"rows": [], "cost": {}, "provenance": {}}
        again = f"restore it from a copy, or remove it and measure again with polystill evaluate {self.folder}"
        return _read_json(path, {"rows": list, "cost": dict, "provenance": dict}, again)

    def add_results(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; a row replaces the one of the same `rows.row_key`.

        `run_id`, `seed`, `commit` and `hardware` are filled in where a row lacks them.
        """
        results = self.results()
        now = provenance()
        common = {"run_id": self.run_id, "seed": self.recipe.seed, "hardware": now["hardware"]["summary"]}
        if "commit" in now:
            common["commit"] = now["commit"]
        merged = {row_key(row): row for row in results["rows"]}
        merged.update({row_key(row): {**common, **row} for row in rows})
        self._write_results({**results, "rows": list(merged.values()), "provenance": now})

    def add_robustness(self, rows: list[dict[str, Any]]) -> None:
        """Add rows of robustness; a row replaces the one of the same `rows.row_key`."""
        results = self.results()
        merged = {row_key(row): row for row in [*results.get("robustness", []), *rows]}
        self._write_results({**results, "robustness": list(merged.values()), "provenance": provenance()})

    def add_device_figures(self, rows: list[dict[str, Any]]) -> None:
        """Add what was measured on devices; it replaces figures of the same `rows.device_key`."""
        results = self.results()
        merged = {device_key(row): row for row in [*results.get("devices", []), *rows]}
        self._write_results({**results, "devices": list(merged.values())})

    def add_packages(self, rows: list[dict[str, Any]]) -> None:
        """Add sizes of exported packages; a row replaces the one of the same `rows.package_key`."""
        results = self.results()
        merged = {package_key(row): row for row in [*results.get("packages", []), *rows]}
        self._write_results({**results, "packages": list(merged.values())})

    def add_cost(self, stage: str, cost: dict[str, Any]) -> None:
        """Add what a stage cost (seconds, cpu_seconds, target_tokens, ...); a key's new value replaces its old one."""
        results = self.results()
        results["cost"][stage] = {**results["cost"].get(stage, {}), **cost}
        # Figures that are there keep theirs: time is also spent by commands that fail.
        self._write_results({**results, "provenance": results["provenance"] or provenance()})

    @contextmanager
    def spending(self, stage: str) -> Iterator[None]:
        """Add the block's seconds to what the stage cost before, also when it fails: interrupted work was paid for."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        try:
            yield
        finally:
            with suppress(UserError):  # A full disk; the block's own error says so.
                before = self.results()["cost"].get(stage, {})
                spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": _cpu_seconds() - cpu}
                self.add_cost(stage, {key: round(before.get(key, 0) + value, 3) for key, value in spent.items()})

    # Files

    def _state(self) -> dict[str, Any]:
        return _read_json(self.folder / "state.json", {"run_id": str, "stages": dict})

    def _write_state(self, state: dict[str, Any]) -> None:
        write_atomic(self.folder / "state.json", json.dumps(state, indent=1) + "\n")

    def _write_results(self, results: dict[str, Any]) -> None:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        write_atomic(self.folder / "results.json", text + "\n")

    def _write_recipe(self) -> None:
        import yaml

        values = self.recipe.model_dump(mode="json")
        write_atomic(self.folder / "recipe.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # user and system, of this process and of ended children


def _refuse_other_things(folder: Path) -> None:
    """Raises UserError where a folder without recipe.yaml holds more than the beginnings of a run."""
    names = sorted(path.name for path in folder.iterdir())  # before recipe.yaml is looked for: one may be starting here
    if (folder / "recipe.yaml").is_file():
        return
    begun = (".lock", "state.json")
    others = [name for name in names if name not in begun and temporary_of(name) not in ("state.json", "recipe.yaml")]
    if others:
        raise UserError(
            f"{folder}: this folder is not empty and is no run (it has {others[0]} but no recipe.yaml); "
            "give a new or empty folder"
        )


def _read_json(
    path: Path, expected: dict[str, type], remedy: str = "restore it from a copy, or start a new run"
) -> dict[str, Any]:
    """Read a JSON object that has at least these keys of these types.

    Raises:
        UserError: the file is missing, or its content is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; without it nothing is known about this run's finished stages") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: damaged ({error}); {remedy}") from None
    for key, kind in expected.items():
        if not isinstance(values, dict) or not isinstance(values.get(key), kind):
            raise UserError(f"{path}: damaged (no valid {key!r} in it); {remedy}")
    result: dict[str, Any] = values
    return result
