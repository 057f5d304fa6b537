"""The base class of an engine, which runs models: the facts about it, and how it opens a model's folder.

An engine is one file with one subclass and its translator, and one line in the registry (`polystill.decoding.ENGINES`).
`--help` reads the registry, so an engine's file imports torch and the like inside its methods only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from polystill.decoding.translator import Translator
from polystill.errors import UserError, nearest

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer


class ModelTranslator(Translator, Protocol):
    """A `Translator` with one of polystill's models, as engines open it."""

    engine: ClassVar[str]
    """The name of its engine."""
    compute_type: str
    """The precision that it computes in."""
    tokenizer: Tokenizer

    @property
    def folder(self) -> Path | None:
        """The export that it was opened from; None if it was not opened from an export."""
        ...

    @property
    def info(self) -> dict[str, Any]:
        """The contents of the folder's polystill.json; empty if there is none."""
        ...


class Engine(ABC):
    """An engine."""

    name: ClassVar[str]
    """As in `--engine`, the recipe and rows of results."""
    title: ClassVar[str]
    """In error messages: "TITLE has no LSTM"."""
    architectures: ClassVar[tuple[str, ...]] = ("transformer",)
    """The architectures that it runs, by their names in the recipe."""
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """The precisions that it computes in, besides "default". If the device decides, override `check_precision`."""
    export_format: ClassVar[str | None] = None
    """The format that it reads, a key of `polystill.export.FORMATS`; None if it reads a model's folder as it is."""
    shortlist: ClassVar[bool] = False
    """Whether it can search with a shortlist, which an export of its format brings."""
    measured_apart: ClassVar[bool] = False
    """Whether `evaluate` also measures latency and memory, in a fresh process without torch."""
    inner_threads: ClassVar[bool] = False
    """Whether its threads share one batch, so that batches do not run side by side."""
    compared: ClassVar[tuple[str, ...]] = ("float32",)
    """The precisions that `bench decode` compares."""

    def check_precision(self, precision: str) -> None:
        """Check a precision before anything is loaded. Every engine has "default".

        Raises:
            UserError: the engine does not have the precision, or not on this device; the message lists those it has.
        """
        if precision not in ("default", *self.precisions):
            hint = nearest(precision, list(self.precisions))
            raise UserError(f"precision {precision!r}: {self.title} has {' '.join(self.precisions)}{hint}")

    def check_model(self, folder: Path) -> None:
        """Check that the engine runs the model in a folder, before anything is loaded.

        Raises:
            UserError: it does not have the model's architecture; or there is no model.
        """
        from polystill.models.folder import need_architecture

        need_architecture(folder, self.title, self.architectures)

    @abstractmethod
    def open(self, folder: Path, precision: str = "default", threads: int = 0) -> ModelTranslator:
        """Load a model: from a student's own folder, or from its export if there is an `export_format`.

        Precision "default" is the one that the folder was exported with, or float32. `threads` 0 takes all cores.

        Raises:
            UserError: the folder does not load, or the engine does not have the precision.
        """
