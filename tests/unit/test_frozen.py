"""Word-KD's teacher: where it is found, what is refused, and what a student of it learns."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer, save_student
from polystill.students import Student
from polystill.training.frozen import check_frozen_teacher, find_teacher, load_teacher
from polystill.training.loop import train_family
from polystill.training.update import BatchLoss

LSTM = {"architecture": "lstm", "encoder_layers": 1, "decoder_layers": 1, "d_model": 16, "max_positions": 64}


@pytest.fixture
def finished(counting_recipe, prepared_run):
    run = prepared_run(counting_recipe, "teacher")
    train_family(run)
    return run


def test_places(finished, tmp_path: Path) -> None:
    assert find_teacher(str(finished.folder)) == (finished.family, None)
    assert find_teacher(str(finished.family)) == (finished.family, None)
    assert find_teacher(str(finished.folder / "e2d1")) == (finished.family, Student(2, 1))
    save_student(finished.family, Student(1, 1), tmp_path / "student")
    assert find_teacher(str(tmp_path / "student")) == (tmp_path / "student", None)
    with pytest.raises(UserError, match=r"objective\.teacher: .*e9d9"):
        find_teacher(str(finished.folder / "e9d9"))
    with pytest.raises(UserError, match=r"objective\.teacher: .*no such folder; expected"):
        find_teacher(str(tmp_path / "nothing"))


def test_output_is_that_of_the_student_alone(finished, make_batch) -> None:
    tokenizer = Tokenizer.load(finished.family)
    batch = make_batch(vocabulary_size=tokenizer.vocabulary_size)
    model, _ = load_model_with_tokenizer(finished.family)
    for place, student in ((finished.folder / "e2d1", Student(2, 1)), (finished.folder, Student(2, 2))):
        output = load_teacher(str(place), tokenizer).output(batch)
        logits = torch.nn.functional.linear(output.hidden, output.weight, output.bias)
        expected = model.eval()(batch.source, batch.target_in, student).flatten(0, 1)[batch.real]
        torch.testing.assert_close(logits, expected)
        assert not output.hidden.requires_grad and not output.weight.requires_grad


def test_flops_of_the_teacher_are_a_third_of_training_it(finished) -> None:
    teacher = load_teacher(str(finished.folder), Tokenizer.load(finished.family))
    plan = teacher.model.shared_plan([Student(2, 2)])
    assert teacher.flops(3, 5, 7) == teacher.model.forward_flops(plan, 3, 5, 7)
    assert teacher.model.update_flops(plan, 3, 5, 7) == 3 * teacher.flops(3, 5, 7)


def test_another_vocabulary_is_refused(finished, counting_student: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary of .* is not the student's"):
        load_teacher(str(counting_student), Tokenizer.load(finished.family))


def test_a_teacher_is_checked_before_its_weights_are_read(finished, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(finished.family)
    weights = finished.family / "model.safetensors"
    content = weights.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    weights.write_bytes(content[:header] + bytes(len(content) - header))  # one value would be enough to be noticed
    assert check_frozen_teacher(str(finished.folder), tokenizer).max_positions == 64
    with pytest.raises(UserError, match="damaged, its checksum is not that of its weights"):
        load_teacher(str(finished.folder), tokenizer)
    weights.unlink()
    with pytest.raises(UserError, match=r"objective\.teacher: .*model\.safetensors: no such file"):
        check_frozen_teacher(str(finished.folder), tokenizer)


@pytest.mark.parametrize("mode", ["shared", "plain"])
@pytest.mark.parametrize("shapes", [("transformer", "lstm"), ("lstm", "transformer")], ids="->".join)
def test_any_architecture_teaches_any_other(shapes, mode, counting_recipe, prepared_run, monkeypatch) -> None:
    """With the teacher's part alone, the student comes to the teacher's probabilities: the divergence falls."""
    recipes = []
    for shape in shapes:
        recipe = copy.deepcopy(counting_recipe)
        recipe["model"] = LSTM if shape == "lstm" else recipe["model"]
        recipe["objective"] = {"kind": "nll", "label_smoothing": 0}
        recipe["stages"] = [{"name": "one", "updates": 12}]
        recipes.append(recipe)
    teacher = prepared_run(recipes[0], "teacher")
    train_family(teacher)
    recipes[1]["objective"] = {"kind": "word_kd", "teacher": str(teacher.folder), "alpha": 1.0, "temperature": 2.0}
    recipes[1]["training"].update(mode=mode, validate_every=50)
    recipes[1]["stages"] = [{"name": "one", "updates": 60}]
    student = prepared_run(recipes[1], "student")

    divergences = []
    forward = BatchLoss.forward

    def watched(self, batch, networks, update):
        result = forward(self, batch, networks, update)
        divergences.append(float(result.kd.detach()) / len(batch.real))
        return result

    monkeypatch.setattr(BatchLoss, "forward", watched)
    train_family(student)
    assert sum(divergences[-5:]) < 0.5 * sum(divergences[:5])
    assert student.results().to_json()["cost"]["training.one"]["flops"] > 0
