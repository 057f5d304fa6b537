"""Processes of their own for tests, forked from one that has imported what takes seconds to import."""

from __future__ import annotations

import atexit
import ctypes
import gc
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("polystill.pipeline", "polystill.training.loop", "polystill.evaluation.quality", "polystill.export.driver"),
        *("datasets.arrow_writer", "sentencepiece", "torch._dynamo", "torch.utils.tensorboard", "codecarbon"),
        *("ctranslate2", "sacrebleu", "transformers.models.marian"),
    ]
)


def start_command(
    arguments: list[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> ForkServerProcess:
    """Start polystill with its output in a file; the process ends with the command's status.

    `before`, if given, is what pickle takes, and is called first in the process.
    """
    log.unlink(missing_ok=True)
    process = PROCESSES.Process(target=_command, args=(arguments, log, dict(environment or {}), before))
    process.start()
    return process


def _command(arguments: list[str], log: Path, environment: dict[str, str], before: Callable[[], object] | None) -> None:
    from polystill import cli

    gc.freeze()
    if before is not None:
        before()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    try:
        cli.main(arguments)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_ranks(arguments: Sequence[Sequence[str]], logs: Path) -> list[ForkServerProcess]:
    """Start polystill once for each list of arguments, as torchrun would start the ranks of one training.

    Their output is in `logs`, in 0.log and so on.
    """
    several = {"WORLD_SIZE": str(len(arguments)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        start_command(
            list(given),
            logs / f"{rank}.log",
            {"RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true", **several},
        )
        for rank, given in enumerate(arguments)
    ]


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of a module in a process of its own."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_call, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        assert ours.poll(300), "it does not end"
        return ours.recv()
    finally:
        process.kill()
        process.join()


def _call(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    gc.freeze()
    try:
        result = function(*arguments)
    finally:
        atexit._run_exitfuncs()
    connection.send(result)
    connection.recv()  # until it is killed


def drop_powers() -> None:
    """Root may write anywhere; without its capabilities the modes of files count for it, too."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    none = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), none) == 0
