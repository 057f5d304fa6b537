"""What a person sees of a training: a progress bar in a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time

LINE_SECONDS = 30.0


class Progress:
    """Reports updates of one stage; `silent` on all ranks but the first."""

    def __init__(self, stage: str, updates: int, done: int, silent: bool) -> None:
        self._stage, self._updates, self._silent = stage, updates, silent
        self._start, self._first, self._last_line = time.monotonic(), done, time.monotonic()
        self._tokens = 0
        self._bar = None
        if not silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=updates, initial=done, desc=stage, unit="update", dynamic_ncols=True)

    def update(self, done: int, loss: float, target_tokens: int) -> None:
        """After one update: its number, its loss a token, its target tokens."""
        if self._silent:
            return
        self._tokens += target_tokens
        now = time.monotonic()
        speed = self._tokens / max(1e-9, now - self._start)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
        elif now - self._last_line >= LINE_SECONDS or done == self._updates:
            self._last_line = now
            left = (self._updates - done) * (now - self._start) / max(1, done - self._first)
            self.say(
                f"{self._stage} {done}/{self._updates}: loss {loss:.3f}, {speed:,.0f} target tokens/s, "
                f"{format_seconds(left)} left"
            )

    def say(self, line: str) -> None:
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
    """Such as "45 s", "12 min" or "1 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
