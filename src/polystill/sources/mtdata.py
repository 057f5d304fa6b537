"""Sentence pairs from public corpora, which the `mtdata` tool fetches.

mtdata takes over logging, prints as it goes and holds an index of some 400 MB. It therefore runs in a process of its
own: `python -m polystill.sources.mtdata DATASET SOURCE_LANGUAGE TARGET_LANGUAGE` prints a data set as TSV. DATASET is
an id such as "Statmt-newstest_deen-2019-deu-eng", or an mtdata recipe such as "vaswani_etal_2017_ende", whose training
sets follow one another. Downloads stay in mtdata's cache (~/.mtdata, or the folder that MTDATA names). A failure is the
last line of stderr, with exit status 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from polystill.errors import UserError, nearest
from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.lines import decoded


class MtdataSource(PairSource):
    """A data set that the `mtdata` tool fetches, such as "Statmt-newstest_deen-2019-deu-eng"."""

    kind: Literal["mtdata"]
    dataset: str
    """Its name in mtdata."""

    def describe(self, folder: Path) -> str:
        return f"mtdata {self.dataset}"

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        """Pairs from a fetching process, which runs in an empty folder: mtdata imports modules that lie in the current
        one. Recipes of the user's own (mtdata.recipes*.yml) are looked for in `folder`."""
        command = [sys.executable, "-m", "polystill.sources.mtdata", self.dataset, *languages]
        environment = {
            "MTDATA_RECIPES": str(folder.absolute()),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=empty, env=environment)
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    source, *rest = line.rstrip(b"\n").split(b"\t")
                    yield decoded(source), decoded(rest[0]) if rest else Unreadable.BROKEN_ROW
                status = process.wait()
            finally:
                process.kill()  # where the reader stopped early; a finished process does not notice
                process.wait()
                process.stdout.close()
            if status != 0:
                errors.seek(0)
                lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
                raise UserError(f"mtdata {self.dataset}: cannot be fetched: {lines[-1]}")


# --- the fetching process -----------------------------------------------------------------------------------------


def fetch(dataset: str, source_language: str, target_language: str) -> Iterator[RawPair]:
    """The pairs of a data set or recipe, downloaded if they are not in the cache; a segment never holds a tab or LF.

    Bytes that are not UTF-8 are lone surrogates (`surrogateescape`).

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


def _fetch_one(did: Any, source_language: str, target_language: str) -> Iterator[RawPair]:
    from mtdata import cache_dir
    from mtdata.cache import Cache
    from mtdata.index import INDEX
    from mtdata.iso.bcp47 import bcp47

    if did not in INDEX:
        command = f"mtdata list -id -l {source_language}-{target_language}"
        raise UserError(f"mtdata knows no data set {did}; `{command}` lists them")
    wanted = [bcp47(language).lang for language in (source_language, target_language)]
    given = [tag.lang for tag in did.langs]
    if sorted(wanted) != sorted(given):
        raise UserError(f"{did} has the languages {'-'.join(given)}, the recipe wants {'-'.join(wanted)}")
    swap = wanted != given
    entry = INDEX[did]
    segments = _lossless_parser()(Cache(cache_dir).get_entry(entry), ext=entry.in_ext or None, ent=entry)
    for row in segments.read_segs(show_pbar=False):
        first, second = map(_segment, (*row, None, None)[:2])
        yield (second, first) if swap else (first, second)


def _lossless_parser() -> Any:
    """mtdata's parser, which would replace bytes that are not UTF-8 and stop at a row without all columns."""
    from mtdata.parser import Parser
    from mtdata.utils import IO

    class LosslessParser(Parser):  # type: ignore[misc]
        def read_plain(self, path: Path) -> Iterator[str]:
            with IO.reader(path, errors="surrogateescape") as lines:
                yield from lines

        def read_tsv(self, path: Path, delim: str = "\t", cols: Any = None, **_: Any) -> Iterator[list[str | None]]:
            for line in self.read_plain(path):
                row = line.rstrip("\r\n").split(delim)
                yield [row[i] if i < len(row) else None for i in cols or range(len(row))]

    return LosslessParser


def _segment(column: Any) -> str | Unreadable:
    return " ".join(column.split()) if isinstance(column, str) else Unreadable.BROKEN_ROW


def main() -> int:
    # What mtdata prints goes to stderr: stdout carries pairs alone, and of a broken row the sides that it has.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape", newline="\n")
    os.dup2(2, 1)
    try:
        for pair in fetch(*sys.argv[1:4]):
            out.write("\t".join(side for side in pair if isinstance(side, str)) + "\n")
        out.close()
    except Exception as error:  # mtdata raises whatever its downloads and parsers raise
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        print(f"{kind}{' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
