"""Translations of a few test sentences by all students, side by side, with the words that differ."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from polystill.data.languages import is_unspaced
from polystill.reporting.document import Gap, Part, Sample, Samples, Version
from polystill.reporting.families import Family

EVENLY, MOST_DIFFERENT = 6, 4
LONGEST = 400
"""Characters of a source; longer ones are no sample to read."""
MISSING = "∅"
"""Stands where the other translation has words that this one lacks."""

Translations = dict[str, Sequence[str]]
"""By the student's name, the largest of the first run first."""


def sample_parts(families: Sequence[Family], beam: int | None) -> list[Part]:
    sources, references = families[0].text("source"), families[0].text("target")
    found = _translations(families, beam) if beam is not None else {}
    if sources is None or references is None:
        return [Gap(f"{families[0].run.data / 'test'} is missing, which the translations are of.")]
    if not found:
        return [Gap("No translations are stored.", f"polystill evaluate {families[0].run.folder}")]
    unspaced = is_unspaced(families[0].run.recipe.data.target_language)
    short = [i for i, source in enumerate(sources) if 0 < len(source) <= LONGEST]
    if not short:
        return [Gap(f"No sentence of the test set has at most {LONGEST} characters.")]
    even = sorted({short[len(short) * i // EVENLY] for i in range(EVENLY)})
    others = [i for i in short if i not in even]
    different = sorted(others, key=lambda i: -len({lines[i] for lines in found.values()}))[:MOST_DIFFERENT]
    base = next(iter(found))

    def samples(title: str, places: Sequence[int]) -> Samples:
        chosen = [(sources[i], references[i], {name: lines[i] for name, lines in found.items()}) for i in places]
        return Samples(title, [_sample(*sentence, unspaced) for sentence in chosen])

    lead = (
        f"Marked: words that differ from the translation by {base}, the first. {MISSING} stands where words of it are "
        "missing. Students that say the same stand together."
    )
    parts: list[Part] = [lead, samples("Sentences evenly spread over the test set", even)]
    if len(found) > 1 and different:
        parts.append(samples("Sentences that the students disagree on most", sorted(different)))
    return parts


def _translations(families: Sequence[Family], beam: int) -> Translations:
    found: Translations = {}
    for family in families:
        name = f"{family.name} " if len(families) > 1 else ""
        for row in reversed(family.as_recipe(beam)):
            lines = family.translations(row)
            if lines is not None:
                found[f"{name}{row['model']}"] = lines
    return found


def _sample(source: str, reference: str, translations: dict[str, str], unspaced: bool) -> Sample:
    students: dict[str, list[str]] = {}
    for name, text in translations.items():
        students.setdefault(text, []).append(name)
    base = next(iter(students))
    versions = [Version(names, differing(base, text, unspaced)) for text, names in students.items()]
    return Sample(source, reference, versions)


def differing(base: str, text: str, unspaced: bool = False) -> list[tuple[str, bool]]:
    """Stretches of `text`, and whether they differ from `base`: words, or characters where a language has no spaces."""
    gap = "" if unspaced else " "
    ours, theirs = (list(text), list(base)) if unspaced else (text.split(), base.split())
    stretches: list[tuple[str, bool]] = []
    for kind, _, _, start, end in SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if stretches and gap:
            stretches.append((gap, False))
        stretches.append((gap.join(ours[start:end]) if end > start else MISSING, kind != "equal"))
    return stretches
