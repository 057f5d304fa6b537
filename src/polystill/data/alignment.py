"""Alignments of packed training pairs: made once by the data stage, and read batch by batch.

A link joins the positions of a source and a target token of a pair; end marks are always linked, as in Marian. Beside a
folder's packed rows lie `alignment.links`, all links (uint16 pairs) row after row, and `alignment.starts.npy`, where
each row's begin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from polystill.config.data import Data, PharaohAlignment
from polystill.data.aligner import Aligner, blocks
from polystill.data.normalization import BLANKS, is_blank
from polystill.data.packing import BLOCK_PAIRS, Packed, PackedDataset
from polystill.data.tokenizer import Tokenizer, words_of
from polystill.data.training_text import TrainingText
from polystill.errors import UserError
from polystill.sources.lines import LineReader, read_lines

_LINKS, _STARTS = "alignment.links", "alignment.starts.npy"
_SPACES, _OTHER_BLANKS = re.compile(r"[ \t]+"), re.compile(f"[{BLANKS}]+")
_LINK = re.compile(rb"(\d+)-(\d+)")


class Alignments:
    """The links of packed rows, in memory-mapped files."""

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Take (starts (rows + 1,), links (n, 2)) of each part."""
        self._parts = parts
        self._first_rows = np.cumsum([0, *(len(starts) - 1 for starts, _ in parts)])

    @classmethod
    def open(cls, folders: Sequence[Path]) -> Alignments:
        """Map the alignments of these folders, whose rows follow each other.

        Raises:
            UserError: a folder has none.
        """
        parts = []
        for folder in folders:
            if not (folder / _STARTS).is_file():
                raise UserError(f"{folder}: no alignments here ({_STARTS} is missing)")
            starts = np.load(folder / _STARTS, mmap_mode="r")
            parts.append((starts, np.memmap(folder / _LINKS, np.uint16, "r").reshape(-1, 2)))
        return cls(parts)

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def rows(self, rows: np.ndarray) -> list[np.ndarray]:
        """The links (n, 2) of each of these rows."""
        found = []
        numbers = np.searchsorted(self._first_rows, rows, side="right") - 1
        for number, row in zip(numbers.tolist(), (rows - self._first_rows[numbers]).tolist(), strict=True):
            starts, links = self._parts[number]
            found.append(links[starts[row] : starts[row + 1]])
        return found


def write_alignments(folder: Path, rows: Iterable[np.ndarray], data: PackedDataset) -> int:
    """Write the links (n, 2) of each packed row, without end marks; returns their number with those of end marks."""
    counts = []
    lengths = zip(data.source_lengths.tolist(), data.target_lengths.tolist(), strict=True)
    with (folder / _LINKS).open("wb") as file:
        for links, (source, target) in zip(rows, lengths, strict=True):
            file.write(np.vstack([links.reshape(-1, 2), (source - 1, target - 1)]).astype(np.uint16).tobytes())
            counts.append(len(links) + 1)
    np.save(folder / _STARTS, np.cumsum([0, *counts]))
    return sum(counts)


def learn_alignments(folder: Path, vocabulary_size: int) -> int:
    """Learn and write the alignments of a folder's packed rows; returns the number of links."""
    data = PackedDataset.open(folder)
    aligner = Aligner.learn(data, vocabulary_size)
    every = blocks(data, np.arange(len(data)))
    return write_alignments(folder, (links for pairs in every for links in aligner.links(pairs)), data)


def align(
    data: Data, folder: Path, text: TrainingText, packed: Packed, tokenizer: Tokenizer, log: Callable[[str], None]
) -> None:
    """Write the alignments of all packed training pairs under `folder`. Generated targets are always learnt from.

    Raises:
        UserError: a file of alignments cannot be read, or is of another text.
    """
    assert data.alignment is not None
    learnt = [folder / "targets" / name for name in data.targets]
    if isinstance(data.alignment, PharaohAlignment):
        _check_lines(data, data.alignment, text)
        rows = _from_words(data, data.alignment, text, packed, tokenizer)
        count = write_alignments(folder / "train", rows, PackedDataset.open(folder / "train"))
        log(f"alignments of train: {count:,} links from {', '.join(data.alignment.files)}")
    else:
        learnt = [folder / "train", *learnt]
    for part in learnt:
        log(f"alignments of {part.relative_to(folder)}: {learn_alignments(part, tokenizer.vocabulary_size):,} links")


# --- files of alignments ----------------------------------------------------------------------------------------------


def _check_lines(data: Data, alignment: PharaohAlignment, text: TrainingText) -> None:
    """Raise UserError if a file has another number of lines than its source has pairs."""
    for name, corpus, pairs in zip(alignment.files, data.train, text.store.read, strict=True):
        path = Path(data.folder) / name
        lines = LineReader(path).count()
        if lines < pairs or (lines > pairs and data.first_pairs is None):
            raise UserError(
                f"{path}: {lines:,} lines, but {corpus.describe(Path(data.folder))} has {pairs:,} pairs; expected a "
                "line for each pair"
            )


def _from_words(
    data: Data, alignment: PharaohAlignment, text: TrainingText, packed: Packed, tokenizer: Tokenizer
) -> Iterator[np.ndarray]:
    """The links of each packed row, from those of the words of its line."""
    too_long = set(packed.too_long)
    lines = _Lines([Path(data.folder) / name for name in alignment.files])
    pairs = enumerate(zip(text.pairs(), text.origins(), strict=True))
    while block := list(islice(pairs, BLOCK_PAIRS)):
        sources = tokenizer.source_pieces([source for _, ((source, _), _) in block])
        targets = tokenizer.target_pieces([target for _, ((_, target), _) in block])
        for (number, (pair, (corpus, line))), *sides in zip(block, sources, targets, strict=True):
            links = lines.links(corpus, line)
            if number not in too_long:
                yield _piece_links(_of_model(links, *pair), *(words_of(side[:-1]) for side in sides))


def _of_model(links: Sequence[tuple[int, int]], source: str, target: str) -> list[tuple[int, int]]:
    """Links of a line's words, which stand between spaces, as links of the words that the model reads."""
    of_source, of_target = _model_words(source), _model_words(target)
    return [
        (s, t)
        for i, j in links
        if i < len(of_source) and j < len(of_target)
        for s in of_source[i]
        for t in of_target[j]
    ]


def _model_words(text: str) -> list[range]:
    """For each word between spaces, the words that it becomes: several at a no-break space, none if nothing shows."""
    places, count = [], 0
    for word in filter(None, _SPACES.split(text)):
        parts = 1 if word.isascii() else sum(not is_blank(part) for part in _OTHER_BLANKS.split(word))
        places.append(range(count, count + parts))
        count += parts
    return places


def _piece_links(links: Sequence[tuple[int, int]], source: Sequence[int], target: Sequence[int]) -> np.ndarray:
    """Links of words as links of all their pieces (n, 2); those of words that the model reads otherwise are dropped."""
    of_source, of_target = (_places(words) for words in (source, target))
    found = {(s, t) for i, j in links for s in of_source.get(i, ()) for t in of_target.get(j, ())}
    return np.array(sorted(found, key=lambda link: link[::-1]), dtype=np.int64).reshape(-1, 2)


def _places(words: Sequence[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    return places


class _Lines:
    """The alignments of one file after another; lines are asked for in ascending order."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._corpus, self._line = -1, 0
        self._lines: Iterator[bytes] = iter(())

    def links(self, corpus: int, line: int) -> list[tuple[int, int]]:
        """Those of a line, counted from 1."""
        if corpus != self._corpus:
            self._corpus, self._line, self._lines = corpus, 0, read_lines(self._paths[corpus])
        path = self._paths[corpus]
        content = next(islice(self._lines, line - self._line - 1, None))
        self._line = line
        links = []
        for link in content.split():
            match = _LINK.fullmatch(link)
            if match is None:
                raise UserError(
                    f"{path}: line {line}: {link.decode(errors='replace')!r}: expected links such as 0-0 1-2"
                )
            links.append((int(match[1]), int(match[2])))
        return links
