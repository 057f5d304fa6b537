"""Open a teacher as one function from lines to candidates: a model of any kind, an ensemble, or a file.

This module does not import torch at its top, so workers that run CTranslate2 do without it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polystill.data.marian_folder import marian_files
from polystill.data.repair import repaired
from polystill.decoding import ENGINES, find_engine
from polystill.decoding.torch import Torch
from polystill.decoding.translator import Cuts, DecodingOptions, Translator
from polystill.environment.process import available_cores
from polystill.errors import UserError
from polystill.runs.places import Kind as PlaceKind
from polystill.runs.places import find_model, open_place
from polystill.sources.lines import read_lines
from polystill.targets import bergamot
from polystill.targets.job import Translate
from polystill.targets.store import Candidate, shortened

if TYPE_CHECKING:
    from polystill.targets.adapters import Languages

Kind = Literal["ctranslate2", "polystill", "huggingface"]

CONVERTED = ("m2m_100",)
"""Types of Hugging Face models beside Marian that are converted for CTranslate2; NLLB's are of this type, too."""


@dataclass(frozen=True)
class Teacher:
    """The teacher that every worker opens: folders that the engine can read, and how to search."""

    folders: tuple[Path, ...]
    tokenizers: tuple[Path, ...]
    """The folder of each model's tokenizer, which stays where it is when the model is converted."""
    kinds: tuple[Kind, ...]
    engine: str
    precision: str
    threads: int
    languages: Languages
    options: DecodingOptions


# --- which kind, which engine -------------------------------------------------------------------------------------


def kind_of(folder: Path) -> Kind:
    """Return which library can read a model's folder.

    Raises:
        UserError: there is no model in it, or none with safetensors weights.
    """
    place = find_model(folder).kind
    if place is PlaceKind.CTRANSLATE2:
        return "ctranslate2"
    if place is PlaceKind.MARIAN:
        return "polystill"
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    check_safetensors(folder)
    kind = model_type(folder)
    if kind == "marian":
        return "polystill" if _is_ours(folder) else "huggingface"
    return "huggingface" if kind in CONFIG_MAPPING_NAMES else "polystill"


def _is_ours(folder: Path) -> bool:
    """Whether polystill's Transformer and tokenizer can read a Marian folder."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import read_config

    try:
        read_config(folder)
        Tokenizer.load(folder)
    except UserError:
        return False
    return True


def choose_engine(folders: Sequence[Path], kinds: Sequence[Kind], wanted: str | None) -> str:
    """Return the engine that was asked for, or CTranslate2 if this is a single model that can run in it.

    torch runs every teacher. Other engines run single models of polystill's, and CTranslate2 also those in CONVERTED.

    Raises:
        UserError: the models cannot run in the engine.
    """
    if "ctranslate2" in kinds:
        if len(kinds) > 1:
            raise UserError(
                f"{folders[kinds.index('ctranslate2')]}: a CTranslate2 folder cannot be part of an ensemble, which "
                "torch averages step by step; give its Hugging Face folder"
            )
        if wanted not in (None, "ctranslate2"):
            raise UserError(f"{folders[0]}: a CTranslate2 folder does not run with --engine {wanted}")
        return "ctranslate2"
    if wanted is None:
        return "ctranslate2" if _runs(folders, kinds, "ctranslate2") else "torch"
    if not _runs(folders, kinds, wanted):
        reason = "an ensemble" if len(kinds) > 1 else f"a model of type {model_type(folders[0])}"
        raise UserError(f"--engine {wanted}: {reason} runs with --engine torch only")
    return wanted


def _runs(folders: Sequence[Path], kinds: Sequence[Kind], engine: str) -> bool:
    if engine == "torch":
        return True
    if len(kinds) > 1:
        return False
    if kinds[0] == "huggingface":
        return engine == "ctranslate2" and model_type(folders[0]) in CONVERTED
    from polystill.models.folder import architecture_in

    return architecture_in(folders[0]) in find_engine(engine).architectures


def check_safetensors(folder: Path) -> None:
    """Raise UserError where the weights are missing, or are pickled."""
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("pytorch_model*.bin")):
        raise UserError(
            f"{folder}: has pytorch_model.bin only, which polystill never unpickles; convert it first with "
            "transformers' save_pretrained"
        )
    raise UserError(f"{folder}: no weights here (model.safetensors is missing)")


def model_type(folder: Path) -> str:
    """Return config.json's `model_type`.

    Raises:
        UserError: there is no readable config.json, or it has no such key.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(values["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / 'config.json'}: not the configuration of a model (model_type is missing)") from None


def languages_of(teacher: Path) -> Languages:
    """Return the languages of a model for one pair, if its folder names them, as Marian's and Firefox's do."""
    if open_place(teacher).kind is PlaceKind.BERGAMOT:
        return bergamot.languages_of(teacher)
    try:
        config = json.loads((teacher / "tokenizer_config.json").read_text(encoding="utf-8"))
        return config.get("source_lang"), config.get("target_lang")
    except (OSError, ValueError, AttributeError):
        return None, None


_OF_BERGAMOT = ("model.*.bin*", "lex*.bin*", "*vocab*.spm.*")
_DECISIVE = ("model.bin", "*.safetensors", "*.spm", "*.model", "tokenizer.json", "*vocab*.json", "vmap.txt")
"""Files on which a model's translations depend: weights, vocabulary, shortlist."""


def fingerprint(teacher: Path) -> str:
    """Return the checksum of a model's weights and vocabulary, a file of translations, or an endpoint's settings.

    Raises:
        UserError: a Marian folder lacks a file, or an endpoint's description cannot be read.
    """
    from polystill.targets import endpoint

    kind = open_place(teacher).kind
    if kind is PlaceKind.YAML:
        return endpoint.fingerprint(teacher)
    digest = hashlib.sha256()
    for path in _decisive_files(teacher, kind):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _decisive_files(teacher: Path, kind: PlaceKind) -> list[Path]:
    if not teacher.is_dir():
        return [teacher]
    if kind is PlaceKind.MARIAN:  # progress.yml, optimizer.npz and others change while its training goes on
        files = marian_files(teacher)
        return sorted({files.model, *files.sentencepiece, *filter(None, [files.vocabulary])})
    return sorted({path for pattern in (*_DECISIVE, *_OF_BERGAMOT) for path in teacher.glob(pattern)})


# --- getting ready ------------------------------------------------------------------------------------------------


def check_teacher(
    folders: Sequence[Path],
    *,
    engine: str | None,
    precision: str,
    threads: int,
    languages: Languages,
    options: DecodingOptions,
) -> Teacher:
    """Check that models, engine and precision go together, before anything is written. `convert_teacher` comes next.

    Raises:
        UserError: a folder is no model, models, engine and precision do not go together, a language is not known, or
            vocabularies differ.
    """
    from polystill.targets.adapters import check_one_vocabulary

    kinds = tuple(kind_of(folder) for folder in folders)
    engine = choose_engine(folders, kinds, engine)
    ENGINES[engine].check_precision(precision)
    teacher = Teacher(tuple(folders), tuple(folders), kinds, engine, precision, threads, languages, options)
    vocabularies = [_tokenizer(teacher, i).pieces for i in range(len(folders))]
    check_one_vocabulary([str(folder) for folder in folders], vocabularies)
    return teacher


def convert_teacher(teacher: Teacher, scratch: Path) -> Teacher:
    """Convert a teacher into `scratch` if its engine needs that, and return the one that workers open.

    Raises:
        UserError: the conversion does not translate like its model.
    """
    to = ENGINES[teacher.engine].export_format
    if to is None or teacher.kinds[0] == "ctranslate2":
        return teacher
    folder, out = teacher.folders[0], scratch / "model"
    precision = "float32" if teacher.precision == "default" else teacher.precision
    if teacher.kinds[0] == "polystill":
        from polystill.export.driver import export_folder

        export_folder(folder, out, to, precision)
    else:
        from polystill.targets.adapters import HuggingFaceTokenizer, convert

        convert(folder, HuggingFaceTokenizer(folder, teacher.languages), out, precision)
    return replace(teacher, folders=(out,), precision="default")


# --- in a worker --------------------------------------------------------------------------------------------------


def open_teacher(teacher: Teacher) -> Translate:
    """Load the models and return the function from lines to candidates, best first.

    Raises:
        UserError: a model cannot be loaded.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    translator = _open(teacher)

    def translate(lines: Sequence[str]) -> list[list[Candidate]]:
        cuts = Cuts()
        translations = translator.translate(lines, teacher.options, cuts)
        too_long = set(cuts.sources)
        return [
            [Candidate(" ".join(h.text.splitlines()).strip(), h.score, h.cut or number in too_long) for h in hypotheses]
            for number, hypotheses in enumerate(translations)
        ]

    return translate


def _open(teacher: Teacher) -> Translator:
    if len(teacher.kinds) == 1 and teacher.kinds[0] != "huggingface":
        return ENGINES[teacher.engine].open(teacher.folders[0], teacher.precision, teacher.threads)
    if teacher.engine == Torch.name:
        return _open_in_torch(teacher)
    from polystill.targets.adapters import ConvertedTranslator

    original, tokenizer = teacher.tokenizers[0], _tokenizer(teacher, 0)
    return ConvertedTranslator(teacher.folders[0], original, tokenizer, teacher.precision, teacher.threads)


def _open_in_torch(teacher: Teacher) -> Translator:
    """Open an ensemble, or a model that polystill's own network cannot hold."""
    import torch

    from polystill.decoding.beam import TorchTranslator
    from polystill.targets.adapters import Ensemble

    torch.set_num_threads(teacher.threads or available_cores())
    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", Torch().dtype(teacher.precision)
    loaded = [_load(teacher, i) for i in range(len(teacher.folders))]
    models = [model.to(device, dtype) for model, _ in loaded]
    return TorchTranslator(models[0] if len(models) == 1 else Ensemble(models), loaded[0][1])


def _load(teacher: Teacher, i: int) -> tuple[Any, Any]:
    if teacher.kinds[i] == "huggingface":
        from polystill.targets.adapters import load_huggingface

        return load_huggingface(teacher.folders[i], teacher.languages)
    from polystill.models.folder import load_model_with_tokenizer

    return load_model_with_tokenizer(teacher.folders[i])


def _tokenizer(teacher: Teacher, i: int) -> Any:
    if teacher.kinds[i] == "huggingface":
        from polystill.targets.adapters import HuggingFaceTokenizer

        return HuggingFaceTokenizer(teacher.tokenizers[i], teacher.languages)
    from polystill.data.tokenizer import Tokenizer

    return Tokenizer.load(teacher.tokenizers[i])


# --- a file of translations -----------------------------------------------------------------------------------------


class TranslationsFile:
    """Translations that someone has made already: a TSV file (plain, .gz or .zst), read once from top to bottom.

    Each line is a source and its translations, best first, separated by tabs, in the order of the sentences to
    translate. Lines of other sources, which cleaning has dropped or which came before, are skipped. A source may stand
    as it is in the corpus or as cleaning has repaired it.
    """

    def __init__(self, path: Path, n_best: int) -> None:
        self._path, self._n_best = path, n_best
        self._lines = enumerate(read_lines(path), start=1)
        self._number = 0

    def translate(self, sources: Sequence[str]) -> list[list[Candidate]]:
        """Return the first `n_best` candidates of each of the next sources.

        Raises:
            UserError: the file cannot be read, a source is not in it, or has no translation.
        """
        return [self._find(source) for source in sources]

    def _find(self, source: str) -> list[Candidate]:
        first = self._number + 1
        for number, line in self._lines:
            self._number = number
            try:
                columns = [column.strip() for column in line.decode("utf-8").split("\t")]
            except UnicodeDecodeError as error:
                raise UserError(f"{self._path}: line {number} is not UTF-8 ({error.reason})") from None
            if columns[0] == source or repaired(columns[0]).strip() == source:
                candidates = [Candidate(text) for text in columns[1:] if text]
                if not candidates:
                    raise UserError(f"{self._path}: line {number}: no translation of {shortened(source)}")
                return candidates[: self._n_best]
        raise UserError(
            f"{self._path}: no translation of {shortened(source)} from line {first} on; expected a line for every "
            "sentence, in their order: source, tab, translation"
        )
