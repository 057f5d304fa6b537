from itertools import product

import pytest

from polystill.models.passes import DecoderPass, exact_plan, shared_encoder_plan, shared_plan
from polystill.students import Student

SPACE = [Student(e, d) for e in range(2, 7) for d in range(2, e + 1)]
TEACHER = Student(6, 6)


def test_shared_plan_reads_one_decoder_pass_twice_where_encoders_agree() -> None:
    plan = shared_plan([TEACHER, Student(4, 3), Student(4, 2)])
    assert plan.encoder_depths == (6,)
    assert plan.decoder_passes == (DecoderPass(0, 6, 6), DecoderPass(0, 4, 3))
    assert plan.reads == ((0, 6), (1, 3), (1, 2))
    assert plan.members == (0, 1, 2)


def test_shared_plan_computes_equal_networks_once() -> None:
    plan = shared_plan([TEACHER, Student(3, 2), TEACHER, Student(3, 2)])
    assert len(plan.reads) == 2
    assert plan.members == (0, 1, 0, 1)


def test_with_input_feeding_only_encoder_passes_are_shared() -> None:
    plan = shared_encoder_plan([TEACHER, Student(4, 3), Student(6, 2), Student(4, 3)])
    assert plan.encoder_depths == (6,)
    assert plan.decoder_passes == (DecoderPass(0, 6, 6), DecoderPass(0, 4, 3), DecoderPass(0, 6, 2))
    assert plan.reads == ((0, 6), (1, 3), (2, 2))
    assert plan.members == (0, 1, 2, 1)


def test_exact_plan_gives_every_network_passes_of_its_own() -> None:
    plan = exact_plan([TEACHER, Student(3, 2), TEACHER])
    assert plan.encoder_depths == (6, 6, 3)
    assert [p.depth for p in plan.decoder_passes] == [6, 6, 2]
    assert len({p.encoder_pass for p in plan.decoder_passes}) == 3


@pytest.mark.parametrize("make_plan", [shared_plan, shared_encoder_plan, exact_plan])
def test_every_pair_of_the_published_space_is_read_at_its_own_depths(make_plan) -> None:
    for a, b in product(SPACE, SPACE):
        networks = [TEACHER, a, b]
        plan = make_plan(networks)
        assert list(plan.encoder_depths) == sorted(plan.encoder_depths, reverse=True)
        depths = [p.depth for p in plan.decoder_passes]
        assert depths == sorted(depths, reverse=True)
        for network, member in zip(networks, plan.members, strict=True):
            index, decoder_depth = plan.reads[member]
            decoder_pass = plan.decoder_passes[index]
            assert (decoder_pass.encoder_depth, decoder_depth) == (network.encoder_layers, network.decoder_layers)
            assert decoder_pass.depth >= decoder_depth
            assert plan.encoder_depths[decoder_pass.encoder_pass] >= decoder_pass.encoder_depth
