"""Teachers: every kind of folder, alone and in an ensemble, translates as its own library does; files are matched."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator, beam_search
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer
from polystill.targets.adapters import Ensemble, check_one_vocabulary, load_huggingface
from polystill.targets.store import Candidate
from polystill.targets.teachers import (
    TranslationsFile,
    check_teacher,
    choose_engine,
    convert_teacher,
    fingerprint,
    kind_of,
    open_teacher,
)

LINES = ["one two three", "nine", "four four six seven zero", "eight one"]
OPTIONS = DecodingOptions(beam_size=3, n_best=3, max_length=12)


@pytest.fixture(scope="session")
def m2m_folder(tmp_path_factory: pytest.TempPathFactory, counting_student: Path) -> Path:
    """A tiny random M2M model; its text pieces are the toy language's."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    folder = tmp_path_factory.mktemp("m2m")
    pieces = [p for p in Tokenizer.load(counting_student).pieces if p not in ("</s>", "<unk>", "<pad>")]
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    files = str(folder / "vocab.json"), str(counting_student / "source.spm")
    tokenizer = M2M100Tokenizer(*files, src_lang="en", tgt_lang="de")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = M2M100Config(
        vocab_size=max(tokenizer.lang_code_to_id.values()) + 3,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=40,
        init_std=0.5,
        **shape,
    )
    model = M2M100ForConditionalGeneration(config)
    with torch.no_grad():
        model.model.shared.weight[tokenizer.encoder_size :] *= 0.01  # so that it seldom says a mark of a language
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def marian_folder(tmp_path: Path, counting_student: Path) -> Path:
    """A tiny random Marian model of a shape that polystill's own Transformer does not have: attention heads differ."""
    from transformers import MarianConfig, MarianMTModel

    folder = tmp_path / "marian"
    shutil.copytree(counting_student, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    values = json.loads((counting_student / "config.json").read_text())
    values.update(decoder_attention_heads=2, decoder_ffn_dim=48, init_std=0.3)
    torch.manual_seed(4)
    MarianMTModel(MarianConfig(**values)).save_pretrained(folder)
    return folder


def ready(folders: list[Path], scratch: Path, engine: Any = None, **more: Any) -> Any:
    settings = {"precision": "default", "threads": 1, "languages": ("en", "de"), "options": OPTIONS, **more}
    return convert_teacher(check_teacher(folders, engine=engine, **settings), scratch)


def test_both_engines_of_a_polystill_folder_agree(counting_student: Path, tmp_path: Path) -> None:
    found = []
    for engine in (None, "torch"):
        teacher = ready([counting_student], tmp_path, engine)
        assert teacher.engine == (engine or "ctranslate2")
        found.append(open_teacher(teacher)(LINES))
    for ours, theirs in zip(*found, strict=True):
        assert [c.text for c in ours] == [c.text for c in theirs] and len(ours) == 3
        assert [c.score for c in ours] == pytest.approx([c.score for c in theirs], abs=1e-3)
    again = ready([tmp_path / "model"], tmp_path)  # the CTranslate2 folder that the first one left
    assert again.engine == "ctranslate2"
    assert [[c.text for c in row] for row in open_teacher(again)(LINES)] == [[c.text for c in row] for row in found[0]]


def test_a_marian_folder_through_transformers_is_the_same(counting_student: Path) -> None:
    """The adapter, on a model that polystill reads as well: the same hypotheses and scores, beams leaving early."""
    options = DecodingOptions(beam_size=4, n_best=4, max_length=20)
    ours = TorchTranslator(*load_model_with_tokenizer(counting_student)).translate(LINES, options)
    theirs = TorchTranslator(*load_huggingface(counting_student, (None, None))).translate(LINES, options)
    for expected, found in zip(ours, theirs, strict=True):
        assert [h.text for h in found] == [h.text for h in expected]
        assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)


def greedy_of_transformers(folder: Path, skipped: int, **more: Any) -> list[str]:
    """Its translations of LINES without the marks that they begin with."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    batch = tokenizer(LINES, return_tensors="pt", padding=True)
    # polystill rules out an empty translation; `<pad>` and forced ends aside, greedy search is one thing everywhere.
    rows = model.generate(**batch, num_beams=1, do_sample=False, max_length=14, forced_eos_token_id=None, **more)
    return [tokenizer.decode(row[skipped:13], skip_special_tokens=True).strip() for row in rows]


def test_a_foreign_marian_folder_decodes_as_in_transformers(marian_folder: Path, tmp_path: Path) -> None:
    assert kind_of(marian_folder) == "huggingface"
    teacher = ready([marian_folder], tmp_path, options=DecodingOptions(beam_size=1, max_length=12))
    assert teacher.engine == "torch"
    found = [row[0].text for row in open_teacher(teacher)(LINES)]
    assert found == greedy_of_transformers(marian_folder, 1, min_length=2) and len(set(found)) > 1


def test_an_m2m_folder_decodes_as_in_transformers(m2m_folder: Path, tmp_path: Path) -> None:
    options = DecodingOptions(beam_size=1, max_length=11)
    found = {}
    for engine in ("torch", "ctranslate2"):
        translate = open_teacher(ready([m2m_folder], tmp_path / engine, engine, options=options))
        found[engine] = [row[0].text for row in translate(LINES)]
    from transformers import AutoTokenizer

    german = AutoTokenizer.from_pretrained(m2m_folder).get_lang_id("de")
    assert found["torch"] == greedy_of_transformers(m2m_folder, 2, forced_bos_token_id=german, min_length=3)
    assert found["ctranslate2"] == found["torch"] and len(set(found["torch"])) > 1


def test_an_m2m_folder_with_beams_is_alike_in_both_engines(m2m_folder: Path, tmp_path: Path) -> None:
    """CTranslate2 rules out an empty translation without giving its probability to others: scores differ by that."""
    found = [open_teacher(ready([m2m_folder], tmp_path / engine, engine))(LINES) for engine in ("torch", "ctranslate2")]
    for ours, theirs in zip(*found, strict=True):
        assert [c.text for c in ours] == [c.text for c in theirs]
        assert [c.score for c in ours] == pytest.approx([c.score for c in theirs], abs=0.01)


def test_an_m2m_folders_translations_are_limited_each_by_its_source(
    m2m_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystill.decoding.translator.LENGTH_STEP", 1)
    monkeypatch.setattr("polystill.decoding.translator.LENGTH_FACTOR", 1)
    options = DecodingOptions(beam_size=2)
    translators = [
        open_teacher(ready([m2m_folder], tmp_path / engine, engine, options=options))
        for engine in ("torch", "ctranslate2")
    ]
    together = [[row[0].text for row in translate(LINES)] for translate in translators]
    assert together[0] == together[1]
    lengths = [len(text.split()) for text in together[0]]
    assert len(set(lengths)) > 1
    for translate in translators:
        assert [translate([line])[0][0].text for line in LINES] == together[0]


# --- ensembles ----------------------------------------------------------------------------------------------------


def test_twice_the_same_model_is_that_model(counting_student: Path, tmp_path: Path) -> None:
    one = open_teacher(ready([counting_student], tmp_path, "torch"))(LINES)
    two = open_teacher(ready([counting_student] * 2, tmp_path))(LINES)
    for single, ensemble in zip(one, two, strict=True):
        assert [c.text for c in ensemble] == [c.text for c in single]
        assert [c.score for c in ensemble] == pytest.approx([c.score for c in single], abs=1e-5)


def test_an_ensembles_score_is_of_the_mean_probability(make_model: Any) -> None:
    """Against whole forward passes: log of the mean over models of p(token), summed over a hypothesis' tokens."""
    models = [make_model(1, 11, seed=seed) for seed in (1, 2, 3)]
    pad, eos = models[0].pad_id, models[0].eos_id
    source = torch.tensor([[3, 4, 5, 0], [6, 7, 0, pad]])
    options = DecodingOptions(beam_size=4, n_best=4, max_length=5, length_penalty=0.0)
    for row, found in enumerate(beam_search(Ensemble(models), source, options)):
        for hypothesis in found:
            ids = [*hypothesis.ids, eos][: len(hypothesis.token_scores)]
            target_in = torch.tensor([[pad, *ids[:-1]]])
            probabilities = []
            for model in models:
                logits = model(source[row : row + 1][:, : 4 - row], target_in)[0].detach()
                logits[:, pad] = -math.inf
                probabilities.append(logits.softmax(1))
            mean = torch.stack(probabilities).mean(0)
            mean[0, eos] = 0
            mean = mean / mean.sum(1, keepdim=True)
            expected = sum(math.log(mean[i, token]) for i, token in enumerate(ids))
            assert hypothesis.score == pytest.approx(expected, abs=1e-4)


def test_vocabularies_must_agree(counting_student: Path, m2m_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its vocabulary is not that of"):
        ready([counting_student, m2m_folder], tmp_path)
    check_one_vocabulary(["a", "b"], [["x", "y"], ["x", "y"]])
    with pytest.raises(UserError, match=r"^b: its vocabulary is not that of a \(piece 1 is 'z' here and 'y' there\)"):
        check_one_vocabulary(["a", "b"], [["x", "y"], ["x", "z"]])
    with pytest.raises(UserError, match=r"it has 1 pieces, the other 2"):
        check_one_vocabulary(["a", "b"], [["x", "y"], ["x"]])


# --- what cannot be -----------------------------------------------------------------------------------------------


def test_kinds_and_engines(counting_student: Path, m2m_folder: Path, tmp_path: Path) -> None:
    assert kind_of(counting_student) == "polystill" and kind_of(m2m_folder) == "huggingface"
    (tmp_path / "model.bin").touch()
    assert kind_of(tmp_path) == "ctranslate2"
    both = [counting_student, m2m_folder]
    assert choose_engine(both[:1], ["polystill"], None) == "ctranslate2"
    assert choose_engine(both[1:], ["huggingface"], None) == "ctranslate2"
    assert choose_engine(both, ["polystill", "huggingface"], None) == "torch"
    for arguments, message in (
        ((both, ["polystill", "huggingface"], "ctranslate2"), "an ensemble runs with --engine torch only"),
        (([tmp_path], ["ctranslate2"], "torch"), "does not run with --engine torch"),
        (([counting_student, tmp_path], ["polystill", "ctranslate2"], None), "cannot be part of an ensemble"),
    ):
        with pytest.raises(UserError, match=message):
            choose_engine(*arguments)


def test_folders_that_are_no_teachers(counting_student: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no model here"):
        kind_of(tmp_path)
    shutil.copytree(counting_student, tmp_path / "pickled")
    (tmp_path / "pickled/model.safetensors").rename(tmp_path / "pickled/pytorch_model.bin")
    with pytest.raises(UserError, match="never unpickles"):
        kind_of(tmp_path / "pickled")


def test_a_folder_without_its_tokenizer(m2m_folder: Path, tmp_path: Path) -> None:
    """transformers makes an empty tokenizer for some types."""
    kept = ("config.json", "generation_config.json", "model.safetensors", "tokenizer_config.json")
    (tmp_path / "bare").mkdir()
    for name in kept:
        if (m2m_folder / name).exists():
            shutil.copy(m2m_folder / name, tmp_path / "bare" / name)
    with pytest.raises(UserError, match=r"bare: no tokenizer here \(tokenizer\.json, .*save_pretrained"):
        ready([tmp_path / "bare"], tmp_path, "torch")


def test_a_multilingual_teacher_needs_languages_that_it_knows(m2m_folder: Path, tmp_path: Path) -> None:
    for languages, message in (
        ((None, "de"), "say which --source-language"),
        (("en", "xx"), "--target-language xx: .* knows no such language"),
    ):
        with pytest.raises(UserError, match=message):
            open_teacher(ready([m2m_folder], tmp_path, "torch", languages=languages))


def test_a_fingerprint_is_of_the_weights(counting_student: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(counting_student, copy)
    (copy / "notes.yml").touch()
    assert fingerprint(copy) == fingerprint(counting_student)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert fingerprint(copy) != fingerprint(counting_student)


# --- a file of translations -----------------------------------------------------------------------------------------


def translations_file(tmp_path: Path, text: str) -> TranslationsFile:
    path = tmp_path / "t.tsv"
    path.write_text(text, encoding="utf-8")
    return TranslationsFile(path, 2)


def test_translations_of_the_asked_sources(tmp_path: Path) -> None:
    read = translations_file(tmp_path, "a\tA\tAA\nskipped\tS\nb\tB\na\tA again\nc\tC\t\n")
    assert read.translate(["a", "b"]) == [[Candidate("A"), Candidate("AA")], [Candidate("B")]]
    assert read.translate(["c"]) == [[Candidate("C")]]


def test_a_source_that_cleaning_has_repaired(tmp_path: Path) -> None:
    read = translations_file(tmp_path, "a &amp;amp; b\tA\nFuÃŸball\tB\nc & d\tC\n")
    assert read.translate(["a &amp; b", "Fußball", "c & d"]) == [[Candidate(text)] for text in "ABC"]


def test_a_missing_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t.tsv: no translation of 'b' from line 2 on; expected a line for every"):
        translations_file(tmp_path, "a\tA\nc\tC\n").translate(["a", "b", "c"])


@pytest.mark.parametrize("line", ["b", "b\t", "b\t \t"])
def test_no_candidates(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"t.tsv: line 2: no translation of 'b'"):
        translations_file(tmp_path, f"a\tA\n{line}\nc\tC\n").translate(["a", "b", "c"])
