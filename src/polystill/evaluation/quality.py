"""Quality of a run's students (BLEU, chrF, perplexity, p(mode)), measured on the exports that would be shipped.

Latency and memory of these exports are measured afterwards, all in turn (`add_latency`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

from polystill.decoding import ENGINES
from polystill.decoding.engine import ModelTranslator
from polystill.decoding.metrics import corpus_scores
from polystill.decoding.torch import Torch
from polystill.decoding.translator import (
    LENGTH_FACTOR,
    Cuts,
    DecodingOptions,
    Hypothesis,
    longest_of_any,
    longest_of_each,
)
from polystill.environment.process import available_cores
from polystill.errors import UserError
from polystill.evaluation.measure import folder_bytes
from polystill.evaluation.speed import Subject, measure_in_turn, sample
from polystill.evaluation.students import choose_students, file_name, model_id
from polystill.export.students import extracted, folder_for
from polystill.progress import Progress
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.runs.results import QualityRow, Variant
from polystill.storage import text_lines, write_atomic
from polystill.students import Student

_log = logging.getLogger(__name__)

WARM_UP_LINES = 8
ROUNDS = 3
LATENCY_LINES = 100
"""Sentences of a test set that latency and memory are measured with."""
_SIDES: tuple[Literal["source"], Literal["target"]] = ("source", "target")


def evaluate_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    beams: Sequence[int] | None = None,
    engine: str | None = None,
    precisions: Sequence[str] | None = None,
    shortlist: bool = False,
    force: bool = False,
) -> list[QualityRow]:
    """Measure students of a finished run: quality and speed, with CTranslate2 also latency and memory.

    Defaults are the recipe's. What results.json has already is not measured again, unless `force`. With `shortlist`
    the students are measured with the run's shortlist.

    Raises:
        UserError: the folder is no run, its training is not finished, or as `evaluate_students`.
    """
    with Run.open(folder, lock=True) as run:
        run.need_family()
        wanted = list(dict.fromkeys(precisions or [run.recipe.evaluation.precision]))
        for precision in wanted[1:]:  # A wrong one is refused before the first has taken hours.
            choose_students(run, students, engine=engine, precision=precision, shortlist=shortlist)
        with run.spending("evaluation"):
            rows = [
                row
                for precision in wanted
                for row in evaluate_students(
                    run,
                    students=students,
                    sets=run.held_out,
                    beams=beams,
                    engine=engine,
                    precision=precision,
                    shortlist=shortlist,
                    measured_here=True,
                    force=force,
                )
            ]
            return add_latency(run, rows)


def evaluate_students(
    run: Run,
    *,
    students: Sequence[str] | None = None,
    beams: Sequence[int] | None = None,
    engine: str | None = None,
    sets: Sequence[str] | None = None,
    precision: str | None = None,
    shortlist: bool = False,
    threads: int = 0,
    measured_here: bool = False,
    force: bool = False,
    add: Callable[[Sequence[QualityRow]], object] | None = None,
) -> list[QualityRow]:
    """Translate test sets with students and score the translations. Defaults are the recipe's.

    `sets` are test sets, or VALIDATION for the validation set, which `polystill pick` chooses by.

    Missing students are extracted and exported into RUN/students. Each row goes to RUN/results.json, or to `add`, as
    soon as it is measured, its translations to RUN/hypotheses. Existing rows are returned as they are, unless `force`;
    with `measured_here` those are measured again to which `add_latency` would add latency of another machine or number
    of threads.

    Raises:
        UserError: an unknown student, engine or precision; a family or a shortlist that the engine does not support; or
            a test set without lines.
    """
    variants = choose_students(run, students, engine=engine, precision=precision, shortlist=shortlist)
    beams = beams if beams is not None else run.recipe.evaluation.beams
    beams = [DecodingOptions(beam_size=beam).beam_size for beam in beams]
    measurement = _Measurement(run, variants, threads or available_cores(), add or run.add)
    known = {} if force else {row.key: row for row in run.results().rows}
    test_sets = run.recipe.data.test if sets is None else sets
    before = {one: known.get(measurement.key(*one)) for one in product(variants, test_sets, beams)}
    valid = {one for one, row in before.items() if row is not None and measurement.is_valid(row, measured_here)}
    progress = Progress("evaluating", "translation", len(before) - len(valid), silent=len(before) == len(valid))
    rows = []
    for one, row in before.items():
        rows.append(measurement.row(*one, row, is_valid=one in valid))
        if one not in valid:
            progress.say(_in_words(rows[-1]))
            progress.add()
    progress.close()
    return rows


def _in_words(row: QualityRow) -> str:
    return f"{row.label} {row.test_set} beam {row.beam}: BLEU {row.bleu:.2f}, chrF {row.chrf:.2f}"


# --- one student after the other -----------------------------------------------------------------------------------


class _Measurement:
    """Measures students of a run, each in its engine and precision, with a shortlist or not; holds one at a time."""

    def __init__(
        self,
        run: Run,
        variants: Mapping[Student, Variant],
        threads: int,
        add: Callable[[Sequence[QualityRow]], object],
    ) -> None:
        self.run, self.variants, self.threads, self._add = run, variants, threads, add
        self._student: Student | None = None  # the one that the next four fields belong to
        self._translator: Any = None
        self._model: Any = None  # in torch and float32: it scores the translations of any engine
        self._sizes: dict[str, Any] = {}
        self._perplexities: dict[str, float] = {}
        self._texts: dict[str, tuple[list[str], list[str]]] = {}

    def key(self, student: Student, test_set: str, beam: int) -> tuple[Any, ...]:
        """The key of the row of results."""
        length_penalty = self.run.recipe.evaluation.length_penalty
        return (model_id(self.run, student), test_set, *self.variants[student], beam, length_penalty)

    def row(
        self, student: Student, test_set: str, beam: int, before: QualityRow | None, *, is_valid: bool
    ) -> QualityRow:
        """The row of results: `before`, if it is valid, or else a new one, which is added."""
        row = before
        if row is None or not is_valid:
            row = self.measure(student, test_set, beam)
        elif self.run.recipe.evaluation.lowercase and row.bleu_lc is None:
            row = self.score_again(row)
        if row is not before:
            self._add([row])
        return row

    def is_valid(self, row: QualityRow, measured_here: bool) -> bool:
        """Whether a row needs no new translations. All speeds and latencies of a row are of one machine and setting."""
        if not (self.run.folder / row.hypotheses).is_file() or row.max_length_factor != LENGTH_FACTOR:
            return False
        if not measured_here or not ENGINES[row.engine].measured_apart or row.has_latency:
            return True
        return (row.hardware, row.threads) == (provenance().hardware.summary, self.threads)

    def measure(self, student: Student, test_set: str, beam: int) -> QualityRow:
        """Translate and score; writes the translations into RUN/hypotheses."""
        source, references = self._read(test_set)
        self._load(student)
        translator: ModelTranslator = self._translator
        recipe = self.run.recipe
        options = DecodingOptions(beam_size=beam, length_penalty=recipe.evaluation.length_penalty)
        translator.translate(source[:WARM_UP_LINES], options, Cuts())
        start = time.perf_counter()
        translated = translator.translate(source, options)
        seconds = time.perf_counter() - start
        hypotheses = [n_best[0].text if n_best else "" for n_best in translated]
        path = f"hypotheses/{test_set}/{file_name(self.run, student, self.variants[student], options)}.txt"
        return QualityRow(
            model_id=model_id(self.run, student),
            model=str(student),
            method=recipe.method_of(student.supernet),
            targets=recipe.targets_label,
            domains=recipe.domains_label,
            test_set=test_set,
            **self.variants[student]._asdict(),
            beam=beam,
            length_penalty=options.length_penalty,
            **self._scores(hypotheses, references),
            **self._store(path, "".join(line + "\n" for line in hypotheses)),
            perplexity=self._perplexity(test_set),
            p_mode=self._p_mode(source, translated, options),
            **self._sizes,
            words_per_second=sum(len(line.split()) for line in source) / seconds,
            threads=self.threads,
            batch_tokens=options.batch_tokens,
            max_length=longest_of_any(options, translator.max_source_tokens),
            max_length_factor=LENGTH_FACTOR,
            hypotheses=path,
        )

    def score_again(self, row: QualityRow) -> QualityRow:
        """The row with new scores of its stored translations, with those that the recipe now asks for."""
        _, references = self._read(row.test_set)
        path = self.run.folder / row.hypotheses
        hypotheses = text_lines(path)
        if len(hypotheses) != len(references):
            raise UserError(f"{path}: {len(hypotheses)} lines, but the test set has {len(references)}; use --force")
        return replace(row, **self._scores(hypotheses, references))

    def _store(self, path: str, text: str) -> dict[str, Any]:
        """Write translations. Returns the COMET scores of the file where it had the same text: they are expensive."""
        file, comet = self.run.folder / path, {}
        if file.is_file() and file.read_bytes() == text.encode():
            for row in self.run.results().rows:
                if row.hypotheses == path:
                    comet = {"comet": row.comet, "comet_signature": row.comet_signature}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text)
        return comet

    def _scores(self, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        recipe = self.run.recipe
        language, lowercase = recipe.data.target_language, recipe.evaluation.lowercase
        return corpus_scores(hypotheses, references, target_language=language, lowercase=lowercase)

    def _read(self, test_set: str) -> tuple[list[str], list[str]]:
        if test_set not in self._texts:
            source, references = (self.run.test_lines(test_set, side) for side in _SIDES)
            if len(source) != len(references) or not source:
                raise UserError(
                    f"{self.run.data / 'test' / test_set}: {len(source)} source lines and {len(references)} "
                    "references; expected the same number, and at least one"
                )
            self._texts[test_set] = source, references
        return self._texts[test_set]

    def _load(self, student: Student) -> None:
        """Load this student in place of the one before."""
        from polystill.models.folder import read_config
        from polystill.models.pruning import nonzero_parameters

        if self._student == student:
            return
        self._translator = self._model = None  # frees the memory of the student before
        self._perplexities = {}
        folder = extracted(self.run, student)
        in_float32 = Torch().open(folder, "float32", self.threads)
        self._model = in_float32.model
        shipped, self._translator = folder, in_float32
        variant = self.variants[student]
        if variant != (Torch.name, "float32", False):
            shipped = folder_for(self.run, student, variant)
            self._translator = ENGINES[variant.engine].open(shipped, variant.precision, self.threads)
        config = read_config(folder)
        self._sizes = {
            "architecture": config.architecture.name,
            "supernet": student.supernet,
            "encoder_layers": config.encoder_layers,
            "decoder_layers": config.decoder_layers,
            "d_model": config.d_model,
            "ffn_dim": getattr(config, "ffn_dim", None),
            "parameters": config.architecture.parameter_count(config),
            "size_bytes": folder_bytes(shipped),
        }
        if self.run.recipe.prunes:
            self._sizes["nonzero_parameters"] = nonzero_parameters(self._model)
        self._student = student

    def _perplexity(self, test_set: str) -> float:
        """The references' perplexity, end marks included. References are cut where the model takes no more."""
        from polystill.evaluation.mode import perplexity

        if test_set not in self._perplexities:
            source, references = self._read(test_set)
            tokenizer, most = self._translator.tokenizer, self._translator.max_source_tokens
            targets = [ids[:most] for ids in tokenizer.encode_target(references)]
            self._perplexities[test_set] = perplexity(self._model, self._source_ids(source), targets)
        return self._perplexities[test_set]

    def _p_mode(
        self, source: Sequence[str], translated: Sequence[Sequence[Hypothesis]], options: DecodingOptions
    ) -> float | None:
        """p(mode) over the lines that are not blank: blank ones are not given to the model."""
        from polystill.evaluation.mode import p_mode

        tokenizer = self._translator.tokenizer
        id_of = {piece: i for i, piece in enumerate(tokenizer.pieces)}
        all_ids = self._source_ids(source)
        limits = longest_of_each(options, self._translator.max_source_tokens, all_ids)
        sources: list[list[int]] = []
        outputs: list[list[int] | None] = []
        for ids, n_best, longest in zip(all_ids, translated, limits, strict=True):
            if len(ids) > 1:
                sources.append(ids)
                ended = n_best and len(n_best[0].tokens) < longest
                outputs.append([*(id_of[piece] for piece in n_best[0].tokens), tokenizer.eos_id] if ended else None)
        return p_mode(self._model, sources, outputs) if sources else None

    def _source_ids(self, source: Sequence[str]) -> list[list[int]]:
        """Token ids with end marks, cut where the engine cuts them."""
        translator = self._translator
        return Cuts().fit_sources(source, translator.tokenizer.encode_source, translator.max_source_tokens)


# --- latency and memory ---------------------------------------------------------------------------------------------


def add_latency(run: Run, rows: Sequence[QualityRow]) -> list[QualityRow]:
    """The rows, with latency and memory for those that lack them, if their engine is measured in a fresh process.

    All are measured in turn, in processes of their own. The figures go to RUN/results.json after the last round.

    Raises:
        UserError: a folder does not load, or a test set has no words.
    """
    lacking = [i for i, row in enumerate(rows) if ENGINES[row.engine].measured_apart and not row.has_latency]
    if not lacking:
        return list(rows)
    _log.info("latency and memory, %d times in each of %d rounds", len(lacking), ROUNDS)
    speeds = measure_in_turn(_subjects(run, [rows[i] for i in lacking]), rounds=ROUNDS, log=_log.info)
    completed = list(rows)
    for i, speed in zip(lacking, speeds, strict=True):
        completed[i] = replace(rows[i], **speed, latency_rounds=ROUNDS)
    run.add([completed[i] for i in lacking])
    return completed


def _subjects(run: Run, rows: Sequence[QualityRow]) -> list[Subject]:
    from polystill.runs.family import family_space

    space = family_space(run.family)

    @cache  # Many rows share a folder, and finding it hashes the weights.
    def folder(student: str, variant: Variant) -> Path:
        return folder_for(run, space.get(student), variant)

    @cache
    def lines(test_set: str) -> list[str]:
        return sample(run.test_lines(test_set, "source"), LATENCY_LINES)

    return [
        Subject(
            folder=folder(row.model, row.variant),
            lines=lines(row.test_set),
            options=DecodingOptions(beam_size=row.beam, length_penalty=row.length_penalty),
            engine=row.engine,
            precision=row.precision,
            threads=row.threads or 1,
        )
        for row in rows
    ]
