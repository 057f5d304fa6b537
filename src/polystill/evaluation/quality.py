"""BLEU and chrF of every student, measured on the very artefact that would be shipped."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from polystill.decoding.contract import (
    LENGTH_FACTOR,
    Cuts,
    DecodingOptions,
    Hypothesis,
    Translator,
    longest_of_any,
    longest_of_each,
)
from polystill.decoding.ctranslate2 import CTranslate2Translator, available_cores
from polystill.decoding.metrics import corpus_scores
from polystill.errors import UserError, nearest
from polystill.evaluation.chosen import How, chosen, model_id
from polystill.evaluation.device_figures import has_device_figures
from polystill.evaluation.exported import folder_bytes
from polystill.export.students import exported, extracted, load_torch
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.runs.rows import row_key, student_name
from polystill.storage import text_lines, write_atomic
from polystill.students import Student

Row = dict[str, Any]
_log = logging.getLogger(__name__)

WARM_UP_LINES = 8


def evaluate_students(
    run: Run,
    *,
    students: Sequence[str] | None = None,
    beams: Sequence[int] | None = None,
    test_sets: Sequence[str] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
    threads: int = 0,
    measured_here: bool = False,
    force: bool = False,
) -> list[Row]:
    """Translate test sets with students and score them; what is not given comes from the recipe.

    Extracts and exports into RUN/students what is missing there. Each row goes into RUN/results.json as soon as it is
    measured, its translations into RUN/hypotheses. Rows that are there already are returned as they are, or, with
    `force`, measured again; with `measured_here`, also where `add_device_figures` would add to CTranslate2's figures of
    another machine or number of threads. With `shortlist`, students are exported with the run's, and their rows say so.

    Raises:
        UserError: unknown student, test set, engine or precision; no family, or one that the engine does not have; a
            shortlist for an engine without; a test set without lines.
    """
    members, how = chosen(run, students, engine=engine, precision=precision, shortlist=shortlist)
    beams = beams if beams is not None else run.recipe.evaluation.beams
    beams = [DecodingOptions(beam_size=beam).beam_size for beam in beams]
    measured = _Measurement(run, how, threads or available_cores())
    known = {} if force else {row_key(row): row for row in run.results()["rows"]}
    return [
        measured.row(
            student, test_set, beam, known.get(row_key(measured.identity(student, test_set, beam))), measured_here
        )
        for student in members
        for test_set in _test_sets(run, test_sets)
        for beam in beams
    ]


def _test_sets(run: Run, wanted: Sequence[str] | None) -> list[str]:
    known = list(run.recipe.data.test)
    for name in wanted or []:
        if name not in known:
            raise UserError(f"test set {name!r} is not in the recipe{nearest(name, known)}; it has: {' '.join(known)}")
    return list(wanted) if wanted is not None else known


class _Measurement:
    """One engine in one precision, with a shortlist or without, over the students of a run."""

    def __init__(self, run: Run, how: How, threads: int) -> None:
        self.run, self.how, self.threads = run, how, threads
        self._student: Student | None = None  # whose translator and sizes these are
        self._translator: Any = None
        self._model: Any = None  # the same student in torch and float32, which scores what any engine wrote
        self._sizes: Row = {}
        self._texts: dict[str, tuple[list[str], list[str]]] = {}
        self._perplexities: dict[str, float] = {}  # of that student

    def identity(self, student: Student, test_set: str, beam: int) -> Row:
        """The part of a row that tells it from all others of the run."""
        recipe = self.run.recipe
        return {
            "model_id": model_id(self.run, student),
            "architecture": recipe.model.architecture,
            "model": str(student),
            "method": recipe.method,
            "targets": recipe.targets_label,
            "test_set": test_set,
            **self.how.identity(),
            "beam": beam,
            "length_penalty": recipe.evaluation.length_penalty,
        }

    def row(self, student: Student, test_set: str, beam: int, before: Row | None, measured_here: bool) -> Row:
        """The row of results, which goes to the run: as it was `before`, as far as that holds what is asked for."""
        row = before
        if row is None or not self._holds(row, measured_here):
            row = self.measure(student, test_set, beam)
            who = (student_name(row), test_set, beam)
            _log.info("%s %s beam %d: BLEU %.2f, chrF %.2f", *who, row["bleu"], row["chrf"])
        elif self.run.recipe.evaluation.lowercase and "bleu_lc" not in row:
            row = self.score_again(row)
        if row is not before:
            self.run.add_results([row])
        return row

    def _holds(self, row: Row, measured_here: bool) -> bool:
        """Whether a row needs no translating again. Speed and latency of one row are of one machine and setting."""
        if not (self.run.folder / row["hypotheses"]).is_file() or row.get("max_length_factor") != LENGTH_FACTOR:
            return False
        if not measured_here or self.how.engine != "ctranslate2" or has_device_figures(row):
            return True
        here = {"hardware": provenance()["hardware"]["summary"], "threads": self.threads}
        return {**row, **here} == row

    def measure(self, student: Student, test_set: str, beam: int) -> Row:
        """One row of results; what is not measured is not in it."""
        source, references = self._read(test_set)
        self._load(student)
        translator: Translator = self._translator
        identity = self.identity(student, test_set, beam)
        options = DecodingOptions(beam_size=beam, length_penalty=identity["length_penalty"])
        translator.translate(source[:WARM_UP_LINES], options, Cuts())
        start = time.perf_counter()
        found = translator.translate(source, options)
        seconds = time.perf_counter() - start
        hypotheses = [n_best[0].text if n_best else "" for n_best in found]
        name = f"{model_id(self.run, student)}.{self.how.file_name(beam, options.length_penalty)}"
        path = f"hypotheses/{test_set}/{name}.txt"
        text = "".join(line + "\n" for line in hypotheses)
        comet = self._comet(path, text)
        (self.run.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.run.folder / path, text)
        return {
            **identity,
            **self._scores(hypotheses, references),
            **comet,
            "perplexity": self._perplexity(test_set),
            **self._p_mode(source, found, options),
            **self._sizes,
            "words_per_second": sum(len(line.split()) for line in source) / seconds,
            "threads": self.threads,
            "batch_tokens": options.batch_tokens,
            "max_length": longest_of_any(options, translator.max_source_tokens),
            "max_length_factor": LENGTH_FACTOR,
            "hypotheses": path,
        }

    def score_again(self, row: Row) -> Row:
        """The row with scores computed anew from its stored translations, as the recipe wants them now."""
        _, references = self._read(row["test_set"])
        path = self.run.folder / row["hypotheses"]
        hypotheses = text_lines(path)
        if len(hypotheses) != len(references):
            raise UserError(f"{path}: {len(hypotheses)} lines, but the test set has {len(references)}; use --force")
        return {**row, **self._scores(hypotheses, references)}

    def _comet(self, path: str, text: str) -> Row:
        """COMET's scores, where these very translations had been given some: they cost an environment of their own."""
        if not (self.run.folder / path).is_file() or (self.run.folder / path).read_bytes() != text.encode():
            return {}
        rows = [row for row in self.run.results()["rows"] if row.get("hypotheses") == path]
        return {key: value for row in rows for key, value in row.items() if key.startswith("comet")}

    def _scores(self, hypotheses: Sequence[str], references: Sequence[str]) -> Row:
        recipe = self.run.recipe
        language, lowercase = recipe.data.target_language, recipe.evaluation.lowercase
        return corpus_scores(hypotheses, references, target_language=language, lowercase=lowercase)

    def _read(self, test_set: str) -> tuple[list[str], list[str]]:
        if test_set not in self._texts:
            folder = self.run.data / "test"
            source, references = (text_lines(folder / f"{test_set}.{side}.txt") for side in ("source", "target"))
            if len(source) != len(references) or not source:
                raise UserError(
                    f"{folder / test_set}: {len(source)} source lines and {len(references)} references; "
                    "expected as many, and at least one"
                )
            self._texts[test_set] = source, references
        return self._texts[test_set]

    def _load(self, student: Student) -> None:
        """Make this student the one that is loaded."""
        from polystill.models.folder import parameter_count
        from polystill.models.pruning import nonzero_parameters

        if self._student == student:
            return
        self._translator = self._model = None  # frees those before
        self._perplexities = {}
        folder = shipped = extracted(self.run, student)
        in_float32 = load_torch(folder, "float32", self.threads)
        self._model = in_float32.model
        how = self.how
        if (how.engine, how.precision) == ("torch", "float32"):
            self._translator = in_float32
        elif how.engine == "torch":
            self._translator = load_torch(folder, how.precision, self.threads)
        else:
            shipped = exported(self.run, student, how.precision, how.shortlist)
            self._translator = CTranslate2Translator(shipped, how.precision, self.threads)
        self._sizes = {"parameters": parameter_count(folder), "size_bytes": folder_bytes(shipped)}
        if self.run.recipe.prunes:
            self._sizes["nonzero_parameters"] = nonzero_parameters(self._model)
        self._student = student

    def _perplexity(self, test_set: str) -> float:
        """Of the references, an end mark each; of one that does not fit the model, its first tokens."""
        from polystill.evaluation.mode import perplexity

        if test_set not in self._perplexities:
            source, references = self._read(test_set)
            tokenizer, most = self._translator.tokenizer, self._translator.max_source_tokens
            targets = [ids[:most] for ids in tokenizer.encode_target(references)]
            self._perplexities[test_set] = perplexity(self._model, self._source_ids(source), targets)
        return self._perplexities[test_set]

    def _p_mode(self, source: Sequence[str], found: Sequence[Sequence[Hypothesis]], options: DecodingOptions) -> Row:
        """Over the lines that the model was given: blank ones were not."""
        from polystill.evaluation.mode import p_mode

        tokenizer = self._translator.tokenizer
        id_of = {piece: i for i, piece in enumerate(tokenizer.pieces)}
        all_ids = self._source_ids(source)
        limits = longest_of_each(options, self._translator.max_source_tokens, all_ids)
        sources: list[list[int]] = []
        outputs: list[list[int] | None] = []
        for ids, n_best, longest in zip(all_ids, found, limits, strict=True):
            if len(ids) > 1:
                sources.append(ids)
                ended = n_best and len(n_best[0].tokens) < longest
                outputs.append([*(id_of[piece] for piece in n_best[0].tokens), tokenizer.eos_id] if ended else None)
        return {"p_mode": p_mode(self._model, sources, outputs)} if sources else {}

    def _source_ids(self, source: Sequence[str]) -> list[list[int]]:
        """Cut where the engine cuts them."""
        translator = self._translator
        return Cuts().fit_sources(source, translator.tokenizer.encode_source, translator.max_source_tokens)
