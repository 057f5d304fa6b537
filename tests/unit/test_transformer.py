import math
from itertools import product

import pytest
import torch

from polystill.models.passes import exact_plan, shared_plan
from polystill.models.transformer import sinusoidal_positions
from polystill.students import Student

STUDENTS = [Student(e, d) for e in range(1, 4) for d in range(1, 4)]


@pytest.mark.parametrize("make_plan", [shared_plan, exact_plan])
def test_batched_passes_equal_one_network_at_a_time(make_model, make_batch, make_plan) -> None:
    model, batch = make_model(), make_batch()
    plain = {student: model(batch.source, batch.target_in, student) for student in STUDENTS}
    for a, b in product(STUDENTS, STUDENTS):
        networks = [model.teacher, a, b]
        plan = make_plan(networks)
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
    model, batch = make_model(dropout=0.3, attention_dropout=0.2, activation_dropout=0.1), make_batch()
    assert torch.equal(model(batch.source, batch.target_in), model(batch.source, batch.target_in))
    model.train()
    assert not torch.allclose(model(batch.source, batch.target_in), model(batch.source, batch.target_in))


def test_initial_logits_are_of_order_one(make_batch) -> None:
    from polystill.models.transformer import Transformer, TransformerConfig

    torch.manual_seed(1)
    model = Transformer(TransformerConfig(1000, 999, 0, 64, 128, 4, 6, 6)).eval()
    batch = make_batch(vocabulary_size=1000)
    assert 0.3 < model(batch.source, batch.target_in).std().item() < 3
    assert model.embedding[999].abs().sum() == 0
    bound = math.sqrt(6 / (64 + 64))
    assert model.encoder_layers(1)[0].self_attention.query_key_value.weight.abs().max().item() <= bound


def test_positions_are_sines_then_cosines() -> None:
    positions = sinusoidal_positions(5, 4)
    expected = [math.sin(3), math.sin(3 / 100), math.cos(3), math.cos(3 / 100)]
    torch.testing.assert_close(positions[3], torch.tensor(expected))
