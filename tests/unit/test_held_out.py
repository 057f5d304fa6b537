"""Held-out text stays out of training, whatever its capitals and signs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polystill.config import parse_recipe
from polystill.data.cleaning import CleaningReport
from polystill.data.held_out import HeldOutText, likeness
from polystill.data.prepare import prepare_data
from polystill.data.training_text import clean_training


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("_Open File…", "open  file", True),
        ("ＯＰＥＮ file", "Open file", True),
        ("Straße", "STRASSE", True),
        ("Open file", "Open files", False),
        ("Page 1", "Page 2", False),
        ("...", "!", False),  # without letters the text itself counts
        ("...", " ... ", True),
        ("में", "मैं", False),  # vowel signs are no signs
        ("ที่", "ทั้ง", False),
        ("क्‍या?", "क्या", True),
        ("שָׁלוֹם", "שלום", True),
        ("☑️ Open", "Open", True),
    ],
)
def test_likeness(one: str, other: str, alike: bool) -> None:
    assert (likeness(one) == likeness(other)) is alike


def test_either_side_is_enough() -> None:
    held_out = HeldOutText([("A dog", "Ein Hund")])
    assert ("a DOG!", "Hund") in held_out and ("dog", "ein Hund.") in held_out
    assert ("Ein Hund", "A dog") not in held_out


def test_a_pair_that_cleaning_repairs_is_still_held_out(tmp_path: Path) -> None:
    pair = ("Tom &amp; Jerry &quot;here&quot;", "Der FuÃŸball von Tom &amp; Jerry")
    data = {
        "folder": str(tmp_path),
        "train": [texts(tmp_path, "train", [(f"dog {i}", f"Hund {i} im Park") for i in range(100)] + [pair])],
        "validation": texts(tmp_path, "validation", [pair]),
        "tokenizer": {"vocabulary_size": 45, "byte_fallback": False},
    }
    for drops, counts in ((False, {"sources": 1, "pairs": 1}), (True, {"sources": 0, "pairs": 0})):
        values = {"data": {**data, "cleaning": {"drop_held_out": drops}}, "stages": [{"name": "one", "updates": 1}]}
        record = prepare_data(parse_recipe(values, "test"), tmp_path / f"data{drops}", log=lambda line: None)
        assert record["dropped"]["held_out"] == drops
        assert record["leakage"]["validation"] == counts


def texts(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    for i, side in enumerate(("en", "de")):
        (folder / f"{name}.{side}").write_text("".join(f"{pair[i]}\n" for pair in pairs))
    return {"kind": "text", "source": f"{name}.en", "target": f"{name}.de"}


@pytest.mark.parametrize(("cleaning", "kept"), [({}, 4), ({"drop_held_out": True}, 1)])
def test_training_pairs_are_dropped_and_counted(tmp_path: Path, cleaning: dict[str, Any], kept: int) -> None:
    train = [("A dog", "Hund"), ("A cat.", "Eine Katze"), ("The house", "ein Baum"), ("Free", "Frei")]
    data = {
        "folder": str(tmp_path),
        "train": [texts(tmp_path, "train", train)],
        "validation": texts(tmp_path, "validation", [("a dog!", "Ein Hund"), ("a cat", "Katze")]),
        "test": {"mine": texts(tmp_path, "test", [("A tree", "Ein Baum")])},
        "cleaning": cleaning,
    }
    recipe = parse_recipe({"data": data, "stages": [{"name": "one", "updates": 1}]}, "test")
    report = CleaningReport()
    text = clean_training(recipe, tmp_path / "kept.arrow", report, lambda line: None)
    assert len(text) == kept
    assert report.dropped["held_out"] == 4 - kept
    if kept == 1:
        assert list(text.pairs()) == [("Free", "Frei")]
        assert report.examples["held_out"][0]["source"] == "A dog"
        assert "held_out" in json.dumps(report.as_dict()["meaning"])
