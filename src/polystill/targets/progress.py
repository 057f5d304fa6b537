"""How far a generation has come: a bar in a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time

LINE_SECONDS = 20.0


class Progress:
    """Counts sentences; those that were done before this start tell nothing about its speed."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._before = total, done, done
        self._start = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc="translating", unit="sentence", dynamic_ncols=True)

    def add(self, sentences: int) -> None:
        self._done += sentences
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(sentences)
        elif now - self._last_line >= LINE_SECONDS or self._done == self._total:
            self._last_line = now
            speed = (self._done - self._before) / max(1e-9, now - self._start)
            left = (self._total - self._done) / speed
            self.say(f"{self._done:,} of {self._total:,} sentences: {speed:,.1f} a second, {_duration(left)} left")

    def say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
