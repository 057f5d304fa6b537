"""A folder in the layout of OPUS-MT's larger models, as small as a test needs it.

It has two SentencePiece models beside one vocabulary, whose end mark stands in the midst of it; its configuration has
all that theirs have.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import MarianConfig, MarianMTModel

from polystill.data.tokenizer import Tokenizer
from polystill.models.folder import load_model_with_tokenizer
from tests.conftest import counting_pairs

UNKNOWN = "▁sieben"
"""What the network calls `<unk>`, so that it says so for every seven."""


def write_opus_folder(student: Path, folder: Path) -> Path:
    """A student of the toy language with a vocabulary in another order, by transformers' own `save_pretrained`."""
    model, tokenizer = load_model_with_tokenizer(student)
    for name, lines in zip(("source", "target"), zip(*counting_pairs(500, seed=4), strict=True), strict=True):
        (folder / f"{name}.spm").write_bytes(of_one_side(tokenizer, lines))
    shuffled = random.Random(3).sample(range(tokenizer.pad_id), tokenizer.pad_id)
    old = torch.tensor([*shuffled, tokenizer.pad_id])
    other = {UNKNOWN: "<unk>", "<unk>": UNKNOWN}
    assert UNKNOWN in tokenizer.pieces
    vocabulary = {other.get(piece, piece): i for i, piece in enumerate(tokenizer.pieces[j] for j in old.tolist())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    marks = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(marks))
    of_tokenizer = {"source_lang": "eng", "target_lang": "deu", **marks, "model_max_length": 512, "sp_model_kwargs": {}}
    of_tokenizer |= {"separate_vocabs": False, "tokenizer_class": "MarianTokenizer", "special_tokens_map_file": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(of_tokenizer))
    eos, pad = vocabulary["</s>"], tokenizer.pad_id
    assert eos > 1
    sizes = model.architecture.config_files(model.config)["config.json"]
    config = MarianConfig(
        **sizes | {
            "eos_token_id": eos, "forced_eos_token_id": eos, "bos_token_id": 0, "bad_words_ids": [[pad]],
            "num_beams": 4, "max_length": 512, "add_bias_logits": False, "add_final_layer_norm": False,
            "normalize_before": False, "normalize_embedding": False, "static_position_embeddings": True,
            "extra_pos_embeddings": pad + 1,
        }
    )  # fmt: skip
    tensors = model.architecture.to_folder(model.state_dict(), model.config)
    tensors["model.shared.weight"] = tensors["model.shared.weight"][old]
    tensors["final_logits_bias"] = tensors["final_logits_bias"][:, old]
    network = MarianMTModel(config)
    network.load_state_dict(tensors, strict=False)
    network.tie_weights()
    network.save_pretrained(folder)
    return folder


def of_one_side(tokenizer: Tokenizer, lines: Sequence[str]) -> bytes:
    """A SentencePiece model of the pieces that these lines need alone."""
    proto: Any = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.sentencepiece_models[0])
    needed = {"</s>", "<unk>"} | {piece for row in tokenizer.source_pieces(lines) for piece in row}
    kept = [piece for piece in proto.pieces if piece.piece in needed]
    del proto.pieces[:]
    proto.pieces.extend(kept)
    content: bytes = proto.SerializeToString()
    return content
