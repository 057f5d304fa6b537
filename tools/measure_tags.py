"""How often an inline tag goes around the right word: python -m tools.measure_tags RUN STUDENT [NODE_MODULES EXPORT]

In each of the first 100 sentences of the run's first test set that have such a word, one word is put into <b>: one of
four letters or more, which the run's aligner links with one word of the student's greedy translation, and this word
with no other. The tag is right around that word alone, with or without signs.

Measured are polystill's server with alignments and without; with two more arguments, the folder of npm packages with
its runtime and an export of the student, also Bergamot's HTML mode. Where a translation differs from the student's, its
tag is not counted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from polystill.data.aligner import Aligner
from polystill.data.packing import PackedDataset
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions, Links
from polystill.models.folder import load_supernets
from polystill.runs import Run
from polystill.runs.family import family_space
from polystill.serving.batching import Wanted
from polystill.serving.family import Student
from polystill.serving.service import _search
from polystill.serving.text import Markup
from tools.alignment_error import GoldPair, aligner_links

SENTENCES = 100
NODE = Path(__file__).parents[1] / "tests" / "consumers" / "bergamot.mjs"


def cases(lines: Sequence[str], translations: Sequence[str], links: Sequence[Links]) -> Iterator[tuple[str, str]]:
    """Lines with one word in <b>, and what their translations should be."""
    for line, translation, found in zip(lines, translations, links, strict=True):
        of_source, of_target = Counter(s for s, _ in found), Counter(t for _, t in found)
        words = line.split(), translation.split()
        for s, t in found:
            if of_source[s] == of_target[t] == 1 and len(re.findall(r"\w", words[0][s])) > 3:
                yield _bold(words[0], s), _bold(words[1], t)
                break


def _bold(words: Sequence[str], at: int) -> str:
    bold = re.sub(r"\w(?:.*\w)?", lambda match: f"<b>{match[0]}</b>", words[at])
    return " ".join([*words[:at], bold, *words[at + 1 :]])


def served(student: Student, lines: Sequence[str], *, aligned: bool) -> list[str]:
    documents = [Markup(line, "en", student.fits, aligned=aligned) for line in lines]
    asked = [sentence for document in documents for sentence in document.sentences]
    told = iter(_search(student, 1, asked, Wanted(1, aligned)))
    return [document.join([next(told)[0] for _ in document.sentences]) for document in documents]


def in_bergamot(modules: str, export: str, lines: Sequence[str]) -> list[str]:
    command = ["node", str(NODE), modules, export, "html"]
    done = subprocess.run(command, input="".join(f"{x}\n" for x in lines), capture_output=True, text=True, check=True)
    # Behind the last word Bergamot repeats its tags, with nothing between them.
    return [line.strip().replace("<b></b>", "") for line in done.stdout.splitlines()]


def main(arguments: Sequence[str]) -> None:
    run = Run.open(Path(arguments[0]))
    member, train = family_space(run.family).get(arguments[1]), PackedDataset.open(run.data / "train")
    (path, *_) = sorted((run.data / "test").glob("*.source.txt"))
    lines = path.read_text(encoding="utf-8").splitlines()
    student = Student(member.name, translator := _translator(run, member))
    translations = [h[0].text for h in translator.translate(lines, DecodingOptions(beam_size=1))]
    aligner = Aligner.learn(train, translator.tokenizer.vocabulary_size)
    pairs = [GoldPair(line, text, set(), set()) for line, text in zip(lines, translations, strict=True)]
    chosen = list(cases(lines, translations, aligner_links(aligner, translator.tokenizer, pairs)))[:SENTENCES]
    tagged, expected = zip(*chosen, strict=True)
    systems = {
        "serve, aligned": partial(served, student, aligned=True),
        "serve, not aligned": partial(served, student, aligned=False),
    }
    if len(arguments) > 2:
        systems["Bergamot"] = partial(in_bergamot, *arguments[2:4])
    for name, translate in systems.items():
        pairs_of = [(a, b) for a, b in zip(translate(tagged), expected, strict=True) if _text(a) == _text(b)]
        wrong = [(a, b) for a, b in pairs_of if _bold_words(a) != _bold_words(b)]
        print(f"{name:<20}{len(pairs_of) - len(wrong):>4} of {len(pairs_of)}")
        for a, b in wrong[:3]:
            print(f"    {a}\n    should be: {b}")


def _bold_words(html: str) -> tuple[int, list[str]]:
    """The number of words before <b>, and those within."""
    before, _, rest = html.partition("<b>")
    return len(re.findall(r"\w+", before)), re.findall(r"\w+", rest.partition("</b>")[0])


def _text(html: str) -> str:
    return " ".join(re.sub("</?b>", "", html).split())


def _translator(run: Run, member: object) -> TorchTranslator:
    from polystill.data.tokenizer import Tokenizer

    supernet = load_supernets(run.family)[getattr(member, "supernet", "")]
    return TorchTranslator(supernet, Tokenizer.load(run.data / "tokenizer"), member)


if __name__ == "__main__":
    main(sys.argv[1:])
