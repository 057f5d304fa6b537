"""SentencePiece models in the order of a vocabulary."""

from __future__ import annotations

import io

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export.pieces import filled, joint_pieces

ENGLISH = ["one two three four five six seven eight nine ten", "a house, a dog and a cat"]
GERMAN = ["eins zwei drei vier fünf sechs sieben acht neun zehn", "ein Haus, ein Hund und eine Katze"]


def model(lines: list[str], size: int) -> bytes:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 5), model_writer=written, vocab_size=size, hard_vocab_limit=False, minloglevel=2
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def opus() -> Tokenizer:
    """Two models and one vocabulary in another order, with language codes: OPUS-MT's layout."""
    models = [model(ENGLISH, 60), model(GERMAN, 64)]
    pieces = {p for m in models for p in pieces_of(m) if p not in ("<s>", "</s>", "<unk>")}
    rows = ["</s>", "<unk>", *sorted(pieces), ">>deu<<", "<pad>"]
    return Tokenizer(models[0], models[1], {piece: i for i, piece in enumerate(rows)}, {})


def pieces_of(content: bytes) -> list[str]:
    processor = SentencePieceProcessor(model_proto=content)
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


def test_ids_and_texts_are_the_tokenizers(opus: Tokenizer) -> None:
    lines = [*ENGLISH, ">>deu<< one dog", "cat? ☃", ""]
    source, target = (SentencePieceProcessor(model_proto=m) for m in joint_pieces(opus, lines))
    assert source.get_piece_size() == opus.vocabulary_size - 1
    assert [source.id_to_piece(i).replace("▁>>", ">>") for i in range(source.get_piece_size())] == opus.pieces[:-1]
    assert [[*source.encode(line), source.eos_id()] for line in lines] == opus.encode_source(lines)
    for line, ids in zip(GERMAN, opus.encode_target(GERMAN), strict=True):
        assert target.encode(line) == ids[:-1]
        assert target.decode(ids[:-1]) == line
    assert target.decode([*ids[:2], opus.unk_id, *ids[2:-1]]) == GERMAN[-1]  # as `Tokenizer` has it
    english = opus.encode_source(ENGLISH)[0][:-1]
    assert target.decode(english) == ENGLISH[0]  # pieces of the other side can be written, as when copying


def test_a_vocabulary_filled_up_cuts_and_joins_as_before(opus: Tokenizer) -> None:
    before = joint_pieces(opus, ENGLISH)[0]
    size = len(pieces_of(before)) + 5
    after = filled(before, size)
    assert pieces_of(after)[:-5] == pieces_of(before)
    assert len(set(pieces_of(after))) == size
    old, new = (SentencePieceProcessor(model_proto=m) for m in (before, after))
    for line in (*ENGLISH, f"a {pieces_of(after)[-1]} and a cat"):
        assert new.encode(line) == old.encode(line)
    assert new.piece_to_id(pieces_of(after)[-1]) == size - 1
    assert new.is_unused(size - 1)


def test_pad_must_be_last(opus: Tokenizer) -> None:
    rows = ["<pad>", *opus.pieces[:-1]]
    moved = Tokenizer(*opus.sentencepiece_models, {piece: i for i, piece in enumerate(rows)}, {})
    with pytest.raises(UserError, match="<pad> at 0, and this format, which has none, needs it last"):
        joint_pieces(moved, [])


def test_a_line_that_would_be_cut_otherwise_is_refused(opus: Tokenizer) -> None:
    longest = max(opus.source_pieces(ENGLISH[:1])[0][:-1], key=len)
    rows = [piece for piece in opus.pieces if piece != longest]
    less = Tokenizer(*opus.sentencepiece_models, {piece: i for i, piece in enumerate(rows)}, {})
    with pytest.raises(UserError, match=r"would cut 'one two .* into other ids"):
        joint_pieces(less, ENGLISH[::-1])
