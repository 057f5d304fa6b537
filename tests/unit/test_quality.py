"""Scores, and the rows of results.json that evaluating a run makes."""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from polystill.decoding import ENGINES
from polystill.decoding.metrics import corpus_scores
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.evaluation import quality, speed
from polystill.evaluation.quality import add_latency, evaluate_run, evaluate_students
from polystill.export import students as artefacts
from polystill.runs import Run
from polystill.storage import checked_json, read_checked_json
from polystill.students import Student

E2D1 = Student(2, 1)
HYPOTHESES = ["The cat sat on the mat .", "A dog runs , fast .", ""]
REFERENCES = ["the cat sat on a mat .", "A dog runs fast .", "Nothing ."]


def test_scores_are_sacrebleus_and_carry_signatures() -> None:
    row = corpus_scores(HYPOTHESES, REFERENCES, lowercase=True)
    assert row["bleu"] == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert row["bleu_lc"] == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], lowercase=True).score > row["bleu"]
    assert row["chrf"] == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert row["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "|case:lc|" in row["bleu_lc_signature"]
    assert row["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|")
    assert "bleu_lc" not in corpus_scores(HYPOTHESES, REFERENCES)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        *(("de", "13a"), ("deu_Latn", "13a"), ("vi", "13a"), ("", "13a")),
        *(("zh", "zh"), ("zh-Hans", "zh"), ("zho_Hant", "zh")),
        *(("ja", "char"), ("jpn", "char"), ("ko", "char"), ("kor_Hang", "char"), ("th", "char")),
    ],
)
def test_bleu_splits_words_as_the_language_needs(language: str, tokenizer: str) -> None:
    row = corpus_scores(["x"], ["x"], target_language=language)
    assert f"tok:{tokenizer}" in row["bleu_signature"]


def test_languages_without_spaces_are_cut_into_characters() -> None:
    assert "tok:zh" in corpus_scores(["我爱你"], ["我爱他"], target_language="zh")["bleu_signature"]


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch with several threads would leave forked processes waiting for them; small models need no more than one."""
    monkeypatch.setattr(quality, "available_cores", lambda: 1)


@pytest.fixture
def trained(
    counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], make_model: Callable[..., Any]
) -> Callable[..., Run]:
    """A run with its data and a (random) family, as it is when evaluation starts."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family
    from polystill.models.supernets import Supernets

    def train(seed: int = 1, **evaluation: Any) -> Run:
        run = prepared_run({**counting_recipe, "evaluation": {"beams": [1, 2], **evaluation}})
        tokenizer = Tokenizer.load(run.data / "tokenizer")
        model = make_model(2, tokenizer.vocabulary_size, seed=seed)
        model.output_bias.data[model.eos_id] += 2  # or few of its translations would end
        save_family(run.family, Supernets(model), tokenizer, run.recipe.students.space(model.teacher), {})
        return run

    return train


def test_rows_of_a_run(trained: Callable[..., Run]) -> None:
    run = trained(lowercase=True)
    rows = evaluate_students(run, threads=1)
    assert [(row.model, row.beam) for row in rows] == [
        (name, beam) for name in ("e1d1", "e2d1", "e2d2") for beam in (1, 2)
    ]
    references = (run.data / "test" / "counting.target.txt").read_text().removesuffix("\n").split("\n")
    for row in rows:
        assert row.model_id == f"aio_kd-gold-{row.model}"
        assert (row.architecture, row.method, row.targets) == ("transformer", "aio_kd", "gold")
        assert (row.test_set, row.engine, row.precision, row.threads) == ("counting", "ctranslate2", "float32", 1)
        hypotheses = (run.folder / row.hypotheses).read_text().removesuffix("\n").split("\n")
        assert len(hypotheses) == len(references)
        assert row.bleu == sacrebleu.corpus_bleu(hypotheses, [references]).score
        assert (row.words_per_second or 0) > 0
        assert (row.perplexity or 0) > 1
        assert row.p_mode is not None and 0 <= row.p_mode < 1
        assert (row.length_penalty, row.max_length, row.max_length_factor) == (1.0, 64, 3)
        assert None not in row.to_json().values()
    parameters = {row.model: row.parameters or 0 for row in rows}
    assert parameters["e1d1"] < parameters["e2d1"] < parameters["e2d2"]
    sizes = {row.model: row.size_bytes or 0 for row in rows}
    assert sizes["e1d1"] < sizes["e2d2"]
    stored = json.loads((run.folder / "results.json").read_text())["rows"]
    assert [row["hypotheses"] for row in stored] == [row.hypotheses for row in rows]
    assert stored[0]["run_id"] == run.run_id
    expected = [
        "run_id",
        "seed",
        "hardware",
        *(["commit"] if "commit" in stored[0] else []),
        "model_id",
        "architecture",
    ]
    assert list(stored[0])[: len(expected)] == expected


def test_perplexity_is_the_torch_models(trained: Callable[..., Run]) -> None:
    import torch

    from polystill.models.folder import load_model_with_tokenizer

    run = trained()
    (row,) = evaluate_students(run, students=["e2d1"], beams=[1])
    model, tokenizer = load_model_with_tokenizer(artefacts.extracted(run, E2D1))
    lines = [(run.data / "test" / f"counting.{side}.txt").read_text().splitlines() for side in ("source", "target")]
    total, tokens = 0.0, 0
    pairs = zip(tokenizer.encode_source(lines[0]), tokenizer.encode_target(lines[1]), strict=True)
    for source, target in pairs:
        logits = model(torch.tensor([source]), torch.tensor([[model.pad_id, *target[:-1]]]))[0].detach()
        logits[:, model.pad_id] = -torch.inf
        total += float(logits.log_softmax(1)[range(len(target)), target].sum())
        tokens += len(target)
    assert row.perplexity == pytest.approx(torch.tensor(-total / tokens).exp().item(), rel=1e-4)


@pytest.mark.parametrize("engine", ["ctranslate2", "torch"])
@pytest.mark.parametrize("factor", [3, 1])
def test_p_mode_is_that_of_what_the_engine_wrote(
    trained: Callable[..., Run], engine: str, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a line is blank, which no model is given, or a translation is cut, which counts as 0.

    How the model was trained does not matter.
    """
    import torch

    from polystill.models.folder import load_model_with_tokenizer

    monkeypatch.setattr("polystill.decoding.translator.LENGTH_STEP", 1)
    monkeypatch.setattr("polystill.decoding.translator.LENGTH_FACTOR", factor)
    run = trained()
    source_file, target_file = (run.data / "test" / f"counting.{side}.txt" for side in ("source", "target"))
    source_file.write_text("one two\n\nnine three four\n")
    target_file.write_text("zwei eins\n\nvier drei neun\n")
    state = read_checked_json(run.folder / "state.json")
    state["stages"].get("data", {}).pop("files", None)  # a run of other text has other checksums
    (run.folder / "state.json").write_text(checked_json(state))
    (row,) = evaluate_students(run, students=["e2d1"], beams=[2], engine=engine)
    model, tokenizer = load_model_with_tokenizer(artefacts.extracted(run, E2D1))
    translator = ENGINES["torch"].open(artefacts.extracted(run, E2D1), "float32")
    total = 0.0
    for line in ("one two", "nine three four"):
        tokens = translator.translate([line], DecodingOptions(beam_size=2))[0][0].tokens
        if len(tokens) < factor * len(tokenizer.encode_source([line])[0]):
            ids = [*map(tokenizer.pieces.index, tokens), tokenizer.eos_id]
            source = torch.tensor(tokenizer.encode_source([line]))
            logits = model(source, torch.tensor([[model.pad_id, *ids[:-1]]]))[0].detach()
            logits[:, model.pad_id] = -torch.inf
            total += float(logits.log_softmax(1)[range(len(ids)), ids].sum().exp())
    assert row.p_mode == pytest.approx(total / 2, rel=1e-4)
    assert (total > 0) == (factor == 3)  # otherwise all are cut


def test_what_is_measured_is_not_measured_again(trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained()
    first = evaluate_students(run, students=["smallest"])
    measured: list[str] = []
    measure = quality._Measurement.measure

    def count(self: Any, student: Any, test_set: str, beam: int) -> Any:
        measured.append(f"{student} {beam}")
        return measure(self, student, test_set, beam)

    monkeypatch.setattr(quality._Measurement, "measure", count)
    assert [row.bleu for row in evaluate_students(run, students=["smallest"])] == [row.bleu for row in first]
    assert measured == []
    evaluate_students(run, students=["smallest"], beams=[1, 3])
    assert measured == ["e1d1 3"]
    run.add([replace(first[0], max_length_factor=2)])  # measured with another limit of length
    evaluate_students(run, students=["smallest"])
    assert measured[1:] == ["e1d1 1"]
    measured.pop()
    (run.folder / first[0].hypotheses).unlink()
    evaluate_students(run, students=["smallest"])
    assert measured == ["e1d1 3", "e1d1 1"]
    evaluate_students(run, students=["smallest"], force=True)
    assert measured[2:] == ["e1d1 1", "e1d1 2"]


def test_each_length_penalty_has_rows_and_translations_of_its_own(trained: Callable[..., Run]) -> None:
    run = trained()
    run.close()
    (first,) = evaluate_students(run, students=["e1d1"], beams=[2])
    other = trained(length_penalty=0.5)
    (second,) = evaluate_students(other, students=["e1d1"], beams=[2])
    assert (first.length_penalty, second.length_penalty) == (1.0, 0.5)
    assert first.hypotheses != second.hypotheses
    assert [row.length_penalty for row in other.results().rows] == [1.0, 0.5]


def test_with_a_shortlist_all_is_measured_on_its_own(trained: Callable[..., Run]) -> None:
    run = trained(beams=[1])
    (whole,) = evaluate_students(run, students=["e1d1"])
    (short,) = evaluate_students(run, students=["e1d1"], shortlist=True)
    assert short.shortlist is True and not whole.shortlist
    assert short.hypotheses != whole.hypotheses and (run.folder / short.hypotheses).is_file()
    assert (run.students / "e1d1" / "ctranslate2-float32-shortlist" / "vmap.txt").is_file()
    assert (run.folder / "shortlist.json").is_file()
    assert (short.size_bytes or 0) > (whole.size_bytes or 0) > 0
    assert [row.shortlist for row in run.results().rows] == [False, True]
    assert evaluate_students(run, students=["e1d1"], shortlist=True) == [run.results().rows[1]]
    with pytest.raises(UserError, match="--shortlist: the engine torch has no shortlists"):
        evaluate_students(run, students=["e1d1"], engine="torch", shortlist=True)


def test_figures_of_another_machine_are_measured_again_before_latency_is_added(trained: Callable[..., Run]) -> None:
    run = trained()
    (before,) = evaluate_students(run, students=["e1d1"], beams=[1])
    elsewhere = replace(before, hardware="another machine", bleu=-1.0)
    replace(run.results(), rows=[elsewhere]).write(run.folder / "results.json")
    assert evaluate_students(run, students=["e1d1"], beams=[1]) == [elsewhere]
    (again,) = evaluate_students(run, students=["e1d1"], beams=[1], measured_here=True)
    assert again.bleu == before.bleu
    assert run.results().rows[0].hardware != "another machine"


def test_comet_stays_with_the_translations_that_it_scored(trained: Callable[..., Run]) -> None:
    run = trained()
    (row,) = evaluate_students(run, students=["e1d1"], beams=[1])
    comet: dict[str, Any] = {"comet": 0.5, "comet_signature": "some/model|1"}
    run.add([replace(row, **comet, bleu=-1.0)])
    (again,) = evaluate_students(run, students=["e1d1"], beams=[1], force=True)
    assert again == replace(row, **comet, words_per_second=again.words_per_second)
    assert run.results().rows[0].comet == 0.5
    (run.folder / row.hypotheses).write_text("something else\n")
    (changed,) = evaluate_students(run, students=["e1d1"], beams=[1], force=True)
    assert changed.comet is None and run.results().rows[0].comet is None


def test_a_wrong_precision_is_found_before_the_others_are_measured(trained: Callable[..., Run]) -> None:
    run = trained()
    run.finish("family", {})
    run.close()
    with pytest.raises(UserError, match="precision 'int8': torch has float32"):
        evaluate_run(run.folder, engine="torch", precisions=["float32", "int8"], students=["e1d1"])
    assert Run.open(run.folder).results().rows == []


def test_lowercase_scores_are_added_to_what_is_measured(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained()
    run.close()
    (before,) = evaluate_students(run, students=["e1d1"], beams=[1])
    run = trained(lowercase=True)
    monkeypatch.setattr(quality._Measurement, "measure", None)
    (after,) = evaluate_students(run, students=["e1d1"], beams=[1])
    lines = (run.folder / before.hypotheses).read_text().splitlines()
    references = (run.data / "test" / "counting.target.txt").read_text().splitlines()
    assert after.bleu_lc == sacrebleu.corpus_bleu(lines, [references], lowercase=True).score
    assert {**after.to_json(), **before.to_json()} == after.to_json()
    assert run.results().rows == [after]


def test_the_method_is_aio_kd_if_a_stage_is(trained: Callable[..., Run], counting_recipe: dict[str, Any]) -> None:
    counting_recipe["stages"][0]["objective"] = {"kind": "nll"}
    (row,) = evaluate_students(trained(), students=["e1d1"], beams=[1])
    assert (row.method, row.model_id) == ("aio_kd", "aio_kd-gold-e1d1")


def _exported_apart(run_folder: str) -> str:
    return str(artefacts.exported(Run.open(Path(run_folder)), E2D1, "float32"))


def test_several_processes_make_a_student_once(
    trained: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polystill.models import folder

    run, save_student, log = trained(), folder.save_student, tmp_path / "log"

    def slowly(*arguments: Any) -> None:
        with log.open("a") as file:
            file.write("extracted\n")
        time.sleep(0.5)
        save_student(*arguments)

    monkeypatch.setattr(folder, "save_student", slowly)
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        made = pool.map(_exported_apart, [str(run.folder)] * 4, chunksize=1)
    assert log.read_text() == "extracted\n"
    assert set(made) == {str(run.students / "e2d1" / "ctranslate2-float32")}
    assert sorted(path.name for path in run.students.iterdir()) == [".lock", "e2d1"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_run_that_cannot_be_written_is_used_all_the_same(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    run = trained()
    mkdir = Path.mkdir

    def refuse(self: Path, *arguments: Any, **options: Any) -> None:
        if self == run.students:
            raise OSError(code, "refused")
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    folder = artefacts.exported(run, E2D1, "float32")
    assert (folder / "model.bin").is_file()
    assert (artefacts.extracted(run, E2D1) / "config.json").is_file()
    assert not run.students.exists()


def test_students_of_an_older_family_are_made_anew(trained: Callable[..., Run]) -> None:
    from polystill.runs.family import WEIGHTS

    run = trained()
    folder = artefacts.exported(run, E2D1, "float32")
    model = (folder / "model.bin").read_bytes()
    weights = (folder.parent / WEIGHTS).stat().st_mtime_ns
    assert artefacts.exported(run, E2D1, "float32") == folder
    assert (folder.parent / WEIGHTS).stat().st_mtime_ns == weights
    trained(seed=2)
    assert (artefacts.exported(run, E2D1, "float32") / "model.bin").read_bytes() != model


def test_torch_and_ctranslate2_measure_alike(trained: Callable[..., Run]) -> None:
    run = trained()
    rows = [
        row
        for engine in ("torch", "ctranslate2")
        for row in evaluate_students(run, engine=engine, beams=[2], threads=1)
    ]
    assert len({row.hypotheses for row in rows}) == 6
    half = len(rows) // 2
    for ours, theirs in zip(rows[:half], rows[half:], strict=True):
        assert ours.model == theirs.model
        assert ours.bleu == pytest.approx(theirs.bleu, abs=0.5)
        assert ours.perplexity == theirs.perplexity
        assert ours.p_mode == pytest.approx(theirs.p_mode, rel=0.05)
    assert len(run.results().rows) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"students": ["e9d9"]}, "e9d9 is not in this family"),
        ({"engine": "ctranslate"}, r"engine 'ctranslate': unknown \(did you mean 'ctranslate2'\?\)"),
        ({"precision": "int9"}, "precision 'int9' is not available on this device"),
        ({"engine": "torch", "precision": "int8"}, "precision 'int8': torch has float32"),
        ({"beams": [1, 1001]}, "beam_size 1001: expected at most 1000"),
    ],
)
def test_mistakes_are_named(trained: Callable[..., Run], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_students(trained(), **wrong)


def test_a_run_without_family_is_refused(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]) -> None:
    with pytest.raises(UserError, match="no family here"):
        evaluate_students(prepared_run(counting_recipe))


# --- latency and memory -----------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(small_run: Path, tmp_path: Path) -> Run:
    """Evaluated, without latency."""
    return Run.open(Path(shutil.copytree(small_run, tmp_path / "run")))


def test_latency_and_memory_are_added_to_what_is_measured(evaluated: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = evaluated
    before = evaluate_students(run, students=["e1d1", "e2d1"], beams=[1])
    other = evaluate_students(run, students=["e1d1"], beams=[1], engine="torch")
    assert not any(row.has_latency for row in before + other)
    measured: list[str] = []
    measure_once = speed.measure_once

    def noted(subject: speed.Subject, **how: Any) -> dict[str, Any]:
        measured.append(subject.folder.parent.name)
        return measure_once(subject, **how)

    monkeypatch.setattr(speed, "measure_once", noted)
    rows = add_latency(run, before + other)
    assert measured == ["e1d1", "e2d1"] * quality.ROUNDS
    assert rows[2] == other[0]
    for row, old in zip(rows, before, strict=False):
        figures, earlier = row.to_json(), old.to_json()
        assert {**figures, **earlier} == figures
        assert 0 < figures["latency_p50_ms"] <= figures["latency_p95_ms"]
        for name in ("latency_p50_ms", "latency_p95_ms"):
            assert figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]
        assert row.latency_rounds == quality.ROUNDS
        assert figures["latency_sentences"] > 1
        assert 10e6 < figures["peak_memory_bytes"] < 200e6
        assert row in run.results().rows
    monkeypatch.setattr(speed, "measure_once", None)
    assert add_latency(run, rows) == rows
