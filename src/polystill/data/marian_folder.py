"""The files of a Marian model as Marian writes it and people publish it: which is the model, and which its vocabulary.

decoder.yml, or Marian's own MODEL.npz.decoder.yml, names both by paths of the machine where the model was trained, so
names count here and folders do not. Without it the only model and the only vocabulary of the folder are meant. OPUS-MT
has a vocabulary of its own (*.vocab.yml) beside two SentencePiece models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from polystill.errors import UserError, reason
from polystill.runs.places import MARIAN_SETTINGS

SOURCE, TARGET, JOINT = "source.spm", "target.spm", "vocab.spm"
OPTIMIZER = ".optimizer.npz"
USUAL_LENGTH, LONGEST = 512, 10_000
_KNOWN_VOCABULARIES = "a SentencePiece model (.spm), or OPUS-MT's .yml beside source.spm and target.spm"


class MarianFiles(NamedTuple):
    """The files of one model."""

    model: Path
    sentencepiece: tuple[Path, Path]
    """Of source and target; the same file where one serves both."""
    vocabulary: Path | None
    """Piece -> id; None where the ids are those of the SentencePiece models."""
    max_length: int
    """The longest sentence in tokens: decoder.yml's max-length; Marian itself has no limit."""


def marian_files(folder: Path) -> MarianFiles:
    """Look for the files of a Marian model.

    Raises:
        UserError: a file is missing, several models or vocabularies could be meant, or polystill does not read files of
            their kind.
    """
    path = folder / MARIAN_SETTINGS
    settings = _settings(path)
    model = _model(path, settings)
    if not settings:
        path = folder / f"{model.name}.{MARIAN_SETTINGS}"
        settings = _settings(path)
    source, target = _vocabularies(path, settings)
    length = _max_length(path, settings)
    if {source.suffix, target.suffix} == {".spm"}:
        return MarianFiles(model, (source, target), None, length)
    if source.suffix not in (".yml", ".yaml") or target != source:
        raise UserError(f"{folder}: the vocabularies are {_named((source, target))}; expected {_KNOWN_VOCABULARIES}")
    for name in (SOURCE, TARGET):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing; {source.name} holds ids of the pieces of {SOURCE} and {TARGET}")
    return MarianFiles(model, (folder / SOURCE, folder / TARGET), source, length)


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read Marian's YAML vocabulary, piece -> id.

    Raises:
        UserError: the file is no such vocabulary.
    """
    values = _read_yaml(path)
    try:
        return {str(piece): int(i) for piece, i in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{path}: expected lines of PIECE: ID") from None


def _model(path: Path, settings: dict[str, Any]) -> Path:
    """path: of the settings, which lie beside the model; as in the functions below."""
    named, folder = _names(path, settings, "models"), path.parent
    if len(named) > 1:
        raise UserError(f"{path}: models: {_named(named)}: an ensemble; name only the model that polystill should read")
    if named and named[0].suffix != ".npz":
        raise UserError(f"{path}: models: {named[0].name}: polystill reads Marian's .npz, not its .bin files")
    found = named or sorted(file for file in folder.glob("*.npz") if not file.name.endswith(OPTIMIZER))
    if len(found) != 1:
        raise UserError(f"{folder}: {_named(found) or 'no model'}; name one model under models: in {path.name}")
    if not found[0].is_file():
        raise UserError(f"{found[0]}: missing; {path.name} names it")
    return found[0]


def _vocabularies(path: Path, settings: dict[str, Any]) -> tuple[Path, Path]:
    """Of source and target."""
    named = _names(path, settings, "vocabs") or _only_vocabularies(path.parent)
    if len(named) != 2:
        raise UserError(f"{path}: vocabs: {_named(named)}; expected a vocabulary for the source and one for the target")
    for vocabulary in named:
        if not vocabulary.is_file():
            raise UserError(f"{vocabulary}: missing; it is the vocabulary that the model was trained with")
    return named[0], named[1]


def _only_vocabularies(folder: Path) -> list[Path]:
    sides = [folder / SOURCE, folder / TARGET]
    written = sorted(folder.glob("*vocab*.y*ml"))
    if not written and all(path.is_file() for path in sides):
        return sides
    found = written or sorted(folder.glob("*.spm"))
    if len(found) != 1:
        raise UserError(
            f"{folder}: {_named(found) or 'no vocabulary'}; expected {_KNOWN_VOCABULARIES}; where there are several, "
            f"name two under vocabs: in {MARIAN_SETTINGS}"
        )
    return found * 2


def _max_length(path: Path, settings: dict[str, Any]) -> int:
    given = settings.get("max-length", str(USUAL_LENGTH))
    if not (isinstance(given, str) and given.isdecimal() and 1 <= int(given) <= LONGEST):
        raise UserError(f"{path}: max-length is {given!r}; expected a number of tokens up to {LONGEST:,}")
    return int(given)


def _names(path: Path, settings: dict[str, Any], key: str) -> list[Path]:
    """The files that the settings name, in their own folder."""
    values = settings.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UserError(f"{path}: {key}: expected a list of files")
    return [path.parent / Path(value).name for value in values]


def _settings(path: Path) -> dict[str, Any]:
    """The settings in a file, as text; none where there is no such file."""
    if not path.is_file():
        return {}
    values = _read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected Marian's settings, lines of KEY: VALUE")
    return values


def _read_yaml(path: Path) -> Any:
    """A YAML file with all values as text: the pieces `no`, `null` and `1` are words."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # in C: a vocabulary has tens of thousands of lines
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{path}: not valid YAML" + (f" at line {mark.line + 1}" if mark else "")) from None


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
