"""The LSTM against a slow reference: one sentence, one step at a time, in torch's own cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.passes import shared_encoder_plan, shared_plan
from polystill.students import Student

STUDENTS = [Student(e, d) for e in range(1, 4) for d in range(1, 4)]


@pytest.fixture
def architecture() -> str:
    return "lstm"


def reference(model: Lstm, source: list[int], target_in: list[int], student: Student) -> Tensor:
    """Logits (T, V) of one sentence, by the paper's equations."""
    width = model.config.d_model
    states = [(torch.zeros(1, width).double(), torch.zeros(1, width).double()) for _ in range(student.encoder_layers)]
    encoder = []
    for layer in model.encoder[: student.encoder_layers]:
        cell = nn.LSTMCell(width, width).double()
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({part: getattr(layer, f"{part}_l0") for part in parts})
        encoder.append(cell)
    memory = []
    for token in source:
        x = model.embedding[token][None] * width**0.5
        for i, cell in enumerate(encoder):
            states[i] = cell(x, states[i])
            x = states[i][0]
        memory.append(x[0])
    states = [states[min(i, len(states) - 1)] for i in range(student.decoder_layers)]
    fed, logits = torch.zeros(1, width).double(), []
    for token in target_in:
        x = torch.cat([model.embedding[token][None] * width**0.5, fed], 1)
        for i, layer in enumerate(model.decoder[: student.decoder_layers]):
            states[i] = layer(x, states[i])
            x = states[i][0]
        scores = torch.stack([x[0] @ model.attention.general.weight @ m for m in memory])
        context = sum(weight * m for weight, m in zip(scores.softmax(0), memory, strict=True))
        fed = torch.tanh(model.attention.output(torch.cat([context[None], x], 1)))
        logits.append(model.embedding @ fed[0] + model.output_bias)
    return torch.stack(logits)


@pytest.mark.parametrize("student", STUDENTS, ids=str)
def test_values_and_gradients_are_the_references(make_model, make_batch, student: Student) -> None:
    model, batch = make_model().double(), make_batch()
    logits = model(batch.source, batch.target_in, student)
    logits.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    total = torch.zeros(()).double()
    for row, (source, target_in) in enumerate(zip(batch.source, batch.target_in, strict=True)):
        tokens = source[source != model.pad_id].tolist()
        expected = reference(model, tokens, target_in.tolist(), student)
        torch.testing.assert_close(logits[row], expected, atol=1e-10, rtol=1e-8)
        total = total + expected.square().sum()
    total.backward()
    for name, p in model.named_parameters():
        if name.startswith("encoder") and p.grad is None:
            continue  # the reference's encoder cells are copies
        torch.testing.assert_close(gradients[name], p.grad, atol=1e-8, rtol=1e-6)


def test_padding_leaves_a_sentence_exactly_alone(make_model, make_batch) -> None:
    """Also its last states, from which the decoder starts: a wide batch is no other start."""
    model, batch = make_model(), make_batch()
    wider = torch.nn.functional.pad(batch.source, (0, 9), value=model.pad_id)
    torch.testing.assert_close(model(wider, batch.target_in), model(batch.source, batch.target_in), atol=1e-6, rtol=0)
    for row in range(len(batch.source)):
        tokens = batch.source[row][batch.source[row] != model.pad_id][None]
        alone = model.encode(tokens, {3})[3]
        together = model.encode(wider, {3})[3]
        for a, b in ((alone.hidden, together.hidden), (alone.cells, together.cells)):
            for mine, all_of_them in zip(a, b, strict=True):
                torch.testing.assert_close(mine[0], all_of_them[row], atol=1e-6, rtol=0)


def test_the_attentional_state_is_fed_back(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    before = model(batch.source, batch.target_in)
    with torch.no_grad():
        model.decoder[0].weight_ih[:, model.config.d_model :] = 0
    after = model(batch.source, batch.target_in)
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert (before[:, 1:] - after[:, 1:]).abs().max() > 1e-3


def test_a_pass_read_at_two_depths_is_a_programmers_mistake(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    networks = [Student(3, 3), Student(3, 1)]
    assert len(model.hidden_states(batch.source, batch.target_in, shared_encoder_plan(networks))) == 2
    with pytest.raises(AssertionError, match="serves one depth"):
        model.hidden_states(batch.source, batch.target_in, shared_plan(networks))


def test_autocast_trains_and_stays_close(make_model, make_batch) -> None:
    model, batch = make_model(), make_batch()
    expected = model(batch.source, batch.target_in)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.source, batch.target_in)
    torch.testing.assert_close(logits.float(), expected, atol=0.1, rtol=0.1)
    logits.float().square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_cudnn_may_go_backward_without_dropout(make_model, make_batch) -> None:
    """It refuses layers in evaluation mode, and a stage without dropout trains the model in that mode."""
    model, batch, modes = make_model().with_settings(kernels="plain").eval(), make_batch(), []
    model.encoder[0].register_forward_pre_hook(lambda layer, _: modes.append(layer.training))
    model(batch.source, batch.target_in)
    with torch.no_grad():
        model(batch.source, batch.target_in)
    assert modes == [True, False]


def test_the_initial_network_passes_its_input_on(make_batch) -> None:
    torch.manual_seed(1)
    model = Lstm(LstmConfig(1000, 999, 0, 64, 4, 4)).eval()
    batch = make_batch(vocabulary_size=1000)
    assert 0.1 < model(batch.source, batch.target_in).std().item() < 3
    assert not model.embedding[999].any()
    for side in ("encoder.0.bias_ih_l0", "decoder.3.bias_ih"):
        assert model.get_parameter(side).view(4, 64).sum(1).tolist() == [0, 64, 0, 0]


def test_the_steps_on_tensors_are_the_steps(make_model, make_batch) -> None:
    """Longest sentence first. tests/unit/test_export_onnx_lstm.py has them traced, and in any order."""
    model, batch = make_model(), make_batch()
    source = batch.source[(batch.source == model.pad_id).sum(1).argsort()]
    mask = (source != model.pad_id).long()
    state = model.start(source)
    hidden, cells, fed, *memory = model.start_tensors(source, mask)
    for t in range(4):
        expected = model.step(state, batch.target_in[:, t])
        logits, hidden, cells, fed = model.step_tensors(batch.target_in[:, t], mask, hidden, cells, fed, *memory)
        torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
