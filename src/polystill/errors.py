"""The one exception that means "the user can fix this"."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError


class UserError(Exception):
    """A mistake in what the user gave: one line that says what, where, and what would be right.

    The command line prints it without a traceback and exits with status 2. Programmers' mistakes are
    assertions instead, and keep their traceback.
    """


@contextmanager
def mistakes_in(place: str) -> Iterator[None]:
    """Name a place, such as a recipe's key, in front of the messages of the block's `UserError`s."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def reason(error: Exception) -> str:
    """Say on one line what an error of the system or of a library is about, for a message that names the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without "[Errno 21]" and the path
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start + 1}"
    if isinstance(error, JSONDecodeError):  # its own text is Python's: "Expecting value: line 1 column 1 (char 0)"
        return f"broken at line {error.lineno}, column {error.colno}" if error.doc.strip() else "empty"
    return " ".join(str(error).split()) or type(error).__name__


def nearest(wrong: str, known: list[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `wrong`, or ""."""
    from difflib import get_close_matches

    close = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
