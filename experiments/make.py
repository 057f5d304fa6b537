"""Running a study's rows with GNU make: each once, in the order of their needs, several at a time.

    STUDY/study.json            which study it is
    STUDY/Makefile              a target for each row that is run: make -k -j 2 -C STUDY steps/seq-kd.done
    STUDY/recipes/<row>.yaml    the recipe of a row that is a run
    STUDY/steps/<row>.json      its command and recipe, for comparison when the study is run again
    STUDY/steps/<row>.done      it has ended well
    STUDY/steps/<row>.kept      it came from an archive, without its weights (`experiments.kept`)
    STUDY/logs/<row>.log        what its command printed

Every row is a process of its own. A study that was stopped goes on where it stood: rows that have ended well stay as
they are, and the command of one that was in the middle goes on by itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import yaml

from experiments.study import Row, located, needs, read_note
from polystill.config import parse_recipe
from polystill.environment.process import available_cores
from polystill.errors import UserError
from polystill.runs.changes import FREE, recipe_differences, shown_value
from polystill.sources.text import TextSource
from polystill.sources.tsv import TsvSource
from polystill.storage import clear_left_overs, json_text, lock_folder, storage_errors, write_atomic

_POLL_SECONDS = 0.2
_END_SECONDS = 60


def run_rows(
    chosen: Sequence[Row],
    rows: Sequence[Row],
    folder: Path,
    study: str,
    *,
    parallel: int,
    say: Callable[[str], None],
    write: Callable[[bool], object],
) -> None:
    """Run what is not done yet of `chosen`, which holds all that it needs, up to `parallel` rows at a time.

    `rows` are all rows of the study, and `study` is its command. Calls `write(False)` after every row that has ended
    well and `write(True)` at the end. A row that fails stops only those that need it.

    Raises:
        UserError: another process works on the study, the folder holds another one, any of `rows` was begun with other
            settings, text is missing, or rows failed.
    """
    assert parallel > 0
    if not any((folder / "logs").glob("*.log")):
        _check_text([row for row in chosen if not _is_finished(row, folder)])
    with open_study(folder, study):
        changed = {row.name for row in rows if has_changed(row, folder)}
        todo = [row for row in chosen if row.name in changed or not _is_finished(row, folder)]
        todo = _with_those_kept(todo, chosen, folder, say)
        for row in chosen:
            if row in todo:
                row.stamp(folder).unlink(missing_ok=True)
                _remove_kept(row, folder)
            else:
                row.stamp(folder).touch()
            _write_note(row, folder)
        say(f"{len(chosen)} rows, {len(chosen) - len(todo)} of them finished; their logs are in {folder / 'logs'}")
        write_atomic(folder / "Makefile", makefile(chosen, folder))
        logs = [_log(row, folder) for row in todo]
        before = {log: log.stat().st_size if log.exists() else 0 for log in logs}
        waiting = list(todo)

        def look() -> None:
            """Tell of rows that have ended well."""
            if done := [row for row in waiting if row.stamp(folder).exists()]:
                waiting[:] = [row for row in waiting if row not in done]
                for row in done:
                    say(f"{row.name}: done")
                write(False)

        _make([row for row in todo if not row.alone], folder, parallel, look)
        for row in todo:
            if row.alone and all(need.stamp(folder).exists() for need in needs(row, chosen)):
                _make([row], folder, 1, look)
        write(True)
    failed = [row for row in todo if not row.stamp(folder).exists()]
    if failed:
        reasons = (f"  {row.name}: {_reason(row, failed, folder, before[_log(row, folder)])}" for row in failed)
        raise UserError("\n".join([f"{folder}: not everything was done:", *reasons]))


def _with_those_kept(todo: Sequence[Row], chosen: Sequence[Row], folder: Path, say: Callable[[str], None]) -> list[Row]:
    """`todo`, and the rows that it needs of which an archive has left out the weights or targets."""
    waiting, names = list(todo), {row.name for row in todo}
    while waiting:
        row = waiting.pop(0)
        for need in needs(row, chosen):
            if need.name not in names and need.kept(folder).is_file():
                say(f"{need.name}: is done again for {row.name}, which needs more of it than an archive has")
                names.add(need.name)
                waiting.append(need)
    return [row for row in chosen if row.name in names]


def _remove_kept(row: Row, folder: Path) -> None:
    """Remove what an archive had of a row, which is done again."""
    if row.kept(folder).is_file():
        shutil.rmtree(folder / row.out, ignore_errors=True)
        row.kept(folder).unlink()


def _check_text(rows: Sequence[Row]) -> None:
    """Raises UserError where the files of text that the runs read cannot be read; once, and not run by run."""
    data = next((row.parsed.data for row in rows if row.recipe is not None), None)
    if data is not None:
        for source in (*data.train, data.validation, *data.test.values()):
            if isinstance(source, TextSource | TsvSource):
                languages = (data.source_language, data.target_language)
                next(source.read_pairs(Path(data.folder), languages))


def open_study(folder: Path, study: str) -> IO[str]:
    """The study's folder for this process alone, until what is returned is closed.

    Raises:
        UserError: another process works on it, it holds another study or other things, or it cannot be written.
    """
    about = json.dumps({"format": 1, "study": study}) + "\n"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others and not (folder / "steps").is_dir():
            raise UserError(f"{folder}: holds {others[0]} and no study; give a new or empty folder")
        path = folder / "study.json"
        if path.is_file() and path.read_text(encoding="utf-8") != about:
            raise UserError(f"{folder}: holds another study than {study}; give a new or empty folder")
        lock = lock_folder(folder, "study")
        write_atomic(path, about)
        for name in ("steps", "recipes", "logs"):
            (folder / name).mkdir(exist_ok=True)
            clear_left_overs(folder / name)
    return lock


# --- make -------------------------------------------------------------------------------------------------------------


def makefile(rows: Sequence[Row], folder: Path) -> str:
    """A target for each row. Only whether a needed row is done counts, not when: hence order-only prerequisites."""
    parts = []
    for row in rows:
        before = [f"steps/{need.name}.done" for need in needs(row, rows)]
        arguments = [str(folder.resolve() / each) if isinstance(each, Path) else each for each in row.command]
        command = shlex.join([sys.executable, "-m", "polystill", *arguments, *row.options])
        lines = [
            f"@echo {shlex.quote(f'{row.name}: {row.shown_command()}')} >&2",
            f"@exec {command} >> logs/{row.name}.log 2>&1",
            "@touch $@",
        ]
        head = " ".join([f"steps/{row.name}.done:", *(["|", *before] if before else [])])
        parts.append("\n\t".join([head, *(line.replace("$", "$$").replace("$$@", "$@") for line in lines)]))
    return "\n\n".join(["# Written by python -m experiments.", *parts]) + "\n"


def _make(rows: Sequence[Row], folder: Path, parallel: int, look: Callable[[], None]) -> None:
    if not rows:
        return
    if shutil.which("make") is None:
        raise UserError("make: not found; the experiments need GNU make")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    if parallel > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // parallel))
    options = ["--silent", "--no-print-directory", "--keep-going", f"--jobs={parallel}", f"--directory={folder}"]
    process = subprocess.Popen(
        ["make", *options, *(f"steps/{row.name}.done" for row in rows)],
        stdin=subprocess.DEVNULL,
        env=environment,
        process_group=0,  # Ctrl-C is for this process, which then ends make, and make the rows
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    try:
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            look()
        look()
    finally:
        _stop(process)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """A study that is killed must not leave processes that train on."""
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End make, which ends the rows in order, so that they save; where that takes too long, at once."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(row: Row, failed: Sequence[Row], folder: Path, start: int) -> str:
    """Why a row was not done: another row, the error message of its command, or where to look.

    The log of this attempt begins at byte `start`.
    """
    if missing := needs(row, failed):
        return f"needs {missing[0].name}"
    log = _log(row, folder)
    text = "\n" + log.read_bytes()[start:].decode(errors="replace") if log.exists() else ""
    _, marker, message = text.rpartition("\nerror: ")
    return message.strip() if marker else f"failed; the end of {log} says why"


# --- what is done -----------------------------------------------------------------------------------------------------


def _log(row: Row, folder: Path) -> Path:
    return folder / "logs" / f"{row.name}.log"


def _is_finished(row: Row, folder: Path) -> bool:
    """Whether nothing is left to do. A run is called again where it has not ended well since its recipe changed."""
    return row.is_written(folder) and (row.recipe is None or row.stamp(folder).exists())


def _write_note(row: Row, folder: Path) -> None:
    """Write the note and the recipe of a row; `has_changed` has seen that they may be replaced."""
    content = {"label": row.label or row.name, "seed": row.seed, "command": row.shown_command()}
    content["recipe"] = located(row.recipe, None)
    write_atomic(row.note(folder), json_text(content))
    if row.recipe is not None:
        text = yaml.safe_dump(located(row.recipe, folder.resolve()), sort_keys=False, allow_unicode=True)
        write_atomic(folder / "recipes" / f"{row.name}.yaml", text)


def has_changed(row: Row, folder: Path, archive: Path | None = None) -> bool:
    """Whether a row was begun with settings that its run can replace by those of now. What an archive has cannot.

    Args:
        archive: where `folder` was unpacked from, for the error.

    Raises:
        UserError: it was begun with other settings, which cannot be replaced.
    """
    path = row.note(folder)
    if not path.exists():
        return False
    note = read_note(path)
    if not (_log(row, folder).exists() or row.stamp(folder).exists()):
        return False  # it was to run, and never began
    kept = row.kept(folder).is_file()
    if note["command"] != row.shown_command():
        changes = refused = [("the command", note["command"], row.shown_command())]
    elif row.recipe is None:
        return False
    else:
        changes = recipe_differences(parse_recipe(note["recipe"], str(path)), row.parsed)
        replaceable = _REPLACEABLE if kept else (*_MEASURED, *_REPLACEABLE)
        refused = [change for change in changes if not change[0].startswith(replaceable)]
    if refused:
        lines = [f"  {key}: was {shown_value(old)}, now {shown_value(new)}" for key, old, new in refused]
        if any(key.startswith(_MEASURED) for key, _, _ in refused):
            lines.append("its weights were not kept, and nothing more can be measured")
        what = "\n".join([f"{archive or folder}: {row.name} was begun with other settings:", *lines])
        raise UserError(f"{what}\nuse the old ones, or another folder")
    return bool(changes) and not kept


_MEASURED, _REPLACEABLE = ("evaluation.", "data.test."), ("data.folder", *FREE)
"""Keys that a run itself takes up, and on which no other row depends. The first ones need its weights."""
