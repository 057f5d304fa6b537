"""Export to Marian: model.npz with Marian's own parameter names, its vocabulary, and decoder.yml to run it with.

Marian's sinusoids are not Hugging Face's (`polystill.models.transformer.POSITIONS`), and no setting of Marian's changes
that. A model that was trained with the other ones translates some 10 to 20 % of sentences otherwise there, so only
models with `positions: marian` are exported; those run in every other engine as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.contract import LENGTH_FACTOR, DecodingOptions
from polystill.errors import UserError
from polystill.export.agreement import Agreement, agreement, forced_log_probs, greedy_ids, judge, piece_ids, preference
from polystill.export.card import Record, search_of, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, write_info
from polystill.export.pieces import joint_pieces
from polystill.export.pymarian import decode_with_scores, find_pymarian
from polystill.models.folder import load_transformer_with_tokenizer
from polystill.models.transformer import Transformer
from polystill.storage import atomic_folder

MODEL = "model.npz"

_ATTENTION = (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"), ("out_proj", "o"))
_SUBLAYERS = {"encoder": (("self_attn", "self"),), "decoder": (("self_attn", "self"), ("encoder_attn", "context"))}


def export_marian(
    student: Path, out: Path, lines: Sequence[str] | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Convert a Hugging Face Marian folder, verify in Marian itself that it translates alike, and put it at `out`.

    Raises:
        UserError: as `export_folder`; or pymarian is missing; or the model has positions or an activation that Marian
            lacks.
    """
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "Marian")
    check_shape(model, student)
    find_pymarian()
    lines = lines_to_verify(model, tokenizer, lines)
    with atomic_folder(out) as temporary:
        arrays: dict[str, Any] = dict(parameters(model))
        np.savez(temporary / MODEL, **arrays)
        vocabularies = write_vocabularies(tokenizer, temporary, lines)
        search = (record or Record()).search
        (temporary / "decoder.yml").write_text(decoder_settings(model, vocabularies, search), encoding="utf-8")
        found = verify(model, tokenizer, temporary / MODEL, vocabularies, lines)
        judge(found, "float32", out)
        info = {**describe_export(student, model, tokenizer, "marian"), **search_of(record)}
        info["verification"] = found._asdict()
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def check_shape(model: Transformer, origin: Path) -> None:
    """Raises:
    UserError: Marian has no such model.
    """
    if model.config.positions != "marian":
        raise UserError(
            f"{origin}: Marian has other sinusoidal positions than this model was trained with; train with "
            "model.positions: marian (or continue this family so, with model.start)"
        )
    if model.config.activation == "gelu":
        raise UserError(f"{origin}: Marian computes gelu by another formula; train with relu or swish")


def write_vocabularies(tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> list[Path]:
    """Write the vocabulary's files; returns one path for each side."""
    models = joint_pieces(tokenizer, lines)
    names = ["vocab.spm"] if len(models) == 1 else ["source.spm", "target.spm"]
    for name, content in zip(names, models, strict=True):
        (folder / name).write_bytes(content)
    return [folder / names[0], folder / names[-1]]


# --- the one table of Marian's names ------------------------------------------------------------------------------


def parameters(model: Transformer) -> Iterator[tuple[str, NDArray[Any]]]:
    """Marian's names and arrays: matrices (in, out), vectors (1, out); `<pad>`, which Marian lacks, left out."""
    depths = {"encoder": model.config.encoder_layers, "decoder": model.config.decoder_layers}
    state = {n: t.numpy() for n, t in model.architecture.to_folder(model.state_dict(), model.config).items()}
    yield "Wemb", np.delete(state["model.shared.weight"], model.pad_id, 0)
    yield "decoder_ff_logit_out_b", np.delete(state["final_logits_bias"], model.pad_id, 1)
    for side, depth in depths.items():
        for i in range(depth):
            theirs, ours = f"model.{side}.layers.{i}", f"{side}_l{i + 1}"
            for block, name in _SUBLAYERS[side]:
                for projection, letter in _ATTENTION:
                    yield from _linear(state, f"{theirs}.{block}.{projection}", f"{ours}_{name}", letter)
                yield from _norm(state, f"{theirs}.{block}_layer_norm", f"{ours}_{name}_Wo")
            yield from _linear(state, f"{theirs}.fc1", f"{ours}_ffn", "1")
            yield from _linear(state, f"{theirs}.fc2", f"{ours}_ffn", "2")
            yield from _norm(state, f"{theirs}.final_layer_norm", f"{ours}_ffn_ffn")
    settings = model_settings(model, model.config.vocabulary_size - 1)
    yield "special:model.yml", np.frombuffer(settings.encode() + b"\0", dtype=np.int8)


def _linear(state: dict[str, NDArray[Any]], theirs: str, ours: str, letter: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{ours}_W{letter}", np.ascontiguousarray(state[f"{theirs}.weight"].T)
    yield f"{ours}_b{letter}", state[f"{theirs}.bias"][None]


def _norm(state: dict[str, NDArray[Any]], theirs: str, ours: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{ours}_ln_scale", state[f"{theirs}.weight"][None]
    yield f"{ours}_ln_bias", state[f"{theirs}.bias"][None]


def model_settings(model: Transformer, vocabulary_size: int) -> str:
    """What Marian keeps in the model file of the shape it was trained with."""
    c = model.config
    settings = {
        "version": "v1.12.0",
        "type": "transformer",
        "dim-vocabs": [vocabulary_size] * 2,
        "dim-emb": c.d_model,
        "enc-depth": c.encoder_layers,
        "dec-depth": c.decoder_layers,
        "transformer-heads": c.heads,
        "transformer-dim-ffn": c.ffn_dim,
        "transformer-decoder-dim-ffn": c.ffn_dim,
        "transformer-ffn-depth": 2,
        "transformer-decoder-ffn-depth": 2,
        "transformer-ffn-activation": c.activation,
        "transformer-decoder-autoreg": "self-attention",
        "transformer-preprocess": "",
        "transformer-postprocess": "dan",
        "transformer-postprocess-emb": "d",
        "transformer-postprocess-top": "",
        "transformer-no-projection": False,
        "transformer-tied-layers": [],
        "transformer-train-position-embeddings": False,
        "transformer-guided-alignment-layer": "last",
        "transformer-aan-depth": 2,
        "transformer-aan-activation": "swish",
        "transformer-aan-nogate": False,
        "transformer-dim-aan": 2048,
        "tied-embeddings": False,
        "tied-embeddings-src": False,
        "tied-embeddings-all": True,
        "input-types": [],
        "layer-normalization": False,
        "lemma-dim-emb": 0,
        "right-left": False,
        "skip": False,
    }
    return yaml.safe_dump(settings, sort_keys=False)


def decoder_settings(model: Transformer, vocabularies: Sequence[Path], search: DecodingOptions) -> str:
    """decoder.yml: translation as polystill does it."""
    settings = {
        "relative-paths": True,
        "models": [MODEL],
        "vocabs": [path.name for path in vocabularies],
        "beam-size": search.beam_size,
        "normalize": search.length_penalty,
        "allow-unk": True,
        "max-length": model.max_positions,
        "max-length-crop": True,
        "max-length-factor": LENGTH_FACTOR,
        "mini-batch": 32,
        "maxi-batch": 100,
        "maxi-batch-sort": "src",
        "cpu-threads": 1,
        "workspace": 512,
    }
    return yaml.safe_dump(settings, sort_keys=False)


# --- verification -------------------------------------------------------------------------------------------------


def verify(
    model: Transformer, tokenizer: Tokenizer, written: Path, vocabularies: Sequence[Path], lines: Sequence[str]
) -> Agreement:
    """Translate with both; then let the source model score, token by token, what Marian wrote."""
    preferences, differences = [], []
    theirs = decode_with_scores(written, vocabularies, lines)
    targets = piece_ids([found.pieces for found in theirs], tokenizer)
    ours = greedy_ids(model, tokenizer, lines)
    for source, own, ids, (_, scores) in zip(tokenizer.encode_source(lines), ours, targets, theirs, strict=True):
        target = [*ids, tokenizer.eos_id][: min(len(scores), model.max_positions)]
        expected = forced_log_probs(model, source, target)
        differences += [abs(a - b) for a, b in zip(expected, scores, strict=False)]
        preferences.append(preference(model, source, own, target))
    return agreement(preferences, differences)
