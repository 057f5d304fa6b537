"""Show the progress of long work on stderr: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import logging
import sys
import time

LINE_SECONDS = 30.0
"""The time between two lines where there is no terminal."""


class Progress:
    """Counts the finished units of one job. Those of an earlier start (`done`) do not count for its speed."""

    def __init__(self, job: str, unit: str, total: int, done: int = 0, silent: bool = False) -> None:
        self._job, self._unit, self._total, self._done, self._before = job, unit, total, done, done
        self._silent = silent
        self._start = self._last_line = time.monotonic()
        self._bar = None
        if not silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=job, unit=unit, dynamic_ncols=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start; never zero."""
        return max(1e-9, time.monotonic() - self._start)

    def add(self, count: int = 1, note: str = "") -> None:
        """Count finished units. `note` is shown beside them, by default their speed; with none, what begins."""
        self._done += count
        if self._silent:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=count == 0)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= LINE_SECONDS or self._done == self._total:
            self._last_line = time.monotonic()
            shown = ", ".join(filter(None, (note or self._speed(), self._time_left())))
            self.say(f"{self._job} {self._done:,}/{self._total:,}" + (f": {shown}" if shown else ""))

    def _speed(self) -> str:
        """How fast units were finished since the start; empty while none was."""
        count = self._done - self._before
        if count <= 0:
            return ""
        if count / self.seconds >= 0.1:
            return f"{count / self.seconds:,.1f} {self._unit}s/s"
        return f"{format_seconds(self.seconds / count)} a {self._unit}"

    def _time_left(self) -> str:
        """The time that the other units take at that speed; empty while there is none."""
        count = self._done - self._before
        return f"{format_seconds((self._total - self._done) * self.seconds / count)} left" if count > 0 else ""

    def say(self, line: str) -> None:
        """Print a line of its own."""
        if self._silent:
            return
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def format_seconds(seconds: float) -> str:
    """Format seconds as in "45 s", "12 min" or "1 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def show_log() -> None:
    """Show polystill's log messages (progress, warnings) on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("polystill")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
