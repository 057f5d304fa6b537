"""The registry: what each objective draws and weighs at an update, and which keys a recipe may give it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from polystill.config import Recipe, parse_recipe
from polystill.errors import UserError
from polystill.objectives import OBJECTIVES
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Weights
from polystill.objectives.nll import Nll
from polystill.objectives.selective_kd import SelectiveKd
from polystill.objectives.word_kd import WordKd
from polystill.students import Student, StudentSpace, in_ranges

SPACE = StudentSpace.from_list([Student(6, 6)], in_ranges(Student(6, 6), (2, 6), (2, 6)))


def test_teacher_first_then_the_drawn_students() -> None:
    objective = AioKd(students_per_step=3)
    networks = objective.networks(SPACE, 7, 1)
    assert networks[0] == SPACE.teacher and len(networks) == 4
    assert networks == objective.networks(SPACE, 7, 1)
    draws = {tuple(objective.networks(SPACE, 7, update)) for update in range(1, 50)}
    assert len(draws) > 40


def test_a_draw_is_kept_for_the_sampling_interval() -> None:
    objective = AioKd(sample_every=4)
    drawn = [objective.networks(SPACE, 7, update) for update in range(1, 13)]
    assert all(drawn[i] == drawn[i // 4 * 4] for i in range(12))
    assert drawn[0] != drawn[4] or drawn[4] != drawn[8]


def test_the_sandwich_has_the_smallest_student_in_every_update() -> None:
    uniform, sandwich = AioKd(students_per_step=3), AioKd(students_per_step=3, sampling="sandwich")
    for update in range(1, 20):
        expected = uniform.networks(SPACE, 7, update)
        expected[1] = Student(2, 2)
        assert sandwich.networks(SPACE, 7, update) == expected
    assert sandwich.drawing(0).networks(SPACE, 7, 1) == [SPACE.teacher]


@pytest.mark.parametrize("objective", [Nll(), WordKd(), SelectiveKd()])
def test_others_train_the_teacher_alone_unless_they_are_to_draw(objective: Any) -> None:
    assert objective.networks(SPACE, 7, 1) == [SPACE.teacher]
    assert not objective.trains_family
    assert objective.drawing(2).networks(SPACE, 7, 1) == AioKd().networks(SPACE, 7, 1)
    assert objective.drawing(2).trains_family


def test_every_supernet_has_its_largest_network_and_drawn_members_in_every_update() -> None:
    space = StudentSpace.from_list(
        [Student(6, 6), Student(4, 2, "small"), Student(2, 2, "tiny")],
        [*SPACE.candidates, *(Student(e, d, "small") for e in (2, 3, 4) for d in (1, 2))],
    )
    drawn = set()
    for update in range(1, 40):
        teacher, *students, small, one, other, tiny = AioKd().networks(space, 7, update)
        assert [teacher, *students] == AioKd().networks(SPACE, 7, update)
        assert (small, tiny) == (Student(4, 2, "small"), Student(2, 2, "tiny"))  # tiny has no other members
        drawn |= {one, other}
    assert drawn == set(space.supernets[1].candidates)
    (_, smallest, _, _, small_e2d1, _, _) = AioKd(sampling="sandwich").networks(space, 7, 1)
    assert (smallest, small_e2d1) == (Student(2, 2), Student(2, 1, "small"))


def test_kd_sets_in_over_its_warmup() -> None:
    objective = AioKd(kd_weight=5.0, kd_warmup=10)
    kd_weights = [objective.weights(update).kd for update in (1, 5, 10, 99)]
    assert kd_weights == pytest.approx([0.5, 2.5, 5, 5])
    assert AioKd().weights(1) == Weights(1.0, 5.5, 0.5)


def test_weights_of_the_others() -> None:
    assert Nll().weights(3) == Weights(1.0, 0.0, 0.0)
    assert WordKd(alpha=0.75).weights(3) == Weights(0.25, 0.75, 0.0)
    assert SelectiveKd(alpha=0.75).weights(3) == Weights(1.0, 0.75, 0.0)


# --- recipes ----------------------------------------------------------------------------------------------------------


def _recipe(objective: dict[str, Any], *stages: dict[str, Any]) -> Recipe:
    synthetic = {"kind": "synthetic"}
    values = {
        "data": {"train": [synthetic], "validation": {**synthetic, "split": "validation"}},
        "objective": objective,
        "stages": [{"name": f"s{i}", "updates": 1, "objective": stage} for i, stage in enumerate(stages or [{}])],
    }
    recipe = parse_recipe(values, "x.yaml")
    assert parse_recipe(recipe.model_dump(mode="json"), "saved") == recipe
    return recipe


@pytest.mark.parametrize(
    ("objective", "stage", "message"),
    [
        ({"kind": "nll", "kd_weight": 99}, {}, "objective.kd_weight: nll has no such key; aio_kd has"),
        (
            {"kind": "aio_kd", "temperature": 8},
            {},
            "objective.temperature: aio_kd has no such key; word_kd and selective_kd have",
        ),
        ({"temperature": 8}, {}, "objective.temperature: aio_kd has no such key; word_kd and selective_kd have"),
        ({}, {"share": 0.3}, "stages.0.objective.share: aio_kd has no such key; selective_kd has"),
        ({}, {"kind": "nll", "mutual": "full"}, "stages.0.objective.mutual: nll has no such key; aio_kd has"),
        ({"kind": "kd"}, {}, "objective: unknown kind 'kd'"),
        ({}, {"kind": "nlll"}, "stages.0.objective: unknown kind 'nlll' (did you mean 'nll'?)"),
        ({"kind": "nll", "label_smooothing": 0}, {}, "unknown key 'objective.label_smooothing' (did you mean"),
        ({"students_per_step": 1}, {"sampling": "sandwich"}, "the smallest student and no other; take 2 or uniform"),
        ({"kind": "selective_kd"}, {}, "objective.teacher: missing; selective_kd (stage s0) learns from one"),
    ],
)
def test_a_key_of_no_use_is_refused(objective: dict[str, Any], stage: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        _recipe(objective, stage)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_stage_of_another_kind_keeps_the_changed_keys_that_its_kind_has() -> None:
    recipe = _recipe({"kd_weight": 3.0, "label_smoothing": 0.2}, {"kind": "nll"}, {"mutual": "full"})
    assert recipe.stage_objectives == [
        Nll(label_smoothing=0.2),
        AioKd(kd_weight=3.0, label_smoothing=0.2, mutual="full"),
    ]
    assert (recipe.method, recipe.trains_family) == ("aio_kd", True)
    recipe = _recipe({"kind": "word_kd", "teacher": "t", "temperature": 2.0}, {"kind": "selective_kd"})
    assert recipe.stage_objectives == [SelectiveKd(teacher="t", temperature=2.0)]
    assert recipe.frozen_teachers == ["t"]


def test_a_stages_key_is_judged_by_its_kind() -> None:
    (objective,) = _recipe({"kind": "selective_kd", "teacher": "t"}, {"alpha": 2.0}).stage_objectives
    assert objective == SelectiveKd(teacher="t", alpha=2.0)
    with pytest.raises(UserError, match=r"stages\.0\.objective\.alpha: .* less than or equal to 1 \(got 2\.0\)"):
        _recipe({"kind": "word_kd", "teacher": "t"}, {"alpha": 2.0})


def test_a_changed_key_that_no_stage_has_is_refused() -> None:
    recipe = _recipe({"kd_weight": 3.0}, {"kind": "nll"})
    with pytest.raises(
        UserError, match=r"objective\.kd_weight: has no effect, because every stage has another kind \(nll\)"
    ):
        recipe.refuse_ignored_keys()


def test_recipes_are_read_without_torch() -> None:
    code = "import sys, polystill.config; assert not {'torch', 'numpy'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(OBJECTIVES) == ["aio_kd", "word_kd", "selective_kd", "nll"]
