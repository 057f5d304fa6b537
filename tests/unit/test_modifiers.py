"""Training pairs that are changed as users change text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from polystill.config import TokenizerSettings
from polystill.config.training import ModifierName
from polystill.data.batching import Mixture
from polystill.data.modifiers import CAPITALS, MERGE, MODIFIERS, Augmenter
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.training.feed import BatchFeed, Position

PAIR = ("In 2021 Anna bought 3 small houses, didn't she?", "2021 kaufte Anna 3 kleine Häuser, nicht wahr?")
LINES = [
    (f"The number {i} comes after the number {i - 1}.", f"Die Zahl {i} kommt nach der Zahl {i - 1}.")
    for i in range(1, 400)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    text = [side for pair in [*LINES, PAIR] for side in pair]
    return train_tokenizer(text, TokenizerSettings(vocabulary_size=360), "en", "de")


@pytest.fixture(scope="module")
def dataset(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    folder: Path = tmp_path_factory.mktemp("packed")
    pack(LINES, tokenizer, folder / "train", max_tokens=64)
    return PackedDataset.open(folder / "train")


def test_the_recipe_knows_the_modifiers() -> None:
    assert {*MODIFIERS, MERGE} == set(get_args(ModifierName))


def test_capitals() -> None:
    generator = random.Random(1)
    assert MODIFIERS["UpperCase"](("straße, 3", "Straße"), generator) == ("STRASSE, 3", "STRASSE")
    assert MODIFIERS["TitleCase"](("don't look back", "schau nicht zurück"), generator) == (
        "Don't Look Back",
        "Schau Nicht Zurück",
    )


def test_capitals_are_those_of_the_languages() -> None:
    generator, pair = random.Random(1), ("istanbul is fine", "istanbul iyi")
    both = {name: MODIFIERS[name](pair, generator, languages=("en", "tr")) for name in CAPITALS}
    assert both["UpperCase"] == ("ISTANBUL IS FINE", "İSTANBUL İYİ")
    assert both["TitleCase"] == ("Istanbul Is Fine", "İstanbul İyi")


@pytest.mark.parametrize("seed", range(20))
def test_tags_take_the_place_of_whole_words(seed: int) -> None:
    """Of letters with their marks."""
    source, target = MODIFIERS["Tags"](("सुंदरी और राम", "सुंदरी आणि राम"), random.Random(seed)) or ("", "")
    for side, words in ((source, ("सुंदरी", "राम", "और")), (target, ("सुंदरी", "राम", "आणि"))):
        assert sum(word in side for word in words) >= 2


@pytest.mark.parametrize("seed", range(20))
def test_typos_are_in_the_source_alone(seed: int) -> None:
    source, target = MODIFIERS["Typos"](PAIR, random.Random(seed)) or ("", "")
    assert (target == PAIR[1] and source != PAIR[0]) or source == PAIR[0].replace("oo", "oo")
    changed = [i for i, (a, b) in enumerate(zip(PAIR[0].split(" "), source.split(" "), strict=True)) if a != b]
    assert len(changed) <= 1
    assert MODIFIERS["Typos"](("a 1 it", "x"), random.Random(seed)) is None


@pytest.mark.parametrize("seed", range(50))
def test_what_is_to_be_copied_is_on_both_sides(seed: int) -> None:
    source, target = MODIFIERS["Noise"](PAIR, random.Random(seed)) or ("", "x")
    assert source == target != PAIR[0]
    for name in ("InlineNoise", "Tags"):
        source, target = MODIFIERS[name](PAIR, random.Random(seed)) or ("", "x")
        new = {*source.split()} - {*PAIR[0].split()}
        assert new, (source, target)
        assert any(word.strip(".?,!") and word.strip(".?,!") in target for word in new) or source[-1] in target


def _texts(augmenter: Augmenter, tokenizer: Tokenizer, epoch: int) -> list[tuple[str, str]]:
    sources, targets = augmenter.rows(np.arange(len(LINES)), epoch)
    return list(zip(*(tokenizer.decode([ids.tolist() for ids in side]) for side in (sources, targets)), strict=True))


def test_each_modifier_has_its_share_and_each_epoch_other_rows(dataset: PackedDataset, tokenizer: Tokenizer) -> None:
    augmenter = Augmenter(dataset, tokenizer, {"UpperCase": 0.2, "Merge": 0.1}, 64, seed=1)
    first, second = (_texts(augmenter, tokenizer, epoch) for epoch in (0, 1))
    capitals = [i for i, (source, _) in enumerate(first) if source.isupper()]
    merged = [i for i, (source, target) in enumerate(first) if source.count(".") == target.count(".") == 2]
    assert 50 < len(capitals) < 110 and 15 < len(merged) < 65
    assert all(first[i][1].isupper() for i in capitals)
    assert all(first[i][0].startswith(LINES[i][0] + " The") for i in merged)
    rest = set(range(len(LINES))) - {*capitals, *merged}
    assert all(first[i] == LINES[i] for i in rest)
    assert first != second
    again = Augmenter(dataset, tokenizer, {"UpperCase": 0.2, "Merge": 0.1}, 64, seed=1)
    assert _texts(again, tokenizer, 1) == second  # whatever was asked for before


def test_rows_are_merged_with_those_that_are_trained_on(dataset: PackedDataset, tokenizer: Tokenizer) -> None:
    trained_on = np.array([3, 7, 100])
    augmenter = Augmenter(dataset, tokenizer, {"Merge": 1.0}, 64, seed=1, trained_on=trained_on)
    partners = {source.split(".")[1].strip() for source, _ in _texts(augmenter, tokenizer, 0)}
    assert partners == {LINES[row][0].strip(".") for row in trained_on}


def test_what_does_not_fit_stays_as_it_is(dataset: PackedDataset, tokenizer: Tokenizer) -> None:
    longest = int(max(dataset.source_lengths.max(), dataset.target_lengths.max()))
    augmenter = Augmenter(dataset, tokenizer, {"Merge": 1.0}, longest, seed=1)
    assert _texts(augmenter, tokenizer, 0) == LINES


def test_expected_lengths_are_near_the_real_ones(dataset: PackedDataset, tokenizer: Tokenizer) -> None:
    augmenter = Augmenter(dataset, tokenizer, {name: 1 / 7 for name in (*MODIFIERS, MERGE)}, 64, seed=2)
    real = [np.array([len(ids) for ids in side]) for side in augmenter.rows(np.arange(len(LINES)), 3)]
    for expected, lengths in zip(augmenter.lengths(3), real, strict=True):
        assert expected.sum() == pytest.approx(lengths.sum(), rel=0.1)
    assert abs(real[0].sum() / dataset.source_lengths.sum() - 1) > 0.1  # and far from those of the rows as they are


def test_batches_by_expected_lengths_have_little_padding(dataset: PackedDataset, tokenizer: Tokenizer) -> None:
    """Capitals are about twice as long: batches by the lengths of the rows as they are would be padded to theirs."""
    augmenter = Augmenter(dataset, tokenizer, {"UpperCase": 0.2}, 64, seed=2)
    mixture = Mixture(dataset, [(np.arange(len(dataset)), 1.0)], 256, seed=4)
    padded: dict[bool, int] = {}
    for expected in (False, True):
        mixture.lengths = augmenter.lengths if expected else mixture.lengths
        batches = [augmenter.rows(rows, 0)[1] for rows in mixture.epoch(0)]
        padded[expected] = sum(len(batch) * max(map(len, batch)) for batch in batches)
    assert padded[True] < 0.9 * padded[False]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_ranks_share_the_modified_batch(dataset: PackedDataset, tokenizer: Tokenizer, accumulate: int) -> None:
    def feed(rank: int, ranks: int):
        mixture = Mixture(dataset, [(np.arange(len(dataset)), 1.0)], 256, seed=4)
        augmenter = Augmenter(dataset, tokenizer, {name: 0.05 for name in (*MODIFIERS, MERGE)}, 64, seed=4)
        mixture.lengths = augmenter.lengths
        made = BatchFeed(
            dataset,
            mixture,
            pad_id=tokenizer.pad_id,
            accumulate=accumulate,
            rank=rank,
            ranks=ranks,
            augmenter=augmenter,
        )
        return made.updates(Position())

    whole, *parts = feed(0, 1), feed(0, 2), feed(1, 2)
    for _ in range(12):
        expected, *halves = next(whole), *(next(part) for part in parts)
        assert {half.target_tokens for half in halves} == {expected.target_tokens}
        real = sum(len(batch.real) for half in halves for batch in half.micro_batches)
        assert real == expected.target_tokens == sum(len(batch.real) for batch in expected.micro_batches)
    for updates in (whole, *parts):
        updates.close()
