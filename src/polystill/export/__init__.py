"""Formats that a student can be exported to, by name: one module each, imported when used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.data.shortlist import Shortlist
from polystill.errors import UserError, nearest
from polystill.export.card import Record

__all__ = ["FORMATS", "Record", "check_choices", "export_folder"]

FORMATS = ("hf", "ctranslate2", "argos", "onnx", "marian", "bergamot", "sparse")
QUANTIZED = ("ctranslate2", "sparse")
"""Those with a choice of precision."""
SHORTLISTED = {"ctranslate2": 10, "bergamot": 50}
"""Those whose engine takes a shortlist, and how many translations of a piece it should have: Bergamot translates fewer
sentences at a time, whose pieces ask for less together (docs/performance.md)."""


def export_folder(
    student: Path,
    out: Path,
    to: str,
    quantization: str | None = None,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
    shortlist: Shortlist | None = None,
) -> dict[str, Any]:
    """Export a student's folder to the folder `out` in one of FORMATS.

    The export is verified against the student on `lines` (by default on made-up ones) before `out` appears. Its model
    card says what `record` knows. Returns what is written there as polystill.json.

    Raises:
        UserError: unknown format or quantization, a format without shortlists is given one, `out` holds something that
            is no export, `student` is no Marian folder, a program that the format needs is missing, or the export
            does not translate like the student.
    """
    check_choices(to, quantization, shortlist is not None)
    if to == "sparse":
        from polystill.export.sparse import export_sparse

        return export_sparse(student, out, quantization, lines, record)
    with _dense(student) as dense:
        if to == "ctranslate2":
            from polystill.export.ctranslate2 import export_ctranslate2

            return export_ctranslate2(dense, out, quantization, lines, record, shortlist)
        if to == "bergamot":
            from polystill.export.bergamot import export_bergamot

            return export_bergamot(dense, out, lines, record, shortlist)
        return _exporter(to)(dense, out, lines, record)


def check_choices(to: str, quantization: str | None, shortlist: bool) -> None:
    """Raises:
    UserError: unknown format, or one that has no choice of precision or no shortlist is to have it.
    """
    if to not in FORMATS:
        raise UserError(f"--to {to}: unknown format{nearest(to, list(FORMATS))}; there are: {' '.join(FORMATS)}")
    if quantization is not None and to not in QUANTIZED:
        raise UserError(f"--quantization {quantization}: --to {to} has no choice of precision; leave it out")
    if shortlist and to not in SHORTLISTED:
        raise UserError(f"--shortlist: --to {to} has none, only {' and '.join(SHORTLISTED)} have; leave it out")


def _exporter(to: str) -> Callable[..., dict[str, Any]]:
    """What writes a format that has no choices of its own."""
    if to == "argos":
        from polystill.export.argos import export_argos

        return export_argos
    if to == "onnx":
        from polystill.export.onnx import export_onnx

        return export_onnx
    if to == "marian":
        from polystill.export.marian import export_marian

        return export_marian
    from polystill.export.huggingface import export_huggingface

    return export_huggingface


@contextmanager
def _dense(student: Path) -> Iterator[Path]:
    """The student's folder, or an ordinary one of the same weights where they are in polystill's sparse form."""
    from polystill.models.folder import is_sparse, load_model_with_tokenizer, write_dense_model

    if not is_sparse(student):
        yield student
        return
    with TemporaryDirectory(prefix="polystill-") as temporary:
        write_dense_model(Path(temporary), *load_model_with_tokenizer(student))
        yield Path(temporary)
