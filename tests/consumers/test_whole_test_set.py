"""Every export of a real student, translating a run's whole test set in the program that it is for.

    POLYSTILL_RUN=runs/one-width POLYSTILL_STUDENT=e4d2 make test-consumers ARGS='-s -k whole_test_set'

Compared with the student's own translations in torch, searched alike. The run's model needs `positions: marian`.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.metrics import corpus_scores
from polystill.decoding.translator import DecodingOptions
from polystill.export.agreement import forced_log_probs
from polystill.export.students import export_student, extract_student
from polystill.models.folder import load_model_with_tokenizer
from polystill.runs import Run
from polystill.storage import text_lines

Translate = Callable[..., list[str]]
LARGEST_LOSS = {"float32": 0.1, "int8": 0.5}
"""BLEU by which an engine may differ."""
FEWEST_AS_GOOD = {"float32": 0.99, "int8": 0.0}
"""Share of translations that are the student's own, or that the student itself holds for at least as good: engines
search by rules of their own."""
TIE = 1e-4
"""Nats a token by which one may be worse nevertheless."""


@dataclass(frozen=True)
class Case:
    run: Path
    student: str
    sources: list[str]
    references: list[str]
    language: str
    translator: TorchTranslator

    def ours(self, beam: int, length_penalty: float) -> list[str]:
        options = DecodingOptions(beam_size=beam, length_penalty=length_penalty)
        return [found[0].text for found in self.translator.translate(self.sources, options)]

    @torch.inference_mode()
    def score(self, source: str, translation: str) -> float:
        """The student's log-probability a token."""
        tokenizer = self.translator.tokenizer
        (source_ids,), (target_ids,) = tokenizer.encode_source([source]), tokenizer.encode_target([translation])
        return statistics.mean(forced_log_probs(self.translator.model, source_ids, target_ids))

    def bleu(self, translations: list[str]) -> float:
        return float(corpus_scores(translations, self.references, target_language=self.language)["bleu"])


@pytest.fixture(scope="module")
def case() -> Case:
    if "POLYSTILL_RUN" not in os.environ:
        pytest.skip("no trained run is given: POLYSTILL_RUN")
    folder = Path(os.environ["POLYSTILL_RUN"])
    name = os.environ.get("POLYSTILL_STUDENT", "teacher")
    run = Run.open(folder)
    test_set = next(iter(run.recipe.data.test))
    return Case(
        folder,
        name,
        text_lines(run.data / "test" / f"{test_set}.source.txt"),
        run.test_lines(test_set, "target"),
        run.recipe.data.target_language,
        TorchTranslator(*load_model_with_tokenizer(extract_student(folder, name))),
    )


def agree(case: Case, theirs: list[str], what: str, precision: str, beam: int, length_penalty: float = 1.0) -> None:
    ours = case.ours(beam, length_penalty)
    other = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    scores = [(case.score(case.sources[i], ours[i]), case.score(case.sources[i], theirs[i])) for i in other]
    worse = sum(their_score < our_score - TIE for our_score, their_score in scores)
    before, after = case.bleu(ours), case.bleu(theirs)
    print(
        f"\n{what}, {precision}, beam {beam}: BLEU {after:.2f} ({after - before:+.2f}), "
        f"{len(ours) - len(other)} of {len(ours)} identical, {worse} worse by the student's own score"
    )
    assert abs(after - before) <= LARGEST_LOSS[precision]
    assert 1 - worse / len(ours) >= FEWEST_AS_GOOD[precision]


@pytest.mark.parametrize("beam", [1, 5])
def test_hugging_face_on_the_whole_test_set(case: Case, tmp_path: Path, beam: int) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = export_student(case.run, case.student, "hf", tmp_path / "out")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    theirs = []
    for start in range(0, len(case.sources), 50):
        batch = tokenizer(case.sources[start : start + 50], return_tensors="pt", padding=True)
        theirs += tokenizer.batch_decode(model.generate(**batch, num_beams=beam), skip_special_tokens=True)
    agree(case, theirs, "transformers", "float32", beam)


@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_ctranslate2_on_the_whole_test_set(case: Case, tmp_path: Path, precision: str, beam: int) -> None:
    folder = export_student(case.run, case.student, "ctranslate2", tmp_path / "out", precision)
    found = CTranslate2Translator(folder).translate(case.sources, DecodingOptions(beam_size=beam))
    agree(case, [candidates[0].text for candidates in found], "CTranslate2", precision, beam)


def test_transformers_js_on_the_whole_test_set(case: Case, tmp_path: Path, run_node: Translate) -> None:
    folder = export_student(case.run, case.student, "onnx", tmp_path / "out")
    agree(case, run_node("onnx.mjs", folder, case.sources), "transformers.js", "float32", 1)


@pytest.mark.parametrize("beam", [1, 5])
def test_marian_on_the_whole_test_set(case: Case, tmp_path: Path, run_marian: Translate, beam: int) -> None:
    folder = export_student(case.run, case.student, "marian", tmp_path / "out")
    theirs = run_marian(folder, case.sources, "--beam-size", str(beam), "--normalize", "1")
    agree(case, theirs, "Marian", "float32", beam)


def test_bergamot_on_the_whole_test_set(case: Case, tmp_path: Path, with_pymarian: Path, run_node: Translate) -> None:
    folder = export_student(case.run, case.student, "bergamot", tmp_path / "out")
    agree(case, run_node("bergamot.mjs", folder, case.sources), "Bergamot", "int8", 1)


def test_argostranslate_on_the_whole_test_set(case: Case, tmp_path: Path, run_argos: Translate) -> None:
    (package,) = export_student(case.run, case.student, "argos", tmp_path / "out").glob("*.argosmodel")
    agree(case, run_argos(package, case.sources)[1:], "Argos Translate", "int8", 4, 0.2)
