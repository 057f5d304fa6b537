"""Which students of a large family are evaluated by default."""

from polystill.evaluation.students import spread
from polystill.students import Student, StudentSpace, in_ranges

TEACHER, TINY = Student(6, 6), Student(4, 2, "tiny")
SPACE = StudentSpace.from_list(
    [TEACHER, TINY], [*in_ranges(TEACHER, (1, 6), (1, 6), "any"), *in_ranges(TINY, (1, 4), (1, 2), "any")]
)
PARAMETERS = {
    s.name: (1 if s.supernet else 10) * (s.encoder_layers + s.decoder_layers) + (5 if s.supernet else 50)
    for s in SPACE.candidates
}


def _loss(student: Student) -> float:
    """Deep encoders pay, deep decoders do not; e6d3 is an outlier that is better than its neighbours."""
    width = 2.0 if student.supernet else 1.0
    return width - 0.1 * student.encoder_layers + 0.05 * student.decoder_layers - 0.2 * (student == Student(6, 3))


LOSS = {student.name: 3 + _loss(student) for student in SPACE.candidates}


def test_a_small_family_is_evaluated_whole() -> None:
    assert spread(SPACE, PARAMETERS, LOSS, most=44) == list(SPACE.candidates)


def test_extremes_and_those_near_the_front() -> None:
    names = [student.name for student in spread(SPACE, PARAMETERS, LOSS, most=14)]
    assert len(names) == 14
    assert {"tiny-e1d1", "tiny-e4d2", "e1d1", "e6d6"} <= set(names)  # the smallest and the largest of each
    assert {"tiny-e3d1", "tiny-e4d1", "e2d1", "e3d1", "e4d1", "e5d1", "e6d1", "e6d3"} <= set(names)  # on the front
    assert names == [s.name for s in SPACE.candidates if s.name in names]
