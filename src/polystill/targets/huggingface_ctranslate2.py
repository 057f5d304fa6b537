"""A multilingual Hugging Face model (M2M, NLLB) in CTranslate2, with its own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polystill.decoding.contract import (
    Cuts,
    DecodingOptions,
    Hypothesis,
    counted_cuts,
    longest_of_each,
)
from polystill.decoding.ctranslate2 import DEFAULT_POSITIONS, available_cores, side_by_side
from polystill.targets.huggingface import HuggingFaceTokenizer


def convert(folder: Path, tokenizer: HuggingFaceTokenizer, out: Path, precision: str) -> None:
    """Convert a model, with the vocabulary as its tokenizer has it, id for id.

    CTranslate2's own list lacks M2M's languages, of which transformers 5 keeps no list where the converter looks.
    """
    from ctranslate2.converters import TransformersConverter

    spec = TransformersConverter(str(folder))._load()
    for side, size in (("source", spec.get_source_vocabulary_size()), ("target", spec.get_target_vocabulary_size())):
        rows = size[0] if isinstance(size, list) else size
        spare = [f"madeupword{i}" for i in range(rows - len(tokenizer.pieces))]
        spec._vocabularies[side] = [[*tokenizer.pieces, *spare]]
    spec.validate()
    spec.optimize(quantization=precision)
    out.mkdir(parents=True)
    spec.save(str(out))


class ConvertedTranslator:
    """A folder that `convert` wrote as a `Translator`; `original` is the Hugging Face folder."""

    def __init__(
        self, folder: Path, original: Path, tokenizer: HuggingFaceTokenizer, precision: str, threads: int
    ) -> None:
        import ctranslate2

        self.tokenizer = tokenizer
        threads = threads or available_cores()
        self._translator = ctranslate2.Translator(
            str(folder), compute_type=precision, inter_threads=threads, intra_threads=1
        )
        language = tokenizer.target_language_id
        self._prefix = [] if language is None else [tokenizer.pieces[language]]
        self.max_source_tokens = _positions(original) - len(self._prefix)

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        """See `Translator`."""
        assert not options.token_scores
        with counted_cuts(cuts) as cuts:
            sources = cuts.fit_sources(lines, self.tokenizer.source_pieces, self.max_source_tokens)
            limits = longest_of_each(options, self.max_source_tokens, sources)
            filled = [i for i, line in enumerate(lines) if line.strip()]

            def begin(numbers: list[int], limit: int) -> list[Any]:
                return self._begin([sources[i] for i in numbers], options, limit)

            results = side_by_side(
                filled, limits, begin, lambda result, limit: self._hypotheses(result, options, limit)
            )
            cuts.count_translations(results, limits)
        return results

    def _begin(self, sources: list[list[str]], options: DecodingOptions, max_length: int) -> list[Any]:
        return self._translator.translate_batch(
            sources,
            target_prefix=[self._prefix] * len(sources) if self._prefix else None,
            max_batch_size=options.batch_tokens,
            batch_type="tokens",
            beam_size=options.beam_size,
            num_hypotheses=options.n_best,
            length_penalty=options.length_penalty,
            max_input_length=0,
            suppress_sequences=[[self.tokenizer.pad]],
            min_decoding_length=1 + len(self._prefix),
            max_decoding_length=max_length + len(self._prefix),
            return_scores=True,
            asynchronous=True,
        )

    def _hypotheses(self, result: Any, options: DecodingOptions, max_length: int) -> list[Hypothesis]:
        tokens = [row[len(self._prefix) :] for row in result.hypotheses]
        scores = [
            score * self._without_prefix(len(row), max_length) ** options.length_penalty
            for row, score in zip(tokens, result.scores, strict=True)
        ]
        texts = self.tokenizer.decode_pieces(tokens)
        columns = zip(texts, tokens, scores, strict=True)
        rows = [Hypothesis(text, pieces, score, cut=len(pieces) >= max_length) for text, pieces, score in columns]
        return sorted(rows, key=lambda h: -h.score)

    def _without_prefix(self, tokens: int, max_length: int) -> float:
        """CTranslate2 counts the prefix in a hypothesis' length, as we do not: the one length over the other."""
        length = tokens + (tokens < max_length)  # the end mark
        return (length + len(self._prefix)) / length


def _positions(folder: Path) -> int:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(values.get("max_position_embeddings") or DEFAULT_POSITIONS)
