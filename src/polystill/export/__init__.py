"""Formats that a student can be exported to, by name: one module each, imported when used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.errors import UserError, nearest

FORMATS = ("hf", "ctranslate2", "sparse")


def export_student(
    student: Path, out: Path, to: str, quantization: str | None = None, lines: Sequence[str] | None = None
) -> dict[str, Any]:
    """Export a student's folder to the folder `out` in one of FORMATS.

    The export is verified against the student on `lines` (by default on made-up ones) before `out` appears. Returns
    what is written there as polystill.json.

    Raises:
        UserError: unknown format or quantization, `out` holds something that is no export, `student` is no Marian
            folder, or the export does not translate like the student.
    """
    if to not in FORMATS:
        raise UserError(f"--to {to}: unknown format{nearest(to, list(FORMATS))}; there are: {' '.join(FORMATS)}")
    if to == "sparse":
        from polystill.export.sparse import export_sparse

        return export_sparse(student, out, quantization)
    with _dense(student) as student:
        if to == "hf":
            if quantization is not None:
                raise UserError(f"--quantization {quantization}: a Hugging Face folder keeps float32; leave it out")
            from polystill.export.huggingface import export_huggingface

            return export_huggingface(student, out, lines)
        from polystill.export.ctranslate2 import export_ctranslate2

        return export_ctranslate2(student, out, quantization, lines)


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
