"""devices.yaml: values with units, and errors that say what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES

from polystill.errors import UserError
from polystill.evaluation import measure as folders
from polystill.export import FORMATS
from polystill.picking.devices import EVALUATION, Device, limits_from_options, load_devices

EXAMPLE = Path(__file__).parents[2] / "docs" / "devices.yaml"


def written(folder: Path, **devices: Any) -> Path:
    path = folder / "devices.yaml"
    path.write_text(yaml.safe_dump({"devices": devices}))
    return path


def test_the_shipped_example_has_four_devices_and_names_every_key() -> None:
    devices = load_devices(EXAMPLE)
    assert list(devices) == ["server", "laptop", "phone", "board"]
    assert devices["server"].measured_on == "evaluation"
    assert (devices["phone"].max_size, devices["phone"].max_latency, devices["phone"].beam) == (20e6, 40.0, 1)
    board = devices["board"]
    assert (board.format, board.precision, board.beam) == ("argos", None, None)
    assert (board.wanted_precision, board.wanted_beam) == ("int8", 4)
    for key in Device.model_fields:
        assert f"#   {key} " in EXAMPLE.read_text(), key
    beams = sorted(f"{form.name} {form.beam}" for form in FORMATS.values() if form.beam is not None)
    assert f"one only: {', '.join(beams)}\n" in EXAMPLE.read_text()
    others = sorted(form.name for form in FORMATS.values() if form.for_devices and form.name != "ctranslate2")
    assert f"ctranslate2 (the default), {', '.join(others[:-1])} or {others[-1]}\n" in EXAMPLE.read_text()


@pytest.mark.parametrize(
    ("text", "value"),
    [("20MB", 20e6), ("1.5 GB", 1.5e9), ("2MiB", 2 * 2**20), ("100 kb", 1e5), ("7B", 7.0)],
)
def test_sizes(text: str, value: float) -> None:
    assert limits_from_options({"max_size": text}).max_size == value


def test_times() -> None:
    assert [limits_from_options({"max_latency": text}).max_latency for text in ("40ms", "1.5 s")] == [40.0, 1500.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": "20"}, r"--max-size 20: expected a number with a unit \(B kB MB .*\), such as 20MB"),
        ({"max_size": "-1MB"}, "--max-size -1MB: expected a number"),
        ({"max_memory": "0MB"}, "--max-memory 0MB: must be more than 0, such as 20MB"),
        ({"max_latency": "40MB"}, r"--max-latency 40MB: .*such as 40ms"),
        ({"min_bleu": 101.0}, "--min-bleu 101.0: .*less than or equal to 100"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        limits_from_options(options)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ({"max_sise": "20MB"}, r"unknown key 'devices.phone.max_sise' \(did you mean 'max_size'\?\)"),
        ({"max_size": 20}, r"devices.phone.max_size: expected a number with a unit .* \(got 20\)"),
        ({"format": "onxx"}, "devices.phone.format: .*'onnx'.*got 'onxx'"),
        ({"format": "argos", "precision": "float32"}, "devices.phone: precision float32: format argos has int8 always"),
        ({"format": "onnx", "beam": 5}, "devices.phone: beam 5: format onnx has 1 always"),
        (
            {"precision": "int7"},
            r"devices.phone.precision: unknown precision \(did you mean 'int8'\?\); there are: int8 ",
        ),
        ({"max_size": "0.0MB"}, r"devices.phone.max_size: must be more than 0, such as 20MB \(got '0.0MB'\)"),
        ({"beam": 0}, "devices.phone.beam: .*greater than or equal to 1"),
    ],
)
def test_mistakes_name_file_key_and_what_would_be_right(device: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"devices.yaml: {message}"):
        load_devices(written(tmp_path, phone=device))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml: no such devices file"):
        load_devices(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="a device's name has letters"):
        load_devices(written(tmp_path, **{"../up": {}}))
    path = tmp_path / "devices.yaml"
    for text, message in (("- 1", "expected a mapping with the key devices"), ("device: {}", "did you mean 'devices'")):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_devices(path)


@pytest.mark.parametrize("text", ["devices: [phone]", "devices: {}", "devices:", "devices: phone"])
def test_devices_are_named(text: str, tmp_path: Path) -> None:
    (path := tmp_path / "devices.yaml").write_text(text)
    message = r"devices.yaml: devices: expected names of devices, each with its limits below it, such as {phone: {max_s"
    with pytest.raises(UserError, match=message):
        load_devices(path)


@pytest.mark.parametrize("value", ["", "20MB", "[max_size]"])
def test_a_device_has_its_limits_below_its_name(value: str, tmp_path: Path) -> None:
    (path := tmp_path / "devices.yaml").write_text(f"devices: {{phone: {value}}}")
    message = (
        r"^\S+devices.yaml: devices.phone: expected the device's limits below its name, such as {max_size: 20MB}; "
    )
    with pytest.raises(UserError, match=message):
        load_devices(path)


def test_precisions_are_those_of_ctranslate2() -> None:
    assert FORMATS["ctranslate2"].precisions == ACCEPTED_MODEL_TYPES
    assert {Device(precision=name).wanted_precision for name in ACCEPTED_MODEL_TYPES} == set(ACCEPTED_MODEL_TYPES)


def test_the_evaluation_is_no_device() -> None:
    """One name in two places: a devices file is read by more than the core install."""
    assert EVALUATION == folders.EVALUATION
    with pytest.raises(UserError, match=r"^--device evaluation: give the device another name"):
        folders.check_device_name("--device evaluation", EVALUATION)


def test_formats_are_those_of_export() -> None:
    assert set(get_args(Device.model_fields["format"].annotation)) == set(FORMATS) - {"sparse"}
