"""What candidates are chosen by: measures are sacreBLEU's, fast and plain agree, and wrong scores are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import sentence_bleu, sentence_chrf

from polystill.errors import UserError
from polystill.targets.criteria import MinimumBayesRisk, Nearness, open_criterion, pairwise, pairwise_chrf, similarity
from polystill.targets.store import Candidate, Entry
from tests.candidates import LIST, REFERENCE

ENTRY = Entry([0], "A black dog runs over the green meadow .", [REFERENCE], [Candidate(text) for text in LIST])


@pytest.mark.parametrize("by", ["bleu", "chrf"])
@pytest.mark.parametrize("reference", [REFERENCE, "Katzen .", "Hund", *LIST])
def test_nearness_is_sacrebleus(by: Any, reference: str) -> None:
    measure = sentence_bleu if by == "bleu" else sentence_chrf
    criterion = Nearness(by, "de")
    assert criterion.scores(ENTRY, reference) == pytest.approx([measure(text, [reference]).score for text in LIST])
    assert ("smooth:exp" in criterion.about["signature"]) == (by == "bleu")


@pytest.mark.parametrize("by", ["bleu", "chrf"])
def test_minimum_bayes_risk_is_the_mean_over_all_candidates(by: Any) -> None:
    measure = sentence_bleu if by == "bleu" else sentence_chrf
    expected = [sum(measure(text, [other]).score for other in LIST) / len(LIST) for text in LIST]
    assert MinimumBayesRisk(by, "de").scores(ENTRY, None) == pytest.approx(expected)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30), min_size=1, max_size=5))
def test_fast_chrf_is_sacrebleus(texts: list[str]) -> None:
    similar, _ = similarity("chrf", "de")
    assert pairwise_chrf(texts) == [pytest.approx(row) for row in pairwise(texts, similar)]


def test_a_scorer_reads_a_line_a_candidate_whatever_the_texts_hold(tmp_path: Path, make_targets: Any) -> None:
    entries = [Entry([0], "a\tb\rc", ["r"], [Candidate("d\u2028e"), Candidate("f\x85g\x0ch")])]
    targets = make_targets(tmp_path / "n-best", entries)
    command = (
        f"{sys.executable} -c 'import sys; [print(line.strip(), i, sep=chr(9)) for i, line in enumerate(sys.stdin)]'"
    )
    with open_criterion(targets, None, scorer=command) as criterion:
        assert criterion.scores(entries[0], None) == [0, 1]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("1\n2\n", "line 3: missing; expected a score for every candidate: here of 'c'"),
        ("1\n2\n3\n4\n", "more lines than the 3 candidates"),
        ("1\nx\n3\n", "line 2: 'x' is not a score; expected a number"),
        ("1\nnan\n3\n", "line 2: 'nan' is not a score"),
        ("1\n\n3\n", "line 2: '' is not a score"),
        ("s 1\ta\t1\ns 1\tc\t2\n3\n", "line 2: the score of 's 1' ⇥ 'c'; expected that of 's 1' ⇥ 'b'"),
    ],
)
def test_scores_that_do_not_line_up(tmp_path: Path, make_targets: Any, scores: str, message: str) -> None:
    entries = [Entry([0], "s\t1", ["r"], [Candidate("a"), Candidate("b")]), Entry([1], "t", ["r"], [Candidate("c")])]
    targets = make_targets(tmp_path / "n-best", entries)
    path = tmp_path / "scores"
    path.write_text(scores)
    with (
        pytest.raises(UserError, match=f"--scores {path}: {message}"),
        open_criterion(targets, None, path) as criterion,
    ):
        for entry in entries:
            criterion.scores(entry, None)


def test_bad_choices(tmp_path: Path, make_targets: Any) -> None:
    targets = make_targets(tmp_path / "n-best", [ENTRY])
    with pytest.raises(UserError, match="give one of --by"), open_criterion(targets, "bleu", None, "cat"):
        pass
    with pytest.raises(UserError, match="no such file"), open_criterion(targets, None, tmp_path / "nowhere"):
        pass
    with pytest.raises(UserError, match="exit status 3"), open_criterion(targets, None, None, "exit 3"):
        pass
