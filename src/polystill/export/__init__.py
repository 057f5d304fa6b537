"""Formats that a student can be exported to, by name: one module each, imported when used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polystill.errors import UserError, nearest
from polystill.export.card import Record

__all__ = ["FORMATS", "Record", "export_student"]

FORMATS = ("hf", "ctranslate2", "argos", "onnx", "marian", "bergamot")


def export_student(
    student: Path,
    out: Path,
    to: str,
    quantization: str | None = None,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Export a student's Hugging Face folder to the folder `out` in one of FORMATS.

    The export is verified against the student on `lines` (by default on made-up ones) before `out` appears. Its model
    card says what `record` knows. Returns what is written there as polystill.json.

    Raises:
        UserError: unknown format or quantization, `out` holds something that is no export, `student` is no Marian
            folder, a program that the format needs is missing, or the export does not translate like the student.
    """
    if to not in FORMATS:
        raise UserError(f"--to {to}: unknown format{nearest(to, list(FORMATS))}; there are: {' '.join(FORMATS)}")
    if quantization is not None and to != "ctranslate2":
        raise UserError(f"--quantization {quantization}: --to {to} has no choice of precision; leave it out")
    if to == "hf":
        from polystill.export.huggingface import export_huggingface

        return export_huggingface(student, out, lines, record)
    if to == "argos":
        from polystill.export.argos import export_argos

        return export_argos(student, out, lines, record)
    if to == "onnx":
        from polystill.export.onnx import export_onnx

        return export_onnx(student, out, lines, record)
    if to == "marian":
        from polystill.export.marian import export_marian

        return export_marian(student, out, lines, record)
    if to == "bergamot":
        from polystill.export.bergamot import export_bergamot

        return export_bergamot(student, out, lines, record)
    from polystill.export.ctranslate2 import export_ctranslate2

    return export_ctranslate2(student, out, quantization, lines, record)
