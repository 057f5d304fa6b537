"""Files that translators exchange (PO, XLIFF): their pairs for training, and translations filled into them.

One file a format; nothing here knows of models. `open_document` tells formats by the file's name.
"""

from __future__ import annotations

from pathlib import Path

from polystill.documents.base import Document

PO_SUFFIXES = (".po", ".pot")
XLIFF_SUFFIXES = (".xliff", ".xlf", ".sdlxliff", ".mqxliff", ".mxliff")


def is_document(path: Path) -> bool:
    """Whether a file's name says that it is of one of these formats."""
    return path.suffix.lower() in (*PO_SUFFIXES, *XLIFF_SUFFIXES)


def open_document(path: Path) -> Document:
    """Read a document whole, to fill translations in.

    Raises:
        UserError: it cannot be read, or is not of the format that its name says.
    """
    if path.suffix.lower() in PO_SUFFIXES:
        from polystill.documents.po import PoDocument

        return PoDocument(path)
    from polystill.documents.xliff_writing import XliffDocument

    return XliffDocument(path)
