"""devices.yaml: named devices, with the limits of each and the format that its students are shipped in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from polystill.config.reading import read_yaml
from polystill.errors import UserError, nearest
from polystill.export import FORMATS, DeviceFormatName
from polystill.schema import Strict

EVALUATION = "evaluation"
"""As `measured_on`: the machine where `polystill evaluate` has measured."""
CTRANSLATE2 = "ctranslate2"
"""The format that is evaluated, and the only one on devices with a choice of precision."""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_MILLISECONDS = {"ms": 1, "s": 1000}


def _quantity(units: dict[str, int], example: str) -> Callable[[Any], float]:
    """A validator that reads a number with one of these units, in any case; a number alone could mean anything."""
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
    format: DeviceFormatName = CTRANSLATE2
    measured_on: str | None = None
    """Whose latency and memory count: a name given to `polystill measure --device`, by default the device's own;
    `evaluation` for the machine where `polystill evaluate` ran."""

    @field_validator("precision")
    @classmethod
    def _check_precision(cls, precision: str | None) -> str | None:
        known = FORMATS[CTRANSLATE2].precisions
        if precision not in (None, *known):
            raise ValueError(f"unknown precision{nearest(str(precision), list(known))}; there are: {' '.join(known)}")
        return precision

    @model_validator(mode="after")
    def _check_format(self) -> Device:
        form = FORMATS[self.format]
        for key, only in (("precision", form.only_precision), ("beam", form.beam)):
            value = getattr(self, key)
            if only is not None and value not in (None, only):
                raise ValueError(f"{key} {value}: format {self.format} has {only} always; leave it out")
        return self

    @property
    def wanted_precision(self) -> str | None:
        return self.precision or FORMATS[self.format].only_precision

    @property
    def wanted_beam(self) -> int | None:
        return self.beam or FORMATS[self.format].beam

    @property
    def takes_shortlists(self) -> bool:
        """Whether a student that was measured with a shortlist ships with that one; Bergamot's lists are others."""
        return self.format == CTRANSLATE2

    @property
    def weighs_packages(self) -> bool:
        """Whether `max_size` limits packages that the evaluation has not weighed."""
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
    value = detail.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{origin}: {'.'.join(place)}: {_EXPECTED.get(detail['type']) or _message(detail)}{shown}"


_NAMES = "expected names of devices, each with its limits below it, such as {phone: {max_size: 20MB}}"
_LIMITS = "expected the device's limits below its name, such as {max_size: 20MB}; {} sets none"
_EXPECTED = {"missing": _NAMES, "dict_type": _NAMES, "too_short": _NAMES, "model_type": _LIMITS}
"""Messages, by pydantic's names of mistakes in the whole file and in one device."""


def _message(detail: Any) -> str:
    return str(detail["msg"]).removeprefix("Value error, ")
