"""Write the built-in corpus again, or print more of it.

python -m tools.corpus                                                   src/polystill/sources/corpus/*.bz2
python -m tools.corpus --split train --pairs 500000 --seed 2 > more.tsv  as many pairs as wanted, English<TAB>German
"""

from __future__ import annotations

import argparse
import bz2
from pathlib import Path

from polystill.sources.built_in import FOLDER, LANGUAGES, SIZES, file_name
from tools.corpus.generate import SPLITS, generate

SEED = 1
"""The seed of the corpus in the package."""


def freeze(folder: Path) -> None:
    """Write both sides of every split of the corpus that the package has, one sentence a line, compressed."""
    for split, size in SIZES.items():
        sides = zip(*generate(size, seed=SEED, split=split), strict=True)
        for language, lines in zip(LANGUAGES, sides, strict=True):
            text = "".join(f"{line}\n" for line in lines)
            (folder / file_name(split, language)).write_bytes(bz2.compress(text.encode("utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.corpus", description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=SPLITS, help="print pairs of this split instead, as TSV")
    parser.add_argument("--pairs", type=int, default=40_000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="another seed gives other pairs")
    arguments = parser.parse_args()
    if arguments.split is None:
        freeze(FOLDER)
        return
    for english, german in generate(arguments.pairs, seed=arguments.seed, split=arguments.split):
        print(english, german, sep="\t")


if __name__ == "__main__":
    main()
