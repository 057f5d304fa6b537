"""What every architecture promises (models/elastic.py), asked of each of them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.models import ARCHITECTURES
from polystill.models.folder import load_model_with_tokenizer, parameter_count, save_family, save_student
from polystill.models.passes import exact_plan
from polystill.models.supernets import Supernets
from polystill.objectives.nll import Nll
from polystill.students import Student, StudentSpace, in_ranges
from polystill.training.update import BatchLoss

STUDENTS = [Student(e, d) for e in range(1, 4) for d in range(1, 4)]


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("exact", [False, True], ids=["shared", "exact"])
def test_batched_passes_equal_one_network_at_a_time(make_model, make_batch, exact) -> None:
    model, batch = make_model(), make_batch()
    plain = {student: model(batch.source, batch.target_in, student) for student in STUDENTS}
    for a, b in product(STUDENTS, STUDENTS):
        networks = [model.teacher, a, b]
        plan = exact_plan(networks) if exact else model.shared_plan(networks)
        hidden = model.hidden_states(batch.source, batch.target_in, plan)
        for network, member in zip(networks, plan.members, strict=True):
            torch.testing.assert_close(model.project(hidden[member]), plain[network], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_stepwise_decoding_equals_full_decoding(make_model, make_batch, student: Student) -> None:
    model, batch = make_model(), make_batch()
    full = model(batch.source, batch.target_in, student)
    state = model.start(batch.source, student)
    steps = [model.step(state, batch.target_in[:, t]) for t in range(batch.target_in.shape[1])]
    torch.testing.assert_close(torch.stack(steps, 1), full, atol=1e-5, rtol=1e-5)


def test_beams_of_a_sentence_share_its_memory(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    full = model(batch.source, batch.target_in)
    state = model.start(batch.source, beam_size=3)
    for t in range(4):
        logits = model.step(state, batch.target_in[:, t].repeat_interleave(3))
    torch.testing.assert_close(logits, full[:, 3].repeat_interleave(3, 0), atol=1e-5, rtol=1e-5)


def test_kept_sentences_and_reordered_rows_continue_as_if_alone(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    full = model(batch.source, batch.target_in)
    state = model.start(batch.source)
    for t in range(3):
        model.step(state, batch.target_in[:, t])
    kept = torch.tensor([0, 3, 4])
    state.keep(kept)
    logits = model.step(state, batch.target_in[kept, 3])
    torch.testing.assert_close(logits, full[kept, 3], atol=1e-5, rtol=1e-5)


def test_reorder_moves_histories_between_beams(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch(sentences=2)
    other = batch.target_in.clone()
    other[:, 1:] = (other[:, 1:] + 5) % 38
    both = torch.stack([batch.target_in, other], 1).flatten(0, 1)  # two beams a sentence
    state = model.start(batch.source, beam_size=2)
    for t in range(3):
        model.step(state, both[:, t])
    state.reorder(torch.tensor([1, 1, 2, 2]))
    logits = model.step(state, both[torch.tensor([1, 1, 2, 2]), 3])
    expected = torch.stack(
        [model(batch.source[:1], other[:1])[0, 3], model(batch.source[1:], batch.target_in[1:])[0, 3]]
    )
    torch.testing.assert_close(logits[[0, 2]], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[[1, 3]], expected, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    length = int((batch.source[3] != model.pad_id).sum())
    alone = model(batch.source[3:4, :length], batch.target_in[3:4])
    torch.testing.assert_close(model(batch.source, batch.target_in)[3:4], alone, atol=1e-5, rtol=1e-5)


def test_future_targets_are_not_seen(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    changed = batch.target_in.clone()
    changed[:, 4:] = 7
    before, after = model(batch.source, batch.target_in), model(batch.source, changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_dropout_acts_in_training_only(make_model, make_batch) -> None:
    model, batch = make_model(dropout=0.3), make_batch()
    assert torch.equal(model(batch.source, batch.target_in), model(batch.source, batch.target_in))
    model.train()
    assert not torch.allclose(model(batch.source, batch.target_in), model(batch.source, batch.target_in))


@pytest.mark.parametrize("student", [Student(1, 3), Student(3, 1), Student(3, 3)], ids=str)
def test_every_parameter_of_a_student_gets_a_gradient_and_no_other(make_model, make_batch, student: Student) -> None:
    model, batch = make_model(), make_batch()
    model(batch.source, batch.target_in, student).sum().backward()
    student_alone = make_model(encoder_layers=student.encoder_layers, decoder_layers=student.decoder_layers)
    own = {name for name, _ in student_alone.named_parameters()}
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.any())
        assert moved == (name in own), name


def test_the_teacher_alone_trains_all_its_parameters_and_never_pad(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    BatchLoss(Supernets(model), Nll(), "shared")(batch, [model.teacher]).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert model.embedding.grad[model.pad_id].any()
    model.mask_pad_gradient()
    assert not model.embedding.grad[model.pad_id].any()
    assert not model.output_bias.grad[model.pad_id].any()


def test_a_batch_of_padding_alone_is_no_error(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    nothing = torch.full_like(batch.source, model.pad_id)
    assert torch.isfinite(model(nothing, nothing)).all()


def test_a_family_and_its_students_come_back_from_their_folders(
    make_model, make_batch, counting_data, tmp_path
) -> None:
    model, batch, student = make_model(), make_batch(), Student(2, 1)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 3), (1, 3)))
    save_family(tmp_path / "family", Supernets(model), _tokenizer(counting_data), space, {})
    loaded, _ = load_model_with_tokenizer(tmp_path / "family")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    save_student(tmp_path / "family", student, tmp_path / "student")
    alone, tokenizer = load_model_with_tokenizer(tmp_path / "student")
    assert alone.teacher == student and tokenizer.vocabulary_size == 40
    torch.testing.assert_close(
        alone(batch.source, batch.target_in), model(batch.source, batch.target_in, student), atol=1e-6, rtol=1e-6
    )
    assert parameter_count(tmp_path / "student") == sum(p.numel() for p in alone.parameters())
    assert not [name for name in load_file(tmp_path / "student" / "model.safetensors") if "encoder.2" in name]
    assert json.loads((tmp_path / "student" / "config.json").read_text())["encoder_layers"] == 2


def _tokenizer(counting_data: Path) -> Tokenizer:
    lines = [line for side in ("en", "de") for line in (counting_data / f"train.{side}").read_text().splitlines()]
    return train_tokenizer(lines, TokenizerSettings(vocabulary_size=40, byte_fallback=False), "en", "de")
