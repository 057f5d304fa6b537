"""Any Hugging Face seq2seq model (Marian, M2M, NLLB, …) as a `Decodable`, with its tokenizer.

Read from safetensors only; code that a folder brings along is not run.

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

from polystill.errors import UserError, nearest

Languages = tuple[str | None, str | None]
"""Source and target, as a multilingual model names them: "en" for M2M, "eng_Latn" for NLLB."""

_VOCABULARIES = ("tokenizer.json", "*.model", "*.spm", "vocab.*")


class HuggingFaceTokenizer:
    """What `TorchTranslator` and the CTranslate2 engine need of a tokenizer."""

    def __init__(self, folder: Path, languages: Languages) -> None:
        from transformers import AutoTokenizer

        if not any(any(folder.glob(name)) for name in _VOCABULARIES):  # some types would be given an empty one
            raise UserError(
                f"{folder}: no tokenizer here ({', '.join(_VOCABULARIES)}); save the model's with its save_pretrained"
            )
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # it raises many kinds
            raise UserError(f"{folder}: its tokenizer cannot be loaded: {_first_line(error)}") from None
        # M2M's marks of languages, "__de__", stand after its vocabulary; NLLB's, "deu_Latn", are part of it.
        self._marks: dict[str, int] = getattr(self._tokenizer, "lang_code_to_id", {})
        ids = [*self._tokenizer.get_vocab().values(), *self._marks.values()]
        known = max(len(self._tokenizer), max(ids) + 1)
        pieces = self._tokenizer.convert_ids_to_tokens(list(range(known)))
        self.pieces: list[str] = [f"<{i}>" if piece is None else piece for i, piece in enumerate(pieces)]
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.vocabulary_size = known
        self.pad: str = self._tokenizer.pad_token
        self.target_language_id = self._choose_languages(folder, languages)

    def _choose_languages(self, folder: Path, languages: Languages) -> int | None:
        """Set the source language, and return the id of the token that begins a target; None for a single pair."""
        if not hasattr(self._tokenizer, "src_lang"):
            return None
        for side, language in zip(("source", "target"), languages, strict=True):
            if language is None:
                raise UserError(f"{folder}: a multilingual model; say which --{side}-language it is to take")
            if self._language_id(language) is None:
                hint = nearest(language, [*self._marks, *self._tokenizer.all_special_tokens])
                raise UserError(f"--{side}-language {language}: {folder} knows no such language{hint}")
        self._tokenizer.src_lang = languages[0]
        return self._language_id(languages[1] or "")

    def _language_id(self, language: str) -> int | None:
        return self._marks[language] if language in self._marks else self._ids.get(language)

    def encode_source(self, lines: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of each line, with the marks that the model expects, the end mark last."""
        ids: list[list[int]] = self._tokenizer(list(lines)).input_ids if lines else []
        return ids

    def source_pieces(self, lines: Sequence[str]) -> list[list[str]]:
        """As `encode_source`, in pieces."""
        return [[self.pieces[i] for i in row] for row in self.encode_source(lines)]

    def decode_pieces(self, pieces: Sequence[Sequence[str]]) -> list[str]:
        """Text of each target without its marks."""
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
        self.cache.reorder_cache(rows)  # memory and mask are alike within a sentence

    def keep(self, sentences: Tensor) -> None:
        beams = torch.arange(self.beam_size, device=sentences.device)
        rows = (sentences[:, None] * self.beam_size + beams).flatten()
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
        """Feed one token a row (R,), the first time the model's own start instead; float32 logits (R, V)."""
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

    check_safetensors(folder)
    tokenizer = HuggingFaceTokenizer(folder, languages)
    logging.disable_progress_bar()
    try:
        model: Any = AutoModelForSeq2SeqLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype=torch.float32
        )
    except Exception as error:  # it raises many kinds
        raise UserError(f"{folder}: cannot be loaded as a seq2seq model: {_first_line(error)}") from None
    return HuggingFaceModel(model.eval(), tokenizer, str(folder)), tokenizer


def check_safetensors(folder: Path) -> None:
    """Raises UserError where the weights are missing, or could only be had by unpickling."""
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("pytorch_model*.bin")):
        raise UserError(
            f"{folder}: has pytorch_model.bin only, which polystill never unpickles; convert it first with "
            "transformers' save_pretrained"
        )
    raise UserError(f"{folder}: no weights here (model.safetensors is missing)")


def model_type(folder: Path) -> str:
    """What config.json says that the model is.

    Raises:
        UserError: there is no readable config.json, or it does not say.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(values["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / 'config.json'}: not the configuration of a model (model_type is missing)") from None


def _single(value: Any, name: str, origin: str) -> int:
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, int):
        raise UserError(f"{origin}: config.json says no {name}")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
