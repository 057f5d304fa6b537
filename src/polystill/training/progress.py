"""How far a stage of training has come, with its loss and speed."""

from __future__ import annotations

from polystill.progress import Progress


class StageProgress(Progress):
    """Of one stage; `silent` on all ranks but the first."""

    def __init__(self, stage: str, updates: int, done: int, silent: bool) -> None:
        super().__init__(stage, "update", updates, done, silent)
        self._tokens = 0

    def update(self, loss: float, target_tokens: int) -> None:
        """After one update: its loss a token, its target tokens."""
        self._tokens += target_tokens
        self.add(1, f"loss {loss:.3f}, {self._tokens / self.seconds:,.0f} target tokens/s")
