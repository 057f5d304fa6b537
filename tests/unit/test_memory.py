"""What updates need of memory: estimates beside what is really kept, and the error where it is too much."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from polystill.data.batching import SOURCE_BUDGET, Mixture
from polystill.data.packing import PackedDataset
from polystill.environment import child
from polystill.errors import UserError
from polystill.models.supernets import Supernets
from polystill.students import Student
from polystill.training import loop, memory
from polystill.training.loop import train_family
from polystill.training.memory import Batching, MemoryOfUpdates, check_memory, free_bytes


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("shared", "longest", "dropout"), [(True, 12, 0.1), (False, 40, 0.0)])
def test_activations_are_estimated_as_they_are_kept(
    make_model, make_batch, precision: str, shared: bool, longest: int, dropout: float
) -> None:
    model = make_model(d_model=32, ffn_dim=64, dropout=dropout).train()
    batch = make_batch(sentences=15, longest=longest)
    networks = [Student(3, 3), Student(1, 2), Student(2, 1)]
    (plan,) = Supernets(model).plans(networks, "shared" if shared else "plain").values()
    own = {x.untyped_storage().data_ptr() for x in (*model.parameters(), *model.buffers(), batch.source)}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        if x.numel() and x.untyped_storage().data_ptr() not in own and not _is_of_weights(x, model):
            kept[x.untyped_storage().data_ptr()] = x
        return x

    autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
    with autocast, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        states = model.hidden_states(batch.source, batch.target_in, plan, packing=batch.packing)
    kept |= {x.untyped_storage().data_ptr(): x for x in states}
    real = sum(x.untyped_storage().nbytes() for x in kept.values())
    number = 2 if precision == "bf16" else 4
    estimate = model.activation_bytes(plan, *batch.source.shape, batch.target.shape[1], number, True)
    assert estimate == pytest.approx(real, rel=0.15)


def _is_of_weights(x: Tensor, model: torch.nn.Module) -> bool:
    """Whether it is a copy of a weight, such as autocast makes."""
    shapes = {shape for p in model.parameters() for shape in (p.shape, p.shape[::-1])} if x.ndim == 2 else set()
    return x.shape in shapes


def test_a_batch_is_divided_as_the_feed_divides_it() -> None:
    assert Batching(4096, parts=3).part((100, 9, 11)) == (34, 9, 11)
    assert Batching(4096, parts=3, multiple=8).part((100, 9, 11)) == (40, 16, 16)
    assert Batching(4096).bound(16, 32) == (512, 16, 32)


@pytest.mark.parametrize("parts", [1, 3, 4])
@pytest.mark.parametrize("batch_tokens", [16, 60, 100])
def test_no_micro_batch_has_more_positions_than_the_bound(batch_tokens: int, parts: int) -> None:
    batching = Batching(batch_tokens, parts)
    for longest in product((1, 3, 10, 25, 64), repeat=2):
        most, *_ = batching.bound(*longest)
        for source, target in product(*(range(1, length + 1) for length in longest)):
            allowed = max(1, min(batch_tokens // target, SOURCE_BUDGET * batch_tokens // source))
            sentences, *_ = batching.part((allowed, source, target))
            assert sentences * source <= most * longest[0] and sentences * target <= most * longest[1]


def test_short_sentences_that_grow_when_they_are_rounded_up_are_refused(make_model) -> None:
    """As (2048, 8, 8) on a GPU 2,048 sentences of two tokens are more than those of 60."""
    lengths = np.array([60] * 70 + [2] * 2048)
    offsets = np.concatenate([[0], lengths.cumsum()])
    rows = [(offsets, np.ones(offsets[-1], dtype=np.uint16))]
    supernets = Supernets(make_model())
    updates = MemoryOfUpdates(supernets, [supernets.plans([Student(3, 3)])], "fp32", torch.device("cuda"))
    mixture = Mixture(PackedDataset(rows, rows), [(np.arange(len(lengths)), 1.0)], 4096, seed=1)
    batching = Batching(4096, multiple=8)
    shapes = {(72, 64, 64), (2048, 8, 8)}
    long, short = sorted(updates.need(shape, moments=True).total for shape in shapes)
    check_memory(updates, mixture, 0, batching, moments=True, free=short, where="here")
    with pytest.raises(UserError, match="on 2048 sentences of up to 8 source and 8 target tokens"):
        check_memory(updates, mixture, 0, batching, moments=True, free=(long + short) // 2, where="here")


def test_the_ranks_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 4_000_000)
    assert free_bytes(torch.device("cpu")) == 4_000_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # as torchrun and Ray Train say it
    assert free_bytes(torch.device("cpu")) == 1_000_000


def test_too_large_a_batch_is_refused_before_the_first_update(
    counting_recipe, prepared_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared_run({**counting_recipe, "training": {**counting_recipe["training"], "batch_tokens": 4096}})
    monkeypatch.setattr(loop, "free_bytes", lambda device: 17_500_000)
    with pytest.raises(UserError) as raised:
        train_family(run)
    message = str(raised.value)
    assert message.startswith("stage distillation on cpu: an update needs about ") and "17.5 MB are free" in message
    assert not list(run.checkpoints.glob("*/state-*"))
    monkeypatch.setattr(loop, "free_bytes", lambda device: 1_000)
    with pytest.raises(UserError, match="no batch is small enough, take a smaller model"):
        train_family(run)


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = child.available()
    assert system is not None
    monkeypatch.setattr(child, "CGROUP", tmp_path)
    files = {"memory.max": "3000000\n", "memory.current": "2500000\n", "memory.stat": "anon 7\ninactive_file 100000\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    assert child.available() == 600_000
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert (child.available() or 0) > 600_000
