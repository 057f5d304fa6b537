"""Translation speed of a family's members, and of the torch beam search against `generate` of transformers.

Every system translates the same sentences in the same batches, tokenisation and detokenisation included, all systems in
turn. Batches hold sentences of like length, as the engines themselves would sort them; at batch size 1 the sentences
come in their own order and one waits for the other, so each one's seconds are its latency.

Against `generate`: same weights, beam, batches of token ids and stopping rule; tokenisation is left out on both sides.
transformers' `early_stopping=True` ends a sentence when it has as many finished hypotheses as beams, which is our rule.
How many translations agree is reported beside the speeds: the two differ where scores tie or where a hypothesis would
be as long as the model has positions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from polystill.bench.rounds import Spread, interleaved, quotients, shown_spread, spread, synchronize
from polystill.data.batching import padded
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import beam_search
from polystill.decoding.translator import Cuts, DecodingOptions, Translator
from polystill.errors import UserError
from polystill.evaluation.speed import percentile
from polystill.models.folder import architecture_in, load_model_with_tokenizer
from polystill.runs import Run
from polystill.runs.family import family_space, supernet_folder
from polystill.runs.results import WITH_SHORTLIST

if TYPE_CHECKING:
    from rich.table import Table

REFERENCE = ("ctranslate2", "float32")
"""Engine and precision of the teacher with the largest beam that everything is compared with."""


@dataclass(frozen=True)
class System:
    """A member of the family on an engine. An engine with `inner_threads` uses them all for one batch."""

    student: str
    engine: str
    precision: str
    beam_size: int
    translator: Translator
    inner_threads: bool
    device: str = "cpu"
    shortlist: bool = False
    """Whether it looks at the likely part of the vocabulary only."""

    def name(self, batch_size: int) -> str:
        how = f"{self.engine} {self.precision}{' shortlist' * self.shortlist}"
        return f"{self.student} {how} beam {self.beam_size} batch {batch_size}"


@dataclass(frozen=True)
class DecodeRow:
    """One system's figures with one batch size, as docs/benchmark.md describes them; None where there is none."""

    student: str
    engine: str
    precision: str
    device: str
    shortlist: bool
    beam: int
    batch_size: int
    words_per_second: Spread
    speed_to_reference: Spread | None
    speed_to_teacher_same_engine: Spread | None
    latency_ms: dict[str, Spread] | None

    def record(self) -> dict[str, Any]:
        """For JSON; figures that there are not are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class _Pass:
    """One system over all sentences in batches of one size."""

    def __init__(self, system: System, batches: list[list[str]], batch_size: int, threads: int) -> None:
        self.system, self.batches, self.batch_size = system, batches, batch_size
        self.latencies: list[list[float]] = []  # of each sentence, in each measured round
        self._side_by_side = 1 if system.inner_threads or batch_size == 1 else threads
        # So many source tokens that batches are parted by their sources' length only, as all engines part them.
        self._options = DecodingOptions(beam_size=system.beam_size, batch_tokens=10**6)

    def warm_up(self) -> None:
        self._translate(self.batches[0])

    def run(self) -> None:
        if self._side_by_side == 1:
            self.latencies.append([self._translate(batch) for batch in self.batches])
            return
        with ThreadPoolExecutor(self._side_by_side) as pool:
            self.latencies.append(list(pool.map(self._translate, self.batches)))

    def _translate(self, lines: list[str]) -> float:
        start = time.perf_counter()
        self.system.translator.translate(lines, self._options, Cuts())
        return time.perf_counter() - start


def measure(
    systems: Sequence[System],
    lines: Sequence[str],
    *,
    batch_sizes: Sequence[int],
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> list[DecodeRow]:
    """A row for each system and batch size."""
    passes = {
        system.name(size): _Pass(system, batches_of(lines, size), size, threads)
        for size in batch_sizes
        for system in systems
    }
    for each in passes.values():
        each.warm_up()
    seconds = interleaved({name: each.run for name, each in passes.items()}, rounds, log=log, warm_up=False)
    words = sum(len(line.split()) for line in lines)
    return [_row(each, passes, seconds, words) for each in passes.values()]


def batches_of(lines: Sequence[str], size: int) -> list[list[str]]:
    """Batches of `size` sentences of like length (in words), the longest first; single sentences in their own order."""
    ordered = list(lines) if size == 1 else sorted(lines, key=lambda line: -len(line.split()))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _row(measured: _Pass, passes: dict[str, _Pass], seconds: dict[str, list[float]], words: int) -> DecodeRow:
    system, size = measured.system, measured.batch_size
    taken = seconds[system.name(size)]

    def speed_to(engine: str, precision: str) -> Spread | None:
        teacher = _slowest_teacher(passes, engine, precision, size)
        return None if teacher is None else quotients(seconds[teacher.name(size)], taken)

    latency = {
        "p50": spread([1000 * statistics.median(each) for each in measured.latencies]),
        "p95": spread([1000 * percentile(each, 95) for each in measured.latencies]),
    }
    return DecodeRow(
        student=system.student,
        engine=system.engine,
        precision=system.precision,
        device=system.device,
        shortlist=system.shortlist,
        beam=system.beam_size,
        batch_size=size,
        words_per_second=spread([words / s for s in taken]),
        speed_to_reference=speed_to(*REFERENCE),
        speed_to_teacher_same_engine=speed_to(system.engine, system.precision),
        latency_ms=latency if size == 1 else None,
    )


def _slowest_teacher(passes: dict[str, _Pass], engine: str, precision: str, batch_size: int) -> System | None:
    """The teacher with the largest beam on that engine."""
    teachers = [
        each.system
        for each in passes.values()
        if (each.system.student, each.system.engine, each.system.precision) == ("teacher", engine, precision)
        and each.batch_size == batch_size
    ]
    return max(teachers, key=lambda system: system.beam_size, default=None)


def decode_table(rows: Sequence[DecodeRow]) -> Table:
    """The rows for a terminal; devices are in it where they differ."""
    from rich.table import Table

    several = len({row.device for row in rows}) > 1
    table = Table("student", "engine", *(["device"] if several else []), "precision", "beam", "batch", box=None)
    for column in ("words/s", "× teacher float32", "× teacher same", "p50 ms", "p95 ms"):
        table.add_column(column, justify="right")
    for row in rows:
        ratios = [shown_spread(x, 2) if x else "" for x in (row.speed_to_reference, row.speed_to_teacher_same_engine)]
        latency = [f"{row.latency_ms[p]['median']:.1f}" if row.latency_ms else "" for p in ("p50", "p95")]
        student = f"{row.student} {WITH_SHORTLIST}" if row.shortlist else row.student
        how = [student, row.engine, *([row.device] if several else []), row.precision]
        how += [str(row.beam), str(row.batch_size)]
        table.add_row(*how, shown_spread(row.words_per_second, 0), *ratios, *latency)
    return table


# --- a run's text and members -----------------------------------------------------------------------------------------


def test_lines(folder: Path, test_set: str | None, count: int) -> tuple[list[str], str]:
    """The first lines of a run's test set, without empty ones, and the set's name: the recipe's first by default.

    Raises:
        UserError: the run has no family, or no such test set.
    """
    run = Run.open(folder)
    run.need_family()
    known = list(run.recipe.data.test)
    if not known:
        raise UserError(f"{folder}: the run has no test sets to translate; add one to data.test")
    if test_set not in (None, *known):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(known)}")
    name = test_set or known[0]
    lines = [line for line in run.test_lines(name, "source") if line.strip()]
    return lines[:count], name


def find_members(folder: Path, names: list[str] | None) -> dict[str, tuple[Path, str]]:
    """Run and name of each student other than the run's own teacher, by its given name: "e4d2", or "OTHER_RUN/e4d2".

    Raises:
        UserError: no such run or student.
    """
    space = family_space(Run.open(folder).family)
    members: dict[str, tuple[Path, str]] = {}
    for name in names or map(str, space.candidates):
        place, _, student = name.rpartition("/")
        if place:
            Run.open(Path(place)).need_family()
            members[name] = Path(place), family_space(Run.open(Path(place)).family).get(student).name
        elif (member := space.get(student)) != space.teacher:
            members[str(member)] = folder, str(member)
    return members


def architecture_of(folder: Path, student: str) -> str:
    """The architecture of a run's student."""
    family = Run.open(folder).family
    return architecture_in(supernet_folder(family, family_space(family).get(student).supernet))


# --- against `generate` -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GenerateRow:
    """The torch beam search and transformers' `generate` with one batch size."""

    device: str
    beam: int
    batch_size: int
    words_per_second: dict[str, Spread]
    speed_to_transformers: Spread
    same_translations: float

    def __str__(self) -> str:
        speeds = self.words_per_second
        return (
            f"torch beam search, beam {self.beam}, batch {self.batch_size}: "
            f"{shown_spread(speeds['polystill'], 0)} words/s, "
            f"{shown_spread(self.speed_to_transformers, 2)} times transformers' generate "
            f"({shown_spread(speeds['transformers'], 0)}); "
            f"{self.same_translations:.1%} of the translations are the same"
        )


def measure_generate(
    folder: Path,
    lines: Sequence[str],
    *,
    beam_size: int,
    batch_size: int,
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> GenerateRow:
    """Both searches over the sentences, with the single model in `folder`."""
    from transformers import MarianMTModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_model_with_tokenizer(folder)
    model = model.to(device).eval()
    reference: Any = MarianMTModel.from_pretrained(folder).to(device).eval()
    batches = (
        Cuts().fit_sources(b, tokenizer.encode_source, model.max_positions) for b in batches_of(lines, batch_size)
    )
    sources = [torch.from_numpy(padded(rows, tokenizer.pad_id)).to(device) for rows in batches]
    translations: dict[str, list[list[int]]] = {}

    def search(batches: Sequence[Tensor] = sources) -> None:
        options = DecodingOptions(beam_size=beam_size)
        translations["polystill"] = [
            hypotheses[0].ids for source in batches for hypotheses in beam_search(model, source, options)
        ]

    def generate(batches: Sequence[Tensor] = sources) -> None:
        rows: list[list[int]] = []
        for source in batches:
            out = reference.generate(
                input_ids=source,
                attention_mask=(source != tokenizer.pad_id).long(),
                num_beams=beam_size,
                early_stopping=beam_size > 1,
                max_length=model.max_positions,
                do_sample=False,
            )
            rows += [_without_marks(row, tokenizer) for row in out.tolist()]
        translations["transformers"] = rows

    for warm_up in (search, generate):
        warm_up(sources[:1])
    seconds = interleaved(
        {"polystill": search, "transformers": generate}, rounds, lambda: synchronize(device), log, warm_up=False
    )
    words = sum(len(line.split()) for line in lines)
    same = [a == b for a, b in zip(translations["polystill"], translations["transformers"], strict=True)]
    return GenerateRow(
        device=device.type,
        beam=beam_size,
        batch_size=batch_size,
        words_per_second={name: spread([words / s for s in taken]) for name, taken in seconds.items()},
        speed_to_transformers=quotients(seconds["transformers"], seconds["polystill"]),
        same_translations=sum(same) / len(same),
    )


def _without_marks(ids: list[int], tokenizer: Tokenizer) -> list[int]:
    """Up to the end mark, without the `<pad>` that decoding starts from."""
    ids = ids[1:]
    return ids[: ids.index(tokenizer.eos_id)] if tokenizer.eos_id in ids else [i for i in ids if i != tokenizer.pad_id]
