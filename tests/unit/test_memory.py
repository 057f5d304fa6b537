"""What updates need of memory: estimates beside what is really kept, and the error where it is too much."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from polystill.environment import child
from polystill.errors import UserError
from polystill.models.supernets import Supernets
from polystill.students import Student
from polystill.training import loop
from polystill.training.loop import train_family
from polystill.training.memory import Batching


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("shared", "longest", "dropout"), [(True, 12, 0.1), (False, 40, 0.0)])
def test_activations_are_estimated_as_they_are_kept(
    make_model, make_batch, precision: str, shared: bool, longest: int, dropout: float
) -> None:
    model = make_model(d_model=32, ffn_dim=64, dropout=dropout).train()
    batch = make_batch(sentences=15, longest=longest)
    (plan,) = Supernets(model).plans([Student(3, 3), Student(1, 2), Student(2, 1)], shared=shared).values()
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
    product = 2 if precision == "bf16" else 4
    estimate = model.activation_bytes(plan, *batch.source.shape, batch.target.shape[1], product, True)
    assert estimate == pytest.approx(real, rel=0.15)


def _is_of_weights(x: Tensor, model: torch.nn.Module) -> bool:
    """Whether it is a copy of a weight, such as autocast makes."""
    shapes = {shape for p in model.parameters() for shape in (p.shape, p.shape[::-1])} if x.ndim == 2 else set()
    return x.shape in shapes


def test_a_batch_is_divided_as_the_feed_divides_it() -> None:
    assert Batching(4096, parts=3).part((100, 9, 11)) == (34, 9, 11)
    assert Batching(4096, parts=3, multiple=8).part((100, 9, 11)) == (40, 16, 16)
    assert Batching(4096).bound(16, 32) == (512, 16, 32)


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
