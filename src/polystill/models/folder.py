"""Families and students as ordinary Hugging Face Marian folders (safetensors only; nothing is unpickled).

RUN/family holds the whole teacher and family.json, which says who the candidates are; an extracted student's folder
holds that student's own layers and nothing else.
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
from polystill.models.marian import (
    POSITION_TABLES,
    from_marian,
    generation_config,
    marian_config,
    parameter_names,
    read_marian_config,
    to_marian,
)
from polystill.models.transformer import Transformer, TransformerConfig
from polystill.storage import atomic_folder
from polystill.students import Student, StudentSpace

WEIGHTS = "model.safetensors"
FAMILY = "family.json"


def save_family(
    folder: Path, model: Transformer, tokenizer: Tokenizer, space: StudentSpace, info: dict[str, Any]
) -> None:
    """Write the family folder, whole or not at all; `info` (languages, method, scores) goes into family.json."""
    family = {"format": 1, "teacher": str(space.teacher), "candidates": [str(s) for s in space.candidates], **info}
    state = to_marian(model.state_dict(), model.config, *_layers(space.teacher))
    with atomic_folder(folder) as temporary:
        _write(temporary, state, model.config, space.teacher)
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


def load_model(folder: Path) -> Transformer:
    """Load any Marian folder (OPUS-MT's, an extracted student's, a family's) in float32.

    Raises:
        UserError: files are missing, the weights are not safetensors, or shapes do not fit config.json.
    """
    config = _read_config(folder)
    model = Transformer(config)
    model.load_state_dict(from_marian(_read_weights(folder), config, str(folder)), strict=True)
    model.eval()
    return model


def load_model_with_tokenizer(folder: Path) -> tuple[Transformer, Tokenizer]:
    """As `load_model`, with the tokenizer beside it.

    Raises:
        UserError: as `load_model`; or the vocabulary does not fit the model.
    """
    config, tokenizer = _read_config(folder), Tokenizer.load(folder)
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
    return load_model(folder), tokenizer


def extract_student(family: Path, student: Student, out: Path) -> None:
    """Write one student of a family as a Hugging Face Marian folder with only its own layers and the tokenizer.

    Raises:
        UserError: the folder is no family, or the student is not in it.
    """
    family_space(family).check(student)
    config = _read_config(family)
    wanted = {name for _, theirs in parameter_names(*_layers(student)) for name in theirs} | {*POSITION_TABLES}
    with atomic_folder(out) as temporary:
        _write(temporary, _read_weights(family, wanted), config, student)
        Tokenizer.load(family).save(temporary)


def parameter_count(folder: Path) -> int:
    """Parameters stored in a folder's safetensors file, from its header alone; tables of positions are none."""
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


def _write(folder: Path, state: dict[str, Tensor], config: TransformerConfig, student: Student) -> None:
    (folder / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))  # save_file would make it private (0600)
    _write_json(folder / "config.json", marian_config(config, *_layers(student)))
    _write_json(folder / "generation_config.json", generation_config(config))


def _read_config(folder: Path) -> TransformerConfig:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no Marian model here (config.json is missing)")
    return read_marian_config(_read_json(folder / "config.json"), str(folder / "config.json"))


def _open_weights(folder: Path) -> Any:
    path = folder / WEIGHTS
    if not path.is_file():
        hint = ""
        if (folder / "pytorch_model.bin").is_file():
            hint = "; polystill never unpickles pytorch_model.bin: convert it first with transformers' save_pretrained"
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
