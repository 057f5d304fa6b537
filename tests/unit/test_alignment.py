"""Alignments of training pairs: the aligner, their files, and the batches that carry them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from polystill.config import parse_recipe
from polystill.data.aligner import Aligner, blocks
from polystill.data.alignment import Alignments, write_alignments
from polystill.data.batching import BatchSchedule
from polystill.data.modifiers import Augmenter
from polystill.data.packing import PackedDataset, pack
from polystill.data.prepare import prepare_data
from polystill.data.tokenizer import Tokenizer, train_tokenizer, words_of
from polystill.decoding.ctranslate2 import read_info
from polystill.errors import UserError
from polystill.export.students import extracted
from polystill.runs import Run
from polystill.runs.family import read_family
from polystill.sources.built_in import sentences
from polystill.students import Student
from polystill.training.feed import BatchFeed, MicroBatch, Position, make_micro_batch
from polystill.training.loop import train_family
from tools.alignment_error import GOLD, aligner_links, error_rate, read_gold


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, PackedDataset]:
    """The built-in corpus' first 6,000 pairs and the gold ones."""
    from polystill.config.data import TokenizerSettings

    folder = tmp_path_factory.mktemp("packed")
    pairs = list(zip(*(list(sentences("train", language))[:6000] for language in ("en", "de")), strict=True))
    pairs += [(pair.source, pair.target) for pair in read_gold(GOLD)]
    tokenizer = train_tokenizer(
        (line for pair in pairs for line in pair), TokenizerSettings(vocabulary_size=1500), "en", "de"
    )
    pack(pairs, tokenizer, folder, 256)
    return tokenizer, PackedDataset.open(folder)


def test_the_aligner_finds_most_links_and_few_wrong_ones(built_in: tuple[Tokenizer, PackedDataset]) -> None:
    """By the alignment error rate on pairs that were aligned by hand."""
    tokenizer, data = built_in
    gold = read_gold(GOLD)
    assert error_rate(gold, aligner_links(Aligner.learn(data, tokenizer.vocabulary_size), tokenizer, gold)) < 0.2
    assert error_rate(gold, [list(pair.sure) for pair in gold]) == 0
    assert error_rate(gold, [[(0, 0)] for _ in gold]) > 0.5


def test_blocks_do_not_matter(built_in: tuple[Tokenizer, PackedDataset], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, data = built_in
    aligner, rows = Aligner.learn(data, tokenizer.vocabulary_size), np.arange(50)
    whole = [each.tolist() for pairs in blocks(data, rows) for each in aligner.links(pairs)]
    monkeypatch.setattr("polystill.data.aligner.BLOCK_LINKS", 100)
    assert [each.tolist() for pairs in blocks(data, rows) for each in aligner.links(pairs)] == whole
    assert any(whole)


def test_alignments_are_read_as_they_were_written(built_in: tuple[Tokenizer, PackedDataset], tmp_path: Path) -> None:
    _, data = built_in
    rows = [np.array([(i % 2, 0)] * (i % 3)) for i in range(len(data))]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_alignments(tmp_path / name, rows, data)
    read = Alignments.open([tmp_path / "a", tmp_path / "b"])
    assert len(read) == 2 * len(data)
    for i in (0, 4, len(data) - 1):
        end = [int(data.source_lengths[i]) - 1, int(data.target_lengths[i]) - 1]
        for row in read.rows(np.array([i, len(data) + i])):
            assert row.tolist() == [*rows[i].tolist(), end]
    with pytest.raises(UserError, match="no alignments here"):
        Alignments.open([tmp_path])


def test_a_batch_holds_where_links_stand_and_shares_that_add_up_to_one() -> None:
    rows = [np.array([3, 4, 0]), np.array([5, 0])]
    links = [np.array([(0, 1), (1, 1), (2, 2)], dtype=np.uint16), np.array([(1, 1)], dtype=np.uint16)]
    batch = make_micro_batch(rows, rows, pad_id=9, links=links)
    dense = torch.zeros(2, 3, 3)
    dense.view(-1)[batch.links] = batch.link_shares
    assert dense.tolist() == [[[0, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]]]
    assert not MicroBatch.of(batch.source, batch.target, 9).links.numel()


# --- the data stage -----------------------------------------------------------------------------------------------


def prepared(recipe: dict, folder: Path, alignment: dict) -> tuple[Alignments, PackedDataset]:
    recipe = {**recipe, "data": {**recipe["data"], "alignment": alignment}}
    prepare_data(parse_recipe(recipe, "test"), folder, log=lambda line: None)
    return Alignments.open([folder / "train"]), PackedDataset.open(folder / "train")


def test_the_data_stage_learns_alignments(counting_recipe: dict, tmp_path: Path) -> None:
    """The toy language reverses the words, so the diagonal prior is wrong about every pair of them."""
    alignments, data = prepared(counting_recipe, tmp_path / "data", {"kind": "ibm"})
    assert len(alignments) == len(data)
    same = total = 0
    for links, source, target in zip(alignments.rows(np.arange(200)), *data.rows(np.arange(200)), strict=True):
        reversed_links = (
            {(i, len(target) - 2 - i) for i in range(len(source) - 1)} if len(source) == len(target) else set()
        )
        same += len(reversed_links & {tuple(link) for link in links.tolist()})
        total += len(reversed_links)
    assert total and same > 0.3 * total  # a fifth is chance


def test_links_of_files_stay_with_their_pairs_through_cleaning(
    counting_data: Path, counting_recipe: dict, tmp_path: Path
) -> None:
    """A pair that is dropped, a duplicate, and one that is too long take their lines with them."""
    long = " ".join(["one"] * 9)  # longer than any sentence of the corpus
    pairs = [(f"{long} two", f"zwei {long}", "9-0 0-9"), ("", "eins", "0-0"), (f"{long} two", f"zwei {long}", "0-0")]
    pairs += [("three four " * 20, "vier drei " * 20, "0-0"), (f"{long} six", f"sechs {long}", "9-0 0-7 3-99")]
    for i, name in enumerate(("en", "de", "links")):
        (tmp_path / f"odd.{name}").write_text("".join(f"{pair[i]}\n" for pair in pairs), encoding="utf-8")
    count = len((counting_data / "train.en").read_text().splitlines())
    (tmp_path / "train.links").write_text("0-0\n" * count)
    odd = {"kind": "text", "source": str(tmp_path / "odd.en"), "target": str(tmp_path / "odd.de")}
    data = {**counting_recipe["data"], "train": [*counting_recipe["data"]["train"], odd], "max_tokens": 60}
    files = [str(tmp_path / "train.links"), str(tmp_path / "odd.links")]
    alignments, packed = prepared(
        {**counting_recipe, "data": data}, tmp_path / "data", {"kind": "pharaoh", "files": files}
    )
    assert len(alignments) == len(packed)
    tokenizer = Tokenizer.load(tmp_path / "data" / "tokenizer")
    found = []
    for links, source, target in zip(
        alignments.rows(np.arange(len(packed))), *packed.rows(np.arange(len(packed))), strict=True
    ):
        if tokenizer.decode([source.tolist()])[0].startswith(long):
            words = [words_of([tokenizer.pieces[i] for i in side[:-1]]) for side in (source, target)]
            found.append({(words[0][s], words[1][t]) for s, t in links.tolist()[:-1]})
            assert links.tolist()[-1] == [len(source) - 1, len(target) - 1]
    assert found == [{(9, 0), (0, 9)}, {(9, 0), (0, 7)}]


def test_links_count_words_between_spaces(counting_data: Path, counting_recipe: dict, tmp_path: Path) -> None:
    """As fast_align does, for which a word and the sign behind a no-break space are one."""
    pairs = [("one\u00a0two three", "eins\u200b zwei drei", "0-0 1-2"), ("six \u200b seven", "sechs sieben", "0-0 2-1")]
    for i, name in enumerate(("en", "de", "links")):
        (tmp_path / f"odd.{name}").write_text("".join(f"{pair[i]}\n" for pair in pairs), encoding="utf-8")
    count = len((counting_data / "train.en").read_text().splitlines())
    (tmp_path / "train.links").write_text("0-0\n" * count)
    odd = {"kind": "text", "source": str(tmp_path / "odd.en"), "target": str(tmp_path / "odd.de")}
    data = {**counting_recipe["data"], "train": [odd, *counting_recipe["data"]["train"]]}
    files = [str(tmp_path / "odd.links"), str(tmp_path / "train.links")]
    alignments, packed = prepared(
        {**counting_recipe, "data": data}, tmp_path / "data", {"kind": "pharaoh", "files": files}
    )
    tokenizer = Tokenizer.load(tmp_path / "data" / "tokenizer")
    found = []
    rows = np.arange(2)
    for links, *sides in zip(alignments.rows(rows), *packed.rows(rows), strict=True):
        words = [words_of([tokenizer.pieces[i] for i in side[:-1]]) for side in sides]
        found.append({(words[0][s], words[1][t]) for s, t in links.tolist()[:-1]})
    assert found == [{(0, 0), (1, 0), (2, 2)}, {(0, 0), (1, 1)}]


@pytest.mark.parametrize(
    ("line", "more", "message"),
    [
        ("0-0 x", 0, "line 1: 'x': expected links such as 0-0 1-2"),
        ("0-0", 1, r"{more} lines, but .*train\.en has {pairs} pairs; expected a line for each pair"),
        ("0-0", -1, r"{more} lines, but .*train\.en has {pairs} pairs; expected a line for each pair"),
    ],
)
def test_wrong_files_are_refused(
    line: str, more: int, message: str, counting_recipe: dict, counting_data: Path, tmp_path: Path
) -> None:
    count = len((counting_data / "train.en").read_text().splitlines())
    path = tmp_path / "links"
    path.write_text(f"{line}\n" * (count + more))
    with pytest.raises(UserError, match="links: " + message.format(pairs=f"{count:,}", more=f"{count + more:,}")):
        prepared(counting_recipe, tmp_path / "data", {"kind": "pharaoh", "files": [str(path)]})


def test_the_first_pairs_need_the_first_lines_alone(counting_recipe: dict, counting_data: Path, tmp_path: Path) -> None:
    count = len((counting_data / "train.en").read_text().splitlines())
    (tmp_path / "links").write_text("0-0\n" * count)
    recipe = {**counting_recipe, "data": {**counting_recipe["data"], "first_pairs": count // 2}}
    links = {"kind": "pharaoh", "files": [str(tmp_path / "links")]}
    alignments, packed = prepared(recipe, tmp_path / "data", links)
    assert len(alignments) == len(packed) <= count // 2


def test_a_recipe_names_a_file_for_each_source(counting_recipe: dict) -> None:
    data = {**counting_recipe["data"], "alignment": {"kind": "pharaoh", "files": ["a", "b"]}}
    with pytest.raises(UserError, match="2 for 1 sources of train"):
        parse_recipe({**counting_recipe, "data": data}, "test")


# --- training ---------------------------------------------------------------------------------------------------------


def test_changed_pairs_have_no_links(built_in: tuple[Tokenizer, PackedDataset], tmp_path: Path) -> None:
    tokenizer, data = built_in
    write_alignments(tmp_path, [np.array([(0, 0)])] * len(data), data)
    seed, pad = 1, tokenizer.pad_id
    augmenter = Augmenter(data, tokenizer, {"UpperCase": 0.5}, 256, seed)
    schedule = BatchSchedule(data.source_lengths, data.target_lengths, 2000, seed)
    feed = BatchFeed(data, schedule, pad_id=pad, augmenter=augmenter, alignments=Alignments.open([tmp_path]))
    update = next(feed.updates(Position()))
    (batch,) = update.micro_batches
    originals = data.rows(update.rows)[0]
    changed = [i for i, ids in enumerate(originals) if ids.tolist() != batch.source[i, : len(ids)].tolist()]
    sentences, counts = (batch.links // (batch.target.shape[1] * batch.source.shape[1])).unique(return_counts=True)
    assert changed and sentences.tolist() == [i for i in range(len(batch.source)) if i not in changed]
    assert set(counts.tolist()) == {2}  # the first tokens, and the end marks


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_a_trained_family_says_that_it_aligns(
    counting_recipe: dict, counting_lstm_recipe: dict, prepared_run: Callable[..., Run], architecture: str
) -> None:
    """And so do its students, whose exports are described by what they say."""
    recipe = counting_recipe if architecture == "transformer" else counting_lstm_recipe
    recipe = {**recipe, "data": {**recipe["data"], "alignment": {"kind": "ibm"}}}
    run = prepared_run(recipe)
    train_family(run)
    assert read_family(run.family)["alignment"] is True
    assert read_info(extracted(run, Student(1, 1)))["alignment"] is True
