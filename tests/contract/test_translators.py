"""What every translation engine promises (decoding/translator.py), asked of each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polystill.decoding import ENGINES
from polystill.decoding.engine import Engine, ModelTranslator
from polystill.decoding.stream import translate_lines
from polystill.decoding.translator import EMPTY, DecodingOptions, Translator
from polystill.errors import UserError
from tests.best import best

LINES = ["one two three", "", "nine eight seven six five", " \t ", "zero", "four four", "qqq ☃ </s> <pad>", "a\u2028b"]


def torch_translator(student: Path, folder: Path) -> Translator:
    from polystill.decoding.beam import TorchTranslator
    from polystill.models.folder import load_model_with_tokenizer

    return TorchTranslator(*load_model_with_tokenizer(student))


def torch_translator_of_a_family(student: Path, folder: Path) -> Translator:
    from polystill.decoding.beam import TorchTranslator
    from polystill.models.folder import load_model_with_tokenizer
    from polystill.students import Student

    return TorchTranslator(*load_model_with_tokenizer(student.parent / "family"), Student(2, 1))


def torch_translator_in_bfloat16(student: Path, folder: Path) -> Translator:
    import torch

    from polystill.decoding.beam import TorchTranslator
    from polystill.models.folder import load_model_with_tokenizer

    model, tokenizer = load_model_with_tokenizer(student)
    return TorchTranslator(model.to(torch.bfloat16), tokenizer)


def ctranslate2_translator(student: Path, folder: Path) -> Translator:
    from polystill.decoding.ctranslate2 import CTranslate2Translator
    from polystill.export.driver import export_folder

    export_folder(student, folder / "float32", "ctranslate2")
    return CTranslate2Translator(folder / "float32")


def ctranslate2_translator_in_int8(student: Path, folder: Path) -> Translator:
    from polystill.decoding.ctranslate2 import CTranslate2Translator
    from polystill.export.driver import export_folder

    export_folder(student, folder / "int8", "ctranslate2", "int8")
    return CTranslate2Translator(folder / "int8")


def torch_translator_of_an_lstm(student: Path, folder: Path) -> Translator:
    return torch_translator(student, folder)


def opened_by(engine: Engine) -> Callable[[Path, Path], ModelTranslator]:
    """How the registry's engine opens a student: its folder, or its export in the engine's format."""

    def make(student: Path, folder: Path) -> ModelTranslator:
        from polystill.export.driver import export_folder

        engine.check_model(student)
        if engine.export_format is not None:
            export_folder(student, folder / engine.name, engine.export_format, "float32")
            student = folder / engine.name
        return engine.open(student, "float32", threads=1)

    make.__name__ = f"engine_{engine.name}"
    return make


TRANSLATORS = [
    *map(opened_by, ENGINES.values()),
    torch_translator_of_an_lstm,
    torch_translator,
    torch_translator_of_a_family,
    torch_translator_in_bfloat16,
    ctranslate2_translator,
    ctranslate2_translator_in_int8,
]


@pytest.fixture(scope="module", params=TRANSLATORS, ids=lambda make: make.__name__)
def translator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Translator:
    make: Callable[[Path, Path], Translator] = request.param
    student = "counting_lstm" if make is torch_translator_of_an_lstm else "counting_student"
    return make(request.getfixturevalue(student), tmp_path_factory.mktemp("engine"))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_one_list_a_line_in_order(translator: Translator, beam_size: int) -> None:
    options = DecodingOptions(beam_size=beam_size, batch_tokens=12)
    together = translator.translate(LINES, options)
    assert len(together) == len(LINES)
    backwards = translator.translate(LINES[::-1], options)[::-1]
    assert [[h.text for h in found] for found in together] == [[h.text for h in found] for found in backwards]
    assert together[1] == together[3] == [EMPTY]


def test_nothing_in_nothing_out(translator: Translator) -> None:
    assert translator.translate([], DecodingOptions()) == []
    assert translator.translate(["", ""], DecodingOptions()) == [[EMPTY], [EMPTY]]


def test_hypotheses_are_distinct_sorted_and_scored(translator: Translator) -> None:
    options = DecodingOptions(beam_size=4, n_best=4, token_scores=True)
    for found in translator.translate([line for line in LINES if line.strip()], options):
        assert len(found) == 4
        assert len({tuple(h.tokens) for h in found}) == 4
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for h in found:
            assert h.tokens
            assert not {"<pad>", "</s>"} & set(h.tokens)
            assert h.token_scores is not None
            assert all(score <= 1e-6 for score in h.token_scores)
            was_cut = len(h.tokens) == translator.max_source_tokens
            assert len(h.token_scores) == len(h.tokens) + (not was_cut)


@pytest.mark.parametrize("max_length", [1, 3])
def test_max_length_is_kept_and_cuts_are_counted(
    translator: Translator, max_length: int, caplog: pytest.LogCaptureFixture
) -> None:
    options = DecodingOptions(beam_size=2, max_length=max_length, token_scores=True)
    for (found,) in translator.translate(["one two three four five six"] * 3, options):
        assert len(found.tokens) == max_length
        assert found.token_scores is not None
        assert len(found.token_scores) == max_length
    assert caplog.messages == [
        f"3 of 3 translations had not ended after {max_length} tokens, the most allowed, and were cut there"
    ]


def test_a_translation_is_limited_by_its_own_source(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("polystill.decoding.translator.LENGTH_STEP", -2)  # rounds down: too short for two words
    monkeypatch.setattr("polystill.decoding.translator.LENGTH_FACTOR", 1)
    lines = [words for words in LINES if words.strip()]
    lengths = [len(ids) for ids in translator.tokenizer.encode_source(lines)]  # type: ignore[attr-defined]
    limits = [length // 2 * 2 for length in lengths]
    options = DecodingOptions(beam_size=2)
    together = translator.translate(lines, options)
    lengths = [len(found[0].tokens) for found in together]
    assert all(length <= limit for length, limit in zip(lengths, limits, strict=True))
    cut = [limit for length, limit in zip(lengths, limits, strict=True) if length == limit]
    assert 0 < len(cut) < len(lines)
    assert f"{len(cut)} of {len(lines)} translations had not ended" in caplog.text
    for line, found in zip(lines, together, strict=True):  # whatever else is in the batch
        assert [h.text for h in translator.translate([line], options)[0]] == [h.text for h in found]


def test_a_stream_counts_its_cuts_once(translator: Translator, caplog: pytest.LogCaptureFixture) -> None:
    options = DecodingOptions(beam_size=1, max_length=3, token_scores=True)
    lines = ["one two three four five six", "", "one " * 3000] * 3
    assert len(list(translate_lines(translator, lines, options, block_lines=2))) == 9
    assert caplog.messages == [
        f"3 of 9 lines are longer than the model's {translator.max_source_tokens} tokens and were cut",
        "6 of 9 translations had not ended after 3 tokens, the most allowed, and were cut there",
    ]


def test_a_huge_line_is_cut_before_it_is_tokenised(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = translator.tokenizer  # type: ignore[attr-defined]
    encode = tokenizer.encode_source
    longest: list[int] = []

    def watched(lines: list[str]) -> list[list[int]]:
        longest.extend(map(len, lines))
        return encode(lines)

    monkeypatch.setattr(tokenizer, "encode_source", watched)
    huge, begun = "one two " * 200_000, "one two " * 300
    found = translator.translate([huge, begun], DecodingOptions(beam_size=1))
    assert found[0] == found[1]
    assert max(longest) <= 64 * translator.max_source_tokens
    assert "2 of 2 lines are longer" in caplog.text


def test_a_blank_beginning_counts_as_cut(translator: Translator, caplog: pytest.LogCaptureFixture) -> None:
    assert translator.translate([" " * 100_000 + "one"], DecodingOptions()) == [[EMPTY]]
    assert "1 of 1 lines" in caplog.text


def test_lines_beyond_all_positions(translator: Translator, caplog: pytest.LogCaptureFixture) -> None:
    options = DecodingOptions(beam_size=2, max_length=10_000)
    lines = ["one " * 3000, "one two", "zero " * 48]
    assert len(translator.translate(lines, options)) == 3
    assert f"2 of 3 lines are longer than the model's {translator.max_source_tokens} tokens" in caplog.text


def test_streams_keep_the_number_of_lines(translator: Translator) -> None:
    out = best(translate_lines(translator, LINES * 3, DecodingOptions(beam_size=1), block_lines=5))
    assert len(out) == len(LINES) * 3
    assert all(len(line.splitlines()) <= 1 for line in out)
    assert [bool(line) for line in out[:5]] == [True, False, True, False, True]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_an_engine_tells_what_it_opened(engine: Engine, counting_student: Path, tmp_path: Path) -> None:
    translator = opened_by(engine)(counting_student, tmp_path)
    assert (translator.engine, translator.compute_type) == (engine.name, "float32")
    assert translator.tokenizer.source_pieces(["one two"])[0][-1] == "</s>"
    assert translator.folder == (None if engine.export_format is None else tmp_path / engine.name)
    assert translator.info.get("format") == engine.export_format
    with pytest.raises(UserError, match=r"precision 'float3'.*did you mean 'float32'"):
        engine.open(translator.folder or counting_student, "float3")
    with pytest.raises(UserError, match="nowhere"):
        engine.open(tmp_path / "nowhere")


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_an_engine_refuses_an_architecture_that_it_lacks(engine: Engine, counting_lstm: Path) -> None:
    if "lstm" in engine.architectures:
        engine.check_model(counting_lstm)
    else:
        with pytest.raises(UserError, match=f"{engine.title} has no LSTM; this model runs with --engine torch"):
            engine.check_model(counting_lstm)
