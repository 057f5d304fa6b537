"""polystill measure, merge, pick, ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.cli.common import Out, RunFolder, check_new_file, console, numbers, say, words, write_json
from polystill.environment.extras import need_packages
from polystill.progress import show_log
from polystill.storage import need_new_folder

if TYPE_CHECKING:
    from polystill.picking.packages import Picks

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="One or several runs.", show_default=False)]
TestSet = Annotated[
    str | None, typer.Option(metavar="NAME", help="Choose by this test set. By default by the validation set.")
]


def register(app: typer.Typer) -> None:
    app.command()(measure)
    app.command()(merge)
    app.command()(pick)
    app.command()(ship)


def measure(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="CTranslate2 folders that `export` or `ship` wrote.", show_default=False
        ),
    ],
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Translate this text, one sentence on each line. By default built-in sentences."
        ),
    ] = None,
    sentences: Annotated[
        int, typer.Option(min=1, help="Translate this many sentences, spread evenly over the text.")
    ] = 100,
    beam: Annotated[list[str] | None, typer.Option(metavar="N,N,…", help="Beam sizes. By default 1 (greedy).")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Use this many CPU threads for batches.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Measure each folder this many times; medians are reported.")] = 3,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of this device. By default its host name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Also write the figures to this file.")
    ] = None,
) -> None:
    """Measure exported students on this device: size, latency, peak memory and speed. Needs the core install only.

    Each folder is measured in a fresh process. Latency and peak memory are those of one sentence after another, words
    per second those of batches. Add the figures to the run with `polystill merge RUN FILE`. Folders in other formats
    are left out and named.

    **Examples**

        polystill measure my-model

        polystill measure packages/* --text sentences.en --beam 1,5 --threads 4 --device phone --out phone.json
    """
    from polystill.evaluation.figures import device_table
    from polystill.evaluation.measure import measure_on_device

    check_new_file("--out", out)
    result = measure_on_device(
        folders,
        text=text,
        sentences=sentences,
        device=device,
        beams=numbers("--beam", ",".join(beam or ["1"])),
        threads=threads,
        rounds=rounds,
        log=say,
    )
    console().print(device_table(result.rows, f"{result.device}: {result.provenance.hardware.summary}"))
    if out is not None:
        write_json(out, result.to_json())


def merge(
    folder: RunFolder,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files that `measure --out` wrote.", show_default=False)
    ],
) -> None:
    """Add figures that `polystill measure` took on devices to the run that the students belong to.

    The figures go to `devices` in RUN/results.json, for `polystill pick` and `ship`. Figures of models whose weights
    are not those of a student of this run are left out and named.

    **Example**

        polystill merge runs/mine phone.json board.json
    """
    need_packages("merge")
    show_log()
    from polystill.evaluation.figures import device_table
    from polystill.evaluation.measure import merge_figures
    from polystill.runs import Run

    with Run.open(folder, lock=True) as run:
        run.need_family()
        added, left_out = merge_figures(run, files)
    for device in dict.fromkeys(row.device for row in added):
        rows = [row for row in added if row.device == device]
        console().print(device_table(rows, f"{device}: {rows[0].hardware}"))
    for line in left_out:
        say(f"left out: {line}")


def pick(
    folders: Runs,
    devices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with devices and their limits, such as devices.yaml.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Pick for these devices of the file. By default all.")
    ] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Largest exported folder, such as 20MB.")] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time within which 95 of 100 single sentences are translated, such as 40ms."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Largest peak memory while translating, such as 150MB.")
    ] = None,
    min_bleu: Annotated[float | None, typer.Option(metavar="BLEU", help="Lowest BLEU.")] = None,
    test_set: TestSet = None,
) -> None:
    """Pick the student with the highest BLEU within limits, of one or several runs, and say why.

    Of several equally good students, the smallest is picked. BLEU is that of the validation set, so that the test sets
    stay unseen. The figures of a test set are shown beside it.

    Candidates are all students in every precision and beam size that was measured with CTranslate2, with or without a
    shortlist. Limits given as options apply to the figures of `polystill evaluate`. Limits of a devices file apply to
    those of `polystill measure` on that device. If a device has max_size and another format than ctranslate2, students
    are exported in that format once, to learn their size. Nothing is estimated: if a figure was not measured, the
    message names the command that measures it.

    Exit status: 0 if a student was picked for every device; 1 if nothing fits (the nearest student is shown, and what
    it misses); 2 after a mistake, or if no measured student fits and others lack a figure.

    **Examples**

        polystill pick runs/mine --max-size 20MB --max-latency 40ms

        polystill pick runs/tiny runs/base --devices devices.yaml

        polystill pick runs/tiny runs/base --devices devices.yaml --device phone --test-set newstest
    """
    need_packages("pick", ("pydantic",))
    limits = {"max_size": max_size, "max_latency": max_latency, "max_memory": max_memory, "min_bleu": min_bleu}
    if _pick(folders, devices, device, limits, test_set).without_student:
        raise typer.Exit(1)


def _pick(
    folders: list[Path], devices: Path | None, names: list[str] | None, limits: dict[str, Any], test_set: str | None
) -> Picks:
    """Pick, and print why."""
    from polystill.picking.packages import pick, wanted_devices

    picks = pick(folders, wanted_devices(devices, words("--device", names), limits), test_set, say)
    for line in picks.explain():
        print(line)
    return picks


def ship(
    folders: Runs,
    devices: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="File with devices and their limits, such as devices.yaml.", show_default=False
        ),
    ],
    out: Out,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Ship for these devices of the file. By default all.")
    ] = None,
    test_set: TestSet = None,
) -> None:
    """Export the best student for each device of a file to OUT/DEVICE, with its measured figures on the model card.

    `ship` picks like `polystill pick`, and exports like `polystill export`, in the device's format and precision. If
    nothing fits one of the devices, nothing is written and the exit status is 1. Choose the other devices with
    --device.

    **Example**

        polystill ship runs/tiny runs/base --devices devices.yaml --out packages
    """
    need_packages("ship")
    show_log()
    from polystill.picking.packages import NothingFits, ship

    need_new_folder(out, "give a new folder with --out, or remove this one")
    try:
        ship(_pick(folders, devices, device, {}, test_set), out, say)
    except NothingFits as error:
        say(f"nothing written: {error}")
        raise typer.Exit(1) from None
    say(f"wrote {out}")
