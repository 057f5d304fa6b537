"""Files and folders that appear whole or not at all, and locks on folders.

Everything is written under a temporary name, flushed to the disk and renamed, so a process killed at any moment leaves
the old content or the new one, never a part. `clear_left_overs` removes the temporaries of killed processes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from polystill.errors import UserError, reason

_log = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_CHECKSUM = "sha256"
_LEFT_OVER = re.compile(r"\.(?P<name>.+)\.(?P<kind>tmp|old)-[0-9a-f]{8}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn storage errors that a user can solve into UserErrors that name the path; others pass unchanged.

    Raises:
        UserError: no space left (or a quota or file size limit), no permission, a read-only file system, a file where
            a folder is needed or the reverse, or a missing folder.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if refused := refusal(error, path):
            raise UserError(refused) from error
        code, shown = _error_code(error), _shown(error, path)
        if code in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{shown}: is a file where a folder is needed ({os.strerror(code)})") from error
        if code in (errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG):
            raise UserError(f"{shown}: {os.strerror(code).lower()}") from error
        raise


def refusal(error: Exception, path: Path | None = None) -> str | None:
    """The line that says that there is no space left, or no permission; None of any other error.

    path: what was to be written, if the error does not name it.
    """
    code, shown = _error_code(error), _shown(error, path)
    where = "" if shown is None else f"{shown}: "
    if code in _NO_SPACE:
        return f"{where}cannot be written, no space left ({os.strerror(code)})"
    if code in _NO_PERMISSION:
        return f"{where}no permission ({os.strerror(code)})"
    return None


def _shown(error: Exception, path: Path | None) -> Path | None:
    """The path that an error is about."""
    # An error of a copy has two: the second is the file to be written.
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if isinstance(named, str) and (path is None or f".{path.name}." not in named):
        path = Path(named)
    return path and _final(path)


def _final(path: Path) -> Path:
    """The path with final names for temporary ones: people look for RUN/data, not for RUN/.data.tmp-1234."""
    return Path(*(temporary_of(part) or part for part in path.parts))


def temporary_of(name: str) -> str | None:
    """The final name of a temporary file or folder; None for any other name."""
    match = _LEFT_OVER.fullmatch(name)
    return match and match["name"]


def is_no_permission(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_PERMISSION


def _error_code(error: Exception) -> int:
    """The system's error number, or 0. Libraries in other languages (safetensors) give only its text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error)
    return next((code for code in (*_NO_SPACE, *_NO_PERMISSION) if os.strerror(code) in text), 0)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace the file `path` by `content` (text as UTF-8) in one step. Its folder must exist.

    Raises:
        UserError: no space left, or no permission; the old file stays as it was.
    """
    path = Path(path)
    temporary = sibling(path, "tmp")
    try:
        with storage_errors(path):
            with temporary.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        remove_if_possible(temporary)


def remove_if_possible(path: Path) -> None:
    """Remove a file, or leave it: a clean-up after an error must not hide the error."""
    with suppress(OSError):  # on a file system that may only be read, even for a file that is missing
        path.unlink()


def write_json(path: Path, values: dict[str, Any], indent: int = 2) -> None:
    """Write a JSON file into a folder that is still being made. Files of a finished folder need `write_atomic`."""
    path.write_text(json_text(values, indent), encoding="utf-8")


def json_text(values: dict[str, Any], indent: int = 1) -> str:
    """The content of a JSON file, for `write_atomic`."""
    return json.dumps(values, indent=indent, ensure_ascii=False) + "\n"


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in a folder that is a user's, removed at the end if that is allowed.

    In a parent that has become read-only `tempfile.TemporaryDirectory` recurses without end (Python 3.11).
    """
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that appears at `path` whole or not at all.

    Yields a temporary folder beside `path`. When the block ends well, its files are flushed to the disk and it replaces
    `path`; when the block raises, it is removed and `path` stays as it was. An existing folder is first moved aside;
    if the process is killed between the two renames, the next start of the run moves it back.

    Raises:
        UserError: no space left, or no permission, here or in the block.
    """
    path = Path(path)
    if path.is_symlink():  # the link stays
        path = Path(os.path.realpath(path))
    temporary = sibling(path, "tmp")
    aside = sibling(path, "old")
    is_there = False
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            with _locked(temporary, wait=True):  # so that no other process takes it for a left-over
                yield temporary
                _sync_tree(temporary)
                _put(temporary, path, aside)
                is_there = True
            _sync_folder(path.parent)
    finally:
        if not is_there and aside.exists() and not path.exists():
            aside.rename(path)
        for left_over in (temporary, aside):
            shutil.rmtree(left_over, ignore_errors=True)


def _put(folder: Path, path: Path, aside: Path) -> None:
    """Rename a folder to `path`; what is there goes aside. Others may do the same meanwhile: the last one stays."""
    while True:
        with suppress(FileNotFoundError):  # nothing is there, or another process has just moved it
            path.rename(aside)
        try:
            folder.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        shutil.rmtree(aside, ignore_errors=True)  # another process has put its folder there, so this is outdated


def need_new_folder(path: Path, advice: str = "give a new folder") -> None:
    """Check that an output folder is missing or empty, before hours are spent.

    Raises:
        UserError: it holds something, or is a file, or "." or the like; `advice` ends the message.
    """
    if path.name in ("", ".."):
        raise UserError(f"{path}: this folder cannot be replaced by a new one; {advice}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; {advice}")


def need_writable(path: Path) -> None:
    """Check that a file can be written into its folder, before minutes are spent on its content.

    Raises:
        UserError: there is no such folder, or it may only be read.
    """
    folder = path.parent
    if not folder.is_dir():
        raise UserError(f"{path}: no such folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{path}: no permission to write into {folder}; give another file")


def lock_folder(folder: Path, what: str = "run") -> IO[str]:
    """Lock a folder for this process until the returned file is closed or the process ends.

    This is a record lock: unlike flock's it is not inherited by forked workers, so a worker that outlives a killed
    parent does not keep the folder locked. A file system without locks leads to a warning.

    Raises:
        UserError: another process holds the lock; the message calls the folder's content `what`.
    """
    import fcntl

    file = (folder / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            _log.warning("%s: this file system has no locks; let no other process work on this %s", folder, what)
            return file
        file.seek(0)
        holder = file.read().strip()
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        who = f"process {holder}" if holder else "another process"
        raise UserError(f"{folder}: {who} is working on this {what}; wait until it has ended, or stop it") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing; hold it in the block, after waiting for other processes' blocks.

    Raises:
        UserError: no space left, or no permission.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / ".lock"
        lock.touch()
    with _locked(lock, wait=True):
        yield


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Try to hold a file or folder; yields whether it is held.

    Where the file system has no such locks, as NFS has none of folders, it counts as held by who would `wait`.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # NFS locks what is open for writing
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held = wait
        yield held
    finally:
        os.close(descriptor)


def sibling(path: Path, kind: str) -> Path:
    """A path beside another one, for what is being written or is about to go; `clear_left_overs` knows such names."""
    return path.with_name(f".{path.name}.{kind}-{secrets.token_hex(4)}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(parent))


def clear_left_overs(folder: Path) -> None:
    """Clean up after killed processes: move folders back that were moved aside, remove temporaries.

    Folders that a running process is filling stay, and so do all where the file system has no locks to tell by.
    """
    for parent, folders, names in os.walk(folder):
        left_overs = [name for name in (*folders, *names) if _LEFT_OVER.fullmatch(name)]
        folders[:] = [name for name in folders if name not in left_overs]
        for name in left_overs:
            match = _LEFT_OVER.fullmatch(name)
            assert match is not None
            path, target = Path(parent) / name, Path(parent) / match["name"]
            if match["kind"] == "old" and not target.exists():
                path.rename(target)
            elif path.is_dir():
                with _locked(path, wait=False) as left_over:
                    if left_over:
                        shutil.rmtree(path)
            else:
                path.unlink()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({reason(error)}); copy it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object")
    return values


def checked_json(values: dict[str, Any]) -> str:
    """A JSON object that carries the SHA-256 of its content, for a file that decides what is done next."""
    return json_text({**values, _CHECKSUM: _digest(values)})


def read_checked_json(path: Path) -> Any:
    """What `checked_json` was given.

    Raises:
        OSError, ValueError: the file cannot be read, or is not what was written.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.pop(_CHECKSUM, None) != _digest(values):
        raise ValueError("its content is not what was written (SHA-256)")
    return values


def _digest(values: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(values))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def text_lines(path: Path) -> list[str]:
    """The lines of a text file of polystill's own; only line feeds end a line.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); was the run copied without it?") from None
    return text.removesuffix("\n").split("\n") if text else []


def tree_bytes(folder: Path) -> int:
    """The size of all files in a folder and below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder and below it, by its path from there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def check_checksum(path: Path, expected: str, remedy: str) -> None:
    """Compare a file with what `checksums` noted when it was written; `remedy` ends the message of an error.

    Raises:
        UserError: the file cannot be read, or its content has changed.
    """
    try:
        changed = sha256(path) != expected
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); {remedy}") from None
    if changed:
        raise UserError(f"{path}: damaged, its content is not what was written (SHA-256); {remedy}")
