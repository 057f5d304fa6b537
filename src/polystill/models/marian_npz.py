"""The Transformer as Marian's own model.npz: the one table of its names, and the settings that it holds.

Marian keeps matrices as (in, out) and vectors as (1, out). It has no `<pad>`, which is our last piece: its row and bias
are zero here and left out there.

Shapes: V vocabulary with `<pad>`, D d_model.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from polystill.data.marian_folder import marian_files
from polystill.errors import UserError, reason
from polystill.models.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polystill.data.tokenizer import Tokenizer

SETTINGS = "special:model.yml"
EMBEDDING, BIAS = "Wemb", "decoder_ff_logit_out_b"
_WITH_PAD = ("embedding", "output_bias")
"""Our parameters that have a row for `<pad>`."""
ACTIVATIONS = ("relu", "swish")
"""Marian's gelu is an approximation of ours."""

_Rows = list[tuple[str, tuple[str, ...], tuple[str, ...]]]
"""Of a layer: our name, Marian's names of the parts of its weight, and of the parts of its bias."""

_SELF_ATTENTION: _Rows = [
    ("self_attention.query_key_value", ("self_Wq", "self_Wk", "self_Wv"), ("self_bq", "self_bk", "self_bv")),
    ("self_attention.output", ("self_Wo",), ("self_bo",)),
    ("self_attention_norm.norm", ("self_Wo_ln_scale",), ("self_Wo_ln_bias",)),
]
_CROSS_ATTENTION: _Rows = [
    ("cross_attention.query", ("context_Wq",), ("context_bq",)),
    ("cross_attention.key_value", ("context_Wk", "context_Wv"), ("context_bk", "context_bv")),
    ("cross_attention.output", ("context_Wo",), ("context_bo",)),
    ("cross_attention_norm.norm", ("context_Wo_ln_scale",), ("context_Wo_ln_bias",)),
]
_FEED_FORWARD: _Rows = [
    ("feed_forward.expand", ("ffn_W1",), ("ffn_b1",)),
    ("feed_forward.contract", ("ffn_W2",), ("ffn_b2",)),
    ("feed_forward_norm.norm", ("ffn_ffn_ln_scale",), ("ffn_ffn_ln_bias",)),
]
_LAYER = {
    "encoder": [*_SELF_ATTENTION, *_FEED_FORWARD],
    "decoder": [*_SELF_ATTENTION, *_CROSS_ATTENTION, *_FEED_FORWARD],
}

_FIXED: dict[str, Any] = {
    "type": "transformer",
    "transformer-ffn-depth": 2,
    "transformer-decoder-ffn-depth": 2,
    "transformer-decoder-autoreg": "self-attention",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-postprocess-top": "",
    "transformer-no-projection": False,
    "transformer-tied-layers": [],
    "transformer-train-position-embeddings": False,
    "tied-embeddings-all": True,
    "input-types": [],
    "layer-normalization": False,
    "lemma-dim-emb": 0,
    "right-left": False,
    "skip": False,
}
"""What all our Transformers have alike. A file that lacks a key means this value, save for those of `_STATED`."""
_ONLY_READ: dict[str, Any] = {
    "output-omit-bias": False,
    "transformer-attention-mask": "default",
    "transformer-disable-position-embeddings": False,
    "transformer-no-affine": False,
    "transformer-no-bias": False,
    "transformer-pool": False,
    "ulr": False,
}
"""The same, of keys that not every Marian knows."""
_ONLY_WRITTEN: dict[str, Any] = {
    "transformer-guided-alignment-layer": "last",
    "transformer-aan-depth": 2,
    "transformer-aan-activation": "swish",
    "transformer-aan-nogate": False,
    "transformer-dim-aan": 2048,
    "tied-embeddings": False,
    "tied-embeddings-src": False,
}
"""What Marian wants to find, and what does not change our models."""
_STATED = ("type", "tied-embeddings-all")
_ALSO: dict[str, tuple[Any, ...]] = {"transformer-decoder-ffn-depth": (0,)}
"""Other values that mean the same: 0 is that of the encoder."""


def _names(config: TransformerConfig) -> dict[str, tuple[str, ...]]:
    """By our names of parameters, Marian's names of the parts that each one stacks."""
    names: dict[str, tuple[str, ...]] = {"embedding": (EMBEDDING,), "output_bias": (BIAS,)}
    for side, depth in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for i, (ours, weights, biases) in product(range(depth), _LAYER[side]):
            for kind, parts in (("weight", weights), ("bias", biases)):
                names[f"{side}.{i}.{ours}.{kind}"] = tuple(f"{side}_l{i + 1}_{part}" for part in parts)
    return names


# --- writing --------------------------------------------------------------------------------------------------------


def arrays_of(model: Transformer) -> dict[str, NDArray[Any]]:
    """Marian's names and arrays, its settings among them; `<pad>` must be the last piece."""
    config, state, arrays = model.config, model.state_dict(), {}
    assert isinstance(config, TransformerConfig) and config.pad_id == config.vocabulary_size - 1
    for ours, names in _names(config).items():
        tensor = state[ours][:-1] if ours in _WITH_PAD else state[ours]
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            arrays[name] = _turned(name, part).contiguous().numpy()
    settings = model_settings(config, config.vocabulary_size - 1)
    arrays[SETTINGS] = np.frombuffer(settings.encode() + b"\0", dtype=np.int8)
    return arrays


def _turned(name: str, tensor: Tensor) -> Tensor:
    """From our layout to Marian's."""
    if tensor.ndim == 1:
        return tensor[None]
    return tensor if name == EMBEDDING else tensor.T


def model_settings(config: TransformerConfig, vocabulary_size: int) -> str:
    """The model's shape, as Marian keeps it in the model file; `vocabulary_size` is without `<pad>`."""
    import yaml

    sizes = {
        "version": "v1.12.0",
        "dim-vocabs": [vocabulary_size] * 2,
        "dim-emb": config.d_model,
        "enc-depth": config.encoder_layers,
        "dec-depth": config.decoder_layers,
        "transformer-heads": config.heads,
        "transformer-dim-ffn": config.ffn_dim,
        "transformer-decoder-dim-ffn": config.ffn_dim,
        "transformer-ffn-activation": config.activation,
    }
    return yaml.safe_dump({**sizes, **_FIXED, **_ONLY_WRITTEN}, sort_keys=False)


# --- reading --------------------------------------------------------------------------------------------------------


def read_config(folder: Path, tokenizer: Tokenizer) -> TransformerConfig:
    """The sizes of the model in a Marian folder with this tokenizer. Of the model's file its settings are read.

    Raises:
        UserError: there is no readable model, polystill's Transformer lacks something that it has, or its vocabulary is
            of another size.
    """
    files = marian_files(folder)
    with _Arrays(files.model) as arrays:
        if SETTINGS not in arrays.names:
            raise UserError(f"{files.model}: {SETTINGS} is missing; is this a Marian model?")
        settings = _parsed(arrays[SETTINGS], files.model)
    _refuse_others(settings, files.model)
    size, sizes = tokenizer.vocabulary_size - 1, settings.get("dim-vocabs")
    if sizes != [size, size]:
        raise UserError(f"{files.model}: dim-vocabs is {sizes!r}, but the vocabulary beside it has {size} pieces")
    width, heads = (_size(settings, key, files.model) for key in ("dim-emb", "transformer-heads"))
    if width % 2:
        raise UserError(f"{files.model}: dim-emb is {width}; polystill's Transformer needs an even one")
    if width % heads:
        raise UserError(f"{files.model}: transformer-heads is {heads}, which does not divide dim-emb {width}")
    return TransformerConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        eos_id=tokenizer.eos_id,
        d_model=width,
        ffn_dim=_size(settings, "transformer-dim-ffn", files.model),
        heads=heads,
        encoder_layers=_size(settings, "enc-depth", files.model),
        decoder_layers=_size(settings, "dec-depth", files.model),
        activation=settings["transformer-ffn-activation"],
        max_positions=files.max_length,
        positions="marian",
    )


def read_state(folder: Path, config: TransformerConfig) -> dict[str, Tensor]:
    """The state of the model in a Marian folder, in float32.

    Raises:
        UserError: the file is damaged, or a parameter is missing, unknown, no float, or of another shape than its
            settings say.
    """
    path = marian_files(folder).model
    state, shapes = {}, config.architecture.shapes(config)
    with _Arrays(path) as arrays:
        left = arrays.names - {SETTINGS}
        for ours, names in _names(config).items():
            with_pad = int(ours in _WITH_PAD)
            rows, *columns = shapes[ours]
            shape = torch.Size([(rows - with_pad) // len(names), *columns])
            parts = [_tensor(arrays, name, shape, path) for name in names]
            state[ours] = torch.cat([*parts, torch.zeros([with_pad, *columns])])
            left -= set(names)
    if left:
        raise UserError(f"{path}: unknown parameter {min(left)!r}; polystill's Transformer has none like it")
    return state


def _tensor(arrays: _Arrays, name: str, shape: torch.Size, path: Path) -> Tensor:
    """One of Marian's arrays in our layout, which has this shape."""
    if name not in arrays.names:
        raise UserError(f"{path}: parameter {name!r} is missing; is this a Marian Transformer?")
    array, expected = arrays[name], tuple(_turned(name, torch.empty(shape, device="meta")).shape)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{path}: parameter {name!r} is {array.dtype}; polystill reads Marian's models in floats")
    if array.shape != expected:
        raise UserError(f"{path}: parameter {name!r} has shape {array.shape}, but {SETTINGS} says {expected}")
    tensor = torch.from_numpy(array.astype(np.float32))
    return tensor.reshape(shape) if len(shape) == 1 or name == EMBEDDING else tensor.T.contiguous()


class _Arrays:
    """The arrays of an npz file. An array's checksum is compared before numpy sees it, and nothing is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._damage_named():
            self._archive = zipfile.ZipFile(path)
        self.names = {name.removesuffix(".npy") for name in self._archive.namelist()}

    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __getitem__(self, name: str) -> NDArray[Any]:
        with self._damage_named():
            content = io.BytesIO(self._archive.read(f"{name}.npy"))
            array: NDArray[Any] = np.load(content, allow_pickle=False)
        return array

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{self._path}: not a readable npz file ({reason(error)}); copy it again") from None


def _parsed(array: NDArray[Any], path: Path) -> dict[str, Any]:
    import yaml

    try:
        settings = yaml.safe_load(array.tobytes().split(b"\0")[0].decode())
    except (UnicodeDecodeError, yaml.YAMLError):
        settings = None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: {SETTINGS} is not YAML; copy the file again")
    return settings


def _refuse_others(settings: dict[str, Any], path: Path) -> None:
    """Raise UserError where a setting names something that polystill's Transformer lacks."""
    for key, wanted in {**_FIXED, **_ONLY_READ}.items():
        given = settings.get(key, None if key in _STATED else wanted)
        if given != wanted and given not in _ALSO.get(key, ()):
            raise UserError(f"{path}: {key} is {given!r}; polystill's Transformer needs {wanted!r}")
    ffn = settings.get("transformer-decoder-dim-ffn", 0)
    if ffn not in (0, settings.get("transformer-dim-ffn")):
        raise UserError(
            f"{path}: transformer-decoder-dim-ffn is {ffn!r}; polystill's Transformer needs that of the encoder, "
            f"{settings.get('transformer-dim-ffn')!r}"
        )
    if (activation := settings.get("transformer-ffn-activation")) not in ACTIVATIONS:
        raise UserError(
            f"{path}: transformer-ffn-activation is {activation!r}; polystill has {' and '.join(ACTIVATIONS)}"
        )


def _size(settings: dict[str, Any], key: str, path: Path) -> int:
    value = settings.get(key)
    if type(value) is not int or value < 1:
        raise UserError(f"{path}: {key} is {value!r}; expected a number")
    return value
