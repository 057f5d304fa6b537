"""polystill generate, select."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from polystill.cli.common import Out, Settings, say, saying_how_to_continue
from polystill.decoding import ENGINES
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.progress import show_log


def register(app: typer.Typer) -> None:
    app.command()(generate)
    app.command()(select)


if TYPE_CHECKING:
    TeacherEngine: TypeAlias = str
else:  # an enum, because Typer does not accept a list of literals as an option
    TeacherEngine = StrEnum("TeacherEngine", {name: name for name in (*ENGINES, "ray")})


Teachers = Annotated[
    list[Path],
    typer.Argument(
        metavar="TEACHER...",
        help="A run, a Hugging Face, CTranslate2 or Bergamot (Firefox) folder, an endpoint's YAML file, or a TSV "
        "file (source, tab, translations). Several models with one vocabulary translate as an ensemble.",
        show_default=False,
    ),
]


def generate(
    teachers: Teachers,
    out: Out,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Translate the training text of this run or recipe.")
    ] = None,
    settings: Settings = None,
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Translate this file, one sentence on each line; plain, .gz or .zst."),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Beam size. By default 5, or --n-best if that is larger.")
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=1, max=1000, help="Keep this many translations of each sentence, with their scores.")
    ] = 1,
    length_penalty: Annotated[float, typer.Option(min=0.0, help="Rank translations by log p / length ** this.")] = 1.0,
    engine: Annotated[
        list[TeacherEngine] | None,
        typer.Option(
            help="Run the model in this engine. By default ctranslate2 if it has the architecture, else torch. *ray*, "
            "alone or in addition, spreads the work over a Ray cluster."
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Compute in this precision, such as int8. By default float32, or that of a CTranslate2 folder."
        ),
    ] = "default",
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Translate in this many processes.")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Threads of each worker; 0 shares the cores among them.")
    ] = 0,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Translate this many source tokens at once in each worker.")
    ] = 1024,
    shard_size: Annotated[int, typer.Option(min=1, help="Write this many different sentences to a shard.")] = 2000,
    source_language: Annotated[
        str | None,
        typer.Option(
            help="The language of the source text, as a multilingual teacher names it, such as eng_Latn. The filters "
            "use it, too. By default the recipe's, or that of a teacher for one language pair."
        ),
    ] = None,
    target_language: Annotated[str | None, typer.Option(help="The language of the translations.")] = None,
) -> None:
    """Translate the training text with a teacher: targets for Seq-KD, or n-best lists for Seq-Inter.

    To train on the translations, give the folder to a recipe as *data.targets.NAME*. Useless translations (copies,
    repetitions, wrong script, wrong length) are left out and counted in FOLDER/manifest.json. After an interruption,
    the same command continues at the first missing shard.

    **Examples**

        polystill generate runs/teacher --run runs/teacher --out targets/beam

        polystill generate runs/teacher --run runs/teacher --n-best 35 --out targets/n-best

        polystill generate opus-mt-en-de --source news.en.zst --workers 8 --threads 1 --out targets/news

        polystill generate path/to/firefox/en-pt --run R.yaml --workers 8 --out targets/firefox

        polystill generate endpoint.yaml --run R.yaml --n-best 4 --out targets/server

        polystill generate nllb --run R.yaml --source-language eng_Latn --target-language deu_Latn --out targets/nllb
    """
    need_packages("generate")
    show_log()
    from polystill.decoding.translator import DecodingOptions
    from polystill.targets.generate import generate_targets
    from polystill.targets.job import Compute, default_beam
    from polystill.targets.select import left_out
    from polystill.targets.sources import Text

    engines = [name for name in ENGINES if name in (engine or [])]
    if len(engines) > 1:
        given = " ".join(f"--engine {name}" for name in engines)
        raise UserError(f"{given}: only one engine can run the model; give one of them")
    with saying_how_to_continue("the first shard that is missing"):
        manifest = generate_targets(
            teachers,
            Text(run, source, (source_language, target_language), settings or ()),
            out,
            options=DecodingOptions(beam or default_beam(n_best), n_best, length_penalty, batch_tokens=batch_tokens),
            compute=Compute(next(iter(engines), None), precision, workers, threads, "ray" in (engine or [])),
            shard_size=shard_size,
            say=say,
        )
    counts = manifest["filter"]
    dropped = left_out(counts["dropped"])
    say(f"wrote {out}: {counts['kept']:,} of {counts['hypotheses']:,} translations kept; left out: {dropped}")


def select(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Targets with n-best lists.", show_default=False)],
    out: Out,
    by: Annotated[
        Literal["bleu", "chrf", "mbr-bleu", "mbr-chrf"] | None,
        typer.Option(
            help="Choose by similarity to the reference (smoothed sentence BLEU, chrF), or by minimum Bayes risk "
            "(mbr-): the mean similarity to the other candidates, which needs no reference. By default bleu."
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Choose by the scores in this file (higher is better). Each line has the number of one candidate, in "
            "the order of the shards; or source, tab, candidate, tab, number.",
        ),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Choose by the scores of this shell command, such as a quality estimation. It reads lines of source, "
            "tab, candidate, and prints one number for each line.",
        ),
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Keep this many translations of each sentence, best first.")] = 1,
    share: Annotated[float, typer.Option(help="Keep this share of the sentences, drawn at random.")] = 1.0,
) -> None:
    """Choose each sentence's best candidates: by its reference (Seq-Inter), by each other (MBR), or by given scores.

    **Examples**

        polystill select targets/n-best --by bleu --out targets/interpolated

        polystill select targets/n-best --by mbr-chrf --out targets/mbr

        polystill select targets/n-best --by mbr-chrf --keep 4 --out targets/four

        polystill select targets/n-best --scorer "python estimate.py" --share 0.5 --out targets/estimated-half
    """
    need_packages("select")
    from polystill.targets.select import select_targets

    manifest = select_targets(folder, out, by=by, scores=scores, scorer=scorer, keep=keep, share=share)
    selection = manifest["selection"]
    before, after = selection["mean_score_of_the_teachers_best"], selection["mean_score"]
    others, without = selection["not_the_teachers_best"], selection["without_candidates"]
    several = f" with {selection['translations']:,} translations" if keep > 1 else ""
    say(
        f"wrote {out}: {selection['sentences']:,} sentences{several}, mean {selection['name']} {before:.4g} (the "
        f"teacher's best) -> {after:.4g}; {others:,} are not the teacher's best, {without:,} had no candidate"
    )
