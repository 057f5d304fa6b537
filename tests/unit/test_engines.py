"""The registry of engines: a new engine is a class and an entry, and nothing else has to know of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from polystill.cli import main
from polystill.config import recipe as recipes
from polystill.decoding import ENGINES, default_engine, find_engine
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.engine import Engine
from polystill.decoding.torch import Torch
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis
from polystill.errors import UserError
from polystill.evaluation import robustness
from polystill.evaluation.quality import add_latency, evaluate_students
from polystill.export import FORMATS
from polystill.runs import Run
from polystill.runs.results import totals
from polystill.serving.family import open_family
from polystill.targets.generate import generate_targets
from polystill.targets.job import Compute
from polystill.targets.sources import Text
from polystill.translation import open_translator


class LoudTranslator(TorchTranslator):
    """Translates as torch does, into capitals."""

    engine: ClassVar[str] = "loud"
    asked: ClassVar[list[str]] = []

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        self.asked.extend(lines)
        translated = super().translate(lines, options, cuts)
        return [[Hypothesis(h.text.upper(), h.tokens, h.score, cut=h.cut) for h in n_best] for n_best in translated]


class Loud(Engine):
    """Reads the students' own folders."""

    name = "loud"
    title = "Loud"
    opened: ClassVar[list[Path]] = []

    def open(self, folder: Path, precision: str = "default", threads: int = 0) -> LoudTranslator:
        self.check_precision(precision)
        self.opened.append(folder)
        translator = Torch().open(folder, precision, threads)
        return LoudTranslator(translator.model, translator.tokenizer)


class LoudOnSparse(Loud):
    """Reads an export, as CTranslate2 does."""

    export_format = "sparse"
    precisions = ("float32", "int8")

    def open(self, folder: Path, precision: str = "default", threads: int = 0) -> LoudTranslator:
        assert (folder / "polystill.json").is_file()
        self.opened.append(folder)
        translator = Torch().open(folder, "default", threads)
        return LoudTranslator(translator.model, translator.tokenizer)


@pytest.fixture(params=[Loud, LoudOnSparse])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A made-up engine in the registry."""
    made: Engine = request.param()
    monkeypatch.setitem(ENGINES, made.name, made)
    monkeypatch.setattr(Loud, "opened", [])
    monkeypatch.setattr(LoudTranslator, "asked", [])
    return made


def folder_name(engine: Engine, student: str) -> str:
    return student if engine.export_format is None else "sparse-float32"


def test_a_new_engine_evaluates_students(engine: Any, run: Run) -> None:
    rows = evaluate_students(run, students=["e2d1"], beams=[1, 2], engine="loud", threads=1)
    reference = evaluate_students(run, students=["e2d1"], beams=[1, 2], engine="torch", threads=1)
    for row, torchs in zip(rows, reference, strict=True):
        assert (row.engine, row.precision, row.shortlist) == ("loud", "float32", False)
        assert (row.perplexity, row.p_mode) == (torchs.perplexity, torchs.p_mode)
        assert row.hypotheses != torchs.hypotheses and "loud-float32" in row.hypotheses
        ours, theirs = ((run.folder / each.hypotheses).read_text() for each in (row, torchs))
        assert ours == theirs.upper() != theirs
    assert [folder.name for folder in engine.opened] == [folder_name(engine, "e2d1")]
    assert add_latency(run, rows) == rows  # it is not measured apart
    (again,) = evaluate_students(run, students=["e2d1"], beams=[1], engine="loud", threads=1)
    assert again.words_per_second == rows[0].words_per_second  # it is not measured again


def test_a_new_engine_refuses_what_it_lacks(engine: Engine, run: Run, counting_lstm: Path) -> None:
    with pytest.raises(UserError, match="precision 'int7': Loud has float32"):
        evaluate_students(run, engine="loud", precision="int7")
    with pytest.raises(UserError, match="--shortlist: the engine loud has no shortlists; use --engine ctranslate2"):
        evaluate_students(run, engine="loud", shortlist=True)
    with pytest.raises(UserError, match="Loud has no LSTM"), open_translator(counting_lstm, None, engine="loud"):
        pass


def test_a_new_engine_translates(engine: Any, run: Run, counting_student: Path) -> None:
    for model, student in ((run.folder, "e2d1"), (run.family, "e1d1"), (counting_student, None)):
        line, options = ["one two three"], DecodingOptions(beam_size=1)
        with open_translator(model, student, engine="torch", threads=1) as translator:
            expected = translator.translate(line, options)[0][0].text.upper()
        with open_translator(model, student, engine="loud", threads=1) as translator:
            assert translator.translate(line, options)[0][0].text == expected
    assert len(engine.opened) == 3


def test_a_new_engine_serves_with_its_own_figures(engine: Engine, run: Run) -> None:
    (row,) = evaluate_students(run, students=["e2d1"], beams=[1], engine="loud", threads=1)
    with open_family(run.folder, ["e2d1"], engine="loud", precision="default", beam=1, threads=1) as loaded:
        (student,) = loaded.students
        assert (student.name, student.measured.bleu) == ("e2d1", row.bleu)


def test_a_new_engine_gets_lines_unlike_the_data(engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Here:
        """In this process, as another one would not have the made-up engine."""

        def __init__(self, work: Callable[..., Any]) -> None:
            self.translate = work

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None:
            robustness._translator.cache_clear()

    monkeypatch.setattr(robustness, "Apart", Here)
    (row,) = robustness.probe_run(run.folder, students=["e1d1"], engine="loud", beam=1)
    assert row.engine == "loud" and totals(row.kinds).crashed == totals(row.kept).crashed == 0
    probes = Counter(json.loads(line)["source"] for line in (run.folder / row.outputs).read_text().splitlines())
    asked = Counter(LoudTranslator.asked)
    assert {source: asked[source] for source in probes} == probes  # counted twice, translated once


def test_a_new_engine_runs_a_teacher(engine: Any, counting_student: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three\nnine\n")
    compute = Compute("loud", threads=1)
    text, out, options = Text(source=tmp_path / "text"), tmp_path / "out", DecodingOptions(2)
    manifest = generate_targets([counting_student], text, out, options=options, compute=compute, say=print)
    assert manifest["plan"]["engine"] == "loud"


# --- the registry -----------------------------------------------------------------------------------------------------


def test_recipes_know_the_same_engines() -> None:
    known = {name: (facts.title, facts.architectures) for name, facts in recipes.ENGINES.items()}
    assert known == {name: (engine.title, engine.architectures) for name, engine in ENGINES.items()}
    assert list(recipes.ENGINES) == list(ENGINES)  # the first one is the default


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_facts_agree_with_the_formats(engine: Engine) -> None:
    if engine.export_format is not None:
        form = FORMATS[engine.export_format]
        assert set(engine.architectures) <= set(form.architectures)
        assert not engine.shortlist or form.shortlist is not None
        assert form.evaluated_in(form.default_precision) == engine.name
    else:
        assert not engine.shortlist
    for precision in ("default", "float32", *engine.precisions, *engine.compared):
        engine.check_precision(precision)


def test_engines_are_found_by_name_and_architecture() -> None:
    assert find_engine("torch") is ENGINES["torch"]
    assert default_engine("transformer").name == "ctranslate2" and default_engine("lstm").name == "torch"
    with pytest.raises(UserError, match=r"engine 'torhc': unknown \(did you mean 'torch'\?\); there are: ctranslate2"):
        find_engine("torhc")


def test_the_command_line_names_the_engines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "nowhere", "--engine", "quiet"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ENGINES)


@pytest.fixture
def run(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], make_model: Callable[..., Any]) -> Run:
    """A run with its data and a random family of two layers."""
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family
    from polystill.models.supernets import Supernets

    made = prepared_run({**counting_recipe, "evaluation": {"beams": [1]}})
    tokenizer = Tokenizer.load(made.data / "tokenizer")
    model = make_model(2, tokenizer.vocabulary_size, seed=1)
    model.output_bias.data[model.eos_id] += 2  # or few of its translations would end
    save_family(made.family, Supernets(model), tokenizer, made.recipe.students.space(model.teacher), {})
    made.finish("family", {})
    return made
