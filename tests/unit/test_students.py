"""students.py: names, spaces, sampling."""

from __future__ import annotations

from collections import Counter

import pytest

from polystill.errors import UserError
from polystill.students import Student, StudentSpace, check_supernet, in_ranges

TEACHER = Student(6, 6)
PUBLISHED = StudentSpace.from_list([TEACHER], in_ranges(TEACHER, (2, 6), (2, 6)))


def test_published_space_has_15_networks() -> None:
    names = [student.name for student in PUBLISHED.candidates]
    assert len(names) == 15
    assert names[0] == "e2d2"
    assert names[-1] == "e6d6"
    assert "e4d2" in names
    assert "e2d4" not in names


def test_any_rule_has_decoders_deeper_than_encoders() -> None:
    space = StudentSpace.from_list([Student(3, 3)], in_ranges(Student(3, 3), (1, 2), (1, 3), "any"))
    expected = ["e1d1", "e1d2", "e1d3", "e2d1", "e2d2", "e2d3", "e3d3"]  # the teacher is always in it
    assert [student.name for student in space.candidates] == expected


@pytest.mark.parametrize("name", ["e4d2", " e4d2 ", "e10d12"])
def test_names_round_trip(name: str) -> None:
    assert Student.parse(name).name == name.strip()


@pytest.mark.parametrize("name", ["", "e4", "d2e4", "e0d1", "e1d0", "E4D2", "e4d2x", "e-1d1", "e04d2"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="such as e4d2"):
        Student.parse(name)


def test_student_outside_the_space_lists_the_space() -> None:
    with pytest.raises(UserError, match=r"e2d5 is not in this family.*e2d2 e3d2 .* e6d6"):
        PUBLISHED.get("e2d5")


def test_words_for_the_ends_of_the_space() -> None:
    assert PUBLISHED.get("smallest") == Student(2, 2)
    assert PUBLISHED.get("teacher") == PUBLISHED.get("largest") == TEACHER


def test_the_networks_of_a_stage_are_all_or_one_of_each_supernet() -> None:
    ranges = (Student(3, 3), Student(2, 1, "tiny"))
    space = StudentSpace.from_list(ranges, [Student(1, 2), Student(1, 1, "tiny"), Student(3, 2)])
    assert space.only("all") == space
    assert [*map(str, space.only("largest").candidates)] == ["tiny-e2d1", "e3d3"]
    assert [*map(str, space.only("smallest").candidates)] == ["tiny-e1d1", "e1d2"]
    assert str(space.only("smallest").teacher) == "e1d2"
    assert space.only("smallest").supernets[0].sample(2, seed=1, draw=1, sandwich=True) == []
    assert [*map(str, space.only("all", "first").candidates)] == ["e1d2", "e3d2", "e3d3"]
    assert [*map(str, space.only("largest", "further").candidates)] == ["tiny-e2d1"]


def test_student_deeper_than_its_teacher_is_refused() -> None:
    with pytest.raises(UserError, match="e7d2 is deeper than its teacher e6d6"):
        StudentSpace.from_list([TEACHER], [Student(7, 2)])


def test_draws_depend_on_seed_and_number_alone() -> None:
    first = [PUBLISHED.supernets[0].sample(2, seed=1, draw=draw) for draw in range(20)]
    assert first == [PUBLISHED.supernets[0].sample(2, seed=1, draw=draw) for draw in range(20)]
    assert first != [PUBLISHED.supernets[0].sample(2, seed=2, draw=draw) for draw in range(20)]
    assert len({tuple(draw) for draw in first}) > 10


def test_draws_are_uniform_with_replacement() -> None:
    draws = [PUBLISHED.supernets[0].sample(2, seed=1, draw=draw) for draw in range(3000)]
    counts = Counter(student for draw in draws for student in draw)
    assert len(counts) == 15
    assert max(abs(count - 400) for count in counts.values()) < 100  # five standard deviations
    pairs_alike = sum(a == b for a, b in draws)
    assert 140 < pairs_alike < 260  # 3000 / 15, four standard deviations


def test_students_of_further_supernets() -> None:
    tiny = Student(6, 2, "tiny")
    assert str(tiny) == "tiny-e6d2"
    assert Student.parse("tiny-e6d2") == tiny
    space = StudentSpace.from_list([Student(6, 6), tiny], [Student(2, 2), Student(2, 1, "tiny")])
    assert list(map(str, space.candidates)) == ["tiny-e2d1", "tiny-e6d2", "e2d2", "e6d6"]
    assert space.get("smallest") == Student(2, 1, "tiny")
    assert space.get("teacher") == Student(6, 6)
    with pytest.raises(UserError, match="tiny-e7d2 is deeper than the largest network of its supernet, tiny-e6d2"):
        StudentSpace.from_list([Student(6, 6), tiny], [Student(7, 2, "tiny")])
    with pytest.raises(UserError, match="huge-e2d2: there is no supernet huge; there are: tiny"):
        StudentSpace.from_list([Student(6, 6), tiny], [Student(2, 2, "huge")])
    with pytest.raises(UserError, match="there is no supernet tiny; there are: only the first"):
        StudentSpace.from_list([Student(6, 6)], [tiny])
    with pytest.raises(UserError, match="tiny-e3d1 is not in this family; it has: tiny-e2d1 tiny-e6d2 e2d2 e6d6"):
        space.get("tiny-e3d1")


@pytest.mark.parametrize("name", ["e2d2", "teacher", "smallest", "Tiny", "a-b", "2x", ""])
def test_names_that_no_supernet_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="such as tiny"):
        check_supernet(name)


def test_draws_are_the_same_in_every_version() -> None:
    """A run continues with the students that its first version would have drawn."""
    drawn = [" ".join(map(str, PUBLISHED.supernets[0].sample(2, seed=1, draw=draw))) for draw in range(4)]
    assert drawn == ["e6d4 e6d5", "e6d4 e6d6", "e6d3 e5d5", "e5d5 e4d4"]
