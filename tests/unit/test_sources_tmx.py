from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.sources.tmx import TmxSource

MEMORY = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx [<!ENTITY secret SYSTEM "file:///etc/hostname">]>
<tmx version="1.4">
  <header srclang="en-US" datatype="xml"/>
  <body>
    <tu><tuv xml:lang="en-US"><seg>A <bpt i="1">&lt;b&gt;</bpt>dog<ept i="1">&lt;/b&gt;</ept>
          &amp; a <hi>cat</hi>.</seg></tuv>
        <tuv xml:lang="de-DE"><seg>Ein Hund
          und eine Katze.</seg></tuv></tu>
    <tu><tuv xml:lang="en-US"><seg>Only English.</seg></tuv></tu>
    <tu><tuv lang="EN"><seg>Old</seg></tuv><tuv lang="FR"><seg>Vieux</seg></tuv><tuv lang="DE"><seg>Alt</seg></tuv></tu>
    <tu><tuv xml:lang="en"><seg>x&secret;y</seg></tuv><tuv xml:lang="de"><seg>z</seg></tuv></tu>
  </body>
</tmx>
"""


def pairs(folder: Path, content: str, languages: tuple[str, str] = ("en", "de")) -> list[tuple[str | None, str | None]]:
    (folder / "memory.tmx").write_text(content, encoding="utf-8")
    return list(TmxSource(kind="tmx", path="memory.tmx").read_pairs(folder, languages))


def test_units_with_both_languages_are_read_without_tags_and_entities(tmp_path: Path) -> None:
    assert pairs(tmp_path, MEMORY) == [
        ("A dog & a cat.", "Ein Hund und eine Katze."),
        ("Old", "Alt"),
        ("xy", "z"),  # an external entity is never read
    ]
    assert pairs(tmp_path, MEMORY, ("fr", "en")) == [("Vieux", "Old")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<tmx><body><tu>", "not valid XML"),
        ("no markup", "not valid XML"),
        ("<tmx><body></body></tmx>", "empty corpus"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        pairs(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'memory.tmx'}: ") and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = TmxSource(kind="tmx", path="none.tmx")
    with pytest.raises(UserError, match=r"none\.tmx: cannot be read"):
        list(source.read_pairs(tmp_path, ("en", "de")))
