"""Students, the space that they are drawn from, and their names.

A family is one or more supernets. A student is the first layers of a supernet: e{E}d{D} has its first E encoder layers
and its first D decoder layers, and its embeddings and output projection (AIO-KD, Miao et al. 2023, section 3.1). A
student has no weights of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal

from polystill.errors import UserError

Networks = Literal["all", "largest", "smallest"]
"""The networks of a supernet that a stage may train (`StudentSpace.only`)."""
Chosen = Literal["all", "first", "further"]
"""The supernets that a stage may train (`are_chosen`)."""
RULES = ("decoder<=encoder", "any")
WORDS = ("teacher", "largest", "smallest")
"""Names that `StudentSpace.get` takes beside those of students."""

_DEPTHS = r"e(?P<encoder>[1-9]\d*)d(?P<decoder>[1-9]\d*)"
_SUPERNET = r"[a-z][a-z0-9_]*"
_NAME = re.compile(rf"(?:(?P<supernet>{_SUPERNET})-)?{_DEPTHS}")


@total_ordering
@dataclass(frozen=True)
class Student:
    """One network of a family: a supernet and how many of its encoder and decoder layers run.

    The first supernet's name is empty and left out of the student's name: `e4d2`. A student of another supernet is
    called `tiny-e6d2`. Students sort by supernet, the first one last, and then by depth: the teacher is the
    last.
    """

    encoder_layers: int
    decoder_layers: int
    supernet: str = ""

    @property
    def name(self) -> str:
        prefix = f"{self.supernet}-" if self.supernet else ""
        return f"{prefix}e{self.encoder_layers}d{self.decoder_layers}"

    def __str__(self) -> str:
        return self.name

    def __lt__(self, other: Student) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[bool, str, int, int]:
        return not self.supernet, self.supernet, self.encoder_layers, self.decoder_layers

    @classmethod
    def parse(cls, name: str) -> Student:
        """Read a name such as "e4d2" or "tiny-e6d2"; the inverse of `str`.

        Raises:
            UserError: the name has another form, or a layer count is 0.
        """
        match = _NAME.fullmatch(name.strip())
        if match is None:
            raise UserError(
                f"{name!r} is not a student's name: expected e<encoder layers>d<decoder layers>, such as e4d2, or with "
                "its supernet tiny-e4d2"
            )
        return cls(int(match["encoder"]), int(match["decoder"]), match["supernet"] or "")


def check_supernet(name: str) -> str:
    """Return the name of a supernet after the first.

    Raises:
        ValueError: it has another form, or reads like a student's name or one of `WORDS`.
    """
    if not re.fullmatch(_SUPERNET, name):
        raise ValueError(
            f"{name!r} is not a valid name of a supernet: expected a-z, 0-9 and _, a letter first, such as tiny"
        )
    if re.fullmatch(_DEPTHS, name) or name in WORDS:
        raise ValueError(f"{name!r} reads like a student's name; choose another one, such as tiny")
    return name


def are_chosen(supernets: Chosen, name: str) -> bool:
    """Whether a supernet is among those that a stage trains; the first one's name is empty."""
    return supernets in ("all", "further" if name else "first")


def in_ranges(
    largest: Student, encoder: tuple[int, int], decoder: tuple[int, int], rule: str = "decoder<=encoder"
) -> list[Student]:
    """All e{E}d{D} of a supernet with E and D in the inclusive ranges, as far as the rule admits them.

    The published space is encoder (2, 6), decoder (2, 6), "decoder<=encoder": 15 networks.
    """
    assert rule in RULES
    return [
        Student(e, d, largest.supernet)
        for e in range(encoder[0], encoder[1] + 1)
        for d in range(decoder[0], decoder[1] + 1)
        if rule == "any" or d <= e
    ]


@dataclass(frozen=True)
class Members:
    """The candidates of one supernet, the smallest first. Its largest network is one of them."""

    largest: Student
    candidates: tuple[Student, ...]

    def __post_init__(self) -> None:
        assert self.candidates == tuple(sorted(set(self.candidates)))
        assert self.largest in self.candidates
        assert all(student.supernet == self.largest.supernet for student in self.candidates)

    def sample(self, count: int, *, seed: int, draw: int, sandwich: bool = False) -> list[Student]:
        """Draw `count` members uniformly, with replacement, as published; none where the largest is the only one.

        The result depends only on `seed` and `draw`, the number of the draw, so all ranks and resumed runs draw the
        same students. With `sandwich` the smallest student replaces the first one (Yu & Huang 2019, section 3.1).
        """
        if len(self.candidates) == 1:
            return []
        name = self.largest.supernet
        generator = random.Random(f"students-{seed}-{draw}" + f"-{name}" * bool(name))
        drawn = [generator.choice(self.candidates) for _ in range(count)]
        return [self.candidates[0], *drawn[1:]] if sandwich and drawn else drawn


@dataclass(frozen=True)
class StudentSpace:
    """A family's candidates by supernet: the first supernet, whose largest network is the teacher, then the others."""

    supernets: tuple[Members, ...]

    @property
    def teacher(self) -> Student:
        return self.supernets[0].largest

    @property
    def candidates(self) -> tuple[Student, ...]:
        """All of them: of each supernet the smallest first, the last supernet first, and so the teacher at the end."""
        return tuple(student for members in reversed(self.supernets) for student in members.candidates)

    @classmethod
    def from_list(cls, largest: Sequence[Student], students: Iterable[Student]) -> StudentSpace:
        """These students, and the largest network of each supernet, the teacher first.

        Raises:
            UserError: a student is of another supernet, or deeper than the largest of its own.
        """
        chosen = {student.supernet: {student} for student in largest}
        deepest = {student.supernet: student for student in largest}
        for student in sorted(students):
            if student.supernet not in chosen:
                names = " ".join(name for name in chosen if name) or "only the first, whose students have no prefix"
                raise UserError(f"student {student}: there is no supernet {student.supernet}; there are: {names}")
            limit = deepest[student.supernet]
            if student.encoder_layers > limit.encoder_layers or student.decoder_layers > limit.decoder_layers:
                which = "the largest network of its supernet," if student.supernet else "its teacher"
                raise UserError(f"student {student} is deeper than {which} {limit}")
            chosen[student.supernet].add(student)
        return cls(tuple(Members(deepest[name], tuple(sorted(chosen[name]))) for name in chosen))

    def only(self, networks: Networks, supernets: Chosen = "all") -> StudentSpace:
        """The space of the networks that a stage trains: all of some supernets, or the largest or smallest of each."""
        chosen = tuple(m for m in self.supernets if are_chosen(supernets, m.largest.supernet))
        if networks == "all":
            return StudentSpace(chosen)
        single = [m.largest if networks == "largest" else m.candidates[0] for m in chosen]
        return StudentSpace(tuple(Members(network, (network,)) for network in single))

    def check(self, student: Student) -> Student:
        """Return the student if it is a candidate.

        Raises:
            UserError: it is none; the message lists the candidates.
        """
        if student not in self.candidates:
            raise UserError(f"student {student} is not in this family; it has: {' '.join(map(str, self.candidates))}")
        return student

    def get(self, name: str) -> Student:
        """Look a candidate up by name. "teacher" and "largest" mean the teacher, "smallest" the first candidate.

        Raises:
            UserError: there is no such candidate.
        """
        if name in ("teacher", "largest"):
            return self.teacher
        if name == "smallest":
            return self.candidates[0]
        return self.check(Student.parse(name))
