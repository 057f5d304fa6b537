"""Networks of a family against ordinary models of their size, for random sizes of every architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polystill.models import ARCHITECTURES
from polystill.models.elastic import ElasticConfig, ElasticModel
from polystill.models.passes import exact_plan
from polystill.students import Student

depths = st.integers(1, 4)


@st.composite
def sizes(draw: Any, architecture: str) -> ElasticConfig:
    vocabulary_size = draw(st.integers(4, 30))
    of_all = {
        "vocabulary_size": vocabulary_size,
        "pad_id": draw(st.integers(0, vocabulary_size - 1)),
        "eos_id": 0,
        "encoder_layers": draw(depths),
        "decoder_layers": draw(depths),
        "max_positions": 16,
    }
    if architecture == "lstm":
        return ARCHITECTURES[architecture].config_class(**of_all, d_model=draw(st.integers(2, 12)))
    heads = draw(st.integers(1, 3))
    return ARCHITECTURES[architecture].config_class(
        **of_all,
        d_model=2 * heads * draw(st.integers(1, 4)),
        heads=heads,
        ffn_dim=draw(st.integers(1, 20)),
        activation=draw(st.sampled_from(["relu", "swish", "gelu"])),
        positions=draw(st.sampled_from(["huggingface", "marian"])),
    )


def random_model(config: ElasticConfig, seed: int) -> ElasticModel:
    torch.manual_seed(seed)
    model = config.architecture.model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.embedding[model.pad_id] = 0
        model.output_bias[model.pad_id] = 0
    return model


@st.composite
def members(draw: Any, config: ElasticConfig) -> Student:
    return Student(draw(st.integers(1, config.encoder_layers)), draw(st.integers(1, config.decoder_layers)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_extracted_network_is_an_ordinary_model_of_its_size(architecture: str, data: st.DataObject) -> None:
    config = data.draw(sizes(architecture))
    model = random_model(config, seed=data.draw(st.integers(0, 99)))
    student, other = data.draw(members(config)), data.draw(members(config))
    network = model.network(student)
    assert network.config == config.with_depths(student) and network.config.teacher == student
    alone = config.architecture.model_class(network.config).eval()
    alone.load_state_dict(network.state(), strict=True)
    assert network.weight is model.embedding and torch.equal(network.weight, alone.embedding)
    assert network.bias is model.output_bias and torch.equal(network.bias, alone.output_bias)

    # The logits: in a pass of the network's own, and in passes that it shares with others.
    shape = st.tuples(st.integers(1, 3), st.integers(1, 6))
    (sentences, source_length), target_length = data.draw(shape), data.draw(st.integers(1, 6))
    source = torch.randint(0, config.vocabulary_size, (sentences, source_length))
    target_in = torch.randint(0, config.vocabulary_size, (sentences, target_length))
    with torch.no_grad():
        torch.testing.assert_close(alone(source, target_in), model(source, target_in, student), atol=1e-6, rtol=1e-6)
        model, alone = model.double(), alone.double()
        for plan in (model.shared_plan([model.teacher, student, other]), exact_plan([model.teacher, student, other])):
            hidden = model.hidden_states(source, target_in, plan)[plan.members[1]]
            torch.testing.assert_close(model.project(hidden), alone(source, target_in), atol=1e-6, rtol=1e-6)

    # The figures.
    assert config.architecture.parameter_count(network.config) == sum(p.numel() for p in alone.parameters())
    shape = sentences, source_length, target_length
    plan, own_plan = model.shared_plan([student]), alone.shared_plan([alone.teacher])
    assert model.forward_flops(plan, *shape) == alone.forward_flops(own_plan, *shape)
    assert model.update_flops(plan, *shape) == alone.update_flops(own_plan, *shape)

    # The folder, and the groups of pruning, which are those of the student's layers.
    tensors = config.architecture.to_folder(network.state(), network.config)
    assert config.architecture.parameter_names(network.config) <= set(tensors)
    again = config.architecture.from_folder(tensors, network.config, "test")
    assert all(torch.equal(again[name], tensor) for name, tensor in network.state().items())
    files = config.architecture.config_files(network.config)
    assert config.architecture.read_config(files["config.json"], "test") == network.config
    groups = {config.architecture.layer_of(name) for name, _ in alone.named_parameters()}
    stacks = {name for name in groups if name.startswith(("encoder.", "decoder."))}
    assert len(stacks) == student.encoder_layers + student.decoder_layers
