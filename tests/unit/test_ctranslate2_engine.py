"""The CTranslate2 engine: what it refuses, what it loads, how its answers line up with the lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import EMPTY, DecodingOptions
from polystill.errors import UserError
from polystill.evaluation.measure import describe

LINES = ["one two three", "", "seven", "nine eight seven six five four", "   ", "two two"]


@pytest.fixture(scope="module")
def exported(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from polystill.export.driver import export_folder

    out = tmp_path_factory.mktemp("exported") / "float32"
    export_folder(counting_student, out, "ctranslate2")
    return out


@pytest.fixture(scope="module")
def with_shortlist(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from polystill.data.shortlist import Shortlist
    from polystill.export.driver import export_folder

    out = tmp_path_factory.mktemp("exported") / "shortlist"
    size = Tokenizer.load(counting_student).vocabulary_size
    export_folder(counting_student, out, "ctranslate2", "int8", LINES, shortlist=Shortlist(list(range(size)), {}, 1))
    return out


def test_translating_imports_no_torch(exported: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from polystill.decoding.translator import DecodingOptions
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.stream import translate_lines
for hypotheses in translate_lines(CTranslate2Translator(Path({str(exported)!r})), {LINES!r}, DecodingOptions()):
    print(hypotheses[0].text if hypotheses else "")
assert not {{"torch", "transformers", "pydantic", "datasets"}} & set(sys.modules), sorted(sys.modules)
"""
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.removesuffix("\n").split("\n")
    assert len(lines) == len(LINES)
    assert [bool(line) for line in lines] == [bool(line.strip()) for line in LINES]


@pytest.mark.parametrize("threads", [1, 2])
def test_order_does_not_depend_on_threads_or_batches(exported: Path, threads: int) -> None:
    translator = CTranslate2Translator(exported, threads=threads)
    lines = LINES * 7
    together = translator.translate(lines, DecodingOptions(beam_size=2, batch_tokens=16))
    alone = {line: translator.translate([line], DecodingOptions(beam_size=2))[0][0].text for line in LINES}
    assert [found[0].text for found in together] == [alone[line] for line in lines]
    assert together[1] == together[4] == [EMPTY]


def test_n_best_is_sorted_and_scores_fit_token_scores(exported: Path) -> None:
    translator = CTranslate2Translator(exported)
    options = DecodingOptions(beam_size=4, n_best=3, token_scores=True, length_penalty=0.7)
    (found,) = translator.translate(["one two three"], options)
    assert len(found) == 3
    assert len({tuple(h.tokens) for h in found}) == 3
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    for h in found:
        assert h.token_scores is not None
        assert len(h.token_scores) == len(h.tokens) + 1
        assert h.score == pytest.approx(sum(h.token_scores) / len(h.token_scores) ** 0.7, abs=3e-3)


def test_a_cut_translation_has_no_score_of_its_end(exported: Path) -> None:
    options = DecodingOptions(beam_size=1, max_length=2, token_scores=True)
    (found,) = CTranslate2Translator(exported).translate(["one two three four five six"], options)
    assert len(found[0].tokens) == 2
    assert found[0].token_scores is not None
    assert len(found[0].token_scores) == 2


def test_lines_longer_than_the_positions_are_cut_and_counted(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    translator = CTranslate2Translator(exported)
    assert translator.max_source_tokens == 48
    longest = " ".join(["one"] * 47)
    translator.translate([longest], DecodingOptions(beam_size=1))
    assert "lines are longer" not in caplog.text
    found = translator.translate([longest + " two three", longest, "one"], DecodingOptions(beam_size=1))
    assert found[0] == found[1]
    assert "1 of 3 lines are longer than the model's 48 tokens and were cut" in caplog.text


def test_the_engine_cannot_write_pad(exported: Path) -> None:
    vocabulary = json.loads((exported / "shared_vocabulary.json").read_text())
    assert "<pad>" not in vocabulary
    assert len(vocabulary) == CTranslate2Translator(exported).tokenizer.vocabulary_size - 1


def test_unknown_precision_lists_those_of_the_device(exported: Path) -> None:
    with pytest.raises(UserError, match=r"precision 'int9' is not available.*did you mean 'int8'.*float32"):
        CTranslate2Translator(exported, "int9")


def test_threads_that_would_end_the_process_are_refused(exported: Path) -> None:
    with pytest.raises(UserError, match="threads 100000: expected at most 1024"):
        CTranslate2Translator(exported, threads=100_000)


@pytest.mark.parametrize("name", ["vmap.txt", "source.spm", "shared_vocabulary.json", "config.json"])
@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_a_damaged_small_file_is_refused(with_shortlist: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = shutil.copytree(with_shortlist, tmp_path / "damaged")
    if damage == "gone":
        (folder / name).unlink()
        message = f"damaged: {name} is missing, which polystill.json names; export the student again"
    else:
        (folder / name).write_text("garbage\n")
        message = f"damaged: {name} is not the file that was exported .*; export the student again"
    with pytest.raises(UserError, match=message):
        CTranslate2Translator(folder)
    with pytest.raises(UserError, match=message):
        describe(folder)


def test_weights_are_not_read_twice_to_translate(with_shortlist: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(with_shortlist, tmp_path / "other")
    info = json.loads((folder / "polystill.json").read_text())
    info["files"]["model.bin"] = "another checksum"
    (folder / "polystill.json").write_text(json.dumps(info))
    assert CTranslate2Translator(folder).translate(["one two"], DecodingOptions(beam_size=1))[0][0].text
    with pytest.raises(UserError, match=r"other: model\.bin is not the file that was exported"):
        describe(folder)
    (folder / "polystill.json").write_text(json.dumps({**info, "files": ["model.bin"]}))
    with pytest.raises(UserError, match=r"polystill\.json: files: expected file names and their checksums"):
        CTranslate2Translator(folder)


def test_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no CTranslate2 model here \(model.bin is missing\)"):
        CTranslate2Translator(tmp_path)


def test_a_broken_model_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "broken")
    (folder / "model.bin").write_bytes(b"\x06\0\0\0 nothing")
    with pytest.raises(UserError, match="cannot load this model"):
        CTranslate2Translator(folder)


def test_float_weights_computed_in_8_bits_are_warned_of(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    CTranslate2Translator(exported)
    assert not caplog.text
    CTranslate2Translator(exported, "int8")
    assert "export with quantization int8 instead" in caplog.text
