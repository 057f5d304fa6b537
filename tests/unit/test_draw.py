"""What an update draws depends on its number alone."""

import pytest

from polystill.config import Objective
from polystill.objectives.vocab_loss import LossSettings
from polystill.objectives.word_kd import WordKdSettings
from polystill.students import Student, StudentSpace
from polystill.training.draw import networks_of, random_seed, settings_of, stage_seed

SPACE = StudentSpace.from_ranges(Student(6, 6), (2, 6), (2, 6))


def test_teacher_first_then_the_drawn_students() -> None:
    objective = Objective(students_per_step=3)
    networks = networks_of(objective, SPACE, 7, 1)
    assert networks[0] == SPACE.teacher and len(networks) == 4
    assert networks == networks_of(objective, SPACE, 7, 1)
    draws = {tuple(networks_of(objective, SPACE, 7, update)) for update in range(1, 50)}
    assert len(draws) > 40


def test_a_draw_is_kept_for_the_sampling_interval() -> None:
    objective = Objective(sample_every=4)
    drawn = [networks_of(objective, SPACE, 7, update) for update in range(1, 13)]
    assert all(drawn[i] == drawn[i // 4 * 4] for i in range(12))
    assert drawn[0] != drawn[4] or drawn[4] != drawn[8]


def test_the_sandwich_has_the_smallest_student_in_every_update() -> None:
    uniform, sandwich = Objective(students_per_step=3), Objective(students_per_step=3, sampling="sandwich")
    for update in range(1, 20):
        expected = networks_of(uniform, SPACE, 7, update)
        expected[1] = Student(2, 2)
        assert networks_of(sandwich, SPACE, 7, update) == expected
    assert networks_of(Objective(students_per_step=0, sampling="sandwich"), SPACE, 7, 1) == [SPACE.teacher]


def test_nll_trains_the_teacher_alone() -> None:
    assert networks_of(Objective(kind="nll"), SPACE, 7, 1) == [SPACE.teacher]


def test_kd_sets_in_over_its_warmup() -> None:
    def kd_weight(objective: Objective, update: int) -> float:
        settings = settings_of(objective, update)
        assert isinstance(settings, LossSettings)
        return settings.kd_weight

    objective = Objective(kd_weight=5.0, kd_warmup=10)
    assert [kd_weight(objective, update) for update in (1, 5, 10, 99)] == pytest.approx([0.5, 2.5, 5, 5])
    assert kd_weight(Objective(), 1) == 5.5


def test_word_kd_has_numbers_of_its_own() -> None:
    objective = Objective(kind="word_kd", alpha=0.9, temperature=1.5, label_smoothing=0)
    assert settings_of(objective, 3) == WordKdSettings(alpha=0.9, temperature=1.5, label_smoothing=0)


def test_seeds_differ() -> None:
    assert len({stage_seed(seed, stage) for seed in (1, 2, 3) for stage in (0, 1, 2)}) == 9
    assert (
        len({random_seed(1, stage, update, rank) for stage in (0, 1) for update in range(99) for rank in (0, 1)}) == 396
    )
