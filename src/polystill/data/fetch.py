"""`python -m polystill.data.fetch DATASET SOURCE_LANGUAGE TARGET_LANGUAGE`: prints an mtdata data set as TSV.

A program of its own because mtdata takes over logging, prints as it goes and holds an index of some 400 MB. DATASET is
an id such as "Statmt-newstest_deen-2019-deu-eng", or an mtdata recipe such as "vaswani_etal_2017_ende", whose training
sets follow one another. Downloads stay in mtdata's own cache (~/.mtdata, or the folder that MTDATA names). Any failure
is the last line of stderr, and exit status 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from polystill.errors import UserError, nearest


def fetch(dataset: str, source_language: str, target_language: str) -> Iterator[tuple[str, str]]:
    """The pairs of a data set or recipe, downloaded if they are not in the cache; a segment never holds a tab or LF.

    Raises:
        UserError: there is no such data set, or it is of other languages.
    """
    from mtdata.entry import DatasetId
    from mtdata.recipe import RECIPES

    if dataset in RECIPES:
        ids = RECIPES[dataset].train or []
        if not ids:
            raise UserError(f"mtdata recipe {dataset} has no training sets")
    elif 4 <= len(dataset.split("-")) <= 5:
        ids = [DatasetId.parse(dataset)]
    else:
        raise UserError(
            f"{dataset!r} is neither an mtdata data set, such as Statmt-newstest_deen-2019-deu-eng, "
            f"nor an mtdata recipe{nearest(dataset, list(RECIPES))}"
        )
    for did in ids:
        yield from _fetch_one(did, source_language, target_language)


def _fetch_one(did: Any, source_language: str, target_language: str) -> Iterator[tuple[str, str]]:
    from mtdata import cache_dir
    from mtdata.cache import Cache
    from mtdata.index import INDEX
    from mtdata.iso.bcp47 import bcp47
    from mtdata.parser import Parser

    if did not in INDEX:
        command = f"mtdata list -id -l {source_language}-{target_language}"
        raise UserError(f"mtdata knows no data set {did}; `{command}` lists them")
    wanted = [bcp47(language).lang for language in (source_language, target_language)]
    given = [tag.lang for tag in did.langs]
    if sorted(wanted) != sorted(given):
        raise UserError(f"{did} has the languages {'-'.join(given)}, the recipe wants {'-'.join(wanted)}")
    swap = wanted != given
    entry = INDEX[did]
    segments = Parser(Cache(cache_dir).get_entry(entry), ext=entry.in_ext or None, ent=entry)
    for row in segments.read_segs(show_pbar=False):
        first, second = (" ".join(column.split()) for column in row[:2])
        yield (second, first) if swap else (first, second)


def main() -> int:
    # Whatever mtdata prints goes to stderr; stdout carries pairs alone.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    try:
        for source, target in fetch(*sys.argv[1:4]):
            out.write(f"{source}\t{target}\n")
        out.close()
    except Exception as error:  # Anything: mtdata raises what its downloads and parsers raise.
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        print(f"{kind}{' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
