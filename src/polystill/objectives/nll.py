"""Maximum likelihood with label smoothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from polystill.objectives.base import Objective


class Nll(Objective):
    """`nll` trains one network, or a family whose networks do not teach each other."""

    kind: Literal["nll"] = "nll"
    title: ClassVar[str] = "maximum likelihood"
