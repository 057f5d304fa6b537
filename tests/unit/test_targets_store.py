"""Shards and manifests: what is written comes back, and what does not belong together is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.targets.store import Candidate, Entry, TargetSet, read_note, shard_path, write_manifest

ENTRIES = [
    Entry([0, 2], "a dog", ["ein Hund", "Hund"], [Candidate("der Hund", -0.5), Candidate("Hund", -1.25)]),
    Entry([1], "Ünï\u2028code", ["x"], [], filtered=2),
    Entry([3], "cats", ["Katzen"], [Candidate("Katzen")]),
]


def error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(TargetSet.open(folder).entries())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_comes_back(tmp_path: Path, make_targets: Any) -> None:
    assert list(make_targets(tmp_path / "t", ENTRIES).entries()) == ENTRIES


def test_pairs_are_one_for_each_hypothesis_of_each_sentence(tmp_path: Path, make_targets: Any) -> None:
    assert list(make_targets(tmp_path / "t", ENTRIES).pairs()) == [
        *[(number, ("a dog", target)) for number in ENTRIES[0].ids for target in ("der Hund", "Hund")],
        (3, ("cats", "Katzen")),
    ]


def test_the_source_must_be_the_training_text(tmp_path: Path, make_targets: Any) -> None:
    targets = make_targets(tmp_path / "t", ENTRIES)
    targets.check_source(targets.source["sha256"], 4)
    with pytest.raises(UserError, match=r"does not line up with the training text: it was generated from 4 sentences"):
        targets.check_source("0" * 64, 4)
    with pytest.raises(UserError, match="text has 5"):
        targets.check_source(targets.source["sha256"], 5)
    make_targets(tmp_path / "mono", ENTRIES, kind="text").check_source("0" * 64, 5)


def test_a_shard_from_another_source(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "t", ENTRIES)
    make_targets(tmp_path / "other", [Entry([i], f"line {i}", [""], [Candidate("x")]) for i in range(4)])
    shutil.copy(shard_path(tmp_path / "other", 1), shard_path(tmp_path / "t", 1))
    message = error(tmp_path / "t")
    assert str(shard_path(tmp_path / "t", 1)) in message and "another source" in message


def test_a_shard_in_anothers_place(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "t", [Entry([i], f"line {i}", [""], [Candidate("x")]) for i in range(4)])
    shutil.copy(shard_path(tmp_path / "t", 0), shard_path(tmp_path / "t", 1))
    assert "this shard is of another source" in error(tmp_path / "t")


def test_a_sentence_twice(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "t", [Entry([0], "a", ["a"], [Candidate("x")]), Entry([0], "b", ["b"], [Candidate("x")])])
    assert "2 sentences, 1 of them different; expected 2, each once" in error(tmp_path / "t")


def test_no_candidates_that_no_filter_took(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "t", [Entry([7], "a dog", ["x"], [])])
    assert "no translation of sentence 7 ('a dog')" in error(tmp_path / "t")


def test_a_flipped_bit_in_a_shard_is_found(tmp_path: Path, make_targets: Any) -> None:
    """Wherever it is: in the pages, in the footer's names, types, statistics and notes, and in the checksum itself."""
    make_targets(tmp_path / "t", ENTRIES)
    shard = shard_path(tmp_path / "t", 0)
    content = shard.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        shard.write_bytes(damaged)
        for read in (read_note, lambda path: list(TargetSet.open(path.parents[1]).entries())):
            with pytest.raises(UserError, match=r"00000\.parquet: damaged, .* delete it, and the same"):
                read(shard)


def test_missing_damaged_and_unfinished(tmp_path: Path, make_targets: Any) -> None:
    targets = make_targets(tmp_path / "t", ENTRIES)
    shard = shard_path(tmp_path / "t", 1)
    content = shard.read_bytes()
    shard.unlink()
    assert f"{shard}: this shard is missing" in error(tmp_path / "t")
    shard.write_bytes(content[: len(content) // 2])
    assert f"{shard}: damaged" in error(tmp_path / "t")
    write_manifest(tmp_path / "t", {**targets.manifest, "finished": False})
    assert "not finished; run the same `polystill generate` again" in error(tmp_path / "t")
    (tmp_path / "t/manifest.json").write_text("{")
    assert "manifest.json: damaged" in error(tmp_path / "t")
    (tmp_path / "t/manifest.json").unlink()
    assert "no generated targets here" in error(tmp_path / "t")
    assert "no such folder" in error(tmp_path / "nowhere")
