"""A report's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polystill.errors import UserError
from polystill.reporting.build import build_report
from polystill.reporting.markdown import to_markdown
from polystill.reporting.page import to_html
from polystill.reporting.static import write_static
from polystill.storage import need_new_folder, write_atomic

_OURS = b'<meta name="generator" content="polystill '
_BEGINNING = 4096
"""Bytes of a page in which that stands."""


def write_report(
    folders: Sequence[Path], out: Path | None = None, static: Path | None = None, markdown: Path | None = None
) -> list[Path]:
    """Write the page of these runs (by default as RUN/report.html), and pictures and Markdown where asked for.

    Returns what was written: files, and the pictures' folder. A page that polystill has written is replaced.

    Raises:
        UserError: as `build_report`; or a file or folder is there already, or cannot be written.
    """
    out = out or folders[0] / "report.html"
    _check_page(out)
    if static is not None:
        need_new_folder(static)
    if markdown is not None and markdown.exists():
        raise UserError(f"{markdown}: exists already; give a new file")
    report = build_report(folders)
    write_atomic(out, to_html(report))
    written = [out]
    if static is not None:
        write_static(report, static)
        written.append(static)
    if markdown is not None:
        write_atomic(markdown, to_markdown(report))
        written.append(markdown)
    return written


def _check_page(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give a file such as {path / 'report.html'}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path}: the page is HTML; give a name that ends in .html")
    if path.exists() and _OURS not in _head(path):
        raise UserError(f"{path}: exists already and is no page of polystill's; give a new file")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGINNING)
