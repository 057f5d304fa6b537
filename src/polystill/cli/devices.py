"""polystill measure, merge, pick, ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.cli.common import Out, RunFolder, check_new_file, console, numbers, say, show_log, words, write_json
from polystill.environment.extras import need_packages
from polystill.errors import UserError, nearest
from polystill.storage import need_new_folder

if TYPE_CHECKING:
    from rich.table import Table

    from polystill.picking.choice import Choice
    from polystill.picking.devices import Device

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="One or several runs.", show_default=False)]
TestSet = Annotated[str | None, typer.Option(metavar="NAME", help="The first run's first by default.")]


def register(app: typer.Typer) -> None:
    app.command()(measure)
    app.command()(merge)
    app.command()(pick)
    app.command()(ship)


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
    all of them in batches. The figures come back to the run with `polystill merge RUN FILE`. Folders in other formats
    are left out and named.

    **Examples**

        polystill measure my-model

        polystill measure packages/* --text sentences.en --beam 1,5 --threads 4 --device phone --out phone.json
    """
    import platform

    from polystill.evaluation.measure import built_in_lines, check_device_name, measure_folders

    name = device or platform.node() or "device"
    check_device_name(f"--device {name}", name)
    check_new_file("--out", out)
    folders = _with_models(folders)
    lines = _sentences(text, sentences) if text is not None else built_in_lines(folders, sentences)
    result = measure_folders(
        folders,
        lines,
        text=text.name if text is not None else "built-in",
        device=name,
        beams=numbers("--beam", ",".join(beam or ["1"])),
        threads=threads,
        rounds=rounds,
        log=say,
    )
    console().print(_table(result["rows"], f"{result['device']}: {result['provenance']['hardware']['summary']}"))
    if out is not None:
        write_json(out, result)


def _with_models(folders: list[Path]) -> list[Path]:
    """Those that hold a CTranslate2 model; the others (`packages/*` may have other formats) are named.

    Raises:
        UserError: a folder is missing, or none holds one.
    """
    from polystill.evaluation.exported import check_model

    kept, others = [], []
    for folder in folders:
        try:
            check_model(folder)
            kept.append(folder)
        except UserError as error:
            if not folder.exists():
                raise
            others.append(str(error))
    if not kept:
        raise UserError(others[0])
    for message in others:
        say(f"left out: {message}")
    return kept


def _sentences(path: Path, count: int) -> list[str]:
    from polystill.decoding.stream import read_lines
    from polystill.evaluation.speed import sample

    try:
        with path.open("rb") as file:
            return sample(list(read_lines(file, str(path))), count)
    except OSError as error:
        raise UserError(f"--text {path}: cannot be read ({error.strerror})") from None
    except UserError as error:
        raise UserError(f"--text {path}: {error}") from None


def _table(rows: list[dict[str, Any]], below: str) -> Table:
    from rich.table import Table

    from polystill.runs.rows import student_name

    table = Table(caption=below, caption_justify="left")
    table.add_column("folder", overflow="fold")
    table.add_column("student")
    table.add_column("precision")
    for title in ("beam", "size", "p50 ms", "p95 ms", "memory", "words/s", "threads"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row["folder"],
            student_name(row),
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
    from polystill.runs import Run

    with Run.open(folder, lock=True) as run:
        run.need_family()
        added, left_out = merge_figures(run, files)
    for device in dict.fromkeys(row["device"] for row in added):
        rows = [row for row in added if row["device"] == device]
        console().print(_table(rows, f"{device}: {rows[0]['hardware']}"))
    for line in left_out:
        say(f"left out: {line}")


def pick(
    folders: Runs,
    devices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Named devices and their limits: devices.yaml.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Of the devices file; all of them by default.")
    ] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the exported folder, such as 20MB.")] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="That 95 of 100 single sentences keep, such as 40ms.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Peak of a process that translates single sentences: 150MB.")
    ] = None,
    min_bleu: Annotated[float | None, typer.Option(metavar="BLEU")] = None,
    test_set: TestSet = None,
) -> None:
    """The best student of all runs for a budget: highest BLEU, of equals the smallest; with why.

    Every precision and beam size that was measured with CTranslate2 counts, with a shortlist (`evaluate --shortlist`)
    and without. Limits of a devices file are held against what `polystill measure` found on that device, limits given
    here against what `polystill evaluate` found. Where a device has max_size and another format than ctranslate2,
    students are exported in it and weighed, once. Nothing is guessed: where a figure is not measured, the message says
    what measures it.

    Exit status: 0 picked; 1 nothing fits (the nearest is shown, and what it misses by); 2 a mistake, or not measured.

    **Examples**

        polystill pick runs/mine --max-size 20MB --max-latency 40ms

        polystill pick runs/tiny runs/base --devices devices.yaml

        polystill pick runs/tiny runs/base --devices devices.yaml --device phone --test-set newstest
    """
    need_packages("pick", ("pydantic",))
    given = {"max_size": max_size, "max_latency": max_latency, "max_memory": max_memory, "min_bleu": min_bleu}
    limits = {key: value for key, value in given.items() if value is not None}
    if devices is not None and limits:
        option = "--" + next(iter(limits)).replace("_", "-")
        raise UserError(f"{option}: the devices file has the limits; give the one or the other")
    if devices is None and device is not None:
        raise UserError(f"--device {','.join(device)}: give the file that describes it with --devices FILE")
    from polystill.picking.candidates import candidates, check_test_set, open_runs
    from polystill.picking.choice import choose
    from polystill.picking.devices import limits_from_options

    if devices is not None:
        _, _, choices = _pick(folders, devices, device, test_set)
    else:
        budget = limits_from_options(limits)
        runs = open_runs(folders)
        name = check_test_set(runs, test_set)
        choices = {"": choose(candidates(runs, name, budget, None), budget)}
        _explain(choices, name)
    if any(choice.best is None for choice in choices.values()):
        raise typer.Exit(1)


def _pick(
    folders: list[Path], file: Path, names: list[str] | None, test_set: str | None
) -> tuple[str, dict[str, Device], dict[str, Choice]]:
    """Pick for the devices of a file and print why; where a figure is missing for some of them, say so at the end."""
    from polystill.picking.candidates import candidates, check_test_set, open_runs
    from polystill.picking.choice import choose
    from polystill.picking.devices import load_devices
    from polystill.picking.packages import with_package_sizes

    known = load_devices(file)
    wanted = words("--device", names) or list(known)
    for name in wanted:
        if name not in known:
            there = " ".join(known)
            raise UserError(f"--device {name}: not in {file}{nearest(name, list(known))}; it has: {there}")
    devices = {name: known[name] for name in wanted}
    runs = open_runs(folders)
    chosen = check_test_set(runs, test_set)
    choices, failed = {}, []
    for name, device in devices.items():
        try:
            found = with_package_sizes(candidates(runs, chosen, device, name), device, name, say)
            choices[name] = choose(found, device, name)
        except UserError as error:
            failed.append(str(error))
    _explain(choices, chosen)
    if failed:
        raise UserError("\n".join(failed))
    return chosen, devices, choices


def _explain(choices: dict[str, Choice], test_set: str) -> None:
    from polystill.picking.explanation import explain

    for name, choice in choices.items():
        for line in explain(choice, test_set, name or None):
            print(line)


def ship(
    folders: Runs,
    devices: Annotated[
        Path, typer.Option(metavar="FILE", help="Named devices and their limits: devices.yaml.", show_default=False)
    ],
    out: Out,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Of the devices file; all of them by default.")
    ] = None,
    test_set: TestSet = None,
) -> None:
    """Export the best student for each device of a file to OUT/DEVICE, with its measured figures on the model card.

    Picks as `polystill pick` does, and exports in the device's format and precision as `polystill export` does. Where
    nothing fits a device, nothing is written, and the exit status is 1; --device leaves that device out.

    **Example**

        polystill ship runs/tiny runs/base --devices devices.yaml --out packages
    """
    need_packages("ship")
    show_log()
    from polystill.picking.ship import NothingFits, ship

    need_new_folder(out, "give a new folder with --out, or remove this one")
    chosen, described, choices = _pick(folders, devices, device, test_set)
    missing = [name for name, choice in choices.items() if choice.best is None]
    if missing:
        say(f"nothing written: nothing fits {', '.join(missing)}")
        raise typer.Exit(1)
    try:
        ship(choices, described, chosen, out, say)
    except NothingFits as error:
        say(f"nothing written: {error}")
        raise typer.Exit(1) from None
    say(f"wrote {out}")
