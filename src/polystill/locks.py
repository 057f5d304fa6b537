"""One process at a time in a folder."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import IO

from polystill.errors import UserError

_log = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_folder(folder: Path, what: str = "run") -> IO[str]:
    """Lock the folder for this process until the returned file is closed or the process ends.

    A record lock, unlike flock's, is not inherited by forked workers, so a worker that outlives a killed parent
    does not keep the run locked. On a file system without locks there is a warning instead.
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
