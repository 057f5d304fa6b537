"""The learning rate, the data feed, checkpoints, costs and validation, each on its own."""

from __future__ import annotations

import math
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from polystill.data.batching import Batches, BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.errors import UserError
from polystill.models.passes import exact_plan
from polystill.models.supernets import Supernets
from polystill.objectives.aio_kd import AioKd
from polystill.students import Student, StudentSpace, in_ranges
from polystill.training.accelerator import random_seed
from polystill.training.checkpoint import Checkpoints
from polystill.training.feed import BatchFeed, Position, make_micro_batch
from polystill.training.update import BatchLoss, learning_rate, stage_seed
from polystill.training.validation import validate

# --- learning rate ----------------------------------------------------------------------------------------------------


def _rates(schedule: str, *updates: int) -> list[float]:
    return [learning_rate(u, peak=2.0, warmup=10, schedule=schedule, updates=110) for u in updates]


def test_schedules() -> None:
    assert _rates("inverse_sqrt", 1, 5, 10, 40) == pytest.approx([0.2, 1.0, 2.0, 1.0])
    assert _rates("cosine", 5, 10, 60, 110) == pytest.approx([1.0, 2.0, 1.0, 0.0])
    assert _rates("constant", 5, 10, 1000) == pytest.approx([1.0, 2.0, 2.0])


def test_no_warmup_starts_at_the_peak() -> None:
    assert learning_rate(1, peak=3.0, warmup=0, schedule="inverse_sqrt", updates=9) == 3.0


# --- feed -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset() -> PackedDataset:
    generator = np.random.default_rng(1)
    lengths = generator.integers(3, 12, size=(2, 200))
    sides = []
    for side in lengths:
        offsets = np.concatenate([[0], np.cumsum(side)])
        values = generator.integers(2, 39, size=offsets[-1])
        values[offsets[1:] - 1] = 0
        sides.append([(offsets, values.astype(np.uint16))])
    return PackedDataset(*sides)


def _feed(dataset: PackedDataset, **settings: int) -> BatchFeed:
    schedule = BatchSchedule(dataset.source_lengths, dataset.target_lengths, 100, seed=1)
    return BatchFeed(dataset, schedule, pad_id=39, **settings)


def test_an_epoch_shows_every_row_once_and_batches_hold_their_rows(dataset: PackedDataset) -> None:
    seen: list[int] = []
    for update in _feed(dataset).updates(Position()):
        if update.position.epoch:
            break
        seen += update.rows.tolist()
        (batch,) = update.micro_batches
        real = batch.target != 39
        assert real.sum() == update.target_tokens == dataset.target_lengths[update.rows].sum()
        assert batch.target_in[:, 0].eq(39).all()
        assert torch.equal(batch.target_in[:, 1:], batch.target[:, :-1])
        sources, targets = dataset.rows(update.rows)
        for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
            assert batch.source[i, : len(source)].tolist() == source.tolist()
            assert batch.target[i, : len(target)].tolist() == target.tolist()
    assert sorted(seen) == list(range(200))


def test_a_feed_continues_anywhere(dataset: PackedDataset) -> None:
    whole = list(islice(_feed(dataset).updates(Position()), 60))
    assert whole[-1].position.epoch > 0
    for start in (3, 30, 59):
        again = next(iter(_feed(dataset).updates(whole[start - 1].following)))
        assert again.position == whole[start].position
        assert again.rows.tolist() == whole[start].rows.tolist()


def test_all_of_a_batch_is_made_in_the_thread_the_order_of_an_epoch_too(dataset: PackedDataset) -> None:
    class Watched(BatchSchedule):
        def epoch(self, number: int) -> Batches:
            threads.append(threading.current_thread().name)
            return super().epoch(number)

    threads: list[str] = []
    schedule = Watched(dataset.source_lengths, dataset.target_lengths, 100, seed=1)
    feed = BatchFeed(dataset, schedule, pad_id=39)
    assert list(islice(feed.updates(Position()), 60))[-1].position.epoch > 0
    assert len(threads) > 1 and all(name.startswith("batches") for name in threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_for_a_gpu_are_pinned(dataset: PackedDataset) -> None:
    schedule = BatchSchedule(dataset.source_lengths, dataset.target_lengths, 100, seed=1)
    (batch,) = next(BatchFeed(dataset, schedule, pad_id=39, gpu=True).updates(Position())).micro_batches
    assert batch.source.is_pinned() and batch.real.is_pinned()
    assert batch.to(torch.device("cuda")).target.tolist() == batch.target.tolist()


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_few_shapes_add_padding_and_nothing_else(dataset: PackedDataset, make_model) -> None:
    """A GPU's batches: the same rows, the same tokens, the same loss, in multiples of 8."""
    plain, few = (
        make_micro_batch(*dataset.rows(np.arange(11)), 39, [np.array([(0, 0), (1, 1)])] * 11, multiple)
        for multiple in (1, 8)
    )
    assert [size % 8 for size in (*few.source.shape, *few.target.shape)] == [0] * 4
    assert few.real_tokens(few.target).tolist() == plain.real_tokens(plain.target).tolist()
    model = make_model()
    loss, networks = BatchLoss(Supernets(model), AioKd(), "shared"), [model.teacher, Student(1, 1)]
    expected, result = loss(plain, networks), loss(few, networks)
    torch.testing.assert_close(result.ce_each, expected.ce_each)
    torch.testing.assert_close(result.alignment, expected.alignment)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_ranks_and_micro_batches_divide_the_same_batches(dataset: PackedDataset, accumulate: int) -> None:
    whole = islice(_feed(dataset).updates(Position()), 20)
    shares = [islice(_feed(dataset, accumulate=accumulate, rank=r, ranks=2).updates(Position()), 20) for r in (0, 1)]
    for update, *parts in zip(whole, *shares, strict=True):
        rows = sorted(map(tuple, update.micro_batches[0].target.tolist()))
        width = len(rows[0])
        divided = []
        for part in parts:
            assert part.target_tokens == update.target_tokens
            assert len(part.micro_batches) == min(accumulate, len(update.rows))
            for micro_batch in part.micro_batches:
                for row in micro_batch.target.tolist():
                    if any(token != 39 for token in row):  # an empty share is one sentence of padding
                        divided.append(tuple(row + [39] * (width - len(row))))
        assert sorted(divided) == rows


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_the_last_two_states_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "stage")
    for update in (1, 2, 3):
        checkpoints.save_state(update, {"update": update, "tensor": torch.full((3,), float(update))}, 0)
    assert len(list((tmp_path / "stage").glob("state-*"))) == 2
    state = checkpoints.load_state(pytest.fail)
    assert state is not None and state["update"] == 3 and state["tensor"].tolist() == [3.0] * 3


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage"])
def test_a_damaged_state_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update in (1, 2):
        checkpoints.save_state(update, {"update": update, "tensor": torch.randn(1000)}, 0)
    path = tmp_path / "state-00000002.pt"
    content = path.read_bytes()
    path.write_bytes({"truncate": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 100}[damage])
    warnings: list[str] = []
    state = checkpoints.load_state(warnings.append)
    assert state is not None and state["update"] == 1
    assert warnings == [f"{path}: this checkpoint is damaged, and is passed over"]
    (tmp_path / "state-00000001.pt").write_bytes(b"")
    with pytest.raises(UserError, match="none of the checkpoints can be read; bring them back from a copy"):
        checkpoints.load_state(warnings.append)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_a_state_is_noticed(tmp_path: Path, bit: int) -> None:
    """Even one in the archive's directory: some of them make torch leave a tensor out without a word."""
    checkpoints = Checkpoints(tmp_path)
    tensor = torch.randn(5)
    for update in (1, 2):
        checkpoints.save_state(update, {"update": update, "tensor": tensor + update}, 0)
    path = tmp_path / "state-00000002.pt"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        warnings: list[str] = []
        state = checkpoints.load_state(warnings.append)
        assert state is not None and torch.equal(state["tensor"], tensor + 1), position
        assert warnings == [f"{path}: this checkpoint is damaged, and is passed over"]


@pytest.mark.parametrize("loss", ["damaged", "missing"])
def test_a_state_whose_best_weights_are_lost_is_passed_over(tmp_path: Path, loss: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update in (2, 4):
        checkpoints.save_best(update, {"w": torch.tensor([float(update)])})
        checkpoints.save_state(update, {"update": update}, update)
    best = tmp_path / "best-00000004.safetensors"
    best.write_bytes(best.read_bytes()[:-1] + b"x")
    if loss == "missing":
        checkpoints.forget_after(2)
    warnings: list[str] = []
    assert checkpoints.load_state(warnings.append) == {"update": 2}
    state = tmp_path / "state-00000004.pt"
    assert warnings == [f"{state}: this checkpoint is passed over, its best weights are damaged ({best.name})"]


def test_a_flipped_bit_in_weights_is_noticed(tmp_path: Path) -> None:
    checkpoints, weights = Checkpoints(tmp_path), {"w": torch.randn(7, 3), "b": torch.randn(3).bfloat16()}
    checkpoints.save_final(weights)
    path = tmp_path / "final.safetensors"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            loaded = checkpoints.load_final()
        except UserError as error:
            assert str(error).startswith(f"{path}: damaged weights")
        else:
            assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items()), position
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="bring them back from a copy, or start a run in a new folder"):
        checkpoints.load_final()


def test_a_state_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_state(1, {"update": 1}, 0)
    (tmp_path / "state-00000002.pt").mkdir()  # what a permission that is missing or a failing disk is to us
    with pytest.raises(UserError, match=r"state-00000002\.pt: cannot be read \(Is a directory\)"):
        checkpoints.load_state(pytest.fail)


def test_no_state_is_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).load_state(pytest.fail) is None


def test_a_state_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_state(1, {"update": Harmful()}, 0)
    with pytest.raises(UserError, match="none of the checkpoints can be read"):
        checkpoints.load_state(lambda line: None)
    assert not (tmp_path / "harmed").exists()


def test_average_of_the_last_points(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_weights(1, {"w": torch.tensor([100.0])}, keep=3)
    assert checkpoints.average_weights() is None
    for update, value in ((2, 1.0), (3, 2.0), (4, 6.0)):
        checkpoints.save_weights(update, {"w": torch.tensor([value])}, keep=3)
    average = checkpoints.average_weights()
    assert average is not None and (average[0]["w"].tolist(), average[1]) == ([3.0], 3)


def test_want_of_memory_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **settings: object) -> None:
        raise MemoryError

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_state(1, {"update": 1}, 0)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        checkpoints.load_state(pytest.fail)


def test_points_of_a_process_that_did_not_save_its_state_are_forgotten(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update, value in ((2, 1.0), (4, 2.0), (6, 6.0)):
        checkpoints.save_weights(update, {"w": torch.tensor([value])}, keep=3)
        checkpoints.save_best(update, {"w": torch.tensor([value])})
    checkpoints.forget_after(4)
    average = checkpoints.average_weights()
    assert average is not None and (average[0]["w"].tolist(), average[1]) == ([1.5], 2)
    assert checkpoints.load_best(4)["w"].tolist() == [2.0]
    with pytest.raises(UserError, match=r"best-00000006\.safetensors: cannot be read"):
        checkpoints.load_best(6)


def test_the_best_weights_of_both_states_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update in (2, 4, 6):
        checkpoints.save_best(update, {"w": torch.tensor([float(update)])})
        checkpoints.save_state(update, {"update": update}, update)
    assert [path.name for path in sorted(tmp_path.glob("best-*"))] == [
        "best-00000004.safetensors",
        "best-00000006.safetensors",
    ]


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"a flipped bit"])
def test_a_damaged_point_is_left_out_of_the_average(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update, value in ((1, 1.0), (2, 2.0), (3, 6.0)):
        checkpoints.save_weights(update, {"w": torch.tensor([value])}, keep=3)
    damaged = tmp_path / "weights-00000002.safetensors"
    content = damaged.read_bytes()
    damage = content[:-1] + bytes([content[-1] ^ 1]) if damage == b"a flipped bit" else damage
    damaged.write_bytes(damage)
    average = checkpoints.average_weights()
    assert average is not None and (average[0]["w"].tolist(), average[1]) == ([3.5], 2)
    assert caplog.messages[0].startswith(f"{damaged}: damaged weights")
    (tmp_path / "weights-00000001.safetensors").write_bytes(b"")
    assert checkpoints.average_weights() is None


# --- cost, progress, validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_flops_of_the_plain_step_are_those_of_its_products(make_model, make_batch, architecture) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, batch = make_model(), make_batch()
    with FlopCounterMode(display=False) as counter:
        model(batch.source, batch.target_in).sum().backward()
    sentences, length = batch.source.shape
    counted = model.update_flops(model.shared_plan([model.teacher]), sentences, length, length)
    # The batch is counted as padded, and an LSTM's encoder leaves the padding out.
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.1 if architecture == "lstm" else 0.02)


@pytest.mark.parametrize("mode", ["shared", "exact"])
@pytest.mark.parametrize("students", [(Student(2, 2), Student(1, 3)), (Student(2, 1), Student(2, 2))])
def test_flops_of_batched_passes_are_exactly_those_of_their_products(make_model, make_batch, mode, students) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, batch = make_model(), make_batch(longest=9)
    networks = [model.teacher, *students]
    plan = model.shared_plan(networks) if mode == "shared" else exact_plan(networks)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for hidden in model.hidden_states(batch.source, batch.target_in[:, :7], plan):
            model.project(hidden)
    assert model.forward_flops(plan, len(batch.source), 9, 7) == counter.get_total_flops()


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_sharing_passes_saves_flops(make_model) -> None:
    model = make_model()
    shared_plan = model.shared_plan
    networks = [Student(3, 3), Student(2, 2), Student(2, 1)]
    shared, exact = (model.update_flops(plan(networks), 10, 8, 8) for plan in (shared_plan, exact_plan))
    alone = sum(model.update_flops(shared_plan([network]), 10, 8, 8) for network in networks)
    assert shared < exact
    assert exact == alone


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_validation_equals_one_network_at_a_time(make_model, dataset: PackedDataset) -> None:
    model = make_model()
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 3), (1, 3), "any"))
    result = validate(Supernets(model).eval(), dataset, space, label_smoothing=0.1)
    sources, targets = dataset.rows(np.arange(len(dataset)))
    for student in (Student(1, 3), Student(2, 1), model.teacher):
        nll, tokens = 0.0, 0
        for source, target in zip(sources, targets, strict=True):
            ids = torch.tensor(target.astype(np.int64))
            target_in = torch.cat([torch.tensor([39]), ids[:-1]])
            logits = model(torch.tensor(source.astype(np.int64))[None], target_in[None], student)
            nll -= logits[0].log_softmax(-1)[range(len(ids)), ids].sum().item()
            tokens += len(ids)
        assert result.nll[student.name] == pytest.approx(nll / tokens, rel=1e-5)
    assert set(result.cross_entropy) == set(map(str, space.candidates))
    assert result.score == pytest.approx(sum(result.cross_entropy.values()) / 9)
    assert math.isfinite(result.score)


def test_validation_by_ranks_adds_up(make_model, dataset: PackedDataset) -> None:
    model = make_model()
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (2, 3), (2, 3)))
    whole = validate(Supernets(model), dataset, space, 0.1)
    parts: list[torch.Tensor] = []

    def keep(sums: torch.Tensor) -> torch.Tensor:
        parts.append(sums)
        return sums

    for rank in (0, 1):
        validate(Supernets(model), dataset, space, 0.1, rank=rank, ranks=2, sum_over_ranks=keep)
    tokens = int(dataset.target_lengths.sum())
    summed = ((parts[0] + parts[1]) / tokens)[1].tolist()
    assert summed == pytest.approx(list(whole.nll.values()), rel=1e-5)


def test_seeds_differ() -> None:
    assert len({stage_seed(seed, stage) for seed in (1, 2, 3) for stage in (0, 1, 2)}) == 9
    assert (
        len({random_seed(1, stage, update, rank) for stage in (0, 1) for update in range(99) for rank in (0, 1)}) == 396
    )
