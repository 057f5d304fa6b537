"""devices.yaml: named devices, what a student may cost on each, and in which format it is shipped there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from polystill.config.reading import read_yaml
from polystill.errors import UserError, nearest
from polystill.schema import Strict

EVALUATION = "evaluation"
"""As `measured_on`: the machine where `polystill evaluate` has measured."""
CTRANSLATE2 = "ctranslate2"
"""The format that is evaluated, and the only one with a choice of precision."""
PRECISIONS = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
"""What CTranslate2's folders can hold."""
FIXED_PRECISION = {"argos": "int8", "bergamot": "int8", "hf": "float32", "onnx": "float32", "marian": "float32"}
"""Formats that have one precision only."""
FIXED_BEAM = {"argos": 4, "bergamot": 1, "onnx": 1}
"""Formats whose engines search with one beam size: Argos Translate, Bergamot and transformers.js."""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_MILLISECONDS = {"ms": 1, "s": 1000}


def _quantity(units: dict[str, int], example: str) -> Callable[[Any], float]:
    """Reads a number with one of the units, in any case; a number alone could mean anything."""
    factors = {unit.lower(): factor for unit, factor in units.items()}

    def read(value: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", str(value).strip())
        if match is None or match[2].lower() not in factors:
            raise ValueError(f"expected a number with a unit ({' '.join(units)}), such as {example}")
        if not float(match[1]):
            raise ValueError(f"must be more than 0, such as {example}")
        return float(match[1]) * factors[match[2].lower()]

    return read


Bytes = Annotated[float, BeforeValidator(_quantity(_BYTES, "20MB"))]
Milliseconds = Annotated[float, BeforeValidator(_quantity(_MILLISECONDS, "40ms"))]


class Device(Strict):
    """One device. Limits that are left out are none."""

    max_size: Bytes | None = None
    """Of the exported folder, in the device's format."""
    max_latency: Milliseconds | None = None
    """Of 95 in 100 single sentences."""
    max_memory: Bytes | None = None
    """Peak of a process that translates single sentences."""
    min_bleu: float | None = Field(None, ge=0, le=100)
    precision: str | None = None
    beam: int | None = Field(None, ge=1)
    """Any that was measured, by default; the package searches with the picked one."""
    format: Literal["ctranslate2", "hf", "argos", "onnx", "marian", "bergamot"] = "ctranslate2"
    measured_on: str | None = None
    """Whose latency and memory count: a name given to `polystill measure --device`, by default the device's own;
    `evaluation` for the machine where `polystill evaluate` ran."""

    @field_validator("precision")
    @classmethod
    def _check_precision(cls, precision: str | None) -> str | None:
        if precision not in (None, *PRECISIONS):
            raise ValueError(
                f"unknown precision{nearest(str(precision), list(PRECISIONS))}; there are: {' '.join(PRECISIONS)}"
            )
        return precision

    @model_validator(mode="after")
    def _check_format(self) -> Device:
        for key, fixed in (("precision", FIXED_PRECISION), ("beam", FIXED_BEAM)):
            only, given = fixed.get(self.format), getattr(self, key)
            if only is not None and given not in (None, only):
                raise ValueError(f"{key} {given}: format {self.format} has {only} always; leave it out")
        return self

    @property
    def wanted_precision(self) -> str | None:
        return self.precision or FIXED_PRECISION.get(self.format)

    @property
    def wanted_beam(self) -> int | None:
        return self.beam or FIXED_BEAM.get(self.format)

    @property
    def takes_shortlists(self) -> bool:
        """Whether what was measured with a shortlist ships with that one; Bergamot's lists are others."""
        return self.format == CTRANSLATE2

    @property
    def weighs_packages(self) -> bool:
        """Whether `max_size` is held against packages that the evaluation has not weighed."""
        return self.max_size is not None and self.format != CTRANSLATE2


DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Devices(Strict):
    devices: dict[DeviceName, Device] = Field(min_length=1)


def load_devices(path: Path) -> dict[str, Device]:
    """Read a devices file.

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown (the nearest is suggested), or a value is
            of the wrong type, has no unit or is out of range.
    """
    values = read_yaml(path, "devices file", "a mapping with the key devices")
    try:
        return dict(_Devices.model_validate(values).devices)
    except ValidationError as error:
        raise UserError("\n".join(_explain(detail, str(path)) for detail in error.errors())) from None


def limits_from_options(values: dict[str, Any]) -> Device:
    """A device from options such as --max-size, by the names of Device's fields.

    Raises:
        UserError: a value has no unit or is out of range; the option is named.
    """
    try:
        return Device.model_validate({**values, "measured_on": EVALUATION})
    except ValidationError as error:
        detail = error.errors()[0]
        option = "--" + str(detail["loc"][0]).replace("_", "-")
        raise UserError(f"{option} {detail['input']}: {_message(detail)}") from None


def _explain(detail: Any, origin: str) -> str:
    place = [str(part) for part in detail["loc"] if part != "[key]"]
    if detail["type"] == "extra_forbidden":
        known = list(Device.model_fields) if len(place) > 1 else ["devices"]
        return f"{origin}: unknown key {'.'.join(place)!r}{nearest(place[-1], known)}; there are: {' '.join(known)}"
    if "[key]" in detail["loc"]:
        return f"{origin}: {'.'.join(place)}: a device's name has letters, digits, '_', '-' and '.'"
    given = detail.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{origin}: {'.'.join(place)}: {_EXPECTED.get(detail['type']) or _message(detail)}{shown}"


_DEVICES = "expected names of devices, each with its limits below it, such as {phone: {max_size: 20MB}}"
_EXPECTED = {
    **dict.fromkeys(("missing", "dict_type", "too_short"), _DEVICES),
    "model_type": "expected the device's limits below its name, such as {max_size: 20MB}; {} sets none",
}
"""By pydantic's names of mistakes: in the whole, and in one device."""


def _message(detail: Any) -> str:
    return str(detail["msg"]).removeprefix("Value error, ")
