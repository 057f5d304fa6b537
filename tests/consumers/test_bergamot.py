"""Bergamot exports, in Bergamot's runtime (WebAssembly under node)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from polystill.data.shortlist import Shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export import bergamot_file
from polystill.export.bergamot import _unpacked
from polystill.export.driver import export_folder
from polystill.export.pymarian import decode_with_scores, run_pymarian


def test_bergamot_translates_like_the_student(
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    hundred_lines: list[str],
    translate: Callable[..., list[str]],
    run_node: Callable[..., list[str]],
) -> None:
    info = export_folder(marian_student, tmp_path / "out", "bergamot", lines=hundred_lines)
    assert info["verification"]["identical"] >= 0.8
    theirs = run_node("bergamot.mjs", tmp_path / "out", hundred_lines)
    ours = translate(marian_student, hundred_lines)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{same} of 100 translations in int8 are those of float32")
    assert same >= 65
    assert len(set(theirs)) > 50
    assert not [path for path in (tmp_path / "out").iterdir() if "alphas" in path.name]


def test_tags_go_where_the_alignment_says(
    aligned_student: Path,
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    hundred_lines: list[str],
    run_node: Callable[..., list[str]],
) -> None:
    """The toy language says words in reverse: the tagged word is known wherever the translation is right."""
    shares = {}
    for name, student in (("aligned", aligned_student), ("plain", marian_student)):
        export_folder(student, tmp_path / name, "bergamot", lines=hundred_lines)
        config = json.loads((tmp_path / name / "metadata.json").read_text())["modelConfig"]
        assert config.get("alignment") == ("soft" if name == "aligned" else None)
        lines, expected = tagged(hundred_lines)
        # Behind the last word Bergamot repeats its tags, with nothing between them.
        theirs = [line.replace("<b></b>", "") for line in run_node("bergamot.mjs", tmp_path / name, lines, "html")]
        translated = [(a, b) for a, b in zip(theirs, expected, strict=True) if text_of(a) == text_of(b)]
        shares[name] = sum(a == b for a, b in translated), len(translated)
    print(f"tags in the right place, of right translations: {shares}")
    assert shares["aligned"][1] > 40
    assert shares["aligned"][0] > 0.8 * shares["aligned"][1]


def tagged(lines: list[str]) -> tuple[list[str], list[str]]:
    """Each line with one of its words in bold, and its translation."""
    german = dict(zip(ENGLISH, GERMAN, strict=True))
    sources, targets = [], []
    for i, line in enumerate(lines):
        words = line.split()
        at = i % len(words)
        bold = [[f"<b>{word}</b>" if k == at else word for k, word in enumerate(row)]
                for row in (words, [german[word] for word in words])]  # fmt: skip
        sources.append(" ".join(bold[0]))
        targets.append(" ".join(reversed(bold[1])))
    return sources, targets


ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GERMAN = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


def text_of(html: str) -> str:
    return " ".join(re.sub("</?b>", "", html).split())


def test_a_list_of_all_pieces_changes_nothing(
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    hundred_lines: list[str],
    run_node: Callable[..., list[str]],
) -> None:
    """And the runtime, which can do with multiples of 8 pieces only, finds as many in a vocabulary of 300."""
    everything = Shortlist(list(range(300)), {}, 7)
    info = export_folder(marian_student, tmp_path / "list", "bergamot", lines=hundred_lines, shortlist=everything)
    lines = info["verification"]["sentences"]
    assert info["shortlist"] == {"frequent": 300, "sentences": 7, "same_translations": lines, "lines": lines}
    export_folder(marian_student, tmp_path / "plain", "bergamot", lines=hundred_lines)
    with_list, without = (run_node("bergamot.mjs", tmp_path / name, hundred_lines) for name in ("list", "plain"))
    assert with_list == without


def test_with_a_list_only_its_pieces_are_written(
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    hundred_lines: list[str],
    run_node: Callable[..., list[str]],
) -> None:
    tokenizer = Tokenizer.load(marian_student)
    (row,) = tokenizer.encode_target(["eins zwei drei"])
    info = export_folder(
        marian_student, tmp_path / "out", "bergamot", lines=hundred_lines, shortlist=Shortlist(row, {}, 7)
    )
    assert info["shortlist"]["same_translations"] < info["shortlist"]["lines"]
    lines = ["five", "five five five"]
    (source,) = tokenizer.encode_source(["five"])
    allowed = {*row, *source, *range(8)}  # the runtime adds first ids up to a multiple of 8
    words = {tokenizer.pieces[i].removeprefix("▁") for i in allowed}  # a piece is a word here
    found = run_node("bergamot.mjs", tmp_path / "out", lines)
    assert any(found) and set(" ".join(found).split()) <= words
    assert "fünf" not in words


def test_the_list_is_what_marians_converter_makes(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, hundred_lines: list[str]
) -> None:
    own = Shortlist([0, 5, 9], {3: [7, 2], 8: [9, 11]}, 7)
    export_folder(marian_student, tmp_path / "out", "bergamot", lines=hundred_lines, shortlist=own)
    vocabulary, content = tmp_path / "vocab.spm", unpacked(tmp_path / "out", "lex")
    vocabulary.write_bytes(unpacked(tmp_path / "out", "vocab"))
    pieces = SentencePieceProcessor(model_file=str(vocabulary))
    always = {0: [*own.frequent, pieces.unk_id()]}
    lists = {i: {i, *own.likely.get(i, []), *always.get(i, [])} for i in range(len(pieces))}
    text = (f"{pieces.id_to_piece(t)} {pieces.id_to_piece(s)} 0.5\n" for s, found in lists.items() for t in found)
    (tmp_path / "lists").write_text("".join(text))
    best = str(max(map(len, lists.values())))
    convert = ["convert", "--shortlist", tmp_path / "lists", "0", best, "0", "--vocabs", vocabulary, vocabulary]
    run_pymarian(*convert, "--dump-shortlist", tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == content
    # What the export is verified with, Marian with its check, notices another byte.
    with _unpacked(tmp_path / "out") as (model, vocabularies):
        lex = tmp_path / "lex.bin"
        lex.write_bytes(content)
        assert len(decode_with_scores(model, vocabularies, hundred_lines[:2], lex)) == 2
        lex.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match="pymarian decode"):
            decode_with_scores(model, vocabularies, hundred_lines[:2], lex)


def unpacked(export: Path, kind: str) -> bytes:
    name = json.loads((export / "metadata.json").read_text())["files"][kind]["name"]
    return gzip.decompress((export / f"{name}.gz").read_bytes())


def test_metadata_describes_the_files(marian_student: Path, tmp_path: Path, with_pymarian: Path) -> None:
    info = export_folder(marian_student, tmp_path / "out", "bergamot", shortlist=Shortlist([0], {}, 7))
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert {metadata["sourceLanguage"], metadata["targetLanguage"]} == {"en", "de"}
    names = {kind: file["name"] for kind, file in metadata["files"].items()}
    assert names == {"model": "model.ende.intgemm8.bin", "vocab": "vocab.ende.spm", "lex": "lex.ende.s2t.bin"}
    for file in metadata["files"].values():
        content = gzip.decompress((tmp_path / "out" / f"{file['name']}.gz").read_bytes())
        assert file["size"] == len(content)
        assert file["expectedSha256Hash"] == hashlib.sha256(content).hexdigest()
    assert metadata["files"]["model"]["size"] < info["parameters"] * 1.5


def test_wrong_weights_are_noticed_and_not_written(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = bergamot_file._rounded

    def not_transposed(name: str, array: object, transpose: bool) -> object:
        return rounded(name, array, transpose=False)

    monkeypatch.setattr(bergamot_file, "_rounded", not_transposed)
    with pytest.raises(UserError, match=r"does not translate like its source.*on average in int8"):
        export_folder(marian_student, tmp_path / "out", "bergamot")
    assert not list(tmp_path.iterdir())


def test_every_odd_line_gets_a_line_and_bytes_are_characters(
    marian_student: Path,
    tmp_path: Path,
    with_pymarian: Path,
    byte_student: Callable[[Path], Path],
    typed_lines: Callable[[Path], list[str]],
    run_node: Callable[..., list[str]],
) -> None:
    lines = typed_lines(marian_student)
    export_folder(byte_student(marian_student), tmp_path / "out", "bergamot", lines=["one"])
    theirs = run_node("bergamot.mjs", tmp_path / "out", lines)
    assert len(theirs) == len(lines)
    assert all("A" in line and "<0x" not in line for line in theirs)
