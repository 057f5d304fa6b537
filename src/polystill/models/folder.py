"""Families and students as folders (safetensors only; nothing is unpickled).

A Transformer's is an ordinary Hugging Face Marian folder; config.json's `model_type` says which architecture a folder
holds. RUN/family holds the whole teacher and family.json, which says who the candidates are; an extracted student's
folder holds that student's own layers and nothing else. A pruned model's folder may hold its weights in the sparse form
(see `models.sparse`), in a file of another name; all that reads folders here reads both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models.architectures import ARCHITECTURES, architecture_name, architecture_of
from polystill.models.elastic import ElasticConfig, ElasticModel
from polystill.models.marian import POSITION_TABLES
from polystill.models.sparse import SparseFile, sparse_bytes
from polystill.models.transformer import Transformer
from polystill.storage import atomic_folder
from polystill.students import Student, StudentSpace

WEIGHTS = "model.safetensors"
SPARSE_WEIGHTS = "model.sparse.safetensors"
FAMILY = "family.json"


def save_family(
    folder: Path, model: ElasticModel, tokenizer: Tokenizer, space: StudentSpace, info: dict[str, Any]
) -> None:
    """Write the family folder, whole or not at all; `info` (languages, method, scores) goes into family.json."""
    family = {"format": 1, "teacher": str(space.teacher), "candidates": [str(s) for s in space.candidates], **info}
    name = architecture_of(model)
    state = ARCHITECTURES[name].to_folder(model.state_dict(), model.config, *_layers(space.teacher))
    with atomic_folder(folder) as temporary:
        _write(temporary, state, name, model.config, space.teacher)
        tokenizer.save(temporary)
        _write_json(temporary / FAMILY, family)


def read_family(folder: Path) -> dict[str, Any]:
    """The contents of a family's family.json.

    Raises:
        UserError: the folder is no family.
    """
    if not (folder / FAMILY).is_file():
        raise UserError(f"{folder}: no family here ({FAMILY} is missing); is the training finished?")
    family = _read_json(folder / FAMILY)
    if family.get("format") != 1:
        raise UserError(f"{folder / FAMILY}: format {family.get('format')!r}; this version of polystill reads format 1")
    return family


def family_space(folder: Path) -> StudentSpace:
    """The candidates of a family folder."""
    family = read_family(folder)
    return StudentSpace.from_list(Student.parse(family["teacher"]), map(Student.parse, family["candidates"]))


def architecture_in(folder: Path) -> str:
    """Which architecture a folder holds, by its config.json: a key of `ARCHITECTURES`.

    Raises:
        UserError: there is no model in it, or one that polystill does not have.
    """
    return _read_config(folder)[0]


def need_transformer(folder: Path, engine: str) -> None:
    """Raises UserError where a folder holds another architecture, which that engine or format does not have."""
    if (name := architecture_in(folder)) != "transformer":
        raise UserError(
            f"{folder}: {engine} has no {name.upper()}; this model runs with --engine torch, and is exported with "
            "--to onnx or --to sparse"
        )


def load_model(folder: Path) -> ElasticModel:
    """Load any folder of a known architecture (OPUS-MT's, an extracted student's, a family's) in float32.

    Raises:
        UserError: files are missing, the weights are not safetensors, or shapes do not fit config.json.
    """
    name, config = _read_config(folder)
    architecture = ARCHITECTURES[name]
    model = architecture.model(config)
    model.load_state_dict(architecture.from_folder(_read_weights(folder), config, str(folder)), strict=True)
    model.eval()
    return model


def load_model_with_tokenizer(folder: Path) -> tuple[ElasticModel, Tokenizer]:
    """As `load_model`, with the tokenizer beside it.

    Raises:
        UserError: as `load_model`; or the vocabulary does not fit the model.
    """
    _, tokenizer = read_all_but_weights(folder)
    return load_model(folder), tokenizer


def read_all_but_weights(folder: Path) -> tuple[ElasticConfig, Tokenizer]:
    """A model's configuration and tokenizer; its weights' file is there, but they are not read.

    Raises:
        UserError: as `load_model_with_tokenizer`, but for weights that do not fit the configuration.
    """
    (_, config), tokenizer = _read_config(folder), Tokenizer.load(folder)
    if tokenizer.vocabulary_size != config.vocabulary_size:
        raise UserError(
            f"{folder}: vocab.json has {tokenizer.vocabulary_size} entries, "
            f"but config.json says vocab_size {config.vocabulary_size}"
        )
    for name, found, said in (
        ("<pad>", tokenizer.pad_id, config.pad_id),
        ("</s>", tokenizer.eos_id, config.eos_id),
    ):
        if found != said:
            raise UserError(f"{folder}: {name} is {found} in vocab.json, but {said} in config.json")
    with _open_weights(folder):
        return config, tokenizer


def load_transformer_with_tokenizer(folder: Path, engine: str) -> tuple[Transformer, Tokenizer]:
    """As `load_model_with_tokenizer`, for what only a Transformer will do.

    Raises:
        UserError: as `load_model_with_tokenizer`, or another architecture, which `engine` does not have.
    """
    need_transformer(folder, engine)
    model, tokenizer = load_model_with_tokenizer(folder)
    assert isinstance(model, Transformer)
    return model, tokenizer


def save_student(family: Path, student: Student, out: Path) -> None:
    """Write one student of a family as a folder with only its own layers and the tokenizer.

    Raises:
        UserError: the folder is no family, or the student is not in it.
    """
    family_space(family).check(student)
    name, config = _read_config(family)
    wanted = ARCHITECTURES[name].parameter_names(*_layers(student)) | {*POSITION_TABLES}
    with atomic_folder(out) as temporary:
        _write(temporary, _read_weights(family, wanted), name, config, student)
        Tokenizer.load(family).save(temporary)


def write_sparse_model(folder: Path, model: ElasticModel, tokenizer: Tokenizer, values: str = "float32") -> None:
    """Write a model with its weights in the sparse form into a folder that is there.

    Raises:
        UserError: as `sparse_bytes`.
    """
    architecture, layers = architecture_of(model), _layers(model.teacher)
    parameters = ARCHITECTURES[architecture].parameter_names(*layers)
    state = ARCHITECTURES[architecture].to_folder(model.state_dict(), model.config, *layers)
    content = sparse_bytes({name: tensor for name, tensor in state.items() if name in parameters}, values)
    (folder / SPARSE_WEIGHTS).write_bytes(content)
    _write_config(folder, architecture, model.config, model.teacher)
    tokenizer.save(folder)


def write_dense_model(folder: Path, model: ElasticModel, tokenizer: Tokenizer) -> None:
    """Write a model as an ordinary folder into one that is there."""
    name = architecture_of(model)
    state = ARCHITECTURES[name].to_folder(model.state_dict(), model.config, *_layers(model.teacher))
    _write(folder, state, name, model.config, model.teacher)
    tokenizer.save(folder)


def weights_path(folder: Path) -> Path:
    """The file that a model's weights are read from, sparse or not; where there is none, the one to expect."""
    sparse = folder / SPARSE_WEIGHTS
    return sparse if sparse.is_file() and not (folder / WEIGHTS).is_file() else folder / WEIGHTS


def is_sparse(folder: Path) -> bool:
    """Whether a folder's weights are in the sparse form, which other programs do not read."""
    return weights_path(folder).name == SPARSE_WEIGHTS


def parameter_count(folder: Path) -> int:
    """Parameters in a folder's safetensors file, zeros included, from its header alone; position tables are none."""
    total = 0
    with _open_weights(folder) as weights:
        for name in weights.keys():  # noqa: SIM118 (not a dict)
            if name in POSITION_TABLES:
                continue
            size = 1
            for length in weights.get_slice(name).get_shape():
                size *= length
            total += size
    return total


def _layers(student: Student) -> tuple[int, int]:
    return student.encoder_layers, student.decoder_layers


def _write(folder: Path, state: dict[str, Tensor], architecture: str, config: Any, student: Student) -> None:
    (folder / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))  # save_file would make it private (0600)
    _write_config(folder, architecture, config, student)


def _write_config(folder: Path, architecture: str, config: Any, student: Student) -> None:
    for name, values in ARCHITECTURES[architecture].config_files(config, *_layers(student)).items():
        _write_json(folder / name, values)


def _read_config(folder: Path) -> tuple[str, Any]:
    """The architecture's name and the model's configuration."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no model here (config.json is missing)")
    values = _read_json(path)
    if (folder / "model.bin").is_file() and not weights_path(folder).is_file():
        raise UserError(f"{folder}: a CTranslate2 model, which only translates; give the folder that it was made from")
    name = architecture_name(values.get("model_type"), str(path))
    return name, ARCHITECTURES[name].read_config(values, str(path))


def _open_weights(folder: Path) -> Any:
    path = weights_path(folder)
    if path.name == SPARSE_WEIGHTS:
        return SparseFile(path)
    if not path.is_file():
        hint = ""
        if (folder / "pytorch_model.bin").is_file():
            hint = "; polystill never unpickles pytorch_model.bin: convert it first with transformers' save_pretrained"
        elif (folder / "onnx").is_dir():
            hint = "; an ONNX export runs in onnxruntime, as its README.md shows: give the model that it was made of"
        raise UserError(f"{path}: no such file{hint}")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _read_weights(folder: Path, wanted: set[str] | None = None) -> dict[str, Tensor]:
    with _open_weights(folder) as weights:
        names = list(weights.keys())
        return {name: weights.get_tensor(name) for name in names if wanted is None or name in wanted}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object")
    return values
