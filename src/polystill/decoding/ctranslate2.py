"""Translate with CTranslate2, the engine that devices run. It needs ctranslate2 and sentencepiece, and no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from polystill.decoding.engine import Engine
from polystill.decoding.translator import (
    EMPTY,
    Alignment,
    Cuts,
    DecodingOptions,
    Hypothesis,
    by_limit,
    counted_cuts,
    longest_of_each,
)
from polystill.environment.process import available_cores
from polystill.errors import UserError, nearest, reason
from polystill.storage import sha256, storage_errors

_log = logging.getLogger(__name__)

INFO = "polystill.json"
"""An export's description of itself, beside model.bin."""
MODEL = "model.bin"
SHORTLIST = "vmap.txt"
"""The target pieces that each source piece may need, in CTranslate2's format and under its name for the file."""
DEFAULT_POSITIONS = 512
"""Positions of a model whose folder does not state them, such as OPUS-MT's, which have 512."""
MOST_THREADS = 1024
"""With far more threads than cores the process would be killed instead of raising an error."""
SCORED_TOKENS = 2048
"""Tokens in one batch of forced decoding."""


class CTranslate2(Engine):
    name = "ctranslate2"
    title = "CTranslate2"
    export_format = "ctranslate2"
    shortlist = True
    measured_apart = True
    compared = ("float32", "int8")

    def check_precision(self, precision: str) -> None:
        """See `Engine`. CTranslate2 has some precisions on some processors only."""
        from ctranslate2 import get_supported_compute_types

        known = ["default", *sorted(get_supported_compute_types("cpu"))]
        if precision not in known:
            hint = nearest(precision, known)
            raise UserError(f"precision {precision!r} is not available on this device{hint}; it has: {' '.join(known)}")

    def open(self, folder: Path, precision: str = "default", threads: int = 0) -> CTranslate2Translator:
        return CTranslate2Translator(folder, precision, threads)


class CTranslate2Translator:
    """A folder made by `polystill.export` as a `Translator`.

    `precision` is a compute type of CTranslate2. "default" is the one that the folder was exported with, if the device
    supports it; `compute_type` holds the one in use. `threads` 0 takes all cores. Batches run side by side, one thread
    each, which for models of this size is faster than several threads on one batch. A folder exported with a shortlist
    is searched with it; `score` uses the whole vocabulary.
    """

    engine: ClassVar[str] = CTranslate2.name

    def __init__(self, folder: Path, precision: str = "default", threads: int = 0) -> None:
        """Load the model.

        Raises:
            UserError: the folder has no CTranslate2 model or no tokenizer, one of its small files has changed since the
                export, the device lacks the precision, or `threads` is more than MOST_THREADS.
        """
        import ctranslate2

        from polystill.data.tokenizer import Tokenizer

        folder = Path(folder)
        if not (folder / MODEL).is_file():
            raise UserError(f"{folder}: no CTranslate2 model here ({MODEL} is missing)")
        self.folder = folder
        self.info = read_info(folder)
        check_files(folder, self.info)
        self.tokenizer = Tokenizer.load(folder)
        self.languages = self.tokenizer.languages
        self._shortlist = "shortlist" in self.info
        if self._shortlist and not (folder / SHORTLIST).is_file():
            raise UserError(f"{folder}: {SHORTLIST} is missing; {INFO} says that there is a shortlist")
        self.max_source_tokens: int = self.info.get("max_positions", DEFAULT_POSITIONS)
        if threads > MOST_THREADS:
            raise UserError(f"threads {threads}: expected at most {MOST_THREADS}; 0 takes all cores")
        self.threads = threads or available_cores()
        CTranslate2().check_precision(precision)
        try:
            self._translator = ctranslate2.Translator(
                str(folder), compute_type=precision, inter_threads=self.threads, intra_threads=1
            )
        except RuntimeError as error:
            raise UserError(f"{folder}: CTranslate2 cannot load this model: {reason(error)}") from None
        self.compute_type: str = self._translator.compute_type
        if precision.startswith("int8") and not self.info.get("quantization", "int8").startswith("int8"):
            _log.warning(
                "%s holds %s weights; made 8-bit while loading they lose accuracy on CPUs without VNNI: "
                "export with quantization %s instead",
                folder,
                self.info["quantization"],
                precision,
            )

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        """See `Translator`. CTranslate2 sorts the lines by length and makes batches of options.batch_tokens."""
        with counted_cuts(cuts) as cuts:
            sources = cuts.fit_sources(lines, self.tokenizer.source_pieces, self.max_source_tokens)
            limits = longest_of_each(options, self.max_source_tokens, sources)
            results = self._translate(sources, options, limits)
            cuts.count_translations(results, limits)
        if options.alignment:
            results = self._with_alignments(sources, results, options)
        return self._with_token_scores(lines, results, limits) if options.token_scores else results

    def _translate(
        self, sources: Sequence[list[str]], options: DecodingOptions, limits: Sequence[int]
    ) -> list[list[Hypothesis]]:
        filled = [i for i, source in enumerate(sources) if len(source) > 1]

        def begin(numbers: list[int], limit: int) -> list[Any]:
            chosen = [sources[i] for i in numbers]
            return begin_batch(self._translator, chosen, options, limit, use_vmap=self._shortlist)

        return side_by_side(filled, limits, begin, self._hypotheses)

    def _hypotheses(self, result: Any, limit: int) -> list[Hypothesis]:
        texts = self.tokenizer.decode_pieces(result.hypotheses)
        columns = zip(texts, result.hypotheses, result.scores, strict=True)
        return [Hypothesis(text, tokens, score, cut=len(tokens) >= limit) for text, tokens, score in columns]

    def score(self, lines: Sequence[str], targets: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability of every token of each target (pieces without end mark) and of its end mark.

        Of a target that does not fit the model's positions, only those of the tokens that do; a source line that does
        not fit is cut as `translate` cuts it.
        """
        sources = Cuts().fit_sources(lines, self.tokenizer.source_pieces, self.max_source_tokens)
        most = self.max_source_tokens - 1
        scored = self._translator.score_batch(
            sources,
            [list(target[:most]) for target in targets],
            max_batch_size=SCORED_TOKENS,
            batch_type="tokens",
            max_input_length=0,
        )
        return [
            result.log_probs if len(target) <= most else result.log_probs[:-1]
            for target, result in zip(targets, scored, strict=True)
        ]

    def _with_alignments(
        self, sources: Sequence[list[str]], results: list[list[Hypothesis]], options: DecodingOptions
    ) -> list[list[Hypothesis]]:
        """Add alignments by forced decoding.

        With several beams and sentences, the search itself (CTranslate2 4.8.5) returns for each translation's first
        token the attention of another sentence.
        """
        flat = [(i, k) for i, hypotheses in enumerate(results) for k, h in enumerate(hypotheses) if h.tokens]
        targets = [results[i][k].tokens for i, k in flat]
        coming = begin_batch(
            self._translator,
            [sources[i] for i, _ in flat],
            replace(options, beam_size=1, n_best=1),
            max(map(len, targets), default=1),
            target_prefix=targets,
            return_attention=True,
        )
        results = [list(hypotheses) for hypotheses in results]
        for (i, k), target, one in zip(flat, targets, coming, strict=True):
            alignment = Alignment.of(sources[i], one.result().attention[0][: len(target)])
            results[i][k] = replace(results[i][k], alignment=alignment)
        return results

    def _with_token_scores(
        self, lines: Sequence[str], results: list[list[Hypothesis]], limits: Sequence[int]
    ) -> list[list[Hypothesis]]:
        """Add token scores by forced decoding, as the search itself does not keep them.

        The first token's differs from beam.py's by log(1 - p(end mark)), as only the search rules out an empty line.
        """
        flat = [(i, k) for i, hypotheses in enumerate(results) for k, h in enumerate(hypotheses) if h is not EMPTY]
        scores = self.score([lines[i] for i, _ in flat], [results[i][k].tokens for i, k in flat])
        results = [list(hypotheses) for hypotheses in results]
        for (i, k), row in zip(flat, scores, strict=True):
            h = results[i][k]
            # A hypothesis of as many tokens as it may have was cut before its end mark.
            results[i][k] = replace(h, token_scores=row[: limits[i] if len(h.tokens) == limits[i] else None])
        return results


def begin_batch(
    translator: Any, sources: list[list[str]], options: DecodingOptions, max_length: int, **more: Any
) -> list[Any]:
    """Start translating sources in CTranslate2 and return its pending results; `more` goes to `translate_batch`."""
    results: list[Any] = translator.translate_batch(
        sources,
        max_batch_size=options.batch_tokens,
        batch_type="tokens",
        beam_size=options.beam_size,
        num_hypotheses=options.n_best,
        length_penalty=options.length_penalty,
        max_input_length=0,
        max_decoding_length=max_length,
        return_scores=True,
        asynchronous=True,
        **more,
    )
    return results


def side_by_side(
    numbers: Sequence[int],
    limits: Sequence[int],
    begin: Callable[[list[int], int], list[Any]],
    read: Callable[[Any, int], list[Hypothesis]],
) -> list[list[Hypothesis]]:
    """Translate the lines with these numbers, which are not blank, in one call of CTranslate2 for each length limit.

    `begin` starts the lines of one limit without waiting: CTranslate2's threads work through all that was started.
    `read` turns the result of one line into hypotheses.
    """
    begun = [(limit, group, begin(group, limit)) for limit, group in by_limit(numbers, limits)]
    results: list[list[Hypothesis]] = [[EMPTY]] * len(limits)
    for limit, group, coming in begun:
        for number, one in zip(group, coming, strict=True):
            results[number] = read(one.result(), limit)
    return results


def own_search(folder: Path) -> DecodingOptions:
    """Return the beam size and length penalty that an export states, and defaults for what it does not state.

    Raises:
        UserError: its polystill.json cannot be read, or holds something else than numbers.
    """
    info = read_info(folder)
    values = {key: info[key] for key in ("beam_size", "length_penalty") if key in info}
    try:
        return DecodingOptions(**values)
    except (TypeError, UserError):
        raise UserError(f"{folder / INFO}: {values}: expected a beam size and a length penalty") from None


def check_files(folder: Path, info: dict[str, Any], weights: bool = False) -> None:
    """Compare the files of an export with the checksums in its polystill.json, `info`.

    The weights are compared only if `weights` is set, because reading large ones takes long. A folder that another
    program made has no checksums and passes. Earlier versions of polystill wrote a checksum of the weights alone.

    Raises:
        UserError: a file is missing, or is not the one that was exported.
    """
    files = info.get("files", {MODEL: info["model_sha256"]} if "model_sha256" in info else {})
    if not isinstance(files, dict):
        raise UserError(f"{folder / INFO}: files: expected file names and their checksums; export the student again")
    for name, expected in files.items():
        if name == MODEL and not weights:
            continue
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {name} is missing, which {INFO} names; export the student again")
        with storage_errors(folder / name):
            checksum = sha256(folder / name)
        if checksum != expected:
            raise UserError(
                f"{folder}: {name} is not the file that was exported (its checksum is not the one in {INFO}); export "
                "the student again"
            )


def read_info(folder: Path) -> dict[str, Any]:
    """Return an export's polystill.json, or an empty dictionary for a folder that another program made.

    Raises:
        UserError: the file is there and cannot be read.
    """
    path = folder / INFO
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({reason(error)}); export the student again") from None
    return info if isinstance(info, dict) else {}
