"""The best of several translations."""

from collections.abc import Iterable

from polystill.decoding.translator import Hypothesis


def best(lists: Iterable[list[Hypothesis]]) -> list[str]:
    """The best translation of each line, "" where there is none."""
    return [hypotheses[0].text if hypotheses else "" for hypotheses in lists]
