"""Students and the space they are drawn from.

A student e{E}d{D} is the teacher's first E encoder layers and first D decoder layers, with the teacher's
embeddings and output projection (AIO-KD, Miao et al. 2023, section 3.1). It has no weights of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from polystill.errors import UserError

RULES = ("decoder<=encoder", "any")


@dataclass(frozen=True, order=True)
class Student:
    """One member of a family: how many encoder and decoder layers of the teacher it keeps."""

    encoder_layers: int
    decoder_layers: int

    @property
    def name(self) -> str:
        return f"e{self.encoder_layers}d{self.decoder_layers}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Student:
        """Read a name such as "e4d2".

        Raises:
            UserError: the name has another form, or a layer count is 0.
        """
        match = re.fullmatch(r"e([1-9]\d*)d([1-9]\d*)", name.strip())
        if match is None:
            raise UserError(f"{name!r} is no student's name: expected e<encoder layers>d<decoder layers>, such as e4d2")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class StudentSpace:
    """The candidates of one run, smallest first, the teacher (the deepest network) among them."""

    teacher: Student
    candidates: tuple[Student, ...]

    def __post_init__(self) -> None:
        assert self.candidates == tuple(sorted(set(self.candidates)))
        assert self.teacher in self.candidates

    @classmethod
    def from_ranges(
        cls, teacher: Student, encoder: tuple[int, int], decoder: tuple[int, int], rule: str = "decoder<=encoder"
    ) -> StudentSpace:
        """All e{E}d{D} with E and D in the inclusive ranges that keep the rule; the teacher is always a candidate.

        The published space is encoder (2, 6), decoder (2, 6), "decoder<=encoder": 15 networks.
        """
        assert rule in RULES
        chosen = {
            Student(e, d)
            for e in range(encoder[0], encoder[1] + 1)
            for d in range(decoder[0], decoder[1] + 1)
            if rule == "any" or d <= e
        }
        return cls.from_list(teacher, chosen)

    @classmethod
    def from_list(cls, teacher: Student, students: Iterable[Student]) -> StudentSpace:
        """An explicit space; the teacher is always a candidate.

        Raises:
            UserError: a student is deeper than the teacher.
        """
        chosen = set(students)
        for student in sorted(chosen):
            if student.encoder_layers > teacher.encoder_layers or student.decoder_layers > teacher.decoder_layers:
                raise UserError(f"student {student} is deeper than its teacher {teacher}")
        return cls(teacher, tuple(sorted(chosen | {teacher})))

    def check(self, student: Student) -> Student:
        """Return the student if it is a candidate.

        Raises:
            UserError: it is not; the message lists the space.
        """
        if student not in self.candidates:
            raise UserError(f"student {student} is not in this family; it has: {' '.join(map(str, self.candidates))}")
        return student

    def get(self, name: str) -> Student:
        """The candidate of that name ("teacher" and "largest" mean the teacher, "smallest" the first).

        Raises:
            UserError: no such candidate.
        """
        if name in ("teacher", "largest"):
            return self.teacher
        if name == "smallest":
            return self.candidates[0]
        return self.check(Student.parse(name))

    def sample(self, count: int, *, seed: int, draw: int, sandwich: bool = False) -> list[Student]:
        """Draw `count` students with replacement: uniformly, as published, or as a sandwich.

        The draw depends on `seed` and its number `draw` alone, so every rank and every resumed run draws alike.

        sandwich: the smallest student takes the place of the first one drawn (Yu & Huang 2019, section 3.1).
        """
        generator = random.Random(f"students-{seed}-{draw}")
        drawn = [generator.choice(self.candidates) for _ in range(count)]
        return [self.candidates[0], *drawn[1:]] if sandwich and drawn else drawn
