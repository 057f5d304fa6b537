"""polystill: one training run distils one translation teacher into a whole family of students.

>>> from polystill import Family
>>> student = Family.load("RUN").student("e4d2")  # a transformers MarianMTModel; its tokenizer is student.tokenizer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Family", "Student", "StudentSpace", "__version__"]

if TYPE_CHECKING:
    from polystill.models.family import Family
    from polystill.students import Student, StudentSpace

_MODULES = {"Family": "polystill.models.family", "Student": "polystill.students", "StudentSpace": "polystill.students"}


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that the command line starts without torch."""
    if name not in _MODULES:
        raise AttributeError(f"module 'polystill' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
