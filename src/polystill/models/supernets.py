"""The supernets of a family: networks of several widths or architectures with one vocabulary, trained in one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from torch import nn

from polystill.models.elastic import ElasticModel, Network
from polystill.models.passes import PassPlan, exact_plan
from polystill.students import Student, StudentSpace

Plans = dict[str, PassPlan]
"""The passes of each supernet, by its name."""

_KEY = "supernet-"
"""What keys of an `nn.ModuleDict` begin with here: it refuses names of its own methods, such as half and type."""


class Supernets(nn.Module):
    """A family's supernets by name. The first one's name is empty, and its largest network is the teacher.

    They share no weights; what they learn from each other goes through the objective's terms.
    """

    def __init__(self, first: ElasticModel, further: Mapping[str, ElasticModel] | None = None) -> None:
        super().__init__()
        self.first = first
        self.further = nn.ModuleDict({_KEY + name: supernet for name, supernet in (further or {}).items()})
        assert len({(s.config.vocabulary_size, s.pad_id, s.eos_id) for s in self.each()}) == 1

    def __getitem__(self, name: str) -> ElasticModel:
        supernet = self.further[_KEY + name] if name else self.first
        assert isinstance(supernet, ElasticModel)
        return supernet

    def items(self) -> Iterator[tuple[str, ElasticModel]]:
        """Name and supernet, the first one first."""
        for name in ("", *(key.removeprefix(_KEY) for key in self.further)):
            yield name, self[name]

    def each(self) -> list[ElasticModel]:
        """The supernets, the first one first."""
        return [supernet for _, supernet in self.items()]

    def network(self, student: Student) -> Network:
        """One network of the family."""
        return self[student.supernet].network(student)

    def hold_all_but(self, space: StudentSpace) -> None:
        """Keep the layers that no network of the space has as they are: they require no gradient."""
        self.requires_grad_(False)
        for members in space.supernets:
            network = self.network(members.largest)
            used = network.supernet.architecture.shapes(network.config)
            for name, parameter in network.supernet.named_parameters():
                parameter.requires_grad_(name in used)

    def plans(self, networks: Sequence[Student], mode: str = "shared") -> Plans:
        """By supernet, in their order, the passes that compute its networks, which stand together.

        mode: as `training.mode`. "shared" takes the fewest passes, the others passes of its own for every network.
            Without dropout, "exact" takes the fewest, too: they compute the same.
        """
        plans = {}
        for name, group in groupby(networks, key=lambda network: network.supernet):
            supernet = self[name]
            fewest = mode == "shared" or (mode == "exact" and not supernet.config.has_dropout)
            plans[name] = (supernet.shared_plan if fewest else exact_plan)(list(group))
        return plans

    def update_flops(self, plans: Plans, sentences: int, source_length: int, target_length: int) -> int:
        """FLOPs of all plans (see `ElasticModel.update_flops`)."""
        return sum(self[name].update_flops(p, sentences, source_length, target_length) for name, p in plans.items())

    def projection_flops(self, plans: Plans, target_tokens: int) -> int:
        """FLOPs of the forward projections of all plans."""
        return sum(self[name].projection_flops(plan, target_tokens) for name, plan in plans.items())
