"""Open the students that a server has in memory, with what was measured of each, and choose one for a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from polystill.decoding import ENGINES
from polystill.decoding.ctranslate2 import CTranslate2
from polystill.decoding.engine import ModelTranslator
from polystill.decoding.translator import Cuts, DecodingOptions
from polystill.environment.process import available_cores
from polystill.errors import UserError, nearest
from polystill.evaluation.measure import folder_bytes
from polystill.runs.places import Kind, open_place
from polystill.runs.results import VALIDATION, QualityRow
from polystill.serving.languages import standard_code
from polystill.translation import open_translator, search_of


@dataclass(frozen=True)
class Measured:
    """A student's figures in RUN/results.json, for the engine and search it is served with; None was not measured."""

    bleu: float | None = None
    chrf: float | None = None
    test_set: str | None = None
    parameters: int | None = None
    size_bytes: int | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None

    @property
    def latency_ms(self) -> float | None:
        """The latency that a budget is compared with: p95, as nearly all requests are as quick, or else p50."""
        return self.latency_p50_ms if self.latency_p95_ms is None else self.latency_p95_ms


@dataclass(frozen=True)
class Student:
    """A loaded model."""

    name: str
    engine: ModelTranslator
    measured: Measured = field(default_factory=Measured)
    length_penalty: float = 1.0

    @property
    def weights_sha256(self) -> str | None:
        """The checksum of the weights that the model was exported from, or None if it is unknown."""
        checksum = getattr(self.engine, "info", {}).get("source_sha256")
        return None if checksum is None else str(checksum)

    @property
    def aligns(self) -> bool:
        """Whether the model was trained with word alignments."""
        return bool(self.engine.info.get("alignment"))

    def fits(self, sentence: str) -> bool:
        """Whether the model takes the sentence whole."""
        cuts = Cuts()
        cuts.fit_sources([sentence], self.engine.tokenizer.source_pieces, self.engine.max_source_tokens)
        return not cuts.sources


def measured(rows: Sequence[QualityRow], system: tuple[str, str, str, bool, int], length_penalty: float) -> Measured:
    """Find the figures of a system (`QualityRow.system`), by which it is chosen: each of the first set that has it.

    The validation set comes first, so that nothing is chosen on a test set.
    """
    matching = [row for row in rows if row.system == system and row.length_penalty == length_penalty]
    matching.sort(key=lambda row: row.test_set != VALIDATION)
    names = [field.name for field in fields(Measured)]
    figures = {name: [getattr(row, name) for row in matching] for name in names}
    return Measured(**{name: next((v for v in values if v is not None), None) for name, values in figures.items()})


@dataclass(frozen=True)
class Family:
    """All students of a server, which translate between the same two languages."""

    name: str
    students: Sequence[Student]
    """The first one answers requests that do not choose."""
    source_language: str
    target_language: str
    beam: int = 1
    batches_at_a_time: int = 1
    how_to_measure: str = ""
    """What makes latencies known that are not."""

    def choose(self, name: str | None, budget_ms: float | None) -> Student:
        """Return the student of that name, the best one within a latency budget, or the first if neither is given.

        Raises:
            UserError: both are given, there is no such student, none is quick enough, or no latency was measured.
        """
        if name is not None and budget_ms is not None:
            raise UserError("give model or latency_budget_ms, not both")
        if budget_ms is not None:
            return self._within(budget_ms)
        if name is None:
            return self.students[0]
        for student in self.students:
            if student.name == name:
                return student
        names = [student.name for student in self.students]
        raise UserError(f"model: no such student is served{nearest(name, names)}; there are: {' '.join(names)}")

    def _within(self, budget_ms: float) -> Student:
        known = [(s, s.measured.latency_ms) for s in self.students]
        timed = [(student, latency) for student, latency in known if latency is not None]
        if not timed:
            raise UserError(
                "latency_budget_ms: no student's latency has been measured with the engine, precision and beam size of "
                f"this server; {self.how_to_measure or 'choose by model instead'}"
            )
        quick = [student for student, latency in timed if latency <= budget_ms]
        if not quick:
            student, least = min(timed, key=lambda pair: pair[1])
            raise UserError(f"latency_budget_ms: no student is as fast; the fastest is {student.name}, {least:.3g} ms")
        return max(quick, key=lambda s: (s.measured.bleu or 0.0, s.measured.parameters or 0))


# --- opening --------------------------------------------------------------------------------------------------------


@contextmanager
def open_family(
    model: Path, students: Sequence[str] | None, *, engine: str | None, precision: str, beam: int | None, threads: int
) -> Iterator[Family]:
    """Load a run's students (the named ones, or all with the teacher first), or the one model of a folder.

    Raises:
        UserError: as `open_translator`; a student is named twice; or a tokenizer does not name its languages.
    """
    threads = threads or available_cores()
    is_run = open_place(model).kind is Kind.RUN
    names: list[str | None] = [*students] if students else [None]
    rows, name = list[QualityRow](), model.resolve().name
    if is_run:
        names, rows, name = _open_run(model, students)
    search = search_of(model)
    search = replace(search, beam_size=beam or search.beam_size)
    with ExitStack() as stack:
        loaded = []
        for wanted in names:
            opened = open_translator(model, wanted, engine=engine, precision=precision, threads=threads)
            translator = stack.enter_context(opened)
            loaded.append(_student(wanted, translator, rows, precision, search))
            translator.translate(["."], search, Cuts())  # warm up: the first translation takes longer
        tokenizer = loaded[0].engine.tokenizer
        source, target = tokenizer.languages
        if source is None or target is None:
            raise UserError(f"{model}: its tokenizer_config.json lacks source_lang or target_lang, which requests name")
        how = _how_to_measure(loaded[0].engine, precision, search.beam_size, rows) if is_run else _FOLDER
        languages = standard_code(source), standard_code(target)
        batches = 1 if any(ENGINES[student.engine.engine].inner_threads for student in loaded) else threads
        yield Family(name, loaded, *languages, search.beam_size, batches, how)


_FOLDER = "a folder has no measured latencies, its run has: serve the run, or choose by model instead"


def _how_to_measure(translator: ModelTranslator, precision: str, beam: int, rows: Sequence[QualityRow]) -> str:
    """Tell an API's user what whoever runs the server can do."""
    known = [f"--engine {row.engine} --precision {row.precision} --beam {row.beam}" for row in rows if row.has_latency]
    if known:
        serve = f"the server has to be started with {', or '.join(dict.fromkeys(known))}, which were measured; or "
    else:
        serve = ""
    engine = translator.engine if ENGINES[translator.engine].measured_apart else CTranslate2.name
    how = f"--engine {engine} --precision {_precision(translator, precision)} --beam {beam}"
    return (
        f"{serve}`polystill evaluate RUN {how}` measures it for a server that is started with `serve RUN {how}`; or "
        "choose by model instead"
    )


def _open_run(run: Path, wanted: Sequence[str] | None) -> tuple[list[str | None], list[QualityRow], str]:
    """Return the students' names as the family has them, the run's figures, and its name.

    A user may also write "teacher" or "smallest".
    """
    from polystill.environment.extras import need_packages

    need_packages(f"{run}: serving a run (a CTranslate2 folder needs less)")
    from polystill.runs import Run
    from polystill.runs.family import family_space

    opened = Run.open(run)
    opened.need_family()
    space = family_space(opened.family)
    chosen = [space.get(name) for name in wanted or []]
    if wanted and len(set(chosen)) < len(chosen):
        raise UserError(f"--student: {' '.join(wanted)} names a student twice")
    students = chosen or sorted(space.candidates, key=lambda s: s != space.teacher)
    return [str(student) for student in students], opened.results().rows, opened.recipe.name


def _precision(translator: ModelTranslator, asked: str) -> str:
    return str(translator.info.get("quantization", translator.compute_type)) if asked == "default" else asked


def _student(
    name: str | None, translator: ModelTranslator, rows: Sequence[QualityRow], precision: str, search: DecodingOptions
) -> Student:
    """Join a translator with its figures."""
    info = translator.info
    name = name or str(info.get("name", "model"))
    system = (name, translator.engine, _precision(translator, precision), "shortlist" in info, search.beam_size)
    figures = measured(rows, system, search.length_penalty)
    if translator.folder is not None:
        parameters = figures.parameters or info.get("parameters")
        figures = replace(figures, size_bytes=folder_bytes(translator.folder), parameters=parameters)
    return Student(name, translator, figures, search.length_penalty)
