"""Who translates: folders of several kinds, alone or as an ensemble, behind one function from lines to candidates."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polystill.decoding.contract import Cuts, DecodingOptions, Translator
from polystill.decoding.ctranslate2 import CTranslate2Translator, available_cores
from polystill.decoding.precisions import need_precision, torch_dtype
from polystill.errors import UserError
from polystill.targets.store import Candidate

if TYPE_CHECKING:
    from polystill.targets.huggingface import Languages

Engine = Literal["ctranslate2", "torch"]
Kind = Literal["ctranslate2", "polystill", "huggingface"]
Translate = Callable[[Sequence[str]], list[list[Candidate]]]

CONVERTED = ("m2m_100",)
"""Hugging Face models beside Marian that run in CTranslate2 here (NLLB's are of this type as well)."""


@dataclass(frozen=True)
class Teacher:
    """What opens in every worker: folders that lie ready for the engine."""

    folders: tuple[Path, ...]
    tokenizers: tuple[Path, ...]
    """Where each folder's tokenizer is: another place if the model was converted."""
    kinds: tuple[Kind, ...]
    engine: Engine
    precision: str
    threads: int
    languages: Languages
    options: DecodingOptions


# --- which kind, which engine -------------------------------------------------------------------------------------


def kind_of(folder: Path) -> Kind:
    """What a model's folder is.

    Raises:
        UserError: it is missing, or holds no model.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, nor a file of translations")
    if (folder / "model.bin").is_file():
        return "ctranslate2"
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no model here; expected a run (recipe.yaml), a Hugging Face folder (config.json), a "
            "CTranslate2 folder (model.bin) or a TSV file of translations"
        )
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    from polystill.targets.huggingface import check_safetensors, model_type

    check_safetensors(folder)
    kind = model_type(folder)
    if kind == "marian":
        return "polystill" if _is_ours(folder) else "huggingface"
    return "huggingface" if kind in CONFIG_MAPPING_NAMES else "polystill"


def _is_ours(folder: Path) -> bool:
    """Whether polystill's own Transformer and tokenizer can read a Marian folder."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import read_config

    try:
        read_config(folder)
        Tokenizer.load(folder)
    except UserError:
        return False
    return True


def choose_engine(folders: Sequence[Path], kinds: Sequence[Kind], wanted: Engine | None) -> Engine:
    """The engine that was asked for, or CTranslate2 where a single model can run in it.

    Raises:
        UserError: the models cannot run in the engine.
    """
    if "ctranslate2" in kinds:
        if len(kinds) > 1:
            raise UserError(
                f"{folders[kinds.index('ctranslate2')]}: a CTranslate2 folder cannot be part of an ensemble, which "
                "torch averages step by step; give its Hugging Face folder"
            )
        if wanted == "torch":
            raise UserError(f"{folders[0]}: a CTranslate2 folder does not run with --engine torch")
        return "ctranslate2"
    can = len(kinds) == 1 and _converts(folders[0], kinds[0])
    if wanted == "ctranslate2" and not can:
        reason = "an ensemble" if len(kinds) > 1 else f"a model of type {_type(folders[0])}"
        raise UserError(f"--engine ctranslate2: {reason} runs with --engine torch only")
    return wanted or ("ctranslate2" if can else "torch")


def _converts(folder: Path, kind: Kind) -> bool:
    return _type(folder) == "marian" if kind == "polystill" else _type(folder) in CONVERTED


def _type(folder: Path) -> str:
    from polystill.targets.huggingface import model_type

    return model_type(folder)


def languages_of(teacher: Path) -> Languages:
    """Those of a model for one pair, as its tokenizer's configuration says them (Marian's does)."""
    try:
        config = json.loads((teacher / "tokenizer_config.json").read_text(encoding="utf-8"))
        return config.get("source_lang"), config.get("target_lang")
    except (OSError, ValueError, AttributeError):
        return None, None


_DECISIVE = ("model.bin", "*.safetensors", "*.spm", "*.model", "tokenizer.json", "*vocab*.json", "vmap.txt")
"""Files of a model's folder on which its translations depend: weights, pieces, a CTranslate2 folder's shortlist."""


def fingerprint(teacher: Path) -> str:
    """The checksum of a model's weights and vocabulary, or of a file of translations."""
    digest = hashlib.sha256()
    files = sorted({path for pattern in _DECISIVE for path in teacher.glob(pattern)})
    for path in files if teacher.is_dir() else [teacher]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


# --- getting ready ------------------------------------------------------------------------------------------------


def check_teacher(
    folders: Sequence[Path],
    *,
    engine: Engine | None,
    precision: str,
    threads: int,
    languages: Languages,
    options: DecodingOptions,
) -> Teacher:
    """Find what cannot work before anything is written; `convert_teacher` makes the result ready.

    Raises:
        UserError: a folder is no model, models, engine and precision do not go together, a language is not known, or
            vocabularies differ.
    """
    from polystill.targets.ensemble import check_one_vocabulary

    kinds = tuple(kind_of(folder) for folder in folders)
    engine = choose_engine(folders, kinds, engine)
    need_precision(engine, precision)
    teacher = Teacher(tuple(folders), tuple(folders), kinds, engine, precision, threads, languages, options)
    vocabularies = [_tokenizer(teacher, i).pieces for i in range(len(folders))]
    check_one_vocabulary([str(folder) for folder in folders], vocabularies)
    return teacher


def convert_teacher(teacher: Teacher, scratch: Path) -> Teacher:
    """The teacher that workers open, converted into `scratch` where its engine needs that.

    Raises:
        UserError: the conversion does not translate like its model.
    """
    if teacher.engine == "torch" or teacher.kinds[0] == "ctranslate2":
        return teacher
    out = _convert(teacher.folders[0], teacher.kinds[0], scratch / "model", teacher.precision, teacher.languages)
    return replace(teacher, folders=(out,), precision="default")


def _convert(folder: Path, kind: Kind, out: Path, precision: str, languages: Languages) -> Path:
    precision = "float32" if precision == "default" else precision
    if kind == "polystill":
        from polystill.export.driver import export_folder

        export_folder(folder, out, "ctranslate2", precision)
        return out
    from polystill.targets.huggingface import HuggingFaceTokenizer
    from polystill.targets.huggingface_ctranslate2 import convert

    convert(folder, HuggingFaceTokenizer(folder, languages), out, precision)
    return out


# --- in a worker --------------------------------------------------------------------------------------------------


def open_teacher(teacher: Teacher) -> Translate:
    """Load the models; returns what translates lines to candidates, best first.

    Raises:
        UserError: a model cannot be loaded.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    translator = _open_ctranslate2(teacher) if teacher.engine == "ctranslate2" else _open_torch(teacher)

    def translate(lines: Sequence[str]) -> list[list[Candidate]]:
        cuts = Cuts()
        found = translator.translate(lines, teacher.options, cuts)
        too_long = set(cuts.sources)
        return [
            [Candidate(_one_line(each.text), each.score, each.cut or number in too_long) for each in hypotheses]
            for number, hypotheses in enumerate(found)
        ]

    return translate


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).strip()


def _open_ctranslate2(teacher: Teacher) -> Translator:
    if teacher.kinds[0] != "huggingface":
        return CTranslate2Translator(teacher.folders[0], teacher.precision, teacher.threads)
    from polystill.targets.huggingface_ctranslate2 import ConvertedTranslator

    original, tokenizer = teacher.tokenizers[0], _tokenizer(teacher, 0)
    return ConvertedTranslator(teacher.folders[0], original, tokenizer, teacher.precision, teacher.threads)


def _open_torch(teacher: Teacher) -> Translator:
    import torch

    from polystill.decoding.beam import TorchTranslator
    from polystill.targets.ensemble import Ensemble

    torch.set_num_threads(teacher.threads or available_cores())
    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", torch_dtype(teacher.precision)
    loaded = [_load(teacher, i) for i in range(len(teacher.folders))]
    models = [model.to(device, dtype) for model, _ in loaded]
    return TorchTranslator(models[0] if len(models) == 1 else Ensemble(models), loaded[0][1])


def _load(teacher: Teacher, i: int) -> tuple[Any, Any]:
    if teacher.kinds[i] == "huggingface":
        from polystill.targets.huggingface import load_huggingface

        return load_huggingface(teacher.folders[i], teacher.languages)
    from polystill.models.folder import load_model_with_tokenizer

    return load_model_with_tokenizer(teacher.folders[i])


def _tokenizer(teacher: Teacher, i: int) -> Any:
    if teacher.kinds[i] == "huggingface":
        from polystill.targets.huggingface import HuggingFaceTokenizer

        return HuggingFaceTokenizer(teacher.tokenizers[i], teacher.languages)
    from polystill.data.tokenizer import Tokenizer

    return Tokenizer.load(teacher.tokenizers[i])
