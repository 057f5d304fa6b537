"""When an export agrees with its source: rounding and near-ties do, anything else does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.export.agreement import EXACT, NEAR_TIE, agreement, forced_log_probs, judge, preference
from polystill.export.driver import lines_to_verify
from polystill.models.folder import load_model_with_tokenizer

OUT = Path("out")


def test_what_float32_and_other_precisions_explain() -> None:
    judge(agreement([None, None], [EXACT, 0.0]), "float32", OUT)
    judge(agreement([None, NEAR_TIE, -0.5], [0.0]), "float32", OUT)
    judge(agreement([5.0], [0.2, 0.3]), "int8", OUT)
    for found, precision in (
        (agreement([None], [2 * EXACT, 0.0]), "float32"),
        (agreement([None, 2 * NEAR_TIE], [0.0]), "float32"),  # log-probabilities alone look right
        (agreement([None], [0.0, 0.9]), "int8"),
    ):
        with pytest.raises(UserError, match=r"out: not written: .*does not translate like its source"):
            judge(found, precision, OUT)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_does_not_pass(precision: str, value: float) -> None:
    with pytest.raises(UserError, match="differ by inf on average"):
        judge(agreement([None], [0.0, value, 0.1]), precision, OUT)
    with pytest.raises(UserError, match="out: not written"):
        judge(agreement([value], [0.0]), "float32", OUT)


def test_nothing_compared_does_not_pass() -> None:
    with pytest.raises(UserError, match="no sentence to verify it with"):
        judge(agreement([], []), "float32", OUT)


def test_the_preference_is_of_the_first_token_that_differs(make_model: Callable[..., Any]) -> None:
    model = make_model()
    source, ours, theirs = [5, 6, 0], [7, 8, 9, 0], [7, 3, 4]
    own, other = (forced_log_probs(model, source, [7, token])[1] for token in (8, 3))
    assert preference(model, source, ours, theirs) == pytest.approx(own - other)
    assert preference(model, source, ours, ours) is None
    assert preference(model, source, ours, ours[:2]) is None  # cut


def test_lines_without_words_verify_nothing(counting_student: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(counting_student)
    too_long = "one " * 100
    assert lines_to_verify(model, tokenizer, ["", "  "] * 20 + [too_long, "one two"]) == ["one two"]
    assert len(lines_to_verify(model, tokenizer, ["", " "])) == len(lines_to_verify(model, tokenizer, None)) == 16
