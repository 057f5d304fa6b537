"""Probes, what is counted of their translations, and an engine that dies."""

from __future__ import annotations

import os

import pytest

from polystill.evaluation.robustness import KINDS, Apart, Output, Probe, count, is_copied, make_probes

SENTENCES = [f"The {word} dog runs to the {place}." for word in ("old", "big", "red") for place in ("park", "house")]


def test_probes_are_of_every_kind_and_the_same_each_time() -> None:
    probes = make_probes(SENTENCES)
    assert list(dict.fromkeys(probe.kind for probe in probes)) == list(KINDS)
    assert probes == make_probes(SENTENCES)
    of = {kind: [probe.source for probe in probes if probe.kind == kind] for kind in KINDS}
    assert of["capitals"][0] == "THE OLD DOG RUNS TO THE PARK."
    assert of["numbers"][0] == "The old dog runs to the park 7 ."
    assert min(len(line.split()) for line in of["long"]) > 400
    assert not any(set(".,!") & set(line) or line != line.lower() for line in of["unpunctuated"])
    assert not any(line.strip() for line in of["empty"])
    assert not any("\n" in probe.source for probe in probes)


def test_words_keep_their_vowel_signs() -> None:
    probes = {kind: [p.source for p in make_probes(["सुंदर हिन्दी भाषा।"]) if p.kind == kind] for kind in KINDS}
    assert probes["one word"] == ["हिन्दी"]
    assert {*probes["unpunctuated"][0].split()} == {"सुंदर", "हिन्दी", "भाषा"}


def test_one_short_line_suffices() -> None:
    assert {probe.kind for probe in make_probes(["", "Go"])} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "copy", "translation", "copied"),
    [
        ("numbers", "1,250", "Es sind 1.250 Hunde", True),
        ("numbers", "1,250", "Es sind 1 250.", True),
        ("numbers", "42", "Es sind 420 Hunde", False),
        ("numbers", "1990", "Es waren 1990 42 Hunde", True),
        ("numbers", "42", "1990, 42 Hunde", True),
        ("numbers", "1,250", "1990 1 250 Hunde", True),
        ("numbers", "9042", "1990 42 Hunde", False),
        ("numbers", "7", "sieben", False),
        ("dates", "2024-03-15", "am 15. 3. 2024", True),
        ("dates", "2024-03-15", "am 15. März 2024", False),
        ("URLs", "https://example.org", "siehe https://example.org .", True),
        ("URLs", "https://example.org", "siehe https://beispiel.org", False),
        ("emoji", "🙂", "gut 🙂", True),
    ],
)
def test_copies(kind: str, copy: str, translation: str, copied: bool) -> None:
    assert is_copied(Probe(kind, f"x {copy}", copy), translation) == copied


def test_counts() -> None:
    probes = [Probe("numbers", "a 7", "7"), Probe("numbers", "b 8", "8"), Probe("odd", "?!"), Probe("empty", " ")]
    found = count(probes, ["x 7", None, "", "Hund"], [False, True, False, False], ("en", "de"))
    expected = {"lines": 2, "crashed": 1, "empty": 0, "invented": 0, "loops": 0, "cut": 1, "to_copy": 2, "copied": 1}
    assert found["numbers"].to_json() == expected
    assert found["odd"].empty == 0  # nothing there to say
    assert found["empty"].invented == 1
    looping = count([Probe("odd", "a b")], ["der der der der der"], [False], ("en", "de"))
    assert looping["odd"].loops == 1


def test_a_line_that_kills_the_engine_is_the_only_one_lost() -> None:
    with Apart(fragile) as apart:
        outputs = apart.translate(["one", "kill", "raise", "two"])
    assert [output.text for output in outputs] == ["ONE", None, None, "TWO"]


def fragile(lines: list[str]) -> list[Output]:
    """An engine that some lines are too much for."""
    if "kill" in lines:
        os._exit(11)
    if "raise" in lines:
        raise RuntimeError("no")
    return [Output(line.upper(), line) for line in lines]
