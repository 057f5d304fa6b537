"""Doing a study's steps, each once and in the order of their needs, several at a time.

    STUDY/study.json            which study it is
    STUDY/recipes/<step>.yaml   the recipe of a step that is a run
    STUDY/steps/<step>.json     its command, written when it starts for the first time
    STUDY/logs/<step>.log       what it said

Every step is a process of its own. What it leaves says whether it is finished, so a study that was stopped goes on
where it stood, and a step that was in the middle goes on as its command does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from polystill.config import parse_recipe
from polystill.decoding.ctranslate2 import available_cores
from polystill.errors import UserError
from polystill.runs.changes import FREE, recipe_differences, shown_value
from polystill.storage import clear_left_overs, lock_folder, storage_errors, write_atomic
from polystill.studies.steps import Step, located, needs

_POLL_SECONDS = 0.2
_END_SECONDS = 60


def carry_out(
    chosen: Sequence[Step],
    steps: Sequence[Step],
    folder: Path,
    kind: str,
    *,
    parallel: int,
    say: Callable[[str], None],
    write: Callable[[bool], object],
) -> None:
    """Do what is not done yet of `chosen`, which holds all that it needs, up to `parallel` at a time.

    `steps` are all of the study's, and `kind` is which study it is.

    `write(False)` is called after every step that has ended well, `write(True)` at the end. A step that fails stops
    those that need it and no others.

    Raises:
        UserError: another process works on the study, it is of another kind, any of `steps` was begun with other
            settings, text is missing, or steps failed.
    """
    assert parallel > 0
    if not (folder / "steps").is_dir():
        _check_text(chosen)
    with open_study(folder, kind):
        unchanged = {step.name: _is_unchanged(step, folder) for step in steps}
        todo = [step for step in chosen if not (unchanged[step.name] and step.is_written(folder))]
        done = len(chosen) - len(todo)
        say(f"{len(chosen)} steps, {done} of them finished; what they say goes to {folder / 'logs'}")
        failed = _Work(todo, folder, parallel, say, lambda: write(False)).do_all()
        write(True)
    if failed:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise UserError(f"{folder}: not everything was done:\n{lines}")


def _check_text(steps: Sequence[Step]) -> None:
    """Raises UserError where the files of text that the runs read cannot be read; once, and not run by run."""
    recipe = next((step.parsed() for step in steps if step.recipe is not None), None)
    if recipe is not None:
        data = recipe.data
        for source in (*data.train, data.validation, *data.test.values()):
            if isinstance(source, TextSource | TsvSource):
                languages = (data.source_language, data.target_language)
                next(source.read_pairs(Path(data.folder), languages))


def open_study(folder: Path, kind: str) -> IO[str]:
    """The study's folder for this process alone, until what is returned is closed.

    Raises:
        UserError: another process works on it, it holds another study or other things, or it cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others and not (folder / "steps").is_dir():
            raise UserError(f"{folder}: holds {others[0]} and no study; give a new or empty folder")
        about = folder / "study.json"
        if about.is_file() and about.read_text(encoding="utf-8") != _about(kind):
            raise UserError(f"{folder}: holds another study than {kind}; give a new or empty folder")
        lock = lock_folder(folder, "study")
        write_atomic(about, _about(kind))
        for place in ("steps", "recipes", "logs"):
            (folder / place).mkdir(exist_ok=True)
            clear_left_overs(folder / place)
    return lock


def _about(kind: str) -> str:
    return json.dumps({"format": 1, "study": kind}) + "\n"


@dataclass(frozen=True)
class _Running:
    step: Step
    process: subprocess.Popen[bytes]
    since: float


class _Work:
    """Steps that wait, run or have failed."""

    def __init__(
        self,
        todo: Sequence[Step],
        folder: Path,
        parallel: int,
        say: Callable[[str], None],
        after: Callable[[], object],
    ) -> None:
        self._folder, self._parallel, self._say, self._after = folder, parallel, say, after
        self._waiting = list(todo)
        self._running: list[_Running] = []
        self._failed: list[Step] = []
        self._reasons: dict[str, str] = {}

    def do_all(self) -> dict[str, str]:
        """Returns the steps that failed or could not begin, with the reason."""
        try:
            while self._waiting or self._running:
                self._drop_hopeless()
                while step := self._next():
                    self._waiting.remove(step)
                    self._running.append(_start(step, self._folder, self._parallel))
                    self._say(f"{step.name}: {step.command()}")
                self._collect()
        finally:
            _stop([each.process for each in self._running])
        return self._reasons

    def _drop_hopeless(self) -> None:
        for step in list(self._waiting):
            if failed := needs(step, self._failed):
                self._waiting.remove(step)
                self._fail(step, f"needs {failed[0].name}")

    def _next(self) -> Step | None:
        """The first step that can start now."""
        if len(self._running) >= self._parallel or any(each.step.alone for each in self._running):
            return None
        unfinished = [*self._waiting, *(each.step for each in self._running)]
        ready = [step for step in self._waiting if not needs(step, unfinished)]
        return next((step for step in ready if not (step.alone and self._running)), None)

    def _collect(self) -> None:
        """Take notice of what has ended."""
        for each in list(self._running):
            status = each.process.poll()
            if status is None:
                continue
            self._running.remove(each)
            if status == 0:
                _write_note(each.step, self._folder)
                self._say(f"{each.step.name}: done in {_duration(time.monotonic() - each.since)}")
                self._after()
            else:
                self._fail(each.step, _reason(status, _log(each.step, self._folder)))
        if self._running:
            time.sleep(_POLL_SECONDS)

    def _fail(self, step: Step, reason: str) -> None:
        self._failed.append(step)
        self._reasons[step.name] = reason
        self._say(f"{step.name}: {reason}")


def _start(step: Step, folder: Path, parallel: int) -> _Running:
    if not _note(step, folder).exists():
        _write_note(step, folder)
    if step.recipe is not None:
        text = yaml.safe_dump(located(step.recipe, folder.resolve()), sort_keys=False, allow_unicode=True)
        write_atomic(folder / "recipes" / f"{step.name}.yaml", text)
    arguments = [str(folder.resolve() / each) if isinstance(each, Path) else each for each in step.arguments]
    environment = dict(os.environ)
    if parallel > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // parallel))
    with _log(step, folder).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "polystill", *arguments, *step.free],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,  # Ctrl-C is for the study, which then ends them in order
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    return _Running(step, process, time.monotonic())


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """A study that is killed must not leave processes that train on."""
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End them in order, so that they clear up; where that takes too long, at once."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _log(step: Step, folder: Path) -> Path:
    return folder / "logs" / f"{step.name}.log"


def _reason(status: int, log: Path) -> str:
    """Why a command failed: its own error message, or where to look."""
    text = "\n" + log.read_text(encoding="utf-8", errors="replace")
    _, found, message = text.rpartition("\nerror: ")
    if status == 2 and found:
        return message.strip()
    return f"ended with status {status}; the end of {log} says why"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


# --- what is done -----------------------------------------------------------------------------------------------------


def _note(step: Step, folder: Path) -> Path:
    return folder / "steps" / f"{step.name}.json"


def _write_note(step: Step, folder: Path) -> None:
    recipe = None if step.recipe is None else located(step.recipe, None)
    content = {"command": step.command(), "recipe": recipe}
    write_atomic(_note(step, folder), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _is_unchanged(step: Step, folder: Path) -> bool:
    """Whether a step was begun as it would be now.

    Raises:
        UserError: it was begun with other settings than now.
    """
    path = _note(step, folder)
    if not path.exists():
        return False
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        command, recipe = note["command"], note["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and {step.name} goes on by itself") from None
    if command != step.command():
        raise _changed(step, folder, [("the command", command, step.command())])
    if step.recipe is None:
        return True
    changes = recipe_differences(parse_recipe(recipe, str(path)), step.parsed())
    if refused := [change for change in changes if not _may_change(change[0])]:
        raise _changed(step, folder, refused)
    return not changes


def _may_change(key: str) -> bool:
    """What the run itself takes up, and on which no other step depends."""
    return key.startswith(("evaluation.", "data.test.")) or key in {*FREE, "data.folder"}


def _changed(step: Step, folder: Path, changes: Sequence[tuple[str, Any, Any]]) -> UserError:
    lines = "\n".join(f"  {key}: was {shown_value(old)}, now {shown_value(new)}" for key, old, new in changes)
    return UserError(
        f"{folder}: {step.name} was begun with other settings:\n{lines}\nuse the old ones, or another folder"
    )
