"""Our beam search against CTranslate2's and against transformers' greedy search, on a small trained network.

In float32 the translations must be the same but for near-ties: hypotheses whose scores differ by less than NEAR, where
rounding decides. They are counted and printed (pytest -s).
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import DecodingOptions
from polystill.export.driver import export_folder
from polystill.models.folder import load_model_with_tokenizer

NEAR = 1e-4


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """More than the network was trained on: longer lines, single words, so that some scores are close."""
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    generator = random.Random(5)
    return [" ".join(generator.choices(words, k=generator.randint(1, 14))) for _ in range(120)]


@pytest.fixture(scope="module")
def engines(
    counting_student: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TorchTranslator, CTranslate2Translator]:
    folder = tmp_path_factory.mktemp("engines") / "float32"
    export_folder(counting_student, folder, "ctranslate2")
    return TorchTranslator(*load_model_with_tokenizer(counting_student)), CTranslate2Translator(folder)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 2), (5, 3), (22, 5)])
def test_same_translations_as_ctranslate2(
    engines: tuple[TorchTranslator, CTranslate2Translator],
    lines: list[str],
    beam_size: int,
    n_best: int,
    length_penalty: float,
) -> None:
    options = DecodingOptions(
        beam_size=beam_size, n_best=n_best, length_penalty=length_penalty, max_length=24, token_scores=True
    )
    ours, theirs = (engine.translate(lines, options) for engine in engines)
    different = 0
    for line, found, expected in zip(lines, ours, theirs, strict=True):
        assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=NEAR), line
        for h, e in zip(found, expected, strict=True):
            if h.tokens != e.tokens:
                different += 1
                print(f"near-tie, scores {h.score:.6f} and {e.score:.6f}:\n  {h.text}\n  {e.text}")
            else:
                assert h.text == e.text
                # All but the first: see CTranslate2Translator._with_token_scores.
                assert h.token_scores is not None and e.token_scores is not None
                assert h.token_scores[1:] == pytest.approx(e.token_scores[1:], abs=1e-3)
    print(f"beam {beam_size}, length penalty {length_penalty}: {different} of {len(lines) * n_best} differ")
    assert different <= 0.01 * len(lines) * n_best
    lengths = {len(h.tokens) for found in ours for h in found}
    assert len(lengths) > 5 and len({found[0].text for found in ours}) > 80, "too uniform to tell anything"


def test_same_greedy_translations_as_transformers(
    engines: tuple[TorchTranslator, CTranslate2Translator], counting_student: Path, lines: list[str]
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model: Any = AutoModelForSeq2SeqLM.from_pretrained(counting_student)
    tokenizer = AutoTokenizer.from_pretrained(counting_student)
    batch = tokenizer(lines, return_tensors="pt", padding=True)
    generated = model.generate(**batch, num_beams=1, do_sample=False, max_new_tokens=40, max_length=None)
    expected = tokenizer.batch_decode(generated, skip_special_tokens=True)
    ours = engines[0].translate(lines, DecodingOptions(beam_size=1, max_length=40))
    different = [(h.text, e) for (h,), e in zip(ours, expected, strict=True) if h.text != e]
    print(f"{len(different)} of {len(lines)} differ: {different}")
    assert len(different) <= 1


def test_8_bit_weights_keep_nearly_all_translations(
    counting_student: Path,
    engines: tuple[TorchTranslator, CTranslate2Translator],
    lines: list[str],
    tmp_path: Path,
) -> None:
    """Whatever CPU this runs on: weights within seven bits never overflow (see export/ctranslate2.py)."""
    export_folder(counting_student, tmp_path / "int8", "ctranslate2", "int8")
    options = DecodingOptions(beam_size=1, max_length=24)
    exact, rounded = (e.translate(lines, options) for e in (engines[1], CTranslate2Translator(tmp_path / "int8")))
    same = sum(a[0].tokens == b[0].tokens for a, b in zip(exact, rounded, strict=True)) / len(lines)
    print(f"int8: {same:.0%} of greedy translations are those of float32")
    assert same >= 0.75
