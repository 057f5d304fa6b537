"""The students of a large family that are evaluated by default: the extremes, and those near the front."""

from __future__ import annotations

from collections.abc import Mapping

from polystill.students import Student, StudentSpace

MOST = 30
"""Students that are evaluated by default. A family of one supernet, as published, has fewer."""


def spread(
    space: StudentSpace, parameters: Mapping[str, int], loss: Mapping[str, float], most: int = MOST
) -> list[Student]:
    """At most `most` candidates, in their order; all of them where they are no more.

    Each supernet's smallest and largest candidates are among them. The others are those nearest to the front of size
    and validation loss: whose loss exceeds the lowest of all candidates of at most their size by the smallest share.
    """
    candidates = list(space.candidates)
    if len(candidates) <= most:
        return candidates
    chosen = {student for members in space.supernets for student in (members.candidates[0], members.largest)}

    def excess(student: Student) -> float:
        at_most = parameters[student.name]
        return loss[student.name] / min(loss[c.name] for c in candidates if parameters[c.name] <= at_most) - 1

    nearest_first = sorted((c for c in candidates if c not in chosen), key=lambda c: (excess(c), parameters[c.name]))
    chosen.update(nearest_first[: max(0, most - len(chosen))])
    return [student for student in candidates if student in chosen]
