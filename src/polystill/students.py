"""Students, the space that they are drawn from, and their names.

A student is the first layers of a supernet: e{E}d{D} has its first E encoder layers and its first D decoder layers, and
its embeddings and output projection (AIO-KD, Miao et al. 2023, section 3.1). A student has no weights of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from polystill.errors import UserError

RULES = ("decoder<=encoder", "any")

_NAME = re.compile(r"(?:(?P<supernet>[a-z][a-z0-9_]*)-)?e(?P<encoder>[1-9]\d*)d(?P<decoder>[1-9]\d*)")


@dataclass(frozen=True, order=True)
class Student:
    """One network of a family: a supernet and how many of its encoder and decoder layers run.

    The first supernet's name is empty and left out of the student's name: `e4d2`. A student of another supernet would
    be called `tiny-e6d2`. Students sort by depth, the smallest first.
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

    @classmethod
    def parse(cls, name: str) -> Student:
        """Read a name such as "e4d2"; the inverse of `str`.

        Raises:
            UserError: the name has another form, a layer count is 0, or it names a supernet: families have only one.
        """
        match = _NAME.fullmatch(name.strip())
        if match is None:
            raise UserError(f"{name!r} is no student's name: expected e<encoder layers>d<decoder layers>, such as e4d2")
        student = cls(int(match["encoder"]), int(match["decoder"]), match["supernet"] or "")
        if student.supernet:
            depths = cls(student.encoder_layers, student.decoder_layers)
            raise UserError(
                f"{student}: a family has one supernet, so its students' names have no prefix such as "
                f"{student.supernet!r}; expected {depths}"
            )
        return student


@dataclass(frozen=True)
class StudentSpace:
    """A family's candidates, the smallest first. The teacher, which is the deepest network, is one of them."""

    teacher: Student
    candidates: tuple[Student, ...]

    def __post_init__(self) -> None:
        assert self.candidates == tuple(sorted(set(self.candidates)))
        assert self.teacher in self.candidates

    @classmethod
    def from_ranges(
        cls, teacher: Student, encoder: tuple[int, int], decoder: tuple[int, int], rule: str = "decoder<=encoder"
    ) -> StudentSpace:
        """All e{E}d{D} with E and D in the inclusive ranges, as far as the rule admits them; always with the teacher.

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
        """These students and the teacher.

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

    def sample(self, count: int, *, seed: int, draw: int, sandwich: bool = False) -> list[Student]:
        """Draw `count` students uniformly, with replacement, as published.

        The result depends only on `seed` and `draw`, the number of the draw, so all ranks and resumed runs draw the
        same students. With `sandwich` the smallest student replaces the first one (Yu & Huang 2019, section 3.1).
        """
        generator = random.Random(f"students-{seed}-{draw}")
        drawn = [generator.choice(self.candidates) for _ in range(count)]
        return [self.candidates[0], *drawn[1:]] if sandwich and drawn else drawn
