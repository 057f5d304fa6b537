"""Domains of packed training pairs: written once by the data stage, and read by every stage of training.

Beside a folder's packed rows lies `domains.npy`, (rows,) uint16: the number of each row's domain, from 0 in the order
of `data.domains`. A folder whose rows belong to no domain has no such file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polystill.config.data import Data
from polystill.data.batching import Group
from polystill.data.packing import PackedDataset

_FILE = "domains.npy"


def domains_of(data: Data, corpora: np.ndarray) -> np.ndarray | None:
    """The number of each sentence's domain (N,), from the number of its source (N,); None without domains."""
    known = data.domains
    if not known:
        return None
    return np.array([known.index(source.domain or "") for source in data.train], dtype=np.uint16)[corpora]


def write_domains(folder: Path, domains: np.ndarray, data: Data) -> dict[str, dict[str, int]]:
    """Write the number of each packed row's domain (rows,); returns `count_rows` by the domain's name."""
    np.save(folder / _FILE, domains)
    return dict(zip(data.domains, count_rows(folder, domains, len(data.domains)), strict=True))


def count_rows(folder: Path, kinds: np.ndarray, most: int) -> list[dict[str, int]]:
    """Pairs and target tokens of a folder's packed rows by kind; kinds (rows,) are numbers from 0 and below `most`."""
    lengths = PackedDataset.open(folder).target_lengths
    pairs, tokens = (np.bincount(kinds, weights, minlength=most) for weights in (None, lengths))
    return [{"pairs": int(count), "target_tokens": int(total)} for count, total in zip(pairs, tokens, strict=True)]


def groups_of(folder: Path, numbers: range, weights: Mapping[int, float] | None) -> list[Group]:
    """A folder's packed rows by domain, with the weights of these numbers; rows of other domains are left out.

    Without weights, or where the rows belong to no domain, all are one group of weight 1. `numbers` are those that the
    folder's rows have in the groups.
    """
    if weights is None or not (folder / _FILE).is_file():
        return [(numbers, 1.0)]
    domains = np.load(folder / _FILE, mmap_mode="r")
    assert len(domains) == len(numbers), folder
    groups = ((numbers.start + np.flatnonzero(domains == number), weight) for number, weight in weights.items())
    return [(found, weight) for found, weight in groups if len(found)]
