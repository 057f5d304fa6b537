"""SIGINT and SIGTERM during a training: the update in progress ends and is saved first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within its block the first such signal is noted only, and the second does at once what it would have done.

    Several ranks are not meant: they would stop after different updates. Nor are threads, which get no signals.
    """

    def __init__(self, alone: bool) -> None:
        self._active = alone and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self._noted: int | None = None

    @property
    def requested(self) -> bool:
        return self._noted is not None

    def obey(self) -> None:
        """Do what the noted signal would have done: raise KeyboardInterrupt, or end the process."""
        if self._noted is not None:
            self._act(self._noted)

    def __enter__(self) -> Self:
        if self._active:
            heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            self._act(number)
        self._noted = number
        os.write(2, b"stopping after this update; a second signal stops at once\n")  # a print may be under way

    def _act(self, number: int) -> None:
        self._noted = None
        handler = self._before[number]
        if callable(handler):
            handler(number, None)
            return
        signal.signal(number, handler)
        os.kill(os.getpid(), number)
