"""The corpus as a whole: reproducible, what the package has, split by sentence, unambiguous, rich enough."""

import bz2
import hashlib
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from polystill.sources import built_in
from tools.corpus import __main__ as program
from tools.corpus import lexicon as lex
from tools.corpus import tables
from tools.corpus.generate import SPLITS, generate, split_of

PAIRS = 40_000
Pairs = list[tuple[str, str]]


@pytest.fixture(scope="module")
def corpus() -> Pairs:
    """The training pairs that the package has."""
    return list(zip(*(built_in.sentences("train", language) for language in built_in.LANGUAGES), strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_the_package_has_what_the_grammar_generates(split: str) -> None:
    some = 400
    sides = (list(built_in.sentences(split, language)) for language in built_in.LANGUAGES)
    pairs = list(zip(*sides, strict=True))
    assert len(pairs) == built_in.SIZES[split]
    assert pairs[:some] == list(generate(some, seed=program.SEED, split=split))


@pytest.mark.long
def test_the_package_has_all_that_the_grammar_generates(tmp_path: Path) -> None:
    program.freeze(tmp_path)
    for split in SPLITS:
        for name in (built_in.file_name(split, language) for language in built_in.LANGUAGES):
            assert bz2.decompress((tmp_path / name).read_bytes()) == bz2.decompress(
                (built_in.FOLDER / name).read_bytes()
            )


def test_more_pairs_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["corpus", "--split", "test", "--pairs", "3", "--seed", "5"])
    program.main()
    lines = [tuple(line.split("\t")) for line in capsys.readouterr().out.splitlines()]
    assert lines == list(generate(3, seed=5, split="test"))


def test_same_seed_same_pairs_on_every_machine() -> None:
    first = list(generate(200, seed=7, split="train"))
    assert first == list(generate(200, seed=7, split="train"))
    assert first != list(generate(200, seed=8, split="train"))
    digest = hashlib.sha256("\n".join("\t".join(pair) for pair in first).encode()).hexdigest()
    assert digest[:16] == "f094bcf7c1fb349d", (
        "the corpus has changed: note it in the changelog and update this checksum"
    )


def test_splits_share_no_sentence(corpus: Pairs) -> None:
    train = {english for english, _ in corpus}
    for seed in (1, 2):
        for split in ("validation", "test"):
            others = {english for english, _ in generate(300, seed=seed, split=split)}
            assert not others & train
            assert {split_of(english) for english in others} == {split}


def test_splits_have_their_shares() -> None:
    shares = Counter(split_of(f"Sentence {number}.") for number in range(16_000))
    assert set(shares) == set(SPLITS)
    assert 800 < shares["validation"] < 1200 and 800 < shares["test"] < 1200


def test_a_longer_corpus_begins_with_the_shorter_one() -> None:
    assert list(generate(50, seed=3, split="train")) == list(generate(500, seed=3, split="train"))[:50]
    assert list(generate(0, seed=3, split="train")) == []


def test_one_english_sentence_has_one_german_one(corpus: Pairs) -> None:
    translations = defaultdict(set)
    for english, german in corpus:
        translations[english].add(german)
    ambiguous = [english for english, germans in translations.items() if len(germans) > 1]
    assert len(ambiguous) <= PAIRS // 2000, ambiguous[:5]
    assert len(translations) > 0.98 * PAIRS


def test_lengths(corpus: Pairs) -> None:
    lengths = [len(english.split()) for english, _ in corpus]
    assert min(lengths) >= 3 and max(lengths) <= 25
    assert 8.5 < sum(lengths) / len(lengths) < 11.5


def test_sentences_are_well_formed(corpus: Pairs) -> None:
    for side in (0, 1):
        for pair in corpus:
            text = pair[side]
            assert text[0] == text[0].upper() and text[-1] in ".?", text
            assert not re.search(r"\s\s|\s[,.?]|,[,.?]|^\s|\|", text), text


def test_half_of_the_sentences_have_something_far_apart(corpus: Pairs) -> None:
    clause = re.compile(
        r", (?:\w+ )?(?:de[rnms]|die|das|denen|dessen|deren|weil|dass|ob|wenn|als|um|damit|zu) |^\w+ \w+.*, "
    )
    bracket = re.compile(
        r"\b(?:habe?n?|hast|ha[bt]t?|bin|ist|sind|wird|werden?|wurden?|kann|muss|will|darf) .* \w+[.?]$"
    )
    far = sum(1 for _, german in corpus if clause.search(german) or bracket.search(german))
    assert far > PAIRS / 2


def lemma_forms() -> dict[tuple[str, str], set[str]]:
    """All written forms by lemma; for a separable verb, only those in one word."""
    forms: dict[tuple[str, str], set[str]] = defaultdict(set)
    for noun in lex.ALL_NOUNS:
        forms["noun", noun.lemma].update(noun.singular, noun.plural or ())
    for verb in lex.ALL_VERBS:
        finite = [verb.prefix + form for form in verb.present + verb.past]
        zu = f"{verb.prefix}zu{verb.infinitive}"
        forms["verb", verb.lemma].update(finite, (verb.prefix + verb.infinitive, verb.participle, zu))
    for adjective in lex.ALL_ADJECTIVES:
        stems = [stem for stem in (adjective.stem, adjective.comparative, adjective.superlative) if stem]
        endings = ("", "e", "en", "em", "er", "es")
        forms["adjective", adjective.german].update(adjective.german, *([s + e for e in endings] for s in stems))
    for name, pairs in {
        "city": lex.weighted("cities").items,
        "manner": lex.weighted("manner").items,
        "frequency": lex.weighted("frequency").items,
        "sentence": lex.weighted("sentence").items,
        "month": tables.pairs("months"),
        "weekday": tables.pairs("weekdays"),
    }.items():
        for _, german in pairs:
            forms[name, german].add(german)
    return forms


def test_every_lemma_occurs(corpus: Pairs) -> None:
    text = "\n".join(german for _, german in corpus)
    lower = text.lower()
    words = set(re.findall(r"[\w-]+", text))
    words |= {word[0].lower() + word[1:] for word in words}
    forms = lemma_forms()
    missing = [
        lemma
        for lemma, written in forms.items()
        if not any(f in words or (" " in f and f.lower() in lower) for f in written)
    ]
    assert len(forms) >= 800
    assert not missing


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (r" because of the ", r"[Ww]egen (des|der) "),
        (r" so that ", r", damit "),
        (r"in order to ", r", um .*zu"),
        (r"^If .* would ", r"^Wenn .*(hätten?|hättest|wären?|wärst), würden?"),
        (r"^(Mr|Mrs) \w+, please ", r"^(Herr|Frau) \w+, \w+ Sie "),
        (r"^(Boys|Children|Friends), (have|are|will) you ", r"\b(ihr|euch)\b"),
        (r"^There (is|are) ", r" gibt es "),
        (r"has been \w+ing .*for \w+ (days|weeks|hours)\.$", r" seit "),
    ],
)
def test_constructions_occur_with_their_german_ones(corpus: Pairs, english: str, german: str) -> None:
    found = [pair for pair in corpus if re.search(english, pair[0])]
    assert len(found) >= 10
    wrong = [pair for pair in found if not re.search(german, pair[1])]
    assert not wrong, wrong[:3]
