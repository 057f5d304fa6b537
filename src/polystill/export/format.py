"""The base class of an export format: the facts about it, and how it is written and verified.

A format is one file with one subclass, and one line in the registry (`polystill.export.FORMATS`). `driver.py` does what
all formats share. `--help` and devices.yaml read the registry, so a format's file imports torch, numpy and the like
inside its methods only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from polystill.storage import tree_bytes, write_json

if TYPE_CHECKING:
    from polystill.data.shortlist import Shortlist
    from polystill.data.tokenizer import Tokenizer
    from polystill.decoding.translator import DecodingOptions, Hypothesis
    from polystill.models.elastic import ElasticModel

CARD = "README.md"
Info = dict[str, Any]
"""The contents of an export's polystill.json."""
MakeCard = Callable[[Info, int], str]
"""Makes the model card's text from polystill.json and the size of the export in bytes."""


def how_trained(info: Info) -> Info:
    """What the descriptions of a family's students and exports repeat of its own."""
    return {key: value for key, value in info.items() if key in ("method", "targets", "domains", "alignment")}


@dataclass(frozen=True)
class Export:
    """One student on its way into a format."""

    student: Path
    """Its folder, with weights in the form that the format reads."""
    model: ElasticModel
    tokenizer: Tokenizer
    precision: str
    search: DecodingOptions | None
    """The search that the package is meant for, if the caller has chosen one."""
    lines: Sequence[str]
    """Sentences to verify the export with."""
    sources: Sequence[list[int]]
    """Their ids."""
    hypotheses: Sequence[Hypothesis]
    """The student's greedy translations of them, with token scores."""
    targets: Sequence[list[int]]
    """The ids of these translations, with the end mark if it was reached."""
    out: Path
    """The final folder, which does not exist yet; for error messages."""


class Verified(NamedTuple):
    """The results of running an export on `Export.lines`."""

    translations: list[list[int]]
    """Its greedy translations, as ids."""
    differences: list[float]
    """Absolute differences between its log-probabilities of tokens and the student's, all sentences in one list."""
    figures: dict[str, float] = {}  # noqa: RUF012 (never changed)
    """Further figures of the comparison, for polystill.json."""
    facts: Info = {}  # noqa: RUF012
    """What else polystill.json says of the export."""


class Format(ABC):
    """An export format."""

    name: ClassVar[str]
    """As in `export --to`, devices.yaml and polystill.json."""
    engine: ClassVar[str]
    """What runs it, in error messages: "ENGINE has no LSTM"."""
    purpose: ClassVar[str]
    """The programs that read it, for help texts and docs/export.md."""
    library: ClassVar[str]
    """The name of its engine's library on the Hugging Face Hub."""
    usage: ClassVar[str]
    """The model card's section on using it, in Markdown; a template that `card.how_to_use` fills."""

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """The precisions of its weights. If there are several, `export --quantization` chooses."""
    beam: ClassVar[int | None] = None
    """The beam size that its engine always searches with; None if the package or the caller chooses."""
    shortlist: ClassVar[int | None] = None
    """How many translations of each source piece its shortlists hold; None if its engine takes no shortlist."""
    shortlist_usage: ClassVar[str] = ""
    """Where the package's shortlist is and how it is used, for the model card."""
    architectures: ClassVar[tuple[str, ...]] = ("transformer",)
    """The architectures that its engine has, by their names in the recipe."""
    needs: ClassVar[str] = ""
    """What has to be installed or chosen for it beforehand, for help texts."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Python packages that it needs beyond those of the [train] extra; the extra of its own name brings them."""
    reads_sparse: ClassVar[bool] = False
    """Whether it takes a student's folder with sparse weights as it is."""
    for_devices: ClassVar[bool] = True
    """Whether devices.yaml may choose it."""

    @property
    def default_precision(self) -> str:
        return "float32" if "float32" in self.precisions else self.precisions[0]

    @property
    def only_precision(self) -> str | None:
        """The precision of a format that has a single one."""
        return self.precisions[0] if len(self.precisions) == 1 else None

    def library_for(self, architecture: str) -> str:
        """`library`, which may depend on the architecture."""
        return self.library

    def usage_for(self, architecture: str) -> str:
        """`usage`, which may depend on the architecture."""
        return self.usage

    def evaluated_in(self, precision: str) -> str | None:
        """The engine in whose rows `polystill evaluate` measures this very package; None if it measures no such one."""
        from polystill.decoding import ENGINES

        return next((engine.name for engine in ENGINES.values() if engine.export_format == self.name), None)

    def check(self, model: ElasticModel, tokenizer: Tokenizer, origin: Path) -> None:
        """Refuse, with a UserError, a model that the engine cannot run; `origin` is its folder, for the message."""
        return

    @abstractmethod
    def write(self, export: Export, folder: Path) -> None:
        """Write all files but polystill.json and the card into an empty folder, or refuse the tokenizer."""

    @abstractmethod
    def verify(self, export: Export, folder: Path) -> Verified:
        """Run the written export on `export.lines`: let it translate, and compare scores with the student's."""

    def add_shortlist(self, export: Export, folder: Path, shortlist: Shortlist) -> int:
        """Add a shortlist to a verified export; returns how many translations of `export.lines` stay as they were."""
        raise NotImplementedError(f"{self.name} has no shortlist")

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        """Write polystill.json and the card into a verified export; may add to `info`."""
        write_info(folder, info)
        (folder / CARD).write_text(card(info, tree_bytes(folder)), encoding="utf-8")


def write_info(folder: Path, info: Info) -> None:
    """Write polystill.json."""
    from polystill.decoding.ctranslate2 import INFO

    write_json(folder / INFO, info)
