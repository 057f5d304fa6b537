"""Families and students as folders (safetensors only; nothing is unpickled).

A Transformer's folder is an ordinary Hugging Face Marian folder; `model_type` in config.json names the architecture.
RUN/family holds the teacher's weights and family.json, which lists the candidates. A further supernet of the family is
a model's folder in it, which has the supernet's name. A student's folder is that of an ordinary model of its size. A
pruned model's folder may hold its weights in the sparse form (see `models.sparse`), in a file of another name;
everything that reads folders here reads both, and the folder of a model that Marian wrote (see `models.marian_npz`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from polystill.data.marian_folder import marian_files
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError, reason
from polystill.models import ARCHITECTURES, marian_npz
from polystill.models.checksum import is_intact_file, with_checksum
from polystill.models.elastic import ElasticConfig, ElasticModel, Network
from polystill.models.sparse import SparseFile, sparse_bytes
from polystill.models.supernets import Supernets
from polystill.models.transformer import TransformerConfig
from polystill.runs.family import FAMILY, WEIGHTS, family_space, supernet_folder
from polystill.runs.places import is_marian
from polystill.storage import atomic_folder, read_json, write_json
from polystill.students import Student, StudentSpace

SPARSE_WEIGHTS = "model.sparse.safetensors"


# --- families -------------------------------------------------------------------------------------------------------


def save_family(
    folder: Path, supernets: Supernets, tokenizer: Tokenizer, space: StudentSpace, info: dict[str, Any]
) -> None:
    """Write the family folder, whole or not at all; `info` (languages, method, scores) goes into family.json."""
    parameters = {student.name: supernets.network(student).parameter_count for student in space.candidates}
    family = {**describe_space(space), "parameters": parameters, **info}
    with atomic_folder(folder) as temporary:
        for name, supernet in supernets.items():
            (temporary / name).mkdir(exist_ok=True)
            write_dense_model(temporary / name, supernet, tokenizer)
        write_json(temporary / FAMILY, family)


def describe_space(space: StudentSpace) -> dict[str, Any]:
    """The part of family.json that `family_space` reads."""
    return {
        "format": 2,
        "teacher": str(space.teacher),
        "supernets": [str(members.largest) for members in space.supernets],
        "candidates": [str(student) for student in space.candidates],
    }


def save_student(family: Path, student: Student, out: Path) -> None:
    """Write one student of a family as the folder of an ordinary model of its size, with the tokenizer.

    Raises:
        UserError: the folder is no family, or the student is not in it.
    """
    family_space(family).check(student)
    folder = supernet_folder(family, student.supernet)
    network, tokenizer = load_model(folder).network(student), Tokenizer.load(folder)
    with atomic_folder(out) as temporary:
        _write_dense(temporary, network, tokenizer)


# --- reading --------------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> ElasticConfig:
    """The sizes of a folder's model, and their `architecture`, from config.json alone, or Marian's own settings.

    Raises:
        UserError: there is no config.json, or it describes a model that polystill does not have.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if is_marian(folder):
        return marian_npz.read_config(folder, Tokenizer.load(folder))
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no model here (config.json is missing)")
    values = read_json(path)
    if (folder / "model.bin").is_file() and not weights_path(folder).is_file():
        raise UserError(f"{folder}: a CTranslate2 model, which only translates; give the folder that it was made from")
    for architecture in ARCHITECTURES.values():
        if architecture.model_type == values.get("model_type"):
            return architecture.read_config(values, str(path))
    known = " or ".join(repr(architecture.model_type) for architecture in ARCHITECTURES.values())
    raise UserError(f"{path}: model_type is {values.get('model_type')!r}, expected {known}")


def architecture_in(folder: Path) -> str:
    """The name of a folder's architecture: a key of `ARCHITECTURES`.

    Raises:
        UserError: as `read_config`.
    """
    return read_config(folder).architecture.name


def need_architecture(folder: Path, engine: str, architectures: Sequence[str] = ("transformer",)) -> None:
    """Raise UserError if a folder's architecture is none of those that an engine or format has."""
    if (name := architecture_in(folder)) not in architectures:
        raise UserError(
            f"{folder}: {engine} has no {name.upper()}; this model runs with --engine torch, and is exported with "
            "--to onnx or --to sparse"
        )


def read_all_but_weights(folder: Path) -> tuple[ElasticConfig, Tokenizer]:
    """A model's configuration and tokenizer. The file of weights is opened, but they are not read.

    Raises:
        UserError: as `load_model_with_tokenizer`, except for weights that do not fit the configuration.
    """
    if is_marian(folder):
        tokenizer = Tokenizer.load(folder)
        return marian_npz.read_config(folder, tokenizer), tokenizer
    config, tokenizer = read_config(folder), Tokenizer.load(folder)
    if tokenizer.vocabulary_size != config.vocabulary_size:
        raise UserError(
            f"{folder}: vocab.json has {tokenizer.vocabulary_size} entries, "
            f"but config.json says vocab_size {config.vocabulary_size}"
        )
    for name, in_vocabulary, in_config in (
        ("<pad>", tokenizer.pad_id, config.pad_id),
        ("</s>", tokenizer.eos_id, config.eos_id),
    ):
        if in_vocabulary != in_config:
            raise UserError(f"{folder}: {name} is {in_vocabulary} in vocab.json, but {in_config} in config.json")
    with _open_weights(folder):
        return config, tokenizer


def load_model(folder: Path) -> ElasticModel:
    """Load a folder of any architecture (OPUS-MT's, a student's, a family's, Marian's own) in float32.

    Raises:
        UserError: files are missing, the weights are not safetensors (or Marian's), or shapes do not fit the
            configuration.
    """
    config = read_config(folder)
    if is_marian(folder):
        assert isinstance(config, TransformerConfig)
        state = marian_npz.read_state(folder, config)
    else:
        state = config.architecture.from_folder(_read_weights(folder), config, str(folder))
    model = config.architecture.model_class(config)
    model.load_state_dict(state, strict=True)
    return model.eval()


def load_supernets(family: Path) -> Supernets:
    """All supernets of a family's folder, as `load_model`."""
    names = [members.largest.supernet for members in family_space(family).supernets[1:]]
    return Supernets(load_model(family), {name: load_model(supernet_folder(family, name)) for name in names})


def load_model_with_tokenizer(folder: Path) -> tuple[ElasticModel, Tokenizer]:
    """As `load_model`, with the tokenizer beside it.

    Raises:
        UserError: as `load_model`; or the vocabulary does not fit the model.
    """
    _, tokenizer = read_all_but_weights(folder)
    return load_model(folder), tokenizer


def parameter_count(folder: Path) -> int:
    """The parameters of a folder's model, zeros included, from its configuration alone."""
    config = read_config(folder)
    return config.architecture.parameter_count(config)


def weights_path(folder: Path) -> Path:
    """The file that a model's weights are read from, of any form; where there is none, the ordinary one's path."""
    if is_marian(folder):
        return marian_files(folder).model
    sparse = folder / SPARSE_WEIGHTS
    return sparse if sparse.is_file() and not (folder / WEIGHTS).is_file() else folder / WEIGHTS


def weights_bytes(folder: Path) -> int:
    """The bytes of a model's weights, of a family those of all its supernets; 0 where there are none."""
    paths = [weights_path(folder), *folder.glob(f"*/{WEIGHTS}")]
    return sum(path.stat().st_size for path in paths if path.is_file())


def is_ordinary(folder: Path) -> bool:
    """Whether a folder's weights are in the form that Hugging Face's library and CTranslate2's converter read."""
    return weights_path(folder).name == WEIGHTS


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
        raise UserError(f"{path}: not a readable safetensors file ({reason(error)}); copy it again") from None


def _read_weights(folder: Path) -> dict[str, Tensor]:
    with _open_weights(folder) as weights:
        if not is_intact_file(weights_path(folder)):
            raise UserError(
                f"{weights_path(folder)}: damaged, its checksum is not that of its weights; copy it again, or make it "
                "anew from what it was made of"
            )
        return {name: weights.get_tensor(name) for name in list(weights.keys())}


# --- writing --------------------------------------------------------------------------------------------------------


def write_dense_model(folder: Path, model: ElasticModel, tokenizer: Tokenizer) -> None:
    """Write a model as an ordinary folder; `folder` exists."""
    _write_dense(folder, model.network(), tokenizer)


def write_sparse_model(folder: Path, model: ElasticModel, tokenizer: Tokenizer, values: str = "float32") -> None:
    """Write a model with its weights in the sparse form; `folder` exists.

    Raises:
        UserError: as `sparse_bytes`.
    """
    tensors, names = _tensors(model.network()), model.architecture.parameter_names(model.config)
    content = sparse_bytes({name: tensor for name, tensor in tensors.items() if name in names}, values)
    (folder / SPARSE_WEIGHTS).write_bytes(content)
    _write_rest(folder, model.config, tokenizer)


def _write_dense(folder: Path, network: Network, tokenizer: Tokenizer) -> None:
    content = save(_tensors(network), metadata={"format": "pt"})  # save_file would make the file private (0600)
    (folder / WEIGHTS).write_bytes(with_checksum(content))
    _write_rest(folder, network.config, tokenizer)


def _tensors(network: Network) -> dict[str, Tensor]:
    return network.config.architecture.to_folder(network.state(), network.config)


def _write_rest(folder: Path, config: ElasticConfig, tokenizer: Tokenizer) -> None:
    for name, values in config.architecture.config_files(config).items():
        write_json(folder / name, values)
    tokenizer.save(folder)
