"""Export of a student's folder in any format: check, load, write, verify, describe, and only then show the folder."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from polystill.data.shortlist import Shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import INFO, read_info
from polystill.environment.extras import need_packages
from polystill.errors import UserError, nearest
from polystill.export import FORMATS
from polystill.export.agreement import compare, greedy, ids_of
from polystill.export.card import Record, model_card, search_of
from polystill.export.format import Export, Format, Info, how_trained, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import (
    architecture_in,
    is_ordinary,
    load_model_with_tokenizer,
    parameter_count,
    weights_path,
    write_dense_model,
)
from polystill.progress import Progress
from polystill.storage import atomic_folder, sha256

EXPORT_STEPS = 4
"""Steps of an export: load, translate, write, verify."""
VERIFIED_LINES = 16
"""Sentences that an export is verified with."""


def export_folder(
    student: Path,
    out: Path,
    to: str,
    quantization: str | None = None,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
    shortlist: Shortlist | None = None,
    progress: Progress | None = None,
) -> Info:
    """Export a student's folder to the folder `out`, in the format named `to`.

    The export is verified on `lines` (by default on generated ones) before `out` appears. That is done with the whole
    vocabulary; how many of the translations a shortlist leaves as they are is recorded. The model card tells what
    `record` has. `progress` counts the EXPORT_STEPS. Returns the contents of polystill.json.

    Raises:
        UserError: the format is unknown or has no such option, `out` holds something that is no export, `student` is no
            model's folder, the format's engine cannot run the model, a program or package is missing, or the export
            does not translate like the student.
    """
    check_choices(to, quantization, shortlist is not None)
    form = FORMATS[to]
    progress = progress or Progress("", "", 0, silent=True)
    check_replaceable(out)
    if form.packages:
        need_packages(f"export --to {to}", form.packages, extra=to)
    _check_architecture(student, form)
    with _readable(student, form) as folder:
        model, tokenizer = load_model_with_tokenizer(folder)
        form.check(model, tokenizer, student)
        progress.add(1, "translating with the student")
        lines = lines_to_verify(model, tokenizer, lines)
        hypotheses = greedy(TorchTranslator(model, tokenizer), lines)
        export = Export(
            student=folder,
            model=model,
            tokenizer=tokenizer,
            precision=quantization or form.default_precision,
            search=None if record is None else record.search,
            lines=lines,
            sources=tokenizer.encode_source(lines),
            hypotheses=hypotheses,
            targets=ids_of(hypotheses, tokenizer),
            out=out,
        )
        progress.add(1, "writing")
        with atomic_folder(out) as temporary:
            return _write(form, export, student, temporary, record or Record(), shortlist, progress)


def _write(
    form: Format,
    export: Export,
    student: Path,
    folder: Path,
    record: Record,
    shortlist: Shortlist | None,
    progress: Progress,
) -> Info:
    form.write(export, folder)
    info = describe_export(student, export.model, export.tokenizer, form.name)
    info["versions"] |= versions(*form.packages)
    if form.precisions != ("float32",):
        info["quantization"] = export.precision
    if form.beam is None and export.search is not None:
        info |= search_of(export.search)
    write_info(folder, info)
    progress.add(1, f"translating with {form.engine}")
    verified = form.verify(export, folder)
    info |= {**verified.facts, "verification": {**compare(export, verified)._asdict(), **verified.figures}}
    if shortlist is not None:
        same = form.add_shortlist(export, folder, shortlist)
        learnt = {"frequent": len(shortlist.frequent), "sentences": shortlist.sentences}
        info["shortlist"] = {**learnt, "same_translations": same, "lines": len(export.lines)}
    form.finish(folder, info, lambda info, size: model_card(info, record, size))
    progress.add(1, "verified")
    return info


def check_choices(to: str, quantization: str | None, shortlist: bool) -> None:
    """Check the options of an export.

    Raises:
        UserError: the format is unknown, does not have that precision, has only one, or takes no shortlist.
    """
    if to not in FORMATS:
        raise UserError(f"--to {to}: unknown format{nearest(to, list(FORMATS))}; there are: {' '.join(FORMATS)}")
    known = FORMATS[to].precisions
    if quantization is not None and len(known) == 1:
        raise UserError(f"--quantization {quantization}: --to {to} has no choice of precision; leave it out")
    if quantization is not None and quantization not in known:
        hint = nearest(quantization, list(known))
        raise UserError(f"--quantization {quantization}: unknown{hint}; --to {to} has {' '.join(known)}")
    if shortlist and FORMATS[to].shortlist is None:
        with_shortlists = " and ".join(name for name, form in FORMATS.items() if form.shortlist is not None)
        raise UserError(f"--shortlist: --to {to} has no shortlists, only {with_shortlists} have; leave it out")


def check_replaceable(out: Path) -> None:
    """Allow a new folder, an empty one, or an earlier export.

    Raises:
        UserError: `out` is a file, or a folder with other content.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder to export to")
    if out.is_dir() and any(out.iterdir()) and not (out / INFO).is_file():
        raise UserError(f"{out}: not empty and not an earlier export ({INFO} is missing); give a new folder")


def _check_architecture(folder: Path, form: Format) -> None:
    name = architecture_in(folder)
    if name not in form.architectures:
        others = " or ".join(f"--to {other.name}" for other in FORMATS.values() if name in other.architectures)
        raise UserError(
            f"{folder}: {form.engine} has no {name.upper()}; this model runs with --engine torch, and is exported with "
            f"{others}"
        )


@contextmanager
def _readable(student: Path, form: Format) -> Iterator[Path]:
    """The student's folder; of weights in a form that other programs do not read, a copy with ordinary ones."""
    if form.reads_sparse or is_ordinary(student):
        yield student
        return
    with TemporaryDirectory(prefix="polystill-") as temporary:
        write_dense_model(Path(temporary), *load_model_with_tokenizer(student))
        yield Path(temporary)


def describe_export(student: Path, model: ElasticModel, tokenizer: Tokenizer, to: str) -> Info:
    """The part of polystill.json that does not depend on the format."""
    languages = {"source_language": tokenizer.source_language, "target_language": tokenizer.target_language}
    info = read_info(student)
    return {
        "format": to,
        "name": info.get("name", str(model.teacher)),
        "architecture": model.architecture.name,
        **how_trained(info),
        **{key: value for key, value in languages.items() if value},
        "encoder_layers": model.config.encoder_layers,
        "decoder_layers": model.config.decoder_layers,
        "parameters": parameter_count(student),
        "vocabulary_size": tokenizer.vocabulary_size,
        "max_positions": model.max_positions,
        "source_sha256": sha256(weights_path(student)),
        "versions": versions("polystill", "torch", "transformers", "ctranslate2", "sentencepiece"),
    }


def versions(*packages: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def lines_to_verify(model: ElasticModel, tokenizer: Tokenizer, given: Sequence[str] | None) -> list[str]:
    """The first VERIFIED_LINES of the given lines that have words and fit the model.

    If there is none, lines are made up from pieces of the vocabulary, the same ones at every call.
    """
    generator = random.Random("verify")
    pieces = [p for p in tokenizer.pieces if not p.startswith(("<", ">>"))]
    rows = [generator.choices(pieces, k=generator.randint(3, 12)) for _ in range(2 * VERIFIED_LINES)]
    for lines in (given or (), tokenizer.decode_pieces(rows)):
        ids = tokenizer.encode_source(lines)
        fitting = [
            line for line, row in zip(lines, ids, strict=True) if line.strip() and 1 < len(row) <= model.max_positions
        ]
        if fitting:
            break
    return fitting[:VERIFIED_LINES]
