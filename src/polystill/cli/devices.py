"""polystill measure, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.cli.common import RunFolder, check_new_file, console, numbers, say, show_log, write_json
from polystill.errors import UserError
from polystill.extras import need_packages

if TYPE_CHECKING:
    from rich.table import Table


def register(app: typer.Typer) -> None:
    app.command()(measure)
    app.command()(merge)


def measure(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Exported CTranslate2 folders, `ship`'s too.", show_default=False),
    ],
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sentences to translate, one a line; some built-in ones by default."),
    ] = None,
    sentences: Annotated[int, typer.Option(min=1, help="So many of them, evenly spread.")] = 100,
    beam: Annotated[list[str] | None, typer.Option(metavar="N,N,…", help="Beam sizes; 1 (greedy) by default.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="CPU threads for speed in batches.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is measured; medians are reported.")] = 3,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="This device's name; its host name by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Also write the figures here.")
    ] = None,
) -> None:
    """Measure exported students on this device: size, latency, peak memory, speed. Needs the core install only.

    Latency is of one sentence after another, peak memory of the fresh process that translates them, words per second of
    all of them in batches. The figures come back to the run with `polystill merge RUN FILE`.

    **Examples**

        polystill measure my-model

        polystill measure packages/* --text sentences.en --beam 1,5 --threads 4 --device phone --out phone.json
    """
    import platform

    from polystill.measuring.folders import built_in_lines, measure_folders

    check_new_file("--out", out)
    lines = _sentences(text, sentences) if text is not None else built_in_lines(folders, sentences)
    result = measure_folders(
        folders,
        lines,
        text=text.name if text is not None else "built-in",
        device=device or platform.node() or "device",
        beams=numbers("--beam", ",".join(beam or ["1"])),
        threads=threads,
        rounds=rounds,
        log=say,
    )
    console().print(_table(result["rows"], f"{result['device']}: {result['provenance']['hardware']['summary']}"))
    if out is not None:
        write_json(out, result)


def _sentences(path: Path, count: int) -> list[str]:
    from polystill.decoding.stream import read_lines
    from polystill.measuring.figures import sample

    try:
        with path.open("rb") as file:
            return sample(list(read_lines(file, str(path))), count)
    except OSError as error:
        raise UserError(f"--text {path}: cannot be read ({error.strerror})") from None
    except UserError as error:
        raise UserError(f"--text {path}: {error}") from None


def _table(rows: list[dict[str, Any]], below: str) -> Table:
    from rich.table import Table

    table = Table("folder", "student", "precision", caption=below, caption_justify="left")
    for title in ("beam", "size", "p50 ms", "p95 ms", "memory", "words/s", "threads"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row["folder"],
            row.get("model", ""),
            row["compute_type"],
            str(row["beam"]),
            f"{row['size_bytes'] / 1e6:.1f} MB",
            f"{row['latency_p50_ms']:.1f}",
            f"{row['latency_p95_ms']:.1f}",
            f"{row['peak_memory_bytes'] / 1e6:.0f} MB",
            f"{row['words_per_second']:,.0f}",
            str(row["threads"]),
        )
    return table


def merge(
    folder: RunFolder,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What `measure --out` wrote.", show_default=False)
    ],
) -> None:
    """Take figures that `polystill measure` has taken on devices into the run that the students are of.

    They go to RUN/results.json, under `devices`, for `polystill pick` and `ship`. A figure is taken up when its folder
    was exported from a student with the very weights of this run's; all others are left out and named.

    **Example**

        polystill merge runs/mine phone.json board.json
    """
    need_packages("merge")
    show_log()
    from polystill.evaluation.merging import merge_figures
    from polystill.pipeline import need_family
    from polystill.runs import Run

    with Run.open(folder, lock=True) as run:
        need_family(run)
        added, left_out = merge_figures(run, files)
    for device in dict.fromkeys(row["device"] for row in added):
        rows = [row for row in added if row["device"] == device]
        console().print(_table(rows, f"{device}: {rows[0]['hardware']}"))
    for line in left_out:
        say(f"left out: {line}")
