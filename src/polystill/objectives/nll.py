"""Maximum likelihood: one network alone, with label smoothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from polystill.objectives.base import Objective


class Nll(Objective):
    """`nll` trains one network alone."""

    kind: Literal["nll"] = "nll"
    title: ClassVar[str] = "maximum likelihood"
