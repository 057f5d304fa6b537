"""The Python API: a trained family as an object, for use with Hugging Face's libraries."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polystill.data.tokenizer import keep_unknown_codes
from polystill.models.folder import need_architecture, save_student
from polystill.runs.family import family_space, supernet_folder
from polystill.runs.places import Kind, open_place
from polystill.storage import need_new_folder
from polystill.students import Student, StudentSpace

if TYPE_CHECKING:
    from transformers import MarianMTModel


class Family:
    """A trained family on disk: the teacher and every student in it.

    >>> family = Family.load("runs/quickstart")
    >>> student = family.student("e4d2")
    >>> batch = student.tokenizer(["A dog runs."], return_tensors="pt", padding=True)
    >>> student.tokenizer.batch_decode(student.generate(**batch), skip_special_tokens=True)
    """

    def __init__(self, folder: Path, space: StudentSpace) -> None:
        self.folder = folder
        self.space = space

    @classmethod
    def load(cls, folder: str | Path) -> Family:
        """Open a run's folder or a family's own.

        Raises:
            UserError: the folder holds no family.
        """
        place = open_place(folder)
        folder = place.folder if place.kind is Kind.RUN else place.path
        return cls(folder, family_space(folder))

    @property
    def students(self) -> list[str]:
        """The names of all members, the smallest first and the teacher last."""
        return [student.name for student in self.space.candidates]

    def student(self, name: str | Student) -> MarianMTModel:
        """Load a member as a `transformers.MarianMTModel` that has only its layers, with `.tokenizer`.

        `name` is a student's, such as "e4d2", or "teacher" or "smallest".

        Raises:
            UserError: there is no such student (the message lists the students), or it is an LSTM.
        """
        from transformers import AutoTokenizer, MarianMTModel

        supernet = self.space.get(str(name)).supernet
        need_architecture(supernet_folder(self.folder, supernet), "Hugging Face's transformers")

        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "student"
            self.extract(name, folder)
            model: Any = MarianMTModel.from_pretrained(folder)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")  # it works without
                model.tokenizer = AutoTokenizer.from_pretrained(folder)
                keep_unknown_codes(model.tokenizer)
        return model

    def extract(self, name: str | Student, out: str | Path) -> None:
        """Write a member as a folder of its own; a Transformer's is an ordinary Hugging Face folder.

        Raises:
            UserError: there is no such student, or `out` is not empty or cannot be written.
        """
        student = self.space.get(str(name))
        need_new_folder(Path(out))
        save_student(self.folder, student, Path(out))
