"""polystill bench train, loss, decode."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.cli.common import (
    NewFolder,
    RunFolder,
    Settings,
    check_new_file,
    console,
    numbers,
    say,
    words,
    write_json,
)
from polystill.decoding import ENGINES, find_engine
from polystill.decoding.torch import Torch
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.progress import show_log

if TYPE_CHECKING:
    from polystill.bench.decode import DecodeRow, GenerateRow
    from polystill.config import Recipe
    from polystill.decoding.engine import Engine

bench = typer.Typer(
    name="bench",
    help="""Measure speed and memory of training, the loss and translation. All variants of a measurement run in turn.

    **Examples**

        polystill bench train runs/quickstart

        polystill bench decode runs/quickstart --student e2d2 --threads 1
    """,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all figures to this file.")]
Rounds = Annotated[int, typer.Option(min=1, help="Measure each variant this many times, all of them in turn.")]


def register(app: typer.Typer) -> None:
    for command in (train, loss, decode):
        bench.command()(command)
    app.add_typer(bench)


def train(
    what: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe (YAML) or a run's folder.", show_default=False)
    ],
    settings: Settings = None,
    students: Annotated[int, typer.Option(min=1, help="Draw this many students for each batch.")] = 2,
    rounds: Rounds = 5,
    batches: Annotated[int, typer.Option(min=1, help="Train on this many batches in each round.")] = 4,
    json_file: JsonFile = None,
    out: NewFolder = None,
) -> None:
    """Time training updates: the teacher alone, and a family in plain PyTorch and in each `training.mode`.

    All variants train on the same batches and students, in turn. If you give a recipe, its data are prepared into a
    temporary folder, or into the folder of --out, from which `polystill run` can continue. If you give a run, its data
    are used as they are. docs/benchmark.md explains the figures.

    **Examples**

        polystill bench train recipes/quickstart.yaml

        polystill bench train runs/mine --set training.threads=2 --students 4 --json steps.json
    """
    need_packages("bench train")
    show_log()
    from polystill.bench.train import measure, train_table

    check_new_file("--json", json_file)
    with prepared_data(what, settings, out) as (recipe, data):
        result = measure(recipe, data, students=students, rounds=rounds, batches=batches, log=say)
    console().print(train_table(result))
    write_benchmark(json_file, "train", asdict(result))


def loss(
    vocabulary: Annotated[int, typer.Option(min=20, help="Number of entries of the vocabulary.")] = 32_000,
    tokens: Annotated[int, typer.Option(min=1, help="Number of target tokens of the batch.")] = 4096,
    students: Annotated[str, typer.Option(metavar="N,N,…", help="Measure with these numbers of students.")] = "1,2,4,8",
    d_model: Annotated[int, typer.Option(min=1, help="Width of the hidden states.")] = 512,
    rounds: Rounds = 3,
    threads: Annotated[int, typer.Option(min=0, help="Use this many CPU threads; 0 is all cores.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Measure peak memory and time of the loss for several numbers of students. Compares the fused with the plain loss.

    **Example**

        polystill bench loss --vocabulary 32000 --tokens 4096 --students 1,2,4,8
    """
    need_packages("bench loss")
    from polystill.bench.loss import loss_table, measure

    check_new_file("--json", json_file)
    result = measure(
        vocabulary_size=vocabulary,
        tokens=tokens,
        d_model=d_model,
        students=numbers("--students", students),
        rounds=rounds,
        threads=threads,
        log=say,
    )
    console().print(loss_table(result))
    write_benchmark(json_file, "loss", asdict(result))


def decode(
    folder: RunFolder,
    student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME,…", help="Time these students, such as e4d2 or OTHER_RUN/e4d2. By default all."
        ),
    ] = None,
    beam: Annotated[
        list[str] | None, typer.Option(metavar="N,N,…", help="Beam sizes of the students. By default 1 (greedy).")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="NAME,NAME,…", help="Only in these engines. By default in all.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Use this many CPU threads.")] = 1,
    batch_sizes: Annotated[
        str, typer.Option(metavar="N,N,…", help="Numbers of sentences translated at once.")
    ] = "32,1",
    sentences: Annotated[int, typer.Option(min=1, help="Translate this many sentences of the test set.")] = 1000,
    test_set: Annotated[str | None, typer.Option(help="Test set to translate. By default the recipe's first.")] = None,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Time the students once more with a shortlist (polystill export).")
    ] = False,
    rounds: Rounds = 3,
    json_file: JsonFile = None,
) -> None:
    """Time translation by the teacher (with beam 5 and greedily) and the students (greedily), in every engine.

    CTranslate2 runs on the CPU in float32 and int8, torch in float32, on the GPU if there is one. LSTMs run in torch
    only. Times include tokenisation. The torch beam search is also compared with transformers' `generate`. torch takes
    most of the time: leave it out with `--engine ctranslate2`.
    docs/benchmark.md explains the figures.

    **Examples**

        polystill bench decode runs/mine --student e2d2 --threads 1 --batch-sizes 32,1 --shortlist

        polystill bench decode runs/teacher --student runs/student/e2d2 --beam 1,5
    """
    need_packages("bench decode")
    from polystill.bench.decode import architecture_of, decode_table, find_members, test_lines

    engines = [find_engine(name) for name in words("--engine", engine) or ENGINES]
    sizes = numbers("--batch-sizes", batch_sizes)
    check_new_file("--json", json_file)
    lines, test_set = test_lines(folder, test_set, sentences)
    members = find_members(folder, words("--student", student))
    wanted = [1] if beam is None else numbers("--beam", ",".join(beam))
    beams = {"teacher": (BEAM, 1), **dict.fromkeys(members, tuple(wanted))}
    members = {"teacher": (folder, "teacher"), **members}
    architectures = {architecture_of(run, name) for run, name in members.values()}
    fitting = [each for each in engines if architectures <= set(each.architectures)]
    if not fitting:
        raise UserError(f"--engine {','.join(engine or ())}: has no {' and '.join(map(str.upper, architectures))}")
    decoders = [(each, precision) for each in fitting for precision in each.compared]
    shortened = list(members)[1:] if shortlist else []
    rows = _decode_systems(members, beams, decoders, shortened, lines, sizes, rounds, threads)
    has_generate = ENGINES[Torch.name] in fitting and architecture_of(folder, "teacher") == "transformer"
    generated = _against_generate(folder, lines, sizes, rounds, threads) if has_generate else []
    out = console()
    out.print(decode_table(rows))
    for row in generated:
        out.print(str(row), soft_wrap=True)
    settings = {"test_set": test_set, "sentences": len(lines), "threads": threads, "rounds": rounds}
    result = {"rows": [row.record() for row in rows], "generate": [asdict(row) for row in generated]}
    write_benchmark(json_file, "decode", {"settings": settings, **result})


BEAM = 5


def _decode_systems(
    members: dict[str, tuple[Path, str]],
    beams: dict[str, tuple[int, ...]],
    decoders: list[tuple[Engine, str]],
    shortened: list[str],
    lines: list[str],
    sizes: list[int],
    rounds: int,
    threads: int,
) -> list[DecodeRow]:
    from polystill.bench.decode import System, measure
    from polystill.decoding.beam import TorchTranslator
    from polystill.export.students import export_student
    from polystill.translation import open_translator

    systems = []
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="polystill-")))
        for engine, precision in decoders:
            for name, (folder, student) in members.items():
                opened = open_translator(folder, student, engine=engine.name, precision=precision, threads=threads)
                translator = stack.enter_context(opened)
                device = translator.device.type if isinstance(translator, TorchTranslator) else "cpu"
                for beam in beams[name]:
                    system = System(name, engine.name, precision, beam, translator, engine.inner_threads, device)
                    systems.append(system)
            for name in shortened if engine.shortlist else []:
                assert engine.export_format is not None  # the export brings the shortlist
                folder, student = members[name]
                out = temporary / f"{engine.name}-{precision}" / name.replace("/", "-")
                export_student(folder, student, engine.export_format, out, precision, shortlist=True)
                translator = engine.open(out, threads=threads)
                systems += [
                    System(name, engine.name, precision, beam, translator, engine.inner_threads, shortlist=True)
                    for beam in beams[name]
                ]
        say(f"{len(systems)} systems, {len(lines)} sentences")
        return measure(systems, lines, batch_sizes=sizes, rounds=rounds, threads=threads, log=say)


def _against_generate(folder: Path, lines: list[str], sizes: list[int], rounds: int, threads: int) -> list[GenerateRow]:
    from polystill.bench.decode import measure_generate
    from polystill.models.family import Family

    with TemporaryDirectory(prefix="polystill-") as temporary:
        teacher = Path(temporary) / "teacher"
        Family.load(folder).extract("teacher", teacher)
        return [
            measure_generate(teacher, lines, beam_size=BEAM, batch_size=size, rounds=rounds, threads=threads, log=say)
            for size in sizes
        ]


# --- what they share --------------------------------------------------------------------------------------------------


@contextmanager
def prepared_data(what: Path, settings: list[str] | None, out: Path | None) -> Iterator[tuple[Recipe, Path]]:
    """A recipe and the folder of its packed data: a run's own, or made for the block (or in `out`)."""
    from polystill.config import load_recipe
    from polystill.pipeline import prepare_data
    from polystill.runs import Run

    if what.is_dir():
        run = Run.open(what)
        if out is not None:
            raise UserError(
                f"--out {out}: {what} is a run, which has data of its own; --out is for a recipe's, so leave it out"
            )
        if not run.finished("data"):
            raise UserError(f"{what}: its data are not prepared; run polystill prepare first")
        for setting in settings or ():
            if setting.startswith(("data.", "data=")):
                raise UserError(f"--set {setting}: a run's data cannot be changed; give a recipe instead of a run")
        yield load_recipe(what / "recipe.yaml", settings), run.data
        return
    recipe = load_recipe(what, settings)
    with TemporaryDirectory(prefix="polystill-") as temporary:
        folder = Path(temporary) / "run" if out is None else out
        prepare_data(recipe, folder)
        run = Run.open(folder)
        yield run.recipe, run.data


def tool_parser(description: str | None, rounds: int) -> ArgumentParser:
    """The arguments that the scripts of tools/ share which time a training: a recipe with --set, and --rounds."""
    parser = recipe_tool_parser(description, "a recipe, or a run whose data are prepared")
    _add_rounds(parser, rounds)
    return parser


def recipe_tool_parser(description: str | None, recipe: str = "a recipe") -> ArgumentParser:
    """The arguments of those that train once: a recipe with --set."""
    parser = _parser(description)
    parser.add_argument("recipe", type=Path, help=recipe)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in polystill run")
    return parser


def text_tool_parser(description: str | None) -> ArgumentParser:
    """The arguments of those that time the translation of a text: --sentences, --rounds and --json."""
    parser = _parser(description)
    _add_rounds(parser, rounds=5)
    parser.add_argument("--sentences", type=int, default=200, help="that are timed")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    return parser


def _parser(description: str | None) -> ArgumentParser:
    return ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)


def _add_rounds(parser: ArgumentParser, rounds: int) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help="times that each is measured, all of them in turn")


def write_benchmark(path: Path | None, benchmark: str, result: dict[str, Any]) -> None:
    """Write what docs/benchmark.md describes, with where it was measured, if there is a path."""
    from polystill.runs.provenance import provenance

    if path is not None:
        write_json(path, {"format": 1, "benchmark": benchmark, **result, "provenance": provenance().to_json()})
