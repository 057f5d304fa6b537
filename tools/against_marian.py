"""Side by side with Marian in one run: its single network against our whole family.

    python -m venv marian && marian/bin/pip install pymarian
    python tools/against_marian.py recipes/multi30k.yaml --set data.folder=multi30k --marian marian/bin/pymarian

Marian trains the recipe's teacher alone on the CPU in fp32: same sizes, token ids, dropout, label smoothing, Adam and
words an update. Ours trains the teacher and drawn students. They take turns, slice by slice. Target tokens are counted
alike on both sides: real ones with their end marks, no padding; that Marian's log counts so is checked first, on one
epoch of a few hundred pairs. docs/benchmark.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from polystill.bench.rounds import interleaved, quotients, shown_spread, spread
from polystill.bench.train import Trial, Variant, Workload, load_workload
from polystill.cli.bench import prepared_data, tool_parser, write_benchmark
from polystill.cli.common import check_new_file, say, user_errors
from polystill.config import Recipe
from polystill.data.packing import PackedDataset
from polystill.errors import UserError
from polystill.models.transformer import TransformerConfig
from polystill.training.accelerator import best_precision

MOST_PAIRS = 100_000
CHECKED_PAIRS = 300
UPDATE = re.compile(r"Up\. \d+ : Sen\. [\d,]+ : Cost \S+ \* ([\d,]+) .*: Time ([\d.]+)s")
INSTALL = "python -m venv marian && marian/bin/pip install pymarian, then --marian marian/bin/pymarian"


@dataclass(frozen=True)
class Update:
    """One update in Marian's log: the target tokens that it says it trained on, and the seconds since the last one."""

    tokens: int
    seconds: float


class Marian:
    """Marian's training of one network on the pairs in a folder."""

    def __init__(self, program: str, folder: Path, recipe: Recipe, config: TransformerConfig, threads: int) -> None:
        self.program, self.folder, self.recipe, self.config, self.threads = program, folder, recipe, config, threads

    def train(self, data: str, words: int, seed: int, *stop: str) -> list[Update]:
        """Updates of a new training, as logged; `seed` decides which batches come first.

        Raises:
            UserError: Marian failed; its last lines are the message.
        """
        with TemporaryDirectory(dir=self.folder) as scratch:
            done = subprocess.run(
                [self.program, "train", *self.options(data, words, scratch), "--seed", str(seed), *stop],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},  # a thread for each of --cpu-threads
            )
        log = done.stdout + done.stderr
        updates = read_log(log)
        if done.returncode or not updates:
            raise failure(self.program, log)
        return updates

    def options(self, data: str, words: int, scratch: str) -> list[str]:
        """Of a training on `data` in batches of `words` source tokens; its model will be scratch/model.npz."""
        c, training = self.config, self.recipe.training
        source, target = (str(self.folder / f"{data}.{side}") for side in ("source", "target"))
        vocabulary = str(self.folder / "vocabulary.yml")
        options: dict[str, Any] = {
            "type": "transformer",
            "model": f"{scratch}/model.npz",
            "train-sets": [source, target],
            "vocabs": [vocabulary, vocabulary],
            "dim-vocabs": [c.vocabulary_size, c.vocabulary_size],
            "tempdir": scratch,
            "dim-emb": c.d_model,
            "transformer-dim-ffn": c.ffn_dim,
            "transformer-ffn-activation": c.activation,
            "transformer-heads": c.heads,
            "enc-depth": c.encoder_layers,
            "dec-depth": c.decoder_layers,
            "transformer-dropout": c.dropout,
            "transformer-dropout-attention": c.attention_dropout,
            "transformer-dropout-ffn": c.activation_dropout,
            "label-smoothing": self.recipe.objective.label_smoothing,
            "optimizer-params": [*training.betas, 1e-8],
            "learn-rate": training.learning_rate,
            "lr-warmup": training.warmup,
            "clip-norm": training.clip_norm,
            "max-length": self.recipe.data.max_tokens,
            "mini-batch": 10_000,
            "mini-batch-words": words,
            "maxi-batch": 100,
            "precision": ["float32", "float32"],
            "cpu-threads": self.threads,
            "workspace": 2048,
            "disp-freq": "1u",
        }
        flags = ["--tied-embeddings-all", "--transformer-depth-scaling", "--sync-sgd"]
        for name, value in options.items():
            flags += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        return flags


def failure(program: str, log: str) -> UserError:
    """The error of a Marian that failed: the last lines of its log."""
    return UserError(f"{program}: " + " | ".join(log.strip().splitlines()[-3:]))


def read_log(log: str) -> list[Update]:
    """Read Marian's log of its updates under --disp-freq 1u."""
    return [Update(int(match[1].replace(",", "")), float(match[2])) for match in UPDATE.finditer(log)]


def write_pairs(folder: Path, name: str, dataset: PackedDataset, count: int) -> int:
    """Write the first pairs for Marian, ids as words (the end marks are Marian's own); returns the target tokens."""
    tokens = 0
    with (folder / f"{name}.source").open("w") as source, (folder / f"{name}.target").open("w") as target:
        for number, row in enumerate(dataset):
            if number == count:
                break
            for file, ids in zip((source, target), row, strict=True):
                file.write(" ".join(word_of(i) for i in ids[:-1].tolist()) + "\n")
            tokens += len(row[1])
    return tokens


def write_vocabulary(folder: Path, size: int) -> None:
    """Marian's vocabulary of that many rows, its end mark 0 and unknown word 1 as ours."""
    (folder / "vocabulary.yml").write_text(json.dumps(ids_of_words(size)))


def ids_of_words(size: int) -> dict[str, int]:
    """The token ids below `size` by what Marian's texts have for them."""
    return {word_of(i): i for i in range(size)}


def word_of(i: int) -> str:
    """What Marian's texts have for a token id."""
    return {0: "</s>", 1: "<unk>"}.get(i, f"w{i}")


def check_counting(marian: Marian, dataset: PackedDataset) -> dict[str, int]:
    """Whether Marian's labels of one epoch are our target tokens.

    Raises:
        UserError: they are not.
    """
    own = write_pairs(marian.folder, "few", dataset, CHECKED_PAIRS)
    theirs = sum(update.tokens for update in marian.train("few", 1000, 1, "--after-epochs", "1"))
    if theirs != own:
        raise UserError(f"Marian counts {theirs} target tokens where we count {own}: the figures cannot be compared")
    return {"pairs": min(CHECKED_PAIRS, len(dataset)), "target_tokens": own, "marian_labels": theirs}


def source_words(workload: Workload, dataset: PackedDataset) -> int:
    """Source tokens of an average batch of ours: what Marian's --mini-batch-words counts."""
    return round(sum(int(dataset.source_lengths[b.rows].sum()) for b in workload.batches) / len(workload.batches))


def measure(marian: Marian, trials: dict[str, Trial], words: int, rounds: int, updates: int) -> dict[str, Any]:
    """Slices in turn, each round beginning with another one.

    Marian's first update of each slice, in which it allocates, is left out.
    """
    speeds: dict[str, list[float]] = {"marian": []}
    sizes: list[int] = []

    def train_marian() -> None:
        seed = len(speeds["marian"]) + 1
        counted = marian.train("train", words, seed, "--after-batches", str(updates + 1))[1:]
        sizes.extend(update.tokens for update in counted)
        speeds["marian"].append(sum(u.tokens for u in counted) / sum(u.seconds for u in counted))

    for trial in trials.values():
        trial.run()  # warms up
    ours = {name: trial.run for name, trial in trials.items()}
    seconds = interleaved({"marian": train_marian, **ours}, rounds, log=say, warm_up=False)
    workload = next(iter(trials.values())).workload
    speeds |= {name: [workload.target_tokens / s for s in seconds[name]] for name in trials}
    return {
        "target_tokens_per_second": {name: spread(values) for name, values in speeds.items()},
        "speed_to_marian": {name: quotients(speeds[name], speeds["marian"]) for name in trials},
        "target_tokens_an_update": {
            "marian": sum(sizes) / len(sizes),
            "polystill": workload.target_tokens / len(workload.batches),
        },
    }


def compare(recipe: Recipe, data: Path, given: argparse.Namespace, program: str) -> dict[str, Any]:
    workload = load_workload(recipe, data, given.students, given.updates)
    dataset = PackedDataset.open(data / "train")
    precisions = dict.fromkeys(["fp32", best_precision()])
    variants = [Variant("family", mode, precision) for mode in ("exact", "shared") for precision in precisions]
    trials = {variant.name: Trial(variant, workload) for variant in variants}
    threads = torch.get_num_threads()
    with TemporaryDirectory(prefix="marian-") as temporary:
        folder, config = Path(temporary), trials["family-shared"].model.first.config
        assert isinstance(config, TransformerConfig)
        marian = Marian(program, folder, recipe, config, threads)
        write_vocabulary(folder, workload.tokenizer.vocabulary_size)
        checked = check_counting(marian, dataset)
        write_pairs(folder, "train", dataset, MOST_PAIRS)
        result = measure(marian, trials, source_words(workload, dataset), given.rounds, given.updates)
    settings = {"name": recipe.name, "students_per_step": len(workload.networks[0]) - 1, "threads": threads}
    settings |= {"rounds": given.rounds, "updates_a_slice": given.updates, "marian": version(program)}
    return {"settings": settings, "counting": checked, **result}


def version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


def find_marian(wanted: str | None) -> str:
    """Raises:
    UserError: Marian is not there; the message says how to install it.
    """
    for name in [wanted] if wanted else ["pymarian", "marian"]:
        if found := shutil.which(name):
            return found
    raise UserError(f"{wanted or 'pymarian'}: no such program; {INSTALL}")


def report(result: dict[str, Any]) -> None:
    for name, values in result["target_tokens_per_second"].items():
        ratio = result["speed_to_marian"].get(name)
        beside = f"{shown_spread(ratio, 2)} times Marian" if ratio else "(the teacher alone)"
        print(f"{name:20} {shown_spread(values, 0):>20} target tokens/s  {beside}")
    sizes = result["target_tokens_an_update"]
    print(f"target tokens an update: Marian {sizes['marian']:.0f}, polystill {sizes['polystill']:.0f}")
    print(f"counted alike: {result['counting']}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = tool_parser(__doc__, rounds=5)
    parser.add_argument("--marian", metavar="PROGRAM", help="pymarian, if it is not on the PATH")
    parser.add_argument("--students", type=int, default=2)
    parser.add_argument("--updates", type=int, default=8, help="updates of a slice")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    given = parser.parse_args(arguments)
    with user_errors():
        program = find_marian(given.marian)
        check_new_file("--json", given.json)
        with prepared_data(given.recipe, given.set, None) as (recipe, data):
            result = compare(recipe, data, given, program)
        report(result)
        write_benchmark(given.json, "marian", result)


if __name__ == "__main__":
    main()
