import time
from dataclasses import replace

import pytest
import torch

from polystill.bench.parts import PARTS, Timeline, marked_parts
from polystill.bench.train import Trial, Variant, load_workload, variants
from polystill.config import parse_recipe
from polystill.errors import UserError
from polystill.models.supernets import Supernets
from polystill.models.transformer import Transformer
from polystill.objectives.aio_kd import AioKd
from polystill.students import Student
from polystill.training.feed import MicroBatch
from polystill.training.update import BatchLoss


@pytest.fixture
def own_time(monkeypatch) -> None:
    """Parts are timed by what this process computes, and not by what else the machine does."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)


@pytest.fixture
def workload(counting_recipe, prepared_run):
    counting_recipe["model"]["dropout"] = 0.0
    run = prepared_run(counting_recipe)
    return load_workload(run.recipe, run.data, students=2, batches=2)


def test_networks_are_drawn_as_in_training(counting_recipe, prepared_run) -> None:
    def networks(students: int, objective: dict[str, object], **others: object) -> list[list[Student]]:
        recipe = parse_recipe({**counting_recipe, "objective": objective, **others}, "test")
        return load_workload(recipe, run.data, students, batches=6).networks

    run = prepared_run(counting_recipe)
    drawn = networks(3, {"sampling": "sandwich"})
    assert [each[:2] for each in drawn] == [[Student(2, 2), Student(1, 1)]] * 6
    assert {len(each) for each in drawn} == {4}
    assert len({tuple(each) for each in networks(3, {"sample_every": 6})}) == 1 < len({tuple(each) for each in drawn})
    assert networks(3, {"kind": "nll"}, stages=[{"name": "alone", "updates": 3}]) == [[Student(2, 2)]] * 6


def test_a_frozen_teacher_is_not_timed(counting_recipe, tmp_path) -> None:
    stages = [{"name": "first", "updates": 3, "objective": {"kind": "word_kd", "teacher": "somewhere"}}]
    recipe = parse_recipe({**counting_recipe, "stages": stages}, "test")
    with pytest.raises(UserError, match=r"^stage first: word_kd .* set objective.kind=aio_kd"):
        load_workload(recipe, tmp_path, students=2, batches=1)


def test_stages_that_hold_the_teacher_are_not_timed(counting_recipe, tmp_path) -> None:
    learns = {"kind": "word_kd", "students_per_step": 1}
    supernets = {"tiny": {"d_model": 8, "ffn_dim": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 1}}
    stages = [{"name": "narrow", "updates": 3, "supernets": "further", "objective": learns}]
    values = {**counting_recipe, "model": {"start": "somewhere"}, "supernets": supernets, "stages": stages}
    with pytest.raises(UserError, match=r"^stage narrow: holds the first supernet"):
        load_workload(parse_recipe(values, "test"), tmp_path, students=2, batches=1)


def test_variants_of_a_machine() -> None:
    names = ["teacher", "teacher-plain", "family-plain", "family-exact", "family-shared"]
    assert [variant.name for variant in variants(fast_bf16=False, gpu=False)] == names
    with_bf16 = [variant.name for variant in variants(fast_bf16=True, gpu=False)]
    assert with_bf16 == [*names, "teacher-bf16", "family-exact-bf16", "family-shared-bf16"]
    assert "family-plain-bf16" in [variant.name for variant in variants(fast_bf16=True, gpu=True)]


def test_all_variants_do_the_same_work(workload) -> None:
    losses = {}
    for variant in variants(fast_bf16=False, gpu=False):
        trial = Trial(variant, workload)
        trial.run()
        losses[variant.name] = trial.loss
        assert trial.model.first.config.kernels == ("plain" if variant.mode == "plain" else "fast")
        assert len(trial.networks(0)) == (3 if variant.who == "family" else 1)
    assert losses["teacher"] == pytest.approx(losses["teacher-plain"], rel=1e-4)
    assert losses["family-exact"] == pytest.approx(losses["family-plain"], rel=1e-4)
    assert losses["family-shared"] == pytest.approx(losses["family-plain"], rel=1e-4)
    assert losses["family-plain"] > losses["teacher"]


def test_shared_passes_take_fewer_flops_than_exact_ones(workload) -> None:
    model = workload.recipe.model.model_copy(update={"dropout": 0.1})
    workload = replace(workload, recipe=workload.recipe.model_copy(update={"model": model}))
    flops = {v.name: Trial(v, workload).flops() for v in variants(fast_bf16=False, gpu=False)}
    assert flops["teacher"] == flops["teacher-plain"] < flops["family-shared"] < flops["family-exact"]
    assert flops["family-plain"] == flops["family-exact"]


def _shares_of(model: Transformer, mode: str, batch: MicroBatch, networks: list[Student]) -> dict[str, float]:
    batch_loss, optimizer = BatchLoss(Supernets(model.train()), AioKd(), mode), torch.optim.AdamW(model.parameters())
    timeline = Timeline(torch.device("cpu"))
    with marked_parts(model, timeline):
        for _ in range(4):
            timeline.enter("encoder")
            loss = batch_loss(batch, networks).loss
            timeline.enter("vocabulary_loss")
            loss.backward()
            timeline.enter("optimizer")
            optimizer.step()
            timeline.enter(None)
    assert "project" not in vars(model)
    return timeline.shares()


@pytest.mark.parametrize("mode", ["plain", "exact", "shared"])
@pytest.mark.usefixtures("own_time")
def test_parts_of_a_step_add_up_and_follow_the_depths(make_model, make_batch, mode) -> None:
    def shares(**layers: int) -> dict[str, float]:
        model = make_model(vocabulary_size=400, d_model=32, ffn_dim=64, **layers)
        return _shares_of(model, mode, make_batch(400, 16), [model.teacher] * 2)

    wide, deep = shares(encoder_layers=6, decoder_layers=1), shares(encoder_layers=1, decoder_layers=6)
    for found in (wide, deep):
        assert tuple(found) == PARTS
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) > 0
    assert wide["encoder"] > 1.5 * wide["decoders"]
    assert deep["decoders"] > 3 * deep["encoder"]


@pytest.mark.parametrize("mode", ["plain", "exact", "shared"])
@pytest.mark.usefixtures("own_time")
def test_the_loss_takes_the_time_of_a_large_vocabulary_and_none_of_the_decoders(make_model, make_batch, mode) -> None:
    def shares(vocabulary: int, encoder: int, decoder: int, students: list[Student]) -> dict[str, float]:
        model = make_model(vocabulary_size=vocabulary, encoder_layers=encoder, decoder_layers=decoder)
        return _shares_of(model, mode, make_batch(vocabulary, 16), [model.teacher, *students])

    large = shares(20_000, 1, 1, [Student(1, 1)] * 2)
    assert large["vocabulary_loss"] > large["decoders"]
    deep = shares(40, 2, 8, [Student(2, 4), Student(1, 6)])
    assert deep["decoders"] > deep["vocabulary_loss"]


def test_marks_change_nothing(make_model, make_batch) -> None:
    model, batch = make_model(dropout=0.0).train(), make_batch()

    def loss(of: Transformer) -> torch.Tensor:
        of.zero_grad()
        loss = BatchLoss(Supernets(of), AioKd(), "plain")(batch, [of.teacher]).loss
        loss.backward()
        return torch.cat([p.grad.flatten() for p in of.parameters() if p.grad is not None])

    expected = loss(model)
    with marked_parts(model, Timeline(torch.device("cpu"))):
        assert torch.equal(loss(model), expected)


def test_bf16_variants_run_under_autocast(workload) -> None:
    trial = Trial(Variant("family", "shared", "bf16"), workload)
    seen: list[torch.dtype | None] = []
    assert isinstance(trial.model.first, Transformer)
    trial.model.first.encoder_layers(1)[0].self_attention.register_forward_pre_hook(lambda *_: seen.append(_autocast()))
    trial.run()
    assert seen == [torch.bfloat16] * 2
    assert trial.loss == trial.loss


def _autocast() -> torch.dtype | None:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


def test_lstms_are_measured_too_but_for_the_shares(counting_recipe, prepared_run) -> None:
    shape = {"architecture": "lstm", "encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "dropout": 0.0}
    run = prepared_run({**counting_recipe, "model": shape})
    workload = load_workload(run.recipe, run.data, students=2, batches=1)
    losses = {}
    for mode in ("plain", "exact", "shared"):
        trial = Trial(Variant("family", mode, "fp32"), workload)
        assert trial.shares() == {}
        trial.run()
        losses[mode] = trial.loss
        assert trial.flops() > 0
    assert losses["exact"] == pytest.approx(losses["plain"], rel=1e-4)
    assert losses["shared"] == pytest.approx(losses["plain"], rel=1e-4)
