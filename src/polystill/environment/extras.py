"""Optional packages, which the core install leaves out."""

from __future__ import annotations

from importlib.util import find_spec

from polystill.errors import UserError

TRAINING = ("torch", "transformers", "datasets", "sacrebleu", "pydantic")


def installing(extra: str) -> str:
    """The command that adds the extra."""
    return f"pip install -c constraints.txt '.[{extra}]' in polystill's checkout"


def need_packages(purpose: str, packages: tuple[str, ...] = TRAINING, extra: str = "train") -> None:
    """Stop early if packages are missing, and say how to install them; `purpose` begins the sentence, such as "run".

    Raises:
        UserError: one of the packages, all of which belong to that extra, is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"{purpose} needs {', '.join(missing)}, which the core install leaves out: {installing(extra)}")
