"""All kinds of sources. A new one is a file here and its name in `_AnySource`."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from polystill.sources.base import PairSource
from polystill.sources.huggingface import HuggingFaceSource
from polystill.sources.mtdata import MtdataSource
from polystill.sources.po import PoSource
from polystill.sources.synthetic import SyntheticSource
from polystill.sources.text import TextSource
from polystill.sources.tmx import TmxSource
from polystill.sources.tsv import TsvSource
from polystill.sources.xliff import XliffSource

_AnySource = (
    TextSource | TsvSource | TmxSource | XliffSource | PoSource | HuggingFaceSource | MtdataSource | SyntheticSource
)

Source = Annotated[_AnySource, Field(discriminator="kind")]
SOURCES: dict[str, type[PairSource]] = {
    get_args(source.model_fields["kind"].annotation)[0]: source for source in get_args(_AnySource)
}
"""The class of each `kind`."""
