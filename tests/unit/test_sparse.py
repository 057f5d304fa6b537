"""The sparse file format: exact, small, and never taken for something that it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from polystill.errors import UserError
from polystill.models.sparse import VALUES, SparseFile, sparse_bytes

Tensors = dict[str, torch.Tensor]


def sparse_tensor(shape: tuple[int, ...], density: float, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0.0)


def write(path: Path, tensors: Tensors, values: str = "float32") -> Path:
    path.write_bytes(sparse_bytes(tensors, values))
    return path


def read(path: Path) -> Tensors:
    with SparseFile(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def layouts(path: Path) -> dict[str, str]:
    with safe_open(path, framework="np") as file:
        return {name: entry["layout"] for name, entry in json.loads(file.metadata()["tensors"]).items()}


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().view(np.uint32)


TENSORS: Tensors = {
    "dense": sparse_tensor((13, 7), 1.0),
    "half": sparse_tensor((13, 7), 0.5),
    "few": sparse_tensor((300, 300), 0.01),
    "zero": torch.zeros(9, 5),
    "bias": torch.arange(5, dtype=torch.float32),
    "row": sparse_tensor((1, 40), 0.5),
    "three": sparse_tensor((3, 4, 5), 0.3),
    "empty": torch.zeros(0, 4),
    "odd": torch.tensor([[-0.0, 0.0, math.nan], [math.inf, 1e-45, -1.0]]),
}


def test_every_bit_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "x", TENSORS)
    loaded = read(path)
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].shape == tensor.shape and loaded[name].dtype == torch.float32
        assert np.array_equal(bits(loaded[name]), bits(tensor)), name
    found = layouts(path)
    assert (found["dense"], found["half"], found["few"], found["zero"]) == ("dense", "bitmask", "index", "index")


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_matrix_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, density: float, seed: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    tensor = sparse_tensor((rows, columns), density, seed)
    assert np.array_equal(bits(read(write(path, {"x": tensor}))["x"]), bits(tensor))


def test_float16_is_what_rounding_gives(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in TENSORS.items() if name != "odd"}
    for name, loaded in read(write(tmp_path / "x", tensors, "float16")).items():
        assert torch.equal(loaded, tensors[name].half().float()), name
    with pytest.raises(UserError, match="wide: has values beyond float16's 65,504"):
        sparse_bytes({"wide": torch.tensor([[1e5]])}, "float16")


def test_int8_is_value_times_scale_and_within_half_a_scale(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in TENSORS.items() if name != "odd"}
    path = write(tmp_path / "x", tensors, "int8")
    loaded, parts = read(path), load_file(path)
    for name in ("dense", "half", "few", "three"):
        tensor, scale = tensors[name], torch.from_numpy(parts[f"{name}:scale"])
        rows = tensor.flatten(1)
        assert torch.equal(scale, rows.abs().amax(1) / 127)
        by_hand = torch.where(scale > 0, scale, 1)[:, None]
        whole = (rows / by_hand).round()
        assert torch.equal(loaded[name].flatten(1), whole * scale[:, None]), name
        assert ((loaded[name] - tensor).flatten(1).abs() <= scale[:, None] * 0.5001).all()
        assert len(parts[f"{name}:values"]) in (int(whole.count_nonzero()), whole.numel())
    for name in ("bias", "row"):  # no matrices
        assert torch.equal(loaded[name], tensors[name])
    assert not loaded["zero"].any()
    again = write(tmp_path / "again", loaded, "int8")
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in read(again).items())


def test_sizes_are_those_of_the_layouts(tmp_path: Path) -> None:
    tensor = sparse_tensor((500, 400), 0.2)
    count, elements = int(tensor.count_nonzero()), tensor.numel()
    sizes = {values: len(sparse_bytes({"x": tensor}, values)) for values in VALUES}
    header = 400
    assert count * 4 + elements / 8 < sizes["float32"] < count * 4 + elements / 8 + header
    assert count * 2 + elements / 8 < sizes["float16"] < count * 2 + elements / 8 + header
    assert sizes["int8"] < count + elements / 8 + 500 * 4 + header
    nearly_none = sparse_tensor((500, 400), 0.001)
    assert len(sparse_bytes({"x": nearly_none})) < 8 * int(nearly_none.count_nonzero()) + header


def damaged(change: Callable[[dict[str, Any], dict[str, Any]], None], path: Path) -> None:
    """Rewrite a file after a change of its metadata and parts."""
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    listed, parts = json.loads(metadata["tensors"]), load_file(path)
    change(listed, parts)
    save_file(parts, path, {**metadata, "tensors": json.dumps(listed)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda listed, parts: parts.pop("half:mask"), "half:mask is missing"),
        (lambda listed, parts: listed.pop("half"), "half:mask is not in its metadata"),
        (lambda listed, parts: parts.update({"half:values": parts["half:values"][:-1]}), "half has .* values where"),
        (lambda listed, parts: parts.update({"half:mask": parts["half:mask"][:-1]}), "half has a mask of another size"),
        (lambda listed, parts: parts["half:mask"].__setitem__(-1, 255), "half has .* values where its mask has"),
        (lambda listed, parts: listed["half"].update(shape=[13, 70]), "half has a mask of another size"),
        (lambda listed, parts: listed["half"].update(layout="zip"), "its metadata does not list its tensors"),
        (lambda listed, parts: listed["half"].update(shape=[-1, 7]), "its metadata does not list its tensors"),
        (lambda listed, parts: listed["half"].pop("shape"), "its metadata does not list its tensors"),
        (lambda listed, parts: listed["dense"].update(shape=[13, 8]), "dense has 91 values of 104"),
        (lambda listed, parts: parts["few:index"].__setitem__(0, 65535), "few has indices out of order or of range"),
        (lambda listed, parts: listed["few"].update(shape=[3, 3]), "few has indices out of order or of range"),
        (lambda listed, parts: parts.update({"few:index": parts["few:index"][1:]}), "few has .* values and .* indices"),
        (lambda listed, parts: parts.update({"half:values": parts["half:values"].astype(np.int64)}), "type int64"),
        (lambda listed, parts: parts.update({"half:values": parts["half:values"].astype(np.int8)}), "no scale for"),
    ],
)
def test_a_file_that_contradicts_itself(change: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x", TENSORS)
    damaged(change, path)
    with pytest.raises(UserError, match=f"{path}: damaged: .*{message}"):
        read(path)


def test_scales_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"x": sparse_tensor((8, 8), 0.5)}, "int8")
    damaged(lambda listed, parts: parts.update({"x:scale": parts["x:scale"][1:]}), path)
    with pytest.raises(UserError, match="x has scales that do not fit its rows"):
        read(path)


@pytest.mark.parametrize("kept", [0, 7, 300, -1])
def test_a_truncated_file(kept: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x", TENSORS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{path}: not a readable safetensors file"):
        read(path)


def test_another_kind_or_version(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_file({"x": np.zeros(3, np.float32)}, path, {"format": "pt"})
    with pytest.raises(UserError, match="format is 'pt', expected 'polystill-sparse'"):
        SparseFile(path)
    save_file({"x": np.zeros(3, np.float32)}, path, {"format": "polystill-sparse", "version": "2"})
    with pytest.raises(UserError, match="version '2'; this version of polystill reads '1'"):
        SparseFile(path)
