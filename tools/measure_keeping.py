"""What keeping placeholders, numbers and capitals does to ordinary sentences.

    python tools/measure_keeping.py RUN --student smallest --beam 5

Counts loops in the translations of the first 300 sentences of the run's first test set, as they are and in capitals,
and measures BLEU and chrF of its validation set: as a student translates by itself, and as `translate` does.
CTranslate2, float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from polystill.cli.common import user_errors
from polystill.data.cleaning import Repetition
from polystill.decoding import ENGINES
from polystill.decoding.keeping import in_capitals, translate_block
from polystill.decoding.metrics import corpus_scores
from polystill.decoding.translator import Cuts, DecodingOptions, Translator
from polystill.environment.process import available_cores
from polystill.evaluation.students import choose_students
from polystill.export.students import folder_for
from polystill.runs import Run
from polystill.runs.results import VALIDATION

SENTENCES = 300


def measure(folder: Path, students: Sequence[str] | None, beam: int) -> Iterator[str]:
    """A line for each student and way of translating."""
    with Run.open(folder, lock=True) as run:
        data, options = run.recipe.data, DecodingOptions(beam_size=beam)
        languages = data.source_language, data.target_language
        plain = run.test_lines(next(iter(data.test)), "source")[:SENTENCES]
        capitals = [in_capitals(line, languages[0]) for line in plain]
        source, reference = (run.test_lines(VALIDATION, side) for side in ("source", "target"))
        repetition = Repetition(languages)
        variants = choose_students(run, students, engine="ctranslate2", precision="float32", shortlist=False)
        for student, variant in variants.items():
            translator = ENGINES["ctranslate2"].open(folder_for(run, student, variant), "float32", available_cores())
            for name, translate in (("by itself", _by_itself), ("kept", _kept)):
                loops = []
                for lines in (plain, capitals):
                    translations = translate(translator, lines, options)
                    loops.append(sum(map(repetition.is_looping, lines, translations)))
                scores = corpus_scores(translate(translator, source, options), reference, target_language=languages[1])
                yield (
                    f"{student} {name}: {loops[0]} of {len(plain)} loop, {loops[1]} in capitals; "
                    f"validation {scores['bleu']:.2f} BLEU, {scores['chrf']:.2f} chrF"
                )


def _by_itself(translator: Translator, lines: Sequence[str], options: DecodingOptions) -> list[str]:
    return [found[0].text for found in translator.translate(lines, options)]


def _kept(translator: Translator, lines: Sequence[str], options: DecodingOptions) -> list[str]:
    return [found[0].text for found in translate_block(translator, lines, options, Cuts())]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--student", help="names, with commas between; all by default")
    parser.add_argument("--beam", type=int, default=5)
    given = parser.parse_args(arguments)
    with user_errors():
        for line in measure(given.run, given.student.split(",") if given.student else None, given.beam):
            print(line, flush=True)


if __name__ == "__main__":
    main()
