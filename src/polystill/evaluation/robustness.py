"""Robustness of students: their translations of lines that are unlike their data, with failures counted by kind.

The lines ("probes") are made from the run's own test source, so that they have its language and domain, and from fixed
text. Failures are counted twice: as `polystill translate` and `serve` translate, which keep what small models break on
(`decoding.keeping`), and as the model translates by itself, in every other program. Translation happens
in a process of its own: an engine that dies is counted as well, and the rest goes on.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self

from polystill.data.cleaning import Repetition
from polystill.decoding import ENGINES
from polystill.decoding.engine import ModelTranslator
from polystill.decoding.keeping import digits, readings, translate_block
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, Translator
from polystill.environment.process import available_cores
from polystill.errors import UserError
from polystill.evaluation.students import choose_students, file_name, model_id
from polystill.placement import MARKS
from polystill.progress import Progress
from polystill.runs import Run
from polystill.runs.results import ProbeCounts, RobustnessRow, Variant, totals
from polystill.storage import write_atomic
from polystill.students import Student

_log = logging.getLogger(__name__)

SENTENCES = 20
"""Sentences of the test set, evenly spread, that most kinds are made from."""
LONG_LINES, LONG_SENTENCES = 4, 60
"""Long lines, and the sentences in each: more than most models have positions for."""
UNPUNCTUATED_SENTENCES = 6


@dataclass(frozen=True)
class Probe:
    kind: str
    source: str
    copy: str = ""
    """Text that the translation has to contain as well; "" for most kinds."""


KINDS = {
    "capitals": "test sentences in capitals",
    "headlines": "test sentences with every word capitalised",
    "one word": "single words of the test set",
    "long": f"{LONG_SENTENCES} test sentences on one line",
    "unpunctuated": f"{UNPUNCTUATED_SENTENCES} test sentences on one line, in small letters and without punctuation",
    "numbers": "test sentences with a number before their end",
    "dates": "the same with a date",
    "URLs": "the same with a URL or an e-mail address",
    "emoji": "the same with an emoji",
    "placeholders": "the same with a placeholder or tag of interface text",
    "empty": "lines without a word, whose translation is empty",
    "odd": "punctuation only, markup, control characters, other scripts, a word of 3,000 letters",
}

_NUMBERS = ("7", "42", "1984", "1,250", "3.75", "16,384", "0.5", "2026", "99", "12,345,678")
_DATES = ("2024-03-15", "15.03.2024", "3/15/2024", "31.12.1999", "2026-01-02", "7.5.2031", "11/22/63", "1.1.2000")
_URLS = (
    *("https://example.org", "http://example.com/a/page.html#part", "www.example.net", "name@example.org"),
    *("https://example.org/search?q=one&lang=two", "first.last@mail.example.com", "example.com/path/to/file.tar.gz"),
)
_EMOJI = ("🙂", "🚀", "👍", "🎉", "🐶", "❤️", "👩‍🚀", "🇪🇺", "☕", "😂")
_PLACEHOLDERS = ("%s", "%1$s", "%(name)s", "{name}", "{0}", "%PRODUCTNAME", "$HOME", "<b>", "{{user}}", "--verbose")
_EMPTY = ("", " ", "\t", "\u00a0\u2003 ")
_ODD = (
    *("?!?!", "...", "-", "A", "!!!!!!!!!!!!!!!!!!!!", "x" * 3000),
    *("<b>bold</b> &amp; <script>alert(1)</script>", '{"key": [1, 2, null]}', "a\u200bb\u00adc", "\x01\x07\x1b[0m"),
    *("漢字 кириллица العربية ελληνικά", "\u202eabc\u202c", "Z̸̢̛a̵͔̓l̷̰̈g̵̱̈́o̴̤͝", "\ufffd\ufffd\ufffd", "a" + "\u0301" * 50),
)


def make_probes(test_source: Sequence[str]) -> list[Probe]:
    """Probes of all kinds, in the order of KINDS, always the same for a test source of at least one sentence."""
    lines = [line.strip() for line in test_source if line.strip()]
    assert lines
    sentences = [lines[len(lines) * i // SENTENCES] for i in range(min(SENTENCES, len(lines)))]
    return [
        *(Probe("capitals", sentence.upper()) for sentence in sentences),
        *(Probe("headlines", " ".join(w[:1].upper() + w[1:] for w in s.split())) for s in sentences),
        *(Probe("one word", word) for word in _words(sentences)),
        *(Probe("long", line) for line in _joined(lines, LONG_LINES, LONG_SENTENCES)),
        *(Probe("unpunctuated", _plain(line)) for line in _joined(sentences, LONG_LINES, UNPUNCTUATED_SENTENCES)),
        *_with("numbers", sentences, _NUMBERS),
        *_with("dates", sentences, _DATES),
        *_with("URLs", sentences, _URLS),
        *_with("emoji", sentences, _EMOJI),
        *_with("placeholders", sentences, _PLACEHOLDERS),
        *(Probe("empty", line) for line in _EMPTY),
        *(Probe("odd", line) for line in _ODD),
    ]


def _words(sentences: Sequence[str]) -> list[str]:
    """The longest word of each sentence that no sentence before has given."""
    words: list[str] = []
    for sentence in sentences:
        new = [word for word in re.findall(rf"(?:[^\W\d_]|[{MARKS}])+", sentence) if word not in words]
        words += sorted(new, key=len, reverse=True)[:1]
    return words


def _joined(sentences: Sequence[str], lines: int, each: int) -> Iterator[str]:
    """`lines` lines of `each` sentences, which start again from the first where they run out."""
    endless = cycle(sentences)
    for _ in range(lines):
        yield " ".join(islice(endless, each))


def _plain(line: str) -> str:
    return " ".join(re.sub(rf"[^\w\s{MARKS}]|_", " ", line).split()).lower()


_END = re.compile(r"[\s.!?。！？…]*$")


def _with(kind: str, sentences: Sequence[str], things: Sequence[str]) -> Iterator[Probe]:
    """Each thing twice, before the end of a sentence."""
    for thing, sentence in zip((*things, *things), cycle(sentences), strict=False):
        end = _END.search(sentence)
        assert end is not None  # it matches nothing at the very end
        mark = end[0].strip()
        yield Probe(kind, f"{sentence[: end.start()]} {thing}{f' {mark}' if mark else ''}", thing)


# --- their translations ---------------------------------------------------------------------------------------------


def is_copied(probe: Probe, translation: str) -> bool:
    """Whether a translation has the probe's text: digits of a number in any groups, numbers of a date in any order."""
    if probe.kind == "numbers":
        return digits(probe.copy) in readings(translation)
    if probe.kind == "dates":
        return {int(n) for n in re.findall(r"\d+", probe.copy)} <= {int(n) for n in re.findall(r"\d+", translation)}
    return probe.copy in translation


def has_words(line: str) -> bool:
    return any(character.isalnum() for character in line)


@dataclass(frozen=True)
class Output:
    """A line's translation, and the one that the model gives by itself.

    They are None where the engine failed. `cut` says that the line is too long for the model.
    """

    text: str | None
    by_itself: str | None
    cut: bool = False


FAILED = Output(None, None)


def count(
    probes: Sequence[Probe], texts: Sequence[str | None], cut: Sequence[bool], languages: tuple[str, str]
) -> dict[str, ProbeCounts]:
    """The counts of each kind, from the probes' translations and whether a probe was cut."""
    repetition = Repetition(languages)
    kinds: dict[str, ProbeCounts] = {}
    for probe, text, is_cut in zip(probes, texts, cut, strict=True):
        counts = _count_one(probe, text, repetition) + ProbeCounts(cut=int(is_cut))
        kinds[probe.kind] = kinds.get(probe.kind, ProbeCounts()) + counts
    return kinds


def _count_one(probe: Probe, text: str | None, repetition: Repetition) -> ProbeCounts:
    counts = ProbeCounts(lines=1, to_copy=int(bool(probe.copy)))
    if text is None:
        return counts + ProbeCounts(crashed=1)
    return counts + ProbeCounts(
        empty=int(has_words(probe.source) and not text.strip()),
        invented=int(not probe.source.strip() and bool(text.strip())),
        loops=int(repetition.is_looping(probe.source, text)),
        copied=int(bool(probe.copy) and is_copied(probe, text)),
    )


# --- a run's students -----------------------------------------------------------------------------------------------


def probe_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
    beam: int | None = None,
) -> list[RobustnessRow]:
    """Give probes to students of a finished run and count their failures. Defaults are the recipe's, its largest beam.

    Rows go to RUN/results.json under "robustness", all translations to RUN/robustness.

    Raises:
        UserError: the folder is no run, or its training is not finished; an unknown student, engine or precision, or a
            family or shortlist that the engine does not support; or no test source to make probes from.
    """
    from polystill.export.students import folder_for

    with Run.open(folder, lock=True) as run:
        run.need_family()
        variants = choose_students(run, students, engine=engine, precision=precision, shortlist=shortlist)
        settings, data = run.recipe.evaluation, run.recipe.data
        options = DecodingOptions(beam_size=beam or max(settings.beams), length_penalty=settings.length_penalty)
        probes = make_probes(_test_source(run))
        rows = []
        progress = Progress("translating unusual lines", "student", len(variants))
        with Apart(_translate) as apart:
            for student, variant in variants.items():
                model = folder_for(run, student, variant)
                how = (str(model), variant.engine, variant.precision, options, available_cores())
                outputs = apart.translate([probe.source for probe in probes], *how)
                cut, languages = [output.cut for output in outputs], (data.source_language, data.target_language)
                kinds = count(probes, [output.by_itself for output in outputs], cut, languages)
                kept = count(probes, [output.text for output in outputs], cut, languages)
                row = _row(run, student, variant, options, kinds, kept)
                _store(run, row, probes, outputs)
                rows.append(row)
                progress.say(f"{row.label}: {in_words(kept)}")
                progress.add()
        progress.close()
    return rows


def in_words(kinds: Mapping[str, ProbeCounts]) -> str:
    """Such as "147 lines: 2 loops, 31 of 70 copied"."""
    counts = totals(kinds)
    failures = ("crashed", "empty", "invented", "loops")
    parts = [f"{number} {name}" for name in failures if (number := getattr(counts, name))]
    return f"{counts.lines} lines: {', '.join([*parts, f'{counts.copied} of {counts.to_copy} copied'])}"


def _row(
    run: Run,
    student: Student,
    variant: Variant,
    options: DecodingOptions,
    kinds: Mapping[str, ProbeCounts],
    kept: Mapping[str, ProbeCounts],
) -> RobustnessRow:
    return RobustnessRow(
        model_id=model_id(run, student),
        model=str(student),
        **variant._asdict(),
        beam=options.beam_size,
        length_penalty=options.length_penalty,
        kinds=kinds,
        kept=kept,
        outputs=f"robustness/{file_name(run, student, variant, options)}.jsonl",
    )


def _store(run: Run, row: RobustnessRow, probes: Sequence[Probe], outputs: Sequence[Output]) -> None:
    lines = [
        json.dumps({"kind": probe.kind, "source": probe.source, **asdict(output)}, ensure_ascii=False)
        for probe, output in zip(probes, outputs, strict=True)
    ]
    path = run.folder / row.outputs
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    run.add([row])


def _test_source(run: Run) -> list[str]:
    """The source of the first test set, or of the validation set where the recipe has no test set."""
    name = run.held_out[0]
    lines = run.test_lines(name, "source")
    if not any(line.strip() for line in lines):
        raise UserError(f"{run.folder}: {name} has no sentence to make probes from")
    return lines


# --- a process apart ------------------------------------------------------------------------------------------------


class Apart:
    """Calls `work(lines, *how)`, a function of a module, in a process of its own, and replaces a process that dies."""

    def __init__(self, work: Callable[..., list[Output]]) -> None:
        self._work = work
        self._new_pool = partial(ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"))
        self._pool = self._new_pool()

    def translate(self, lines: Sequence[str], *how: Any) -> list[Output]:
        """Translate all lines at once; where that fails, one by one, so that only the lines which fail are lost."""
        outputs = self._attempt(list(lines), how)
        if outputs is None:
            outputs = [(self._attempt([line], how) or [FAILED])[0] for line in lines]
        return outputs

    def _attempt(self, lines: list[str], how: tuple[Any, ...]) -> list[Output] | None:
        try:
            return self._pool.submit(self._work, lines, *how).result()
        except UserError:  # The model does not load, which is no line's fault.
            raise
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._new_pool()
            return None
        except Exception as error:
            _log.debug("an engine's error: %s", error)
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _translate(
    lines: list[str], folder: str, engine: str, precision: str, options: DecodingOptions, threads: int
) -> list[Output]:
    translator, cuts = _translator(folder, engine, precision, threads), Cuts()
    by_itself = translator.translate(lines, options, cuts)
    lists = translate_block(_Remembering(translator, dict(zip(lines, by_itself, strict=True))), lines, options, Cuts())
    return [
        Output(_text(n_best), _text(own), i in cuts.sources)
        for i, (n_best, own) in enumerate(zip(lists, by_itself, strict=True))
    ]


class _Remembering:
    """A translator that has translated some lines already, with the same options."""

    def __init__(self, translator: Translator, known: Mapping[str, list[Hypothesis]]) -> None:
        self._translator, self._known = translator, known
        self.max_source_tokens, self.languages = translator.max_source_tokens, translator.languages

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        new = [line for line in dict.fromkeys(lines) if line not in self._known]
        known = {**self._known, **dict(zip(new, self._translator.translate(new, options, cuts), strict=True))}
        return [known[line] for line in lines]


def _text(n_best: Sequence[Hypothesis]) -> str:
    return n_best[0].text if n_best else ""


@lru_cache(maxsize=1)
def _translator(folder: str, engine: str, precision: str, threads: int) -> ModelTranslator:
    return ENGINES[engine].open(Path(folder), precision, threads)
