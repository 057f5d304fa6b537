"""The commands as a user gives them, and one tiny finished run that tests share."""

from __future__ import annotations

import io
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import torch
from filelock import FileLock

from tests import apart

TINY_RECIPE = """
name: tiny
data:
  train: [{kind: synthetic, pairs: 400}]
  validation: {kind: synthetic, pairs: 20, split: validation}
  test:
    unseen: {kind: synthetic, pairs: 12, split: test}
  tokenizer: {vocabulary_size: 400}
  max_tokens: 64
model: {encoder_layers: 2, decoder_layers: 2, d_model: 16, ffn_dim: 32, heads: 2, max_positions: 64}
students: {encoder: [1, 2], decoder: [1, 2]}
training: {batch_tokens: 256, learning_rate: 5.0e-3, warmup: 2, validate_every: 4, checkpoint_every: 4, threads: 1}
stages:
  - {name: distillation, updates: 8}
  - {name: mutual, updates: 4, objective: {mutual: no_weight}}
evaluation: {beams: [1, 2]}
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    def ok(self) -> Done:
        assert self.status == 0, self.stderr
        return self

    def refused(self, *words: str | Path) -> Done:
        """It ended with a user's error: status 2, one message with all these words, and no traceback."""
        assert self.status == 2, (self.status, self.stdout, self.stderr)
        assert "Traceback" not in self.stderr
        message = self.stderr[self.stderr.index("error: ") :]
        for word in words:
            assert str(word) in message, message
        return self


class Polystill(Protocol):
    def __call__(
        self, *arguments: str | Path, stdin: str | bytes = b"", before: Callable[[], object] | None = None
    ) -> Done: ...


def run_command(*arguments: str | Path, stdin: str | bytes = b"", before: Callable[[], object] | None = None) -> Done:
    """Run polystill here; or with `before`, a function of a module that is called first, in a process of its own."""
    given = [str(argument) for argument in arguments]
    text = stdin.encode() if isinstance(stdin, str) else stdin
    return run_here(given, text) if before is None else apart.call(_run_apart, given, text, before)


def run_here(arguments: list[str], stdin: bytes = b"", main: Callable[[list[str]], None] | None = None) -> Done:
    """Run polystill, or another command line that ends as its does, in this process."""
    from polystill import cli

    streams = [io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="") for content in (stdin, b"", b"")]
    replaced = sys.stdin, sys.stdout, sys.stderr
    logger = logging.getLogger("polystill")
    log_settings = logger.handlers, logger.level, logger.propagate
    threads = torch.get_num_threads()
    status: object = 0
    try:
        sys.stdin, sys.stdout, sys.stderr = streams
        (main or cli.main)(arguments)
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdin, sys.stdout, sys.stderr = replaced
        logger.handlers, logger.level, logger.propagate = log_settings
        torch.set_num_threads(threads)
    for stream in streams[1:]:
        stream.flush()
    out, errors = (stream.buffer.getvalue().decode() for stream in streams[1:])
    assert isinstance(status, int)
    return Done(status, out, errors)


def _run_apart(arguments: list[str], stdin: bytes, before: Callable[[], object]) -> Done:
    before()
    return run_here(arguments, stdin)


@pytest.fixture(scope="session")
def polystill() -> Polystill:
    return run_command


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The tiny recipe, trained and evaluated once for all workers. Tests do not change it."""
    return _finished("finished-run", TINY_RECIPE, tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def finished_lstm_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The same with LSTMs."""
    shape = "{architecture: lstm, encoder_layers: 2, decoder_layers: 2, d_model: 16, max_positions: 64}"
    lines = [f"model: {shape}" if line.startswith("model:") else line for line in TINY_RECIPE.splitlines()]
    return _finished("finished-lstm-run", "\n".join(lines), tmp_path_factory, worker_id)


def _finished(name: str, text: str, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not folder.exists():
            recipe = shared / f"{name}.yaml"
            recipe.write_text(text)
            run_command("run", recipe, "--out", folder.with_suffix(".new")).ok()
            folder.with_suffix(".new").rename(folder)
    return folder


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that the test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "own-run"))


@pytest.fixture
def read_only() -> Callable[[Path], Callable[[], None]]:
    return _read_only


def _read_only(run: Path) -> Callable[[], None]:
    """As the system refuses a user without rights; tests may run as root, who has all of them."""
    shutil.rmtree(run / "students")
    run.chmod(0o555)
    return apart.drop_powers
