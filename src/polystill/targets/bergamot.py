"""Let a Bergamot model teach, such as Firefox's: a folder of local files, in Firefox's own engine (fxtranslate).

The engine takes one sentence at a time, on one thread, searches greedily and gives no scores. `fxtranslate` can also
download models; here it only gets the bytes of the folder's files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from polystill.data.normalization import on_one_line
from polystill.decoding.translator import DecodingOptions
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.sources.lines import read_blocks
from polystill.targets.job import Compute, Job, Say, refuse_search
from polystill.targets.store import Candidate, shortened

LONGEST = 128
"""Most pieces of a sentence. Firefox breaks a longer one anywhere, which makes no target to learn from."""
MOST_WRITTEN = 256
"""The engine stops a translation at so many pieces."""


class Bergamot:
    """A model, loaded."""

    def __init__(self, folder: Path) -> None:
        """Load a folder with a model, one or two vocabularies, and perhaps a shortlist; plain, .gz or .zst.

        Raises:
            UserError: a file is missing or damaged, or the engine cannot run the model.
        """
        from sentencepiece import SentencePieceProcessor

        self.folder = folder
        source, target = (_vocabulary(folder, side) for side in ("src", "trg"))
        with _panics(f"{folder}: the model cannot be loaded"):
            self._engine = _engine(_contents(folder, "model*.bin"), source, target, _shortlist(folder))
            self._source = SentencePieceProcessor(model_proto=source)
            self._target = SentencePieceProcessor(model_proto=target)

    @cached_property
    def _sentences(self) -> Any:
        from fxtranslate import discovery

        return discovery.segment_sentences

    def write(self, line: str) -> str:
        """Translate a line as Firefox does: sentence by sentence, whatever their length."""
        with _panics(f"{self.folder}: the engine failed at {shortened(line)}"):
            return on_one_line(self._engine.translate_long(line)).strip()

    def translate(self, lines: Sequence[str]) -> list[list[Candidate]]:
        """Return one candidate a line; without a text and marked as cut where a sentence is longer than LONGEST."""
        return [[self._candidate(line)] for line in lines]

    def _candidate(self, line: str) -> Candidate:
        sentences = self._sentences(line)
        if any(len(pieces) > LONGEST for pieces in self._source.encode(sentences)):
            return Candidate("", cut=True)
        text = self.write(line)
        return Candidate(text, cut=self._stopped(text) and any(self._stopped(self.write(s)) for s in sentences))

    def _stopped(self, text: str) -> bool:
        """Whether the engine may have stopped a translation in the middle."""
        return len(self._target.encode(text)) >= MOST_WRITTEN


def _engine(model: bytes, source: bytes, target: bytes, shortlist: bytes | None) -> Any:
    """The one place that makes a `fxtranslate.Translator`: from bytes. Its `load` and `discovery.fetch_…` download."""
    from fxtranslate import Translator

    return Translator(model, source, target, shortlist)


@contextmanager
def _panics(message: str) -> Iterator[None]:
    """Turn the engine's errors into UserErrors. A panic in Rust is none of Python's usual exceptions."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, ValueError | RuntimeError) or type(error).__name__ == "PanicException":
            raise UserError(f"{message} ({error})") from None
        raise


# --- the folder ---------------------------------------------------------------------------------------------------


def _contents(folder: Path, pattern: str) -> bytes:
    """The unpacked contents of the one file of that name."""
    paths = sorted(path for ending in ("", ".gz", ".zst") for path in folder.glob(pattern + ending))
    if len(paths) != 1:
        found = " ".join(path.name for path in paths) or "none"
        raise UserError(f"{folder}: expected one file {pattern} (or .gz, .zst), there are: {found}")
    return b"".join(read_blocks(paths[0]))


def _vocabulary(folder: Path, side: str) -> bytes:
    """The vocabulary of both sides, or of one where there are two."""
    split = any(folder.glob(f"{side}vocab*.spm*"))
    return _contents(folder, f"{side}vocab*.spm" if split else "vocab*.spm")


def _shortlist(folder: Path) -> bytes | None:
    return _contents(folder, "lex*.bin") if any(folder.glob("lex*.bin*")) else None


def languages_of(folder: Path) -> tuple[str | None, str | None]:
    """Return the model's languages as metadata.json states them or its file is named; None where neither does."""
    try:
        values = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        return str(values["sourceLanguage"]), str(values["targetLanguage"])
    except (OSError, ValueError, KeyError, TypeError):
        name = next((path.name for path in folder.glob("model.*")), "")
        pair = re.match(r"model\.([a-z]{2})([a-z]{2})\.", name)
        return (pair[1], pair[2]) if pair else (None, None)


# --- the teacher --------------------------------------------------------------------------------------------------


def job(folders: Sequence[Path], folder: Path, options: DecodingOptions, compute: Compute, say: Say) -> Job:
    """Translate with the model in `folder`, one of `folders`.

    Raises:
        UserError: it is not the only teacher, settings of the search are given, fxtranslate is missing, or the model
            cannot be loaded.
    """
    need_packages(f"{folder}: Firefox's engine", ("fxtranslate",), "bergamot")
    if len(folders) > 1:
        raise UserError(f"{folder}: a Bergamot model cannot be part of an ensemble; give it alone")
    if options.n_best > 1:
        raise UserError(f"--n-best {options.n_best}: Firefox's engine writes one translation of each sentence")
    refuse_search(folder, "Firefox's engine searches greedily, in 8 bits", options, compute, "workers", "ray")
    Bergamot(folder)
    plan = {"engine": "fxtranslate", "beam": 1, "n_best": 1, "longest": LONGEST}
    return Job(plan, lambda _: partial(open_bergamot, folder), compute.pool(1, say))


def open_bergamot(folder: Path) -> Any:
    """Open the model in a worker."""
    return Bergamot(folder).translate
