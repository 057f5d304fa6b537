"""The part of the GPU's measurements that needs none."""

from __future__ import annotations

import re

import pytest
import torch

from polystill.bench.train import load_workload
from polystill.data.packing import PackedDataset
from tools import measure_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        measure_gpu.main(["no-recipe.yaml"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no GPU")


def test_padding_to_multiples_leaves_fewer_shapes(counting_recipe, prepared_run) -> None:
    run = prepared_run(counting_recipe)
    workload = load_workload(run.recipe, run.data, students=1, batches=2)
    line = measure_gpu.count_shapes(workload, PackedDataset.open(run.data / "train"))
    found = re.fullmatch(
        r"shapes in an epoch of (\d+) batches: (\d+); padded to multiples of 8: (\d+), for \d+\.\d% .*", line
    )
    assert found is not None
    batches, without, with_padding = map(int, found.groups())
    assert batches >= without > with_padding >= 1
