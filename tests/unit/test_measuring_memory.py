from pathlib import Path

import pytest
import torch

from polystill.environment import child
from polystill.environment.child import peak_memory, process_peak
from polystill.errors import UserError

MIB = 2**20


def hold(mebibytes: int, before: int = 0) -> int:
    """Peak beyond the start, in MiB, of a block that fills that much; `before` was used and freed earlier."""
    torch.ones(before * MIB // 4)
    with peak_memory(torch.device("cpu")) as peak:
        torch.ones(mebibytes * MIB // 4).sum().item()
    return peak.beyond // MIB


def raise_peak(mebibytes: int) -> int:
    """How much the process's peak is raised by a tensor of that size, in MiB."""
    before = process_peak()
    torch.ones(mebibytes * MIB // 4)
    return (process_peak() - before) // MIB


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh process can import this file by its name."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")


def test_peak_is_what_a_block_holds_and_not_what_was_freed_before() -> None:
    name = "test_measuring_memory:hold"
    assert 120 <= child.call(name, mebibytes=120, before=300) < 160


def test_the_peak_of_a_process_remains() -> None:
    assert 90 <= child.call("test_measuring_memory:raise_peak", mebibytes=100) < 140


def test_a_failure_elsewhere_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^measuring json:loads in a process of its own failed: .*Expecting value"):
        child.call("json:loads", s="no JSON")
