"""Whole trainings on a toy language, in this process."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from polystill.data.modifiers import Augmenter
from polystill.environment.child import process_peak
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer, load_supernets, save_student
from polystill.models.pruning import sparsity_of
from polystill.runs.family import family_space, read_family
from polystill.students import Student
from polystill.training import loop
from polystill.training.loop import train_family


def _weights(run):
    return load_file(run.family / "model.safetensors")


def _whole_and_stopped(recipe, prepared_run):
    """An undisturbed run, and one that ended after two updates of the second stage and was continued."""
    undisturbed = prepared_run(recipe, "whole")
    train_family(undisturbed)
    shorter = copy.deepcopy(recipe)
    shorter["stages"][1]["updates"] = 2
    stopped = prepared_run(shorter, "interrupted")
    train_family(stopped)
    stopped.close()
    continued = prepared_run(recipe, "interrupted")
    train_family(continued)
    return undisturbed, continued


def test_both_stages_make_a_family(counting_recipe, prepared_run, capsys) -> None:
    run = prepared_run(counting_recipe)
    train_family(run)
    assert [s.name for s in family_space(run.family).candidates] == ["e1d1", "e2d1", "e2d2"]
    family = read_family(run.family)
    assert family["source_language"] == "en" and family["method"] == "aio_kd"
    for stage in ("training.distillation", "training.mutual"):
        record = run.record(stage)
        assert set(record["validation"]["nll"]) == {"e1d1", "e2d1", "e2d2"}
        cost = run.results().to_json()["cost"][stage]
        assert cost["target_tokens"] > 0 and cost["flops"] > 0 and cost["seconds"] > 0
        assert cost["peak_rss_bytes"] == pytest.approx(process_peak(), rel=0.2)
        assert ("peak_device_bytes" in cost) == torch.cuda.is_available()
    first = run.record("training.distillation")
    assert [point["update"] for point in first["history"]] == [5, 10, 12]
    assert list((run.logs / "distillation").glob("events*"))
    assert "validation nll e1d1" in capsys.readouterr().err
    before = (run.family / "model.safetensors").read_bytes()
    train_family(run)
    assert (run.family / "model.safetensors").read_bytes() == before


def test_the_pad_row_stays_exactly_zero_over_many_updates(counting_recipe, prepared_run) -> None:
    counting_recipe["training"]["weight_decay"] = 0.1
    counting_recipe["stages"] = [{"name": "one", "updates": 100, "objective": {"mutual": "full"}}]
    run = prepared_run(counting_recipe)
    train_family(run)
    model, tokenizer = load_model_with_tokenizer(run.family)
    assert model.embedding[tokenizer.pad_id].abs().max() == 0
    assert model.output_bias[tokenizer.pad_id] == 0
    others = torch.cat([model.output_bias[: tokenizer.pad_id], model.output_bias[tokenizer.pad_id + 1 :]])
    assert others.abs().max() > 0


def test_the_toy_language_is_learnt(counting_recipe, prepared_run) -> None:
    """Every student reaches a likelihood that a network blind to the source cannot: log 10 = 2.3 a word."""
    counting_recipe["model"].update(d_model=32, ffn_dim=64, dropout=0.0)
    counting_recipe["training"].update(batch_tokens=512, warmup=50, validate_every=100, checkpoint_every=1000)
    counting_recipe["stages"] = [{"name": "one", "updates": 300}]
    run = prepared_run(counting_recipe)
    train_family(run)
    nll = run.record("training.one")["validation"]["nll"]
    assert nll["e2d2"] < 0.5, nll
    assert nll["e1d1"] < 1.2, nll


def test_stage_two_starts_from_the_first_stages_choice_with_a_fresh_optimizer(counting_recipe, prepared_run) -> None:
    counting_recipe["stages"][1].update(updates=1, learning_rate=1e-12)
    counting_recipe["training"].update(weight_decay=0.0)
    run = prepared_run(counting_recipe)
    train_family(run)
    first = load_file(run.checkpoints / "distillation" / "final.safetensors")
    last = load_file(run.checkpoints / "mutual" / "final.safetensors")
    for name, tensor in first.items():
        torch.testing.assert_close(last[name], tensor, atol=1e-6, rtol=0)
    state = torch.load(run.checkpoints / "mutual" / "state-00000001.pt", weights_only=True)
    assert state["optimizer"]["state"][0]["step"].item() == 1


def test_accumulated_micro_batches_equal_one_batch(counting_recipe, prepared_run) -> None:
    counting_recipe["model"]["dropout"] = 0.0
    counting_recipe["objective"] = {"detach_threshold": 0.0}  # ratios of micro-batches may lie elsewhere
    counting_recipe["stages"] = counting_recipe["stages"][:1]
    split = copy.deepcopy(counting_recipe)
    split["training"]["accumulate"] = 3
    runs = [prepared_run(counting_recipe, "whole"), prepared_run(split, "split")]
    for run in runs:
        train_family(run)
    a, b = (run.record("training.distillation")["validation"]["nll"] for run in runs)
    assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("mode", ["exact", "plain"])
def test_all_modes_train_alike_without_dropout(counting_recipe, prepared_run, mode) -> None:
    counting_recipe["model"]["dropout"] = 0.0
    other = copy.deepcopy(counting_recipe)
    other["training"]["mode"] = mode
    runs = [prepared_run(counting_recipe, "shared"), prepared_run(other, "other")]
    for run in runs:
        train_family(run)
    a, b = (run.record("training.mutual")["validation"]["nll"] for run in runs)
    assert a == pytest.approx(b, rel=1e-3)


def test_a_stage_of_single_networks_is_alike_to_the_bit_in_shared_and_exact_mode(counting_recipe, prepared_run) -> None:
    counting_recipe["stages"] = [
        {"name": "smallest", "updates": 4, "networks": "smallest"},
        {"name": "largest", "updates": 4, "networks": "largest"},
        {"name": "all", "updates": 1},
    ]
    exact = copy.deepcopy(counting_recipe)
    exact["training"]["mode"] = "exact"
    runs = [prepared_run(counting_recipe, "shared"), prepared_run(exact, "exact")]
    for run in runs:
        train_family(run)
    one, other = (load_file(run.checkpoints / "largest" / "final.safetensors") for run in runs)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_nll_trains_the_teacher_alone(counting_recipe, prepared_run) -> None:
    counting_recipe["objective"] = {"kind": "nll"}
    counting_recipe["stages"] = [{"name": "one", "updates": 6}]
    run = prepared_run(counting_recipe)
    train_family(run)
    assert family_space(run.family).candidates == (family_space(run.family).teacher,)


def test_training_starts_from_a_marian_folder(counting_recipe, prepared_run) -> None:
    first = prepared_run(counting_recipe, "first")
    train_family(first)
    again = copy.deepcopy(counting_recipe)
    again["model"] = {"start": str(first.family), "dropout": 0.0}
    again["training"]["learning_rate"] = 1e-12
    again["training"]["weight_decay"] = 0.0
    again["stages"] = [{"name": "one", "updates": 1}]
    second = prepared_run(again, "second")
    train_family(second)
    for name, tensor in _weights(first).items():
        torch.testing.assert_close(_weights(second)[name], tensor, atol=1e-6, rtol=0)


def test_a_start_with_another_vocabulary_is_refused(counting_recipe, prepared_run) -> None:
    first = prepared_run(counting_recipe, "first")
    train_family(first)
    counting_recipe["model"] = {"start": str(first.family)}
    counting_recipe["data"]["tokenizer"]["vocabulary_size"] = 40
    with pytest.raises(UserError, match="vocabulary"):
        train_family(prepared_run(counting_recipe, "second"))


def test_a_loss_that_is_not_finite_stops_with_step_and_batch(counting_recipe, prepared_run) -> None:
    counting_recipe["training"].update(learning_rate=1e18, warmup=1)
    with pytest.raises(
        UserError, match=r"stage distillation, update \d+, epoch 0, batch \d+ \(training rows \d+, .*nan"
    ):
        train_family(prepared_run(counting_recipe))


def test_such_batches_are_skipped_and_counted_on_request(counting_recipe, prepared_run) -> None:
    counting_recipe["training"].update(learning_rate=1e18, warmup=1, on_nonfinite="skip")
    counting_recipe["stages"] = counting_recipe["stages"][:1]
    run = prepared_run(counting_recipe)
    with pytest.raises(UserError, match="no validation gave a finite cross-entropy"):
        train_family(run)


def test_early_stopping(counting_recipe, prepared_run) -> None:
    counting_recipe["training"].update(learning_rate=1e-12, weight_decay=0.0, early_stopping=2, validate_every=1)
    counting_recipe["stages"] = [{"name": "one", "updates": 50}]
    run = prepared_run(counting_recipe)
    train_family(run)
    assert run.record("training.one")["updates"] < 50


def test_average_is_kept_where_it_is_better(counting_recipe, prepared_run) -> None:
    counting_recipe["training"].update(learning_rate=0.02, average_last=4, validate_every=3)
    counting_recipe["stages"] = [{"name": "one", "updates": 60}]
    run = prepared_run(counting_recipe)
    train_family(run)
    record = run.record("training.one")
    best = min(sum(point["cross_entropy"].values()) for point in record["history"])
    kept = sum(record["validation"]["cross_entropy"].values())
    assert kept <= best + 1e-9
    assert (record["kept"].startswith("average")) == (kept < best - 1e-9)


def test_more_updates_continue_the_last_stage(counting_recipe, prepared_run) -> None:
    whole = copy.deepcopy(counting_recipe)
    whole["stages"][1]["updates"] = 12
    undisturbed = prepared_run(whole, "whole")
    train_family(undisturbed)
    run = prepared_run(counting_recipe, "longer")
    train_family(run)
    run.close()
    run = prepared_run(whole, "longer")
    train_family(run)
    states = [torch.load(r.checkpoints / "mutual" / "state-00000012.pt", weights_only=True) for r in (undisturbed, run)]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(states[1]["model"][name], tensor), name


def test_the_record_is_plain_json(counting_recipe, prepared_run) -> None:
    run = prepared_run(counting_recipe)
    train_family(run)
    json.dumps(run.stages())


def test_a_run_goes_on_in_the_precision_that_it_began_with(counting_recipe, prepared_run, monkeypatch) -> None:
    from polystill.training import session

    counting_recipe["training"]["precision"] = "auto"
    run = prepared_run(counting_recipe)
    monkeypatch.setattr(session, "best_precision", lambda: "fp32")
    train_family(run)
    again = session.Session(run)
    monkeypatch.setattr(session, "best_precision", lambda: "bf16")
    assert session.Session(run).precision == again.precision == "fp32"
    (run.checkpoints / "precision.txt").write_bytes(b"\xe6p32\n")
    with pytest.raises(
        UserError,
        match=r"checkpoints/precision\.txt: damaged; write the precision of the run into it, one of fp32, bf16, fp16",
    ):
        session.Session(run)


# --- LSTMs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pytest.param("nll", marks=pytest.mark.long), "aio_kd"])
def test_lstms_learn_the_toy_language(counting_lstm_recipe, prepared_run, kind) -> None:
    """Far below what a network blind to the source can reach: log 10 = 2.3 a word. `<pad>` stays zero on the way."""
    counting_lstm_recipe["model"].update(d_model=32, dropout=0.0)
    counting_lstm_recipe["objective"] = {"kind": kind}
    counting_lstm_recipe["training"].update(
        batch_tokens=512, learning_rate=0.01, warmup=20, validate_every=100, checkpoint_every=1000, clip_norm=1.0
    )
    counting_lstm_recipe["stages"] = [{"name": "one", "updates": 200 if kind == "nll" else 250}]
    run = prepared_run(counting_lstm_recipe)
    train_family(run)
    nll = run.record("training.one")["validation"]["nll"]
    assert nll["e2d2"] < 0.5, nll
    assert set(nll) == ({"e2d2"} if kind == "nll" else {"e1d1", "e2d1", "e2d2"})
    assert all(value < 1.2 for value in nll.values()), nll
    model, tokenizer = load_model_with_tokenizer(run.family)
    assert not model.embedding[tokenizer.pad_id].any() and model.output_bias[tokenizer.pad_id] == 0


def test_an_interrupted_lstm_goes_on_to_the_bit(counting_lstm_recipe, prepared_run) -> None:
    """Stopped after a checkpoint, with dropout and drawn students, it ends where the undisturbed run does."""
    undisturbed, run = _whole_and_stopped(counting_lstm_recipe, prepared_run)
    expected = _weights(undisturbed)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in _weights(run).items())


def test_an_lstm_goes_on_from_its_folder_and_a_transformer_does_not(counting_lstm_recipe, prepared_run) -> None:
    first = prepared_run(counting_lstm_recipe, "first")
    train_family(first)
    again = copy.deepcopy(counting_lstm_recipe)
    again["model"] = {"architecture": "lstm", "start": str(first.family), "dropout": 0.0}
    again["training"].update(learning_rate=1e-12, weight_decay=0.0)
    again["stages"] = [{"name": "one", "updates": 1}]
    second = prepared_run(again, "second")
    train_family(second)
    for name, tensor in _weights(first).items():
        torch.testing.assert_close(_weights(second)[name], tensor, atol=1e-6, rtol=0)
    del again["model"]["architecture"]
    with pytest.raises(UserError, match=r"needs model\.architecture: lstm"):
        train_family(prepared_run(again, "third"))


# --- several supernets ------------------------------------------------------------------------------------------------


@pytest.fixture
def supernets_recipe(counting_recipe):
    """A narrower Transformer and an LSTM beside the first supernet."""
    narrow = {"d_model": 8, "ffn_dim": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    lstm = {"architecture": "lstm", "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "learning_rate_factor": 2.0}
    return {**counting_recipe, "supernets": {"tiny": narrow, "recurrent": lstm}}


def _all_weights(run):
    files = sorted(run.family.rglob("model.safetensors"))
    return {(file.parent.name, name): tensor for file in files for name, tensor in load_file(file).items()}


def test_supernets_train_together_and_leave_as_ordinary_models(supernets_recipe, prepared_run, tmp_path) -> None:
    run = prepared_run(supernets_recipe)
    train_family(run)
    names = ["recurrent-e1d1", "tiny-e1d1", "tiny-e2d1", "e1d1", "e2d1", "e2d2"]
    assert sorted(str(s) for s in family_space(run.family).candidates) == sorted(names)
    record = run.record("training.mutual")
    assert set(record["validation"]["nll"]) == set(names)
    assert set(record["interaction"]["draws"]) >= {"recurrent-e1d1", "tiny-e2d1"}
    family = load_supernets(run.family)
    for name in names:
        student = Student.parse(name)
        save_student(run.family, student, tmp_path / name)
        alone, tokenizer = load_model_with_tokenizer(tmp_path / name)
        assert alone.config.d_model == (8 if student.supernet else 16)
        assert alone.config.architecture.name == ("lstm" if student.supernet == "recurrent" else "transformer")
        source, target = (torch.tensor([ids]) for ids in tokenizer.encode_source(["one two three", "four five six"]))
        expected = family[student.supernet](source, target, student)
        torch.testing.assert_close(alone(source, target), expected, atol=1e-6, rtol=0)


def test_what_modifies_a_stages_data_is_made_once(counting_recipe, prepared_run, monkeypatch) -> None:
    made = []

    class Counted(Augmenter):
        def __init__(self, *given, **more) -> None:
            made.append(given)
            super().__init__(*given, **more)

    monkeypatch.setattr(loop, "Augmenter", Counted)
    counting_recipe["training"]["modifiers"] = {"Typos": 0.2}
    train_family(prepared_run({**counting_recipe, "stages": [{"name": "one", "updates": 1}]}))
    assert len(made) == 1


def test_supernets_go_on_to_the_bit_where_they_were_stopped(supernets_recipe, prepared_run) -> None:
    supernets_recipe["stages"][1]["pruning"] = {"sparsity": 0.5}
    supernets_recipe["training"]["modifiers"] = {"Merge": 0.3, "Typos": 0.2}
    undisturbed, run = _whole_and_stopped(supernets_recipe, prepared_run)
    expected = _all_weights(undisturbed)
    assert {folder for folder, _ in expected} == {"family", "tiny", "recurrent"}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in _all_weights(run).items())
    for supernet in load_supernets(run.family).each():
        assert sparsity_of(supernet) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("mode", ["exact", "plain"])
def test_all_modes_train_supernets_alike_without_dropout(supernets_recipe, prepared_run, mode) -> None:
    for shape in (supernets_recipe["model"], *supernets_recipe["supernets"].values()):
        shape["dropout"] = 0.0
    shared = prepared_run(supernets_recipe, "shared")
    train_family(shared)
    other = prepared_run({**supernets_recipe, "training": {**supernets_recipe["training"], "mode": mode}}, mode)
    train_family(other)
    for stage in ("training.distillation", "training.mutual"):
        expected, nll = (run.record(stage)["validation"]["nll"] for run in (shared, other))
        assert nll == pytest.approx(expected, rel=1e-4)


def test_a_whole_family_learns_from_a_frozen_teacher(supernets_recipe, prepared_run) -> None:
    """The teacher is one of the networks of another run; every supernet learns from it, and none from another."""
    teacher = prepared_run({**supernets_recipe, "supernets": {}, "stages": [{"name": "one", "updates": 3}]}, "teacher")
    train_family(teacher)
    teacher.close()
    supernets_recipe["objective"] = {"kind": "word_kd", "teacher": str(teacher.folder), "students_per_step": 1}
    supernets_recipe["stages"] = [{"name": "one", "updates": 3}]
    run = prepared_run(supernets_recipe, "family")
    train_family(run)
    assert len(run.record("training.one")["validation"]["nll"]) == 6


_LEARNS = {"kind": "word_kd", "alpha": 0.4, "students_per_step": 1}


@pytest.fixture
def first_then_further(supernets_recipe):
    """The first supernet alone, then the others, which learn from it while it is held."""
    supernets_recipe["stages"] = [
        {"name": "wide", "updates": 6, "supernets": "first"},
        {"name": "narrow", "updates": 8, "supernets": "further", "objective": _LEARNS},
    ]
    return supernets_recipe


def test_the_first_supernet_is_trained_alone_and_then_teaches_the_others(first_then_further, prepared_run) -> None:
    run = prepared_run(first_then_further)
    train_family(run)
    wide, narrow = (load_file(run.checkpoints / stage / "final.safetensors") for stage in ("wide", "narrow"))
    moved = {name for name, tensor in narrow.items() if not tensor.equal(wide[name])}
    assert moved
    assert not any(name.startswith("first.") for name in moved)
    assert set(run.record("training.wide")["history"][0]["nll"]) == {"e1d1", "e2d1", "e2d2"}
    assert set(run.record("training.narrow")["history"][0]["nll"]) == {"recurrent-e1d1", "tiny-e1d1", "tiny-e2d1"}
    assert len(run.record("training.narrow")["validation"]["nll"]) == 6, "the family's record has all"

    teacher = prepared_run({**first_then_further, "supernets": {}, "stages": first_then_further["stages"][:1]}, "alone")
    train_family(teacher)
    assert all(torch.equal(tensor, _weights(run)[name]) for name, tensor in _weights(teacher).items())
    teacher.close()
    first_then_further["stages"][1]["objective"] = {**_LEARNS, "teacher": str(teacher.folder)}
    other = prepared_run(first_then_further, "other")
    train_family(other)
    expected = _all_weights(other)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in _all_weights(run).items()), "a teacher by path"


def test_supernets_are_added_to_a_trained_family_which_stays_as_it_is(first_then_further, prepared_run) -> None:
    first, further = first_then_further["stages"]
    wide = prepared_run({**first_then_further, "supernets": {}, "stages": [first]}, "wide")
    train_family(wide)
    before = _weights(wide)
    wide.close()
    run = prepared_run({**first_then_further, "model": {"start": str(wide.folder)}, "stages": [further]}, "more")
    train_family(run)
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(run).items())
    assert len(run.record("training.narrow")["validation"]["nll"]) == 6


def test_a_trained_network_by_itself_gets_no_students_that_nothing_trains(first_then_further, prepared_run) -> None:
    first, further = first_then_further["stages"]
    single = prepared_run(
        {**first_then_further, "supernets": {}, "stages": [{**first, "objective": {"kind": "nll"}}]}, "single"
    )
    train_family(single)
    single.close()
    run = prepared_run({**first_then_further, "model": {"start": str(single.folder)}, "stages": [further]}, "more")
    train_family(run)
    assert set(run.record("training.narrow")["validation"]["nll"]) == {
        *("e2d2", "recurrent-e1d1", "tiny-e1d1", "tiny-e2d1")
    }


def test_supernets_in_stages_of_their_own_go_on_to_the_bit(first_then_further, prepared_run) -> None:
    undisturbed, run = _whole_and_stopped(first_then_further, prepared_run)
    expected = _all_weights(undisturbed)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in _all_weights(run).items())


def test_a_supernet_grows_from_its_smallest_network_in_its_first_stage(first_then_further, prepared_run) -> None:
    first_then_further["stages"].insert(
        1, {"name": "grow", "updates": 4, "supernets": "further", "networks": "smallest", "objective": {"kind": "nll"}}
    )
    run = prepared_run(first_then_further)
    train_family(run)
    start = load_file(run.checkpoints / "wide" / "final.safetensors")
    upper = [name for name in start if name.startswith("further.supernet-tiny.encoder.1.") and name.endswith("weight")]
    assert any(not start[name].any() for name in upper), "layers above the smallest begin with zeros"
