"""What a run's data folder says of the text that its students were trained and measured on, for their model cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polystill.data.tokenizer import Tokenizer
from polystill.storage import text_lines

if TYPE_CHECKING:
    from polystill.config.data import Data


def data_lines(settings: Data, folder: Path) -> list[str]:
    """Sources, pairs after cleaning, vocabulary and held-out sets, a line each; without what `folder` (RUN/data) lacks.

    Raises:
        UserError: its tokenizer or a text is damaged.
    """
    sources = (source.model_dump(exclude_defaults=True) for source in settings.train)
    lines = [f"data: {', '.join(f'{key} {value}' for key, value in source.items())}" for source in sources]
    return [*lines, *_pairs(folder / "cleaning.json"), *_vocabulary(folder / "tokenizer"), *_held_out(settings, folder)]


def _pairs(path: Path) -> Iterator[str]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        kept, total = f"{report['kept']:,}", f"{report['total']:,}"
    except (OSError, ValueError, KeyError, TypeError):
        return
    yield (
        f"training pairs: {kept} of {total}, the others dropped by cleaning"
        if kept != total
        else (f"training pairs: {total}, of which cleaning dropped none")
    )


def _vocabulary(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    from sentencepiece import sentencepiece_model_pb2 as pb

    tokenizer = Tokenizer.load(folder)
    source, target = tokenizer.sentencepiece_models
    kind = pb.TrainerSpec.ModelType.Name(pb.ModelProto.FromString(source).trainer_spec.model_type).lower()
    models = "one model" if source == target else "a model each"
    yield f"vocabulary: {tokenizer.vocabulary_size:,} pieces (SentencePiece, {kind}), {models} for both languages"


def _held_out(settings: Data, folder: Path) -> Iterator[str]:
    files = {"validation": folder / "validation.source.txt"}
    files |= {f"test set {name}": folder / "test" / f"{name}.source.txt" for name in settings.test}
    sizes = [f"{name}: {len(text_lines(path)):,} sentences" for name, path in files.items() if path.is_file()]
    if sizes:
        yield "; ".join(sizes)
