"""Files through a translator: what may be overwritten, what is left behind, how much of a line is held."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select
from threading import Thread
from typing import Any, BinaryIO

import pytest

from polystill.cli import main
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, counted_cuts
from polystill.errors import UserError
from polystill.translation import search_of, translate_files, translate_texts


class Shouter:
    """A translator into capitals that takes eight words."""

    max_source_tokens = 8
    languages = ("en", "de")
    options: DecodingOptions | None = None

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        self.options = options
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
        translate_files(Shouter(), [tmp_path / "in"], tmp_path / name, NO_STDIN, options=DecodingOptions())
    with (tmp_path / "in").open("rb") as stdin, pytest.raises(UserError, match="this is the input, stdin"):
        translate_files(Shouter(), [], tmp_path / name, stdin, options=DecodingOptions())
    assert (tmp_path / "in").read_text() == "a dog\n"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_written_through(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "out", tmp_path / "link"
    if is_there:
        target.write_text("old")
    link.symlink_to(target)
    translate_files(Shouter(), [], link, io.BytesIO(b"a dog\n"), options=DecodingOptions())
    assert link.is_symlink()
    assert target.read_text() == "A DOG\n"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_what_stdout_leads_to_is_added_to(tmp_path: Path) -> None:
    """As in `translate -o /dev/stdout >> all.txt`."""
    everything = tmp_path / "all.txt"
    everything.write_text("before\n")
    with everything.open("ab") as stdout:
        output = Path(f"/proc/self/fd/{stdout.fileno()}")
        translate_files(Shouter(), [], output, io.BytesIO(b"a dog\n"), options=DecodingOptions())
    assert everything.read_text() == "before\nA DOG\n"


def test_a_replaced_file_keeps_its_mode_and_its_neighbours(tmp_path: Path) -> None:
    output, neighbour = tmp_path / "out", tmp_path / ".out.unfinished"
    for path in (output, neighbour):
        path.write_text("mine")
    output.chmod(0o600)
    translate_files(Shouter(), [], output, io.BytesIO(b"a dog\n"), options=DecodingOptions())
    assert (output.read_text(), output.stat().st_mode & 0o777, neighbour.read_text()) == ("A DOG\n", 0o600, "mine")


def test_a_folder_may_be_called_as_that_of_open_files(tmp_path: Path) -> None:
    (tmp_path / "fd").mkdir()
    for _ in range(2):
        translate_files(Shouter(), [], tmp_path / "fd" / "out", io.BytesIO(b"a dog\n"), options=DecodingOptions())
    assert (tmp_path / "fd" / "out").read_text() == "A DOG\n"


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"n{250}: "):
        translate_files(Shouter(), [], tmp_path / ("n" * 250), io.BytesIO(b"a dog\n"), options=DecodingOptions())


def test_a_device_is_input_and_output(tmp_path: Path) -> None:
    translate_files(Shouter(), [Path("/dev/null")], Path("/dev/null"), NO_STDIN, options=DecodingOptions())


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
        translate_files(Shouter(), [], tmp_path / "out", stdin, options=DecodingOptions())
    assert (tmp_path / "out").read_text().split("\n") == [" ".join(["ÖDE"] * 8), "A DOG", ""]
    assert stdin.largest < 10_000
    assert caplog.messages == ["1 of 2 lines are longer than the model's 8 tokens and were cut"]


def test_cuts_are_counted_over_all_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("a dog\n" + "word " * 9 + "\n")
    translate_files(Shouter(), paths, tmp_path / "out", NO_STDIN, options=DecodingOptions())
    assert caplog.messages == ["2 of 4 lines are longer than the model's 8 tokens and were cut"]
    assert len((tmp_path / "out").read_text().splitlines()) == 4


# --- pipes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def translating() -> Callable[..., Thread]:
    """`translate_files` in a thread, so that a test in which it waits for ever ends."""

    def start(inputs: Sequence[Path], output: Path, stdin: BinaryIO) -> Thread:
        options = {"options": DecodingOptions()}
        thread = Thread(target=translate_files, args=(Shouter(), inputs, output, stdin), kwargs=options, daemon=True)
        thread.start()
        return thread

    return start


def test_a_named_pipe_is_an_input(tmp_path: Path, translating: Callable[..., Thread]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("a cat\n")
    thread = translating([tmp_path / "pipe", tmp_path / "file"], tmp_path / "out", NO_STDIN)
    with (tmp_path / "pipe").open("wb") as writer:
        writer.write(b"a dog\n")
    thread.join(20)
    assert (tmp_path / "out").read_text() == "A DOG\nA CAT\n"


def test_lines_of_a_pipe_come_out_as_they_come_in(translating: Callable[..., Thread]) -> None:
    (from_us, to_it), (to_us, from_it) = os.pipe(), os.pipe()
    with os.fdopen(from_us, "rb") as stdin:
        thread = translating([], Path(f"/dev/fd/{from_it}"), stdin)
        for line in (b"a dog\n", b"a cat\nand a bird\n"):
            os.write(to_it, line)
            assert select([to_us], [], [], 20)[0]
            found = os.read(to_us, 100)
            while found.count(b"\n") < line.count(b"\n"):
                found += os.read(to_us, 100)
            assert found == line.upper()
        os.close(to_it)
        thread.join(20)
        assert not thread.is_alive()
    os.close(to_us)
    os.close(from_it)


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_cannot_be_read_is_named_before_anything_is_translated(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "in").write_text("a dog\n")
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        translate_files(
            Shouter(), [tmp_path / "in", tmp_path / name], tmp_path / "out", NO_STDIN, options=DecodingOptions()
        )
    assert not (tmp_path / "out").exists()


# --- length penalty -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As much of a run with a length penalty of 0.3 as is looked at."""
    corpus = "{kind: synthetic, pairs: 10}"
    recipe = f"data: {{train: [{corpus}], validation: {corpus}}}\nstages: [{{name: one, updates: 1}}]\n"
    (tmp_path / "run" / "family").mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").write_text(f"{recipe}evaluation: {{length_penalty: 0.3}}\n")
    (tmp_path / "run" / "family" / "config.json").touch()
    return tmp_path / "run"


def test_a_runs_length_penalty_is_its_evaluations(run: Path) -> None:
    assert search_of(run) == search_of(run / "e1d1") == DecodingOptions(length_penalty=0.3)
    assert search_of(run / "family") == DecodingOptions()


@pytest.mark.parametrize(("options", "penalty"), [([], 0.3), (["--length-penalty", "0"], 0.0)])
def test_translate_searches_as_the_run_was_evaluated(
    run: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], penalty: float
) -> None:
    translator = Shouter()

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Shouter]:
        yield translator

    monkeypatch.setattr("polystill.translation.open_translator", opened)
    (run / "in").write_text("a dog\n")
    with pytest.raises(SystemExit) as caught:
        main(["translate", str(run), "-i", str(run / "in"), "-o", str(run / "out"), *options])
    assert caught.value.code == 0
    assert translator.options == DecodingOptions(beam_size=5, length_penalty=penalty)


# --- texts of several lines -------------------------------------------------------------------------------------------


class Counting(Shouter):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def translate(self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None) -> Any:
        self.asked += lines
        return super().translate(lines, options, cuts)


def test_texts_keep_their_line_breaks_and_blanks() -> None:
    texts = ["a dog", "  a\n\n b \n", "\n", "", "a dog", "one\r\ntwo"]
    translator = Counting()
    translated = translate_texts(translator, texts, DecodingOptions())
    assert [each and each.text for each in translated] == ["A DOG", "  A\n\n B \n", "\n", "", "A DOG", "ONE\r\nTWO"]
    assert sorted(translator.asked) == ["a", "a dog", "b", "one", "two"]  # each line once, none that is blank


def test_a_text_that_does_not_fit_is_not_translated_in_part() -> None:
    long = " ".join("abcdefghi")
    translated = translate_texts(Counting(), ["fits", f"fits\n{long}", f"also {long[:9]}"], DecodingOptions())
    assert [each and each.text for each in translated] == ["FITS", None, "ALSO A B C D E"]


def test_spans_count_from_the_start_of_the_text(counting_ctranslate2: Path) -> None:
    translator, options = CTranslate2Translator(counting_ctranslate2), DecodingOptions(alignment=True)
    text = " seven\n\none  two three\n"
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    alone = [translate_texts(translator, [line], options)[0] for line in lines]
    (whole,) = translate_texts(translator, [text], options)
    assert whole is not None and alone[0] is not None and alone[1] is not None
    wanted = []
    for line, translation in zip(lines, alone, strict=True):
        assert translation is not None and translation.spans
        wanted += [(line[slice(*s.source)], translation.text[slice(*s.target)]) for s in translation.spans]
    assert [(text[slice(*s.source)], whole.text[slice(*s.target)]) for s in whole.spans] == wanted
    (unasked,) = translate_texts(translator, [text], DecodingOptions())
    assert unasked == whole._replace(spans=())


def test_a_text_with_a_line_that_is_not_aligned_has_no_spans(counting_ctranslate2: Path) -> None:
    translator = CTranslate2Translator(counting_ctranslate2)
    lost = "one {name} two"  # its placeholder is put back
    (whole,) = translate_texts(translator, [f"seven\n{lost}"], DecodingOptions(alignment=True))
    assert whole is not None and "{name}" in whole.text and whole.spans == ()


# --- codes of XLIFF ---------------------------------------------------------------------------------------------------


def filled_in(model: Path, folder: Path, source: str) -> str:
    """The target that the command writes for a segment."""
    unit = f'<trans-unit id="1"><source>{source}</source></trans-unit>'
    content = f'<xliff version="1.2"><file source-language="en" target-language="de"><body>{unit}</body></file></xliff>'
    (folder / "a.xlf").write_text(content)
    with pytest.raises(SystemExit) as caught:
        main(["translate", str(model), "--input", str(folder / "a.xlf"), "--output", str(folder / "b.xlf")])
    assert caught.value.code == 0
    found = re.search("<target[^>]*>(.*)</target>", (folder / "b.xlf").read_text())
    assert found is not None
    return found[1]


def test_codes_go_with_their_words_where_the_model_aligns(
    aligned_student: Path, counting_student: Path, tmp_path: Path
) -> None:
    source = '<g id="1">one</g> two  <g id="2">three four</g>'
    target = filled_in(aligned_student, tmp_path, source)
    words = re.sub("<[^>]*>", "", target).split()
    assert target == f'<g id="2">{words[0]} {words[1]}</g> {words[2]} <g id="1">{words[3]}</g>'
    assert re.findall("<g[^>]*>", filled_in(counting_student, tmp_path, source)) == ['<g id="1">', '<g id="2">']


def test_alignments_follow_their_translations(counting_ctranslate2: Path, tmp_path: Path) -> None:
    translator, out = CTranslate2Translator(counting_ctranslate2), tmp_path / "out"
    lines = b"one two three\n\nseven\n"
    translate_files(
        translator, [], out, io.BytesIO(lines), options=DecodingOptions(beam_size=2, n_best=2, alignment=True)
    )
    first, empty, _ = out.read_text().splitlines()
    assert empty == " ||| "
    for translation in first.split("\t"):
        text, _, links = translation.partition(" ||| ")
        pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
        assert pairs and all(source < 3 and target < len(text.split()) for source, target in pairs)
    plain = tmp_path / "plain"
    translate_files(translator, [], plain, io.BytesIO(lines), options=DecodingOptions(beam_size=2, n_best=2))
    stripped = [[part.partition(" ||| ")[0] for part in line.split("\t")] for line in out.read_text().splitlines()]
    assert [line.split("\t") for line in plain.read_text().splitlines()] == stripped


def test_a_document_has_no_place_for_alignments(counting_ctranslate2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["translate", str(counting_ctranslate2), "--alignment", "--input", "messages.po"])
    assert "--alignment: a PO or XLIFF file has no place for alignments" in capsys.readouterr().err
