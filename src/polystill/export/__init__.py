"""Export: students as folders, in the formats of other programs. FORMATS is the registry of these, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from polystill.export.argos import Argos
from polystill.export.bergamot import Bergamot
from polystill.export.ctranslate2 import CTranslate2
from polystill.export.format import Format
from polystill.export.huggingface import HuggingFace
from polystill.export.marian import Marian
from polystill.export.onnx import Onnx
from polystill.export.sparse import Sparse

FORMATS: dict[str, Format] = {
    form.name: form for form in (HuggingFace(), CTranslate2(), Argos(), Onnx(), Marian(), Bergamot(), Sparse())
}
"""All formats, by their names."""

if TYPE_CHECKING:
    FormatName: TypeAlias = str
    DeviceFormatName: TypeAlias = str
else:  # choices, for the command line and for devices.yaml
    FormatName = Literal[tuple(FORMATS)]
    DeviceFormatName = Literal[tuple(form.name for form in FORMATS.values() if form.for_devices)]
