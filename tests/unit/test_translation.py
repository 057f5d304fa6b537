"""Files through a translator: what may be overwritten, what is left behind, how much of a line is held."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from polystill.decoding.contract import Cuts, DecodingOptions, Hypothesis, counted_cuts
from polystill.errors import UserError
from polystill.translation import translate_files


class Shouter:
    """A translator into capitals that takes eight words."""

    max_source_tokens = 8

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        with counted_cuts(cuts) as cuts:
            sources = cuts.fit_sources(lines, lambda rows: [row.split() for row in rows], self.max_source_tokens)
            return [[Hypothesis(" ".join(source).upper(), source, 0.0)] for source in sources]


NO_STDIN = io.BytesIO()


@pytest.mark.parametrize("name", ["in", "./other/../in", "link", "hard"])
def test_an_input_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "in").write_text("a dog\n")
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "hard").hardlink_to(tmp_path / "in")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"--output .*: this is the input .*/in; give another file"):
        translate_files(Shouter(), [tmp_path / "in"], tmp_path / name, NO_STDIN)
    with (tmp_path / "in").open("rb") as stdin, pytest.raises(UserError, match="this is the input, stdin"):
        translate_files(Shouter(), [], tmp_path / name, stdin)
    assert (tmp_path / "in").read_text() == "a dog\n"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_written_through(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "out", tmp_path / "link"
    if is_there:
        target.write_text("old")
    link.symlink_to(target)
    translate_files(Shouter(), [], link, io.BytesIO(b"a dog\n"))
    assert link.is_symlink()
    assert target.read_text() == "A DOG\n"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_a_device_is_input_and_output(tmp_path: Path) -> None:
    translate_files(Shouter(), [Path("/dev/null")], Path("/dev/null"), NO_STDIN)


def test_a_huge_line_is_read_in_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Endless(io.BytesIO):
        """Two megabytes on one line, and a short one; it tells how much was asked for at once."""

        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            self.largest = max(self.largest, len(line))
            return line

    stdin = Endless("öde ".encode() * 400_000 + b"\na dog\n")
    with caplog.at_level(logging.WARNING):
        translate_files(Shouter(), [], tmp_path / "out", stdin)
    assert (tmp_path / "out").read_text().split("\n") == [" ".join(["ÖDE"] * 8), "A DOG", ""]
    assert stdin.largest < 10_000
    assert caplog.messages == ["1 of 2 lines are longer than the model's 8 tokens and were cut"]


def test_cuts_are_counted_over_all_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("a dog\n" + "word " * 9 + "\n")
    translate_files(Shouter(), paths, tmp_path / "out", NO_STDIN)
    assert caplog.messages == ["2 of 4 lines are longer than the model's 8 tokens and were cut"]
    assert len((tmp_path / "out").read_text().splitlines()) == 4
