import random
from pathlib import Path

import numpy as np
import pytest

from polystill.config import TokenizerSettings
from polystill.data import packing
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.errors import UserError

GENERATOR = random.Random(5)
WORDS = ["".join(GENERATOR.choices("abcdefghiklmnorst", k=GENERATOR.randint(2, 6))) for _ in range(80)]
PAIRS = [
    (" ".join(GENERATOR.choices(WORDS, k=i % 11)), " ".join(GENERATOR.choices(WORDS, k=1 + i % 7))) for i in range(500)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    lines = [line for pair in PAIRS for line in pair]
    return train_tokenizer(lines, TokenizerSettings(vocabulary_size=90, byte_fallback=False), "en", "de")


def test_rows_are_the_tokenised_pairs_in_order(tokenizer: Tokenizer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(packing, "BLOCK_PAIRS", 70)  # Several blocks in a file,
    monkeypatch.setattr(packing, "SHARD_ROWS", 200)  # and several files.
    done = pack(iter(PAIRS), tokenizer, tmp_path / "train", 10_000)
    assert len(list((tmp_path / "train").glob("*.arrow"))) == 3
    data = PackedDataset.open(tmp_path / "train")
    sources = tokenizer.encode_source([source for source, _ in PAIRS])
    targets = tokenizer.encode_target([target for _, target in PAIRS])
    assert len(data) == done.rows == len(PAIRS)
    assert data.source_lengths.dtype == data.target_lengths.dtype == np.int32
    assert data.source_lengths.tolist() == [len(row) for row in sources]
    assert data.target_lengths.tolist() == [len(row) for row in targets]
    assert (done.source_tokens, done.target_tokens) == (data.source_lengths.sum(), data.target_lengths.sum())
    indices = np.array([499, 0, 69, 70, 71, 209, 210, 211, 3, 3])
    got = data.rows(indices)
    assert [row.tolist() for row in got[0]] == [sources[i] for i in indices]
    assert [row.tolist() for row in got[1]] == [targets[i] for i in indices]
    assert [(s.tolist(), t.tolist()) for s, t in data] == list(zip(sources, targets, strict=True))


def test_ids_take_two_bytes_and_are_mapped_not_copied(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pack(PAIRS, tokenizer, tmp_path, 10_000)
    row = PackedDataset.open(tmp_path).rows(np.array([4]))[0][0]
    assert row.dtype == np.uint16
    assert not row.flags.owndata and not row.flags.writeable
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    tokens = sum(len(ids) for side in zip(*PAIRS, strict=True) for ids in tokenizer.encode_source(side))
    assert size < 2 * tokens + 8 * len(PAIRS) + 4096


def test_large_vocabularies_take_four_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pieces = {piece: i for i, piece in enumerate(tokenizer.pieces[:-1])}
    pieces |= {f"filler{i}": len(pieces) + i for i in range(70_000)}
    pieces["<pad>"] = len(pieces)
    pieces[tokenizer.pieces[5]], pieces["filler69999"] = pieces["filler69999"], 5  # An id beyond 65,535 is used.
    large = Tokenizer(*tokenizer._models, pieces, {})
    pack(PAIRS, large, tmp_path, 10_000)
    rows = PackedDataset.open(tmp_path).rows(np.arange(len(PAIRS)))[0]
    assert rows[0].dtype == np.int32
    assert max(row.max() for row in rows) > 2**16
    assert [row.tolist() for row in rows] == large.encode_source([source for source, _ in PAIRS])


def test_too_long_pairs_are_dropped_and_named(tokenizer: Tokenizer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(packing, "BLOCK_PAIRS", 90)
    done = pack(PAIRS, tokenizer, tmp_path, 20)
    ids = [(tokenizer.encode_source([s])[0], tokenizer.encode_target([t])[0]) for s, t in PAIRS]
    long = [i for i, (s, t) in enumerate(ids) if max(len(s), len(t)) > 20]
    assert 0 < len(long) < 500 and done.too_long == long
    assert any(max(len(s), len(t)) == 20 for s, t in ids)
    data = PackedDataset.open(tmp_path)
    assert [s.tolist() for s, _ in data] == [s for i, (s, _) in enumerate(ids) if i not in long]
    assert max(data.source_lengths.max(), data.target_lengths.max()) == 20


def test_shortening_keeps_every_row_and_its_end_mark(tokenizer: Tokenizer, tmp_path: Path) -> None:
    done = pack(PAIRS, tokenizer, tmp_path, 9, shorten=True)
    assert done.rows == 500 and done.too_long
    for (source, target), (s, t) in zip(PAIRS, PackedDataset.open(tmp_path), strict=True):
        for text, row in ((source, s), (target, t)):
            full = tokenizer.encode_source([text])[0]
            assert row.tolist() == (full if len(full) <= 9 else [*full[:8], tokenizer.eos_id])


def test_nothing_packed_opens_as_an_empty_dataset(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert pack([], tokenizer, tmp_path, 9).rows == 0
    data = PackedDataset.open(tmp_path)
    assert len(data) == 0 and data.rows(np.array([], dtype=np.int64)) == ([], [])


def test_a_folder_without_packed_files_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        PackedDataset.open(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no packed data (*.arrow) here"


@pytest.mark.parametrize("damage", ["cut", "cut at a block", "garbage", "empty", "garbage in the middle"])
def test_a_damaged_file_is_a_clear_error(tokenizer: Tokenizer, tmp_path: Path, damage: str) -> None:
    pack(PAIRS, tokenizer, tmp_path, 10_000)
    path = tmp_path / "00000.arrow"
    content = path.read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "cut at a block": content[:-8],
        "garbage": b"x" * 5000,
        "empty": b"",
        "garbage in the middle": b"x" * 500 + content[500:],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(UserError) as caught:
        PackedDataset.open(tmp_path)
    assert str(caught.value).startswith(f"{path}: damaged packed data (")
    assert "polystill run prepares the data again" in str(caught.value)
    assert "\n" not in str(caught.value)
