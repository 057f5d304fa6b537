"""How well Marian itself trains a run's teacher on the run's text, in a given time.

    python -m venv marian && marian/bin/pip install pymarian
    python -m tools.marian_quality runs/mine --minutes 100 --marian marian/bin/pymarian --json figures.json

Marian trains a network of the teacher's shape alone, on the run's token ids, on one thread in fp32, with the recipe's
batches, dropout, label smoothing and Adam. Its weights are smoothed, and those with the lowest cross-entropy on the
validation set translate the validation set and the test sets. To tune Marian, compare the scores of the validation set
with other values of --set training.learning_rate and --set training.warmup.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.cli.bench import recipe_tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.config import Recipe, load_recipe
from polystill.data.packing import PackedDataset
from polystill.decoding.metrics import corpus_scores
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.transformer import TransformerConfig
from polystill.runs import Run
from tools.against_marian import (
    Marian,
    failure,
    find_marian,
    ids_of_words,
    read_log,
    version,
    word_of,
    write_pairs,
    write_vocabulary,
)

BEAMS = (1, 5)
SMOOTHING = 1e-3
"""Of the weights, by update: about the mean of the last thousand."""


def train(marian: Marian, words: int, minutes: float) -> dict[str, Any]:
    """Train on `train` for so long, validate on `validation`, and leave the best weights beside them.

    Raises:
        UserError: Marian ended before, or has not validated.
    """
    training = marian.recipe.training
    validation = [str(marian.folder / f"validation.{side}") for side in ("source", "target")]
    options = [
        *marian.options("train", words, str(marian.folder)),
        *("--valid-sets", *validation, "--valid-freq", str(training.validate_every), "--valid-mini-batch", "32"),
        *("--valid-metrics", "ce-mean-words", "--keep-best", "--early-stopping", "1000", "--overwrite"),
        *("--save-freq", str(training.validate_every), "--exponential-smoothing", str(SMOOTHING)),
        *("--lr-decay-inv-sqrt", str(training.warmup), "--seed", str(marian.recipe.seed)),
    ]
    log, environment = marian.folder / "log", {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        command = [marian.program, "train", *options]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            process.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            process.terminate()  # it saves what it has
        process.wait()
    text = log.read_text()
    if not best_weights(marian).is_file():
        raise failure(marian.program, text)
    updates = read_log(text)
    return {"updates": len(updates), "target_tokens": sum(update.tokens for update in updates), "minutes": minutes}


def best_weights(marian: Marian) -> Path:
    return marian.folder / "model.npz.best-ce-mean-words.npz"


def translate(marian: Marian, sources: Sequence[Sequence[int]], beam: int) -> list[list[int]]:
    """Token ids of translations, without their end marks."""
    vocabulary = str(marian.folder / "vocabulary.yml")
    options = ["--models", str(best_weights(marian)), "--vocabs", vocabulary, vocabulary, "--beam-size", str(beam)]
    options += ["--normalize", "1", "--mini-batch", "32", "--maxi-batch", "100", "--maxi-batch-sort", "src"]
    text = "".join(f"{' '.join(map(word_of, ids))}\n" for ids in sources)
    done = subprocess.run(
        [marian.program, "decode", *options, "--cpu-threads", "1", "--quiet"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(sources):
        raise failure(marian.program, done.stderr)
    ids = ids_of_words(marian.config.vocabulary_size)
    return [[ids[word] for word in line.split()] for line in lines]


def compare(run: Run, recipe: Recipe, program: str, minutes: float) -> dict[str, Any]:
    """Train by Marian; scores of its network and of the run's teacher by set and beam size."""
    model, tokenizer = load_model_with_tokenizer(run.family)
    if not isinstance(model.config, TransformerConfig):
        raise UserError(f"{run.folder}: its teacher is no Transformer, and Marian trains Transformers only here")
    parts = {name: PackedDataset.open(run.data / name) for name in ("train", "validation")}
    tokens = [lengths.sum() for lengths in (parts["train"].source_lengths, parts["train"].target_lengths)]
    words = round(recipe.training.batch_tokens * tokens[0] / tokens[1])
    rows = []
    with TemporaryDirectory(prefix="marian-") as temporary:
        marian = Marian(program, Path(temporary), recipe, model.config, 1)
        write_vocabulary(marian.folder, tokenizer.vocabulary_size)
        for name, part in parts.items():
            write_pairs(marian.folder, name, part, len(part))
        trained = train(marian, words, minutes)
        say(f"Marian: {trained['updates']:,} updates, {trained['target_tokens']:,} target tokens")
        language = recipe.data.target_language
        for test_set in run.held_out:
            sources = [ids[:-1] for ids in tokenizer.encode_source(run.test_lines(test_set, "source"))]
            references = run.test_lines(test_set, "target")
            for beam in BEAMS:
                texts = tokenizer.decode(translate(marian, sources, beam))
                scores = corpus_scores(texts, references, target_language=language)
                rows.append({"system": "Marian", "test_set": test_set, "beam": beam, **scores})
    rows += [
        {"system": row.model, "test_set": row.test_set, "beam": row.beam, "bleu": row.bleu, "chrf": row.chrf}
        for row in run.results().rows
        if row.model == model.teacher.name and row.beam in BEAMS and row.precision == "float32"
    ]
    settings: dict[str, Any] = {"learning_rate": recipe.training.learning_rate, "warmup": recipe.training.warmup}
    settings |= {"words_an_update": words, "marian": version(program)}
    return {"settings": settings, "training": trained, "rows": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = recipe_tool_parser(__doc__, "a run that is finished")
    parser.add_argument("--marian", metavar="PROGRAM", help="pymarian, if it is not on the PATH")
    parser.add_argument("--minutes", type=float, required=True, help="of Marian's training")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    given = parser.parse_args(arguments)
    with user_errors():
        program = find_marian(given.marian)
        check_new_file("--json", given.json)
        run = Run.open(given.recipe)
        run.need_family()
        recipe = load_recipe(run.folder / "recipe.yaml", given.set)
        result = compare(run, recipe, program, given.minutes)
        for row in sorted(result["rows"], key=lambda row: (row["test_set"], row["beam"])):
            say(f"{row['test_set']} beam {row['beam']} {row['system']}: BLEU {row['bleu']:.2f}, chrF {row['chrf']:.2f}")
        write_benchmark(given.json, "marian-quality", result)


if __name__ == "__main__":
    main()
