"""Finished rows without their weights, as one file: a study's tables can be carried from machine to machine.

    study.json                 which study they are of
    steps/<row>.json, .done    as in the study's folder
    steps/<row>.kept           the bytes of what is left out
    runs/<row>/                recipe, records, results, translations of the test sets and their references
    speed.json                 timings

Weights, checkpoints, packed data and generated targets are left out. Such a row counts as finished, and is done again
where another row needs what it lacks.
"""

from __future__ import annotations

import io
import json
import lzma
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.make import has_changed, open_study
from experiments.study import Row, read_kept, read_note
from polystill.errors import UserError, reason
from polystill.models.folder import weights_bytes
from polystill.runs import Run
from polystill.storage import storage_errors, write_atomic

_KEEP = "`python -m experiments keep`"


def keep(folder: Path, archive: Path, say: Callable[[str], None]) -> None:
    """Write the finished rows of the study in `folder` to a .tar.xz file. The study may be running.

    Raises:
        UserError: it is no study, no row is finished, a file is damaged or cannot be read, or the archive cannot be
            written.
    """
    if not (folder / "study.json").is_file():
        raise UserError(f"{folder}: holds no study; give the folder of one")
    with storage_errors(folder):
        files = {"study.json": (folder / "study.json").read_bytes()}
        rows = [note for note in sorted((folder / "steps").glob("*.json")) if note.with_suffix(".done").exists()]
        kept = [note.stem for note in rows if _add(files, note, folder)]
    if not kept:
        raise UserError(f"{folder}: no row is finished yet")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz", preset=9) as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    write_atomic(archive, content.getvalue())
    say(f"wrote {archive}: {len(kept)} rows, {len(content.getvalue()) / 1e6:.2f} MB")


def _add(files: dict[str, bytes], note: Path, folder: Path) -> bool:
    """Add a row's files. Returns False where what it made is gone."""
    content, before = read_note(note), note.with_suffix(".kept")
    out = folder / shlex.split(content["command"])[-1]  # every row's command ends with what it writes
    if content["recipe"] is not None:
        run = Run.open(out) if (out / "recipe.yaml").is_file() else None
        if run is None or not run.finished("evaluation"):
            return False
        named, model = _files_of(run), run.family
    elif out.exists() or before.is_file():
        named, model = [out] if out.is_file() else [], out
    else:
        return False
    size = read_kept(before) if before.is_file() else weights_bytes(model)
    files.update({str(path.relative_to(folder)): path.read_bytes() for path in (note, *named)})
    files[f"steps/{note.stem}.kept"] = (json.dumps({"bytes": size}) + "\n").encode()
    files[f"steps/{note.stem}.done"] = b""
    return True


def _files_of(run: Run) -> list[Path]:
    """What tables, claims and comparisons are made of."""
    sets = set(run.recipe.data.test)
    translations = [row.hypotheses for row in run.results().rows if row.test_set in sets and row.hypotheses]
    names = ["recipe.yaml", "state.json", "results.json", *(f"data/test/{name}.target.txt" for name in sets)]
    return [path for name in (*sorted(names), *translations) if (path := run.folder / name).is_file()]


@contextmanager
def unpacked(archive: Path, study: str) -> Iterator[Path]:
    """A temporary folder with the rows of an archive.

    Raises:
        UserError: there is no such archive, it is damaged, has links or paths outside of it, or is of another study.
    """
    with TemporaryDirectory(prefix="polystill-") as name:
        folder = Path(name)
        try:
            with tarfile.open(archive, "r:xz") as tar:
                for entry in tar:
                    if not entry.isfile():
                        raise UserError(f"{archive}: {entry.name} is no ordinary file; {_KEEP} writes no others")
                    tar.extract(entry, folder, filter="data")
            about = json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and not archive.is_file():
                raise UserError(f"{archive}: no such file; give one that {_KEEP} wrote") from None
            raise UserError(f"{archive}: damaged, or not written by {_KEEP} ({reason(error)})") from None
        if about != study:
            raise UserError(f"{archive}: holds rows of {about}, not of {study}")
        yield folder


def take(rows: Sequence[Row], kept: Path, folder: Path, study: str, archive: Path, say: Callable[[str], None]) -> None:
    """Move those rows of an unpacked archive into the study's folder that it has nothing of yet.

    Raises:
        UserError: a row is of another recipe or not whole, or the folder cannot be used (`open_study`).
    """
    found = [row for row in rows if row.note(kept).is_file()]
    others = sorted({path.stem for path in (kept / "steps").glob("*.json")} - {row.name for row in found})
    for row in found:
        has_changed(row, kept, archive)
        if not (row.kept(kept).is_file() and row.stamp(kept).is_file() and row.is_written(kept)):
            raise UserError(f"{archive}: damaged, not all of {row.name} is there; write it again with {_KEEP}")
        read_kept(row.kept(kept))
    with open_study(folder, study), storage_errors(folder):
        new = [row for row in found if not _has(folder, row)]
        for row in new:
            for path in (row.note, row.kept):
                shutil.move(path(kept), path(folder))
            shutil.rmtree(folder / row.out, ignore_errors=True)  # of a call that was killed while it moved this row
            if (kept / row.out).exists():
                (folder / row.out).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(kept / row.out, folder / row.out)
            shutil.move(row.stamp(kept), row.stamp(folder))
    were_there = f", {len(found) - len(new)} were there" if len(found) > len(new) else ""
    left_out = f"; the recipe does not have {' '.join(others)}" if others else ""
    say(f"{archive}: {len(new)} rows taken{were_there}{left_out}")


def _has(folder: Path, row: Row) -> bool:
    """Whether a study's folder has something of a row, other than what a call of `take` left that was killed."""
    return row.stamp(folder).exists() or ((folder / row.out).exists() and not row.kept(folder).exists())
