"""Files and folders that appear whole or not at all.

Everything is written under a temporary name, flushed to the disk and renamed, so a process killed at any moment leaves
the old content or the new one, never a part. What killed processes leave is cleared by `clear_left_overs`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polystill.errors import UserError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_LEFT_OVER = re.compile(r"\.(?P<name>.+)\.(?P<kind>tmp|old)-[0-9a-f]{8}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the storage errors that a user can mend into UserErrors that name the path.

    Raises:
        UserError: no space left (or a quota or file size limit), no permission, a read-only file system, or a file
            where a folder is needed or the reverse, or a folder that is missing. Any other error passes unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = _error_code(error)
        named = getattr(error, "filename", None)
        where = _final(Path(named) if isinstance(named, str) and f".{path.name}." not in named else path)
        if code in _NO_SPACE:
            raise UserError(f"{where}: cannot be written, no space left ({os.strerror(code)})") from error
        if code in _NO_PERMISSION:
            raise UserError(f"{where}: no permission ({os.strerror(code)})") from error
        if code in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{where}: is a file where a folder is needed ({os.strerror(code)})") from error
        if code in (errno.ENOENT, errno.EISDIR):
            raise UserError(f"{where}: {os.strerror(code).lower()}") from error
        raise


def _final(path: Path) -> Path:
    """The path under the names that its temporaries will get: people look for RUN/data, not for RUN/.data.tmp-1234."""
    return Path(*(temporary_of(part) or part for part in path.parts))


def temporary_of(name: str) -> str | None:
    """The name that a temporary of that name will get; None where it is no temporary."""
    match = _LEFT_OVER.fullmatch(name)
    return match and match["name"]


def is_no_permission(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_PERMISSION


def _error_code(error: Exception) -> int:
    """The system's error number, or 0; libraries in other languages (safetensors) only give its text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error)
    return next((code for code in (*_NO_SPACE, *_NO_PERMISSION) if os.strerror(code) in text), 0)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace the file `path` by `content` (text as UTF-8) in one step; its folder must exist.

    Raises:
        UserError: no space left, or no permission; the old file is as it was.
    """
    path = Path(path)
    temporary = _sibling(path, "tmp")
    try:
        with storage_errors(path):
            with temporary.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that appears at `path` whole or not at all.

    Yields a temporary sibling. When the block ends well, its files are flushed to the disk and it takes the place
    of `path`; when the block raises, it is removed and `path` stays as it was. An existing folder is first moved
    aside: killed between the two renames, the next start of the run moves it back.

    Raises:
        UserError: no space left, or no permission, here or in the block.
    """
    path = Path(path)
    temporary = _sibling(path, "tmp")
    aside = _sibling(path, "old")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            with _locked(temporary, wait=True):  # so that no other process takes it for a left-over
                yield temporary
                _sync_tree(temporary)
                if path.exists():
                    path.rename(aside)
                temporary.rename(path)
            _sync_folder(path.parent)
    finally:
        if aside.exists() and not path.exists():
            aside.rename(path)
        for left_over in (temporary, aside):
            shutil.rmtree(left_over, ignore_errors=True)


def need_new_folder(path: Path, advice: str = "give a new folder") -> None:
    """Before hours are spent: an output folder is new, or empty.

    Raises:
        UserError: it holds something, or is a file.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; {advice}")


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make the folder if it is missing, and wait until no other process is in a block with it.

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
    """Hold a file or folder, if nobody else does; yields whether. Where the file system has no locks, nobody does."""
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno != errno.EWOULDBLOCK
        yield held
    finally:
        os.close(descriptor)


def _sibling(path: Path, kind: str) -> Path:
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
    """Finish or undo what killed processes left: move folders back that were aside, remove temporaries.

    Folders that a living process is filling stay.
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


def text_lines(path: Path) -> list[str]:
    """The lines of one of our own text files, which end at line feeds only.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); was the run copied without it?") from None
    return text.removesuffix("\n").split("\n") if text else []


def tree_bytes(folder: Path) -> int:
    """Of all files in a folder and below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
