"""From attention to links of pieces, of words, and of places in the text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polystill.decoding.alignment import aligned_spans, pharaoh, piece_spans, word_links
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import Alignment, DecodingOptions, Hypothesis, Translator
from polystill.models.folder import load_model_with_tokenizer
from polystill.placement import Span
from polystill.runs.family import FAMILY, read_family
from polystill.storage import write_json
from polystill.translation import open_translator


def test_each_piece_is_linked_with_the_one_it_attends_to_most_unless_that_is_the_end_mark() -> None:
    found = Alignment.of(["▁a", "▁b", "</s>"], [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.5, 0.4, 0.1]])
    assert found.links == [(1, 0), (0, 2)]


def hypothesis() -> Hypothesis:
    source, target = ["▁The", "▁black", "▁do", "g", ".", "</s>"], ["▁De", "r", "▁schwarz", "e", "▁Hund", "."]
    links = [(0, 0), (0, 1), (1, 2), (1, 3), (3, 4), (4, 5)]
    return Hypothesis("Der schwarze Hund.", target, 0.0, alignment=Alignment(source, links))


def test_words_are_what_blanks_separate_and_their_signs_do_not_count() -> None:
    found = hypothesis()
    assert pharaoh(word_links(found)) == "0-0 1-1 2-2"
    assert found.alignment is not None
    found.alignment.links[-1] = (1, 5)  # the full stop attends to "black"
    assert pharaoh(word_links(found)) == "0-0 1-1 2-2"
    alone = Hypothesis("–", ["▁–"], 0.0, alignment=Alignment(["▁–", "</s>"], [(0, 0)]))
    assert word_links(alone) == [(0, 0)]
    assert word_links(Hypothesis("a", ["▁a"], 0.0)) == []


def test_spans_are_those_of_the_pieces() -> None:
    line, found = "The black dog.", hypothesis()
    texts = [(line[slice(*span.source)], found.text[slice(*span.target)]) for span in aligned_spans(line, found)]
    assert texts == [("The", "De"), ("The", "r"), ("black", "schwarz"), ("black", "e"), ("g", "Hund"), (".", ".")]
    assert aligned_spans("Another dog.", found) == []
    assert aligned_spans(line, Hypothesis("Der", ["▁De", "r"], 0.0)) == []


def test_bytes_are_the_character_that_they_spell() -> None:
    pieces = ["▁a", "▁", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "b"]
    assert piece_spans("a 😀b", pieces) == [(0, 1), (2, 2), *[(2, 3)] * 4, (3, 4)]
    assert piece_spans("日本 語", ["▁", "日", "本", "▁語"]) == [(0, 0), (0, 1), (1, 2), (3, 4)]
    assert piece_spans("a c", ["▁a", "▁b"]) is None
    assert piece_spans("a \u00a0\tb", ["▁a", "▁b"]) == [(0, 1), (4, 5)]
    assert Span((0, 1), (0, 1)).source == (0, 1)


LINES = ["one two three", "", "seven", "nine eight seven six five four", "   ", "two two", "zero"]


@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (4, 3)])
def test_both_engines_align_alike(
    counting_student: Path, counting_ctranslate2: Path, beam_size: int, n_best: int
) -> None:
    """In float32 the same links: of the first token, too, which CTranslate2's own beam search gets wrong."""
    options = DecodingOptions(beam_size=beam_size, n_best=n_best, alignment=True)
    engines: list[Translator] = [
        TorchTranslator(*load_model_with_tokenizer(counting_student)),
        CTranslate2Translator(counting_ctranslate2),
    ]
    ours, theirs = (engine.translate(LINES, options) for engine in engines)
    links = 0
    for line, found, expected in zip(LINES, ours, theirs, strict=True):
        for h, e in zip(found, expected, strict=True):
            assert h.tokens == e.tokens
            assert h.alignment == e.alignment
            assert (h.alignment is None) == (not line.strip())
            links += len(h.alignment.links) if h.alignment else 0
    assert links > 5
    plain = engines[1].translate(LINES, DecodingOptions(beam_size=beam_size))
    assert all(h.alignment is None for found in plain for h in found)


def test_an_lstm_aligns_by_its_attention(counting_lstm: Path) -> None:
    translator = TorchTranslator(*load_model_with_tokenizer(counting_lstm))
    found = translator.translate(LINES, DecodingOptions(beam_size=2, alignment=True))
    assert all(h[0].alignment is not None for h, line in zip(found, LINES, strict=True) if line.strip())


@pytest.mark.parametrize("engine", ["ctranslate2", "torch"])
def test_a_student_of_a_familys_folder_aligns_as_the_family_was_trained_to(
    engine: str, aligned_student: Path, tmp_path: Path
) -> None:
    family = tmp_path / "family"
    shutil.copytree(aligned_student.parent / "family", family)
    write_json(family / FAMILY, {**read_family(family), "alignment": True})
    with open_translator(family, "e2d2", engine=engine, threads=1) as translator:
        assert translator.info["alignment"] is True
