"""Adapters that let other models teach: Hugging Face seq2seq models in torch or CTranslate2, and ensembles.

A Hugging Face model (Marian, M2M, NLLB, …) is read from safetensors only, and code in its folder is never run.

Shapes: B sentences, S source positions, R = B * beam size rows, V vocabulary of the tokenizer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polystill.data.normalization import is_blank
from polystill.data.tokenizer import keep_unknown_codes
from polystill.decoding.ctranslate2 import DEFAULT_POSITIONS, begin_batch, side_by_side
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, counted_cuts, longest_of_each
from polystill.environment.process import available_cores
from polystill.errors import UserError, nearest
from polystill.models.elastic import beam_rows

Languages = tuple[str | None, str | None]
"""Source and target language, as a multilingual model names them: "en" for M2M, "eng_Latn" for NLLB."""

_VOCABULARIES = ("tokenizer.json", "*.model", "*.spm", "vocab.*")


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer with the methods that `TorchTranslator` and `ConvertedTranslator` call."""

    def __init__(self, folder: Path, languages: Languages) -> None:
        from transformers import AutoTokenizer

        if not any(any(folder.glob(name)) for name in _VOCABULARIES):  # or transformers might make an empty one
            raise UserError(
                f"{folder}: no tokenizer here ({', '.join(_VOCABULARIES)}); save the model's with its save_pretrained"
            )
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # transformers raises many kinds
            raise UserError(f"{folder}: its tokenizer cannot be loaded: {_first_line(error)}") from None
        if hasattr(self._tokenizer, "remove_language_code"):
            keep_unknown_codes(self._tokenizer)
        # M2M's language marks, "__de__", come after its vocabulary; NLLB's, "deu_Latn", are part of it.
        self._marks: dict[str, int] = getattr(self._tokenizer, "lang_code_to_id", {})
        ids = [*self._tokenizer.get_vocab().values(), *self._marks.values()]
        known = max(len(self._tokenizer), max(ids) + 1)
        pieces = self._tokenizer.convert_ids_to_tokens(list(range(known)))
        self.pieces: list[str] = [f"<{i}>" if piece is None else piece for i, piece in enumerate(pieces)]
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.vocabulary_size = known
        self.pad: str = self._tokenizer.pad_token
        self.languages = languages
        self.target_language_id = self._choose_languages(folder, languages)

    def _choose_languages(self, folder: Path, languages: Languages) -> int | None:
        """Set the source language and return the id of the token that begins a target, or None for a single pair."""
        if not hasattr(self._tokenizer, "src_lang"):
            return None
        for side, language in zip(("source", "target"), languages, strict=True):
            if language is None:
                raise UserError(f"{folder}: a multilingual model; say which --{side}-language to use")
            if self._language_id(language) is None:
                hint = nearest(language, [*self._marks, *self._tokenizer.all_special_tokens])
                raise UserError(f"--{side}-language {language}: {folder} knows no such language{hint}")
        self._tokenizer.src_lang = languages[0]
        return self._language_id(languages[1] or "")

    def _language_id(self, language: str) -> int | None:
        return self._marks[language] if language in self._marks else self._ids.get(language)

    def encode_source(self, lines: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Return each line's token ids with the marks that the model expects, the end mark last."""
        ids: list[list[int]] = self._tokenizer(list(lines)).input_ids if lines else []
        return ids

    def source_pieces(self, lines: Sequence[str]) -> list[list[str]]:
        """Return what `encode_source` does as pieces."""
        return [[self.pieces[i] for i in row] for row in self.encode_source(lines)]

    def decode_pieces(self, pieces: Sequence[Sequence[str]]) -> list[str]:
        """Return each target's text without its marks."""
        marks = set(self._marks.values())
        rows = [[i for piece in row if (i := self._ids[piece]) not in marks] for row in pieces]
        texts = [self._tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        return [text.strip() for text in texts]


@dataclass
class _State:
    memory: Tensor
    mask: Tensor
    cache: Any
    beam_size: int
    first: bool = True

    def reorder(self, rows: Tensor) -> None:
        self.cache.reorder_cache(rows)  # memory and mask are the same for all beams of a sentence

    def keep(self, sentences: Tensor) -> None:
        rows = beam_rows(sentences, self.beam_size)
        self.memory, self.mask = self.memory[rows], self.mask[rows]
        self.cache.reorder_cache(rows)


class HuggingFaceModel(nn.Module):
    """A `Decodable` around an `AutoModelForSeq2SeqLM`."""

    def __init__(self, model: Any, tokenizer: HuggingFaceTokenizer, origin: str) -> None:
        super().__init__()
        self.model = model
        config, generation = model.config, model.generation_config
        self.pad_id = _single(config.pad_token_id, "pad_token_id", origin)
        self.eos_id = _single(config.eos_token_id, "eos_token_id", origin)
        start = _single(generation.decoder_start_token_id or config.decoder_start_token_id, "start token", origin)
        forced = tokenizer.target_language_id
        if forced is None:
            forced = getattr(generation, "forced_bos_token_id", None)
        self.prefix = [start] if forced is None else [start, forced]
        positions = getattr(config, "max_position_embeddings", None)
        self.max_positions: int | None = None if positions is None else positions - len(self.prefix) + 1
        barred = [word[0] for word in generation.bad_words_ids or [] if len(word) == 1]
        barred += generation.suppress_tokens or []
        self._barred = [*barred, *range(tokenizer.vocabulary_size, config.vocab_size)]
        self._size = tokenizer.vocabulary_size

    def start(self, source: Tensor, student: Any = None, beam_size: int = 1) -> _State:
        """Encode source (B, S), int64, padded with pad_id."""
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        mask = (source != self.pad_id).long()
        memory = self.model.get_encoder()(input_ids=source, attention_mask=mask).last_hidden_state
        memory, mask = memory.repeat_interleave(beam_size, 0), mask.repeat_interleave(beam_size, 0)
        return _State(memory, mask, EncoderDecoderCache(DynamicCache(), DynamicCache()), beam_size)

    def step(self, state: _State, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,) and return float32 logits (R, V). The first step feeds the model's own prefix."""
        from transformers.modeling_outputs import BaseModelOutput

        fed = tokens[:, None]
        if state.first:
            fed = torch.tensor(self.prefix, device=tokens.device).expand(len(tokens), -1)
            state.first = False
        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=state.memory),
            attention_mask=state.mask,
            decoder_input_ids=fed,
            past_key_values=state.cache,
            use_cache=True,
        )
        logits: Tensor = out.logits[:, -1].float().clone()
        logits[:, self._barred] = -math.inf
        return logits[:, : self._size]


def load_huggingface(folder: Path, languages: Languages) -> tuple[HuggingFaceModel, HuggingFaceTokenizer]:
    """Load a folder in float32.

    Raises:
        UserError: it has no safetensors weights or no tokenizer, is no seq2seq model, or lacks a language.
    """
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    tokenizer = HuggingFaceTokenizer(folder, languages)
    logging.disable_progress_bar()
    try:
        model: Any = AutoModelForSeq2SeqLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype=torch.float32
        )
    except Exception as error:  # transformers raises many kinds
        raise UserError(f"{folder}: cannot be loaded as a seq2seq model: {_first_line(error)}") from None
    return HuggingFaceModel(model.eval(), tokenizer, str(folder)), tokenizer


def _single(value: Any, name: str, origin: str) -> int:
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, int):
        raise UserError(f"{origin}: config.json says no {name}")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# --- Hugging Face in CTranslate2 ------------------------------------------------------------------------------------


def convert(folder: Path, tokenizer: HuggingFaceTokenizer, out: Path, precision: str) -> None:
    """Convert a multilingual model (M2M, NLLB) with exactly its tokenizer's vocabulary.

    The converter's own vocabulary lacks M2M's languages, because transformers 5 does not list them where it looks.
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
    """A `Translator` over a folder that `convert` wrote; `original` is the Hugging Face folder."""

    def __init__(
        self, folder: Path, original: Path, tokenizer: HuggingFaceTokenizer, precision: str, threads: int
    ) -> None:
        import ctranslate2

        self.tokenizer, self.languages = tokenizer, tokenizer.languages
        threads = threads or available_cores()
        self._translator = ctranslate2.Translator(
            str(folder), compute_type=precision, inter_threads=threads, intra_threads=1
        )
        language = tokenizer.target_language_id
        self._prefix = [] if language is None else [tokenizer.pieces[language]]
        config = json.loads((original / "config.json").read_text(encoding="utf-8"))
        self.max_source_tokens = int(config.get("max_position_embeddings") or DEFAULT_POSITIONS) - len(self._prefix)

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        """See `Translator`."""
        assert not options.token_scores
        with counted_cuts(cuts) as cuts:
            sources = cuts.fit_sources(lines, self.tokenizer.source_pieces, self.max_source_tokens)
            limits = longest_of_each(options, self.max_source_tokens, sources)
            filled = [i for i, line in enumerate(lines) if not is_blank(line)]

            def begin(numbers: list[int], limit: int) -> list[Any]:
                return self._begin([sources[i] for i in numbers], options, limit)

            results = side_by_side(
                filled, limits, begin, lambda result, limit: self._hypotheses(result, options, limit)
            )
            cuts.count_translations(results, limits)
        return results

    def _begin(self, sources: list[list[str]], options: DecodingOptions, max_length: int) -> list[Any]:
        return begin_batch(
            self._translator,
            sources,
            options,
            max_length + len(self._prefix),
            min_decoding_length=1 + len(self._prefix),
            target_prefix=[self._prefix] * len(sources) if self._prefix else None,
            suppress_sequences=[[self.tokenizer.pad]],
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
        """CTranslate2 counts the prefix in a hypothesis' length and we do not: return its length divided by ours."""
        length = tokens + (tokens < max_length)  # with the end mark
        return (length + len(self._prefix)) / length


# --- ensembles ------------------------------------------------------------------------------------------------------


class EnsembleState:
    """The decoding states of all models."""

    def __init__(self, states: list[Any]) -> None:
        self.states = states

    def reorder(self, rows: Tensor) -> None:
        for state in self.states:
            state.reorder(rows)

    def keep(self, sentences: Tensor) -> None:
        for state in self.states:
            state.keep(sentences)


class Ensemble(nn.Module):
    """Several `Decodable`s of one vocabulary as one: averages their probabilities at every step."""

    def __init__(self, models: Sequence[Any]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.pad_id: int = models[0].pad_id
        self.eos_id: int = models[0].eos_id
        limits = [model.max_positions for model in models if model.max_positions is not None]
        self.max_positions: int | None = min(limits, default=None)

    def start(self, source: Tensor, student: Any = None, beam_size: int = 1) -> EnsembleState:
        """Encode source (B, S) with every model."""
        return EnsembleState([model.start(source, student, beam_size) for model in self.models])  # type: ignore[operator]

    def step(self, state: EnsembleState, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,) and return the log of the mean probability (R, V) without `<pad>`."""
        log_p = []
        for model, part in zip(self.models, state.states, strict=True):
            logits = model.step(part, tokens).float()  # type: ignore[operator]
            logits[:, self.pad_id] = -math.inf
            log_p.append(logits.log_softmax(1))
        return torch.stack(log_p).logsumexp(0) - math.log(len(log_p))


def check_one_vocabulary(names: Sequence[str], vocabularies: Sequence[Sequence[str]]) -> None:
    """Raise UserError where a model does not have the pieces of the first in the same order."""
    first = vocabularies[0]
    for name, pieces in zip(names[1:], vocabularies[1:], strict=True):
        if list(pieces) == list(first):
            continue
        if len(pieces) != len(first):
            how = f"it has {len(pieces):,} pieces, the other {len(first):,}"
        else:
            i = next(i for i, (a, b) in enumerate(zip(first, pieces, strict=True)) if a != b)
            how = f"piece {i} is {pieces[i]!r} here and {first[i]!r} there"
        raise UserError(f"{name}: its vocabulary is not that of {names[0]} ({how}); an ensemble shares one vocabulary")
