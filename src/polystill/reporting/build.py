"""A report from runs: its sections, and the files that it is written to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from polystill.errors import UserError
from polystill.progress import Progress
from polystill.reporting.cost import cost_parts
from polystill.reporting.document import Part, Report, Section
from polystill.reporting.families import Family, Noise, Point, open_families, shown_beam
from polystill.reporting.page import to_html, to_markdown, write_static
from polystill.reporting.quality import depth_parts, latency_parts, search_parts, size_parts
from polystill.reporting.tables import (
    data_parts,
    device_parts,
    figure_parts,
    overview_parts,
    provenance_parts,
    robustness_parts,
    sample_parts,
)
from polystill.reporting.training import interaction_parts, training_parts
from polystill.storage import need_new_folder, need_writable, write_atomic


def build_report(folders: Sequence[Path]) -> Report:
    """Make one report of one or several runs from their folders. Nothing is measured or written.

    Raises:
        UserError: a folder is no run or a file of it is damaged, or the runs have no test set in common.
    """
    families = open_families(folders)
    names, test_set = [family.name for family in families], families[0].test_set
    recipes = [family.run.recipe.data for family in families]
    pairs = dict.fromkeys(f"{data.source_language} → {data.target_language}" for data in recipes)
    waiting, sections = list(_sections(families)), []
    progress = Progress("reporting", "section", len(waiting))
    for name, title, parts in waiting:
        progress.add(0, title.lower())
        sections.append(Section(name, title, list(parts)))
        progress.add()
    progress.close()
    return Report(
        title=" and ".join(filter(None, (", ".join(names[:-1]), names[-1]))),
        subtitle=", ".join(pairs) + (f", test set {test_set}" if test_set else ""),
        sections=[section for section in sections if section.parts],
    )


def _sections(families: Sequence[Family]) -> Iterator[tuple[str, str, Iterable[Part]]]:
    """Name, title and parts of each section. The parts are made when they are asked for."""
    first, beam = families[0], shown_beam(families)
    noise = Noise(first.text("target") if first.test_set else None, first.run.recipe.data.target_language)
    rows = [(family, row) for family in families for row in family.rows]
    points = [Point(family, row) for family, row in rows if row.beam == beam and row.size_bytes is not None]
    yield "overview", "In short", overview_parts(families, points, noise)
    yield "size", "Quality against size", size_parts(points, noise)
    yield "latency", "Quality against latency", latency_parts(families, noise)
    yield "devices", "On devices", (part for family in families for part in device_parts(family))
    yield "depth", "Quality by depth", depth_parts(families, beam, noise)
    yield "search", "Greedy search and beam search", search_parts(families, noise)
    yield "training", "Training", training_parts(families)
    yield "together", "How the students act on each other", interaction_parts(families, beam)
    yield "cost", "Cost", cost_parts(families)
    yield "samples", "Translations side by side", sample_parts(families, beam)
    yield "robustness", "Robustness", (part for family in families for part in robustness_parts(family))
    yield "figures", "All figures", (part for family in families for part in figure_parts(family))
    yield "data", "Data and cleaning", (part for family in families for part in data_parts(family))
    yield "provenance", "Provenance", (part for family in families for part in provenance_parts(family))


# --- files ----------------------------------------------------------------------------------------------------------

_GENERATOR = b'<meta name="generator" content="polystill '
_HEAD_BYTES = 4096
"""The beginning of a page, which contains that tag."""


def write_report(
    folders: Sequence[Path], out: Path | None = None, static: Path | None = None, markdown: Path | None = None
) -> list[Path]:
    """Write the page of these runs, by default to RUN/report.html of the first; also pictures and Markdown if wanted.

    Returns the written files and the folder of pictures. A page that polystill wrote before is replaced.

    Raises:
        UserError: as `build_report`; or a file or folder exists already, or cannot be written.
    """
    out = out or folders[0] / "report.html"
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give a file such as {out / 'report.html'}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: the page is HTML; give a name that ends in .html")
    if out.exists():
        with out.open("rb") as file:
            if _GENERATOR not in file.read(_HEAD_BYTES):
                raise UserError(f"{out}: exists already and is not a page of polystill's; give a new file")
    if static is not None:
        need_new_folder(static)
    if markdown is not None and markdown.exists():
        raise UserError(f"{markdown}: exists already; give a new file")
    for path in filter(None, (out, markdown)):
        if folders[0].is_dir():  # else it is no run, which is said first
            need_writable(path)
    report = build_report(folders)
    write_atomic(out, to_html(report))
    if static is not None:
        write_static(report, static)
    if markdown is not None:
        write_atomic(markdown, to_markdown(report))
    return [path for path in (out, static, markdown) if path is not None]
