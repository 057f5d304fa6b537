"""The summary of a run for the terminal: stages, results, sample translations, next commands."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polystill.evaluation.figures import results_table, sort_rows
from polystill.progress import format_seconds
from polystill.runs import Run
from polystill.runs.results import Cost, QualityRow
from polystill.storage import text_lines

SAMPLES = 3


def print_summary(run: Run, console: Console) -> None:
    """Print the parts that the run has so far."""
    console.print(_stages(run))
    rows = _rows(run)
    if rows:
        console.print()
        console.print(results_table(rows))
        console.print(f"{rows[0].engine}, {rows[0].precision}", style="dim")
    for sample in _samples(run, rows):
        console.print(sample, soft_wrap=True)
    console.print()
    console.print(Text("\n".join(_next_steps(run, rows))), soft_wrap=True)


def _stages(run: Run) -> Table:
    finished, cost = run.stages(), run.results().cost
    expected = ["data", *(f"training.{stage.name}" for stage in run.recipe.stages), "family", "evaluation"]
    table = Table("stage", "state", title=f"{run.run_id}", title_justify="left", box=None)
    table.add_column("wall", justify="right")
    table.add_column("CPU", justify="right")
    for stage in expected:
        state = f"finished {finished[stage]['finished_at']}" if run.finished(stage) else "not finished"
        spent = cost.get(stage, Cost())
        times = ("" if time is None else format_seconds(time) for time in (spent.seconds, spent.cpu_seconds))
        table.add_row(stage, state, *times)
    return table


def _rows(run: Run) -> list[QualityRow]:
    """The rows with the recipe's engine, precision and length penalty, the largest student first."""
    return sort_rows(row for row in run.results().rows if row.measured_as(run.recipe))


def _samples(run: Run, rows: list[QualityRow]) -> Iterator[Text]:
    """Translations of three sentences of the first test set by the largest, a middle and the smallest student.

    None where the run was copied without its texts.
    """
    rows = [row for row in rows if (run.folder / row.hypotheses).is_file()]
    if not rows or not (run.data / "test" / f"{rows[0].test_set}.target.txt").is_file():
        return
    test_set = rows[0].test_set
    beam = max(row.beam for row in rows)
    models = [row for row in rows if (row.test_set, row.beam) == (test_set, beam)]
    shown = {models[i].model: text_lines(run.folder / models[i].hypotheses) for i in (0, len(models) // 2, -1)}
    sources, references = run.test_lines(test_set, "source"), run.test_lines(test_set, "target")
    for number in sorted({len(sources) * i // SAMPLES for i in range(SAMPLES)}):
        yield Text(f"\n  {'source':<10} {sources[number]}", style="bold")
        yield Text(f"  {'reference':<10} {references[number]}", style="dim")
        for model, lines in shown.items():
            yield Text(f"  {model:<10} {lines[number]}")


def _next_steps(run: Run, rows: list[QualityRow]) -> list[str]:
    folder = run.folder
    if not run.finished("family") or not run.finished("evaluation"):
        return [f"Continue with: polystill run {folder / 'recipe.yaml'} --out {folder}"]
    name = rows[-1].model if rows else "smallest"
    is_lstm = run.recipe.model.architecture == "lstm"  # Neither Hugging Face nor CTranslate2 has one.
    kind = "" if is_lstm else ", an ordinary Hugging Face folder,"
    ship = "extract {} {}" if is_lstm else "export {} {} --to ctranslate2 --quantization int8"
    return [
        f"Everything lies in {folder}: family/ (the teacher{kind} and its students in it),",
        "results.json (all figures), hypotheses/ (all translations), data/ (cleaning.json says what was dropped),",
        f"logs/ (tensorboard --logdir {folder / 'logs'}).",
        "Next:",
        f"  echo 'A dog runs.' | polystill translate {folder} --student {name}",
        f"  polystill {ship.format(folder, name)} --out my-model",
        f"  polystill status {folder}",
    ]
