"""The one reader of the tables beside this file: named sections, an entry a line, its cells between bars."""

from __future__ import annotations

from functools import cache
from pathlib import Path

Pair = tuple[str, str]


def read(name: str) -> dict[str, list[str]]:
    """The lines of a file by the section's name in brackets above them, without empty lines and comments."""
    sections: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return sections


SECTIONS = read("inflection.txt") | read("words.txt") | read("grammar.txt")


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|"))


@cache
def rows(section: str) -> list[tuple[str, ...]]:
    return [cells(line) for line in SECTIONS[section]]


@cache
def word_list(section: str) -> list[str]:
    """The single words of a section."""
    return " ".join(SECTIONS[section]).split()


@cache
def pairs(section: str) -> list[Pair]:
    """The English and the German of each line: its first and its last cell, or word if it has no bars."""
    split = [cells(line) if "|" in line else line.split() for line in SECTIONS[section]]
    return [(row[0], row[-1]) for row in split]
