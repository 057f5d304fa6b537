"""A Bergamot folder as a teacher: what it is, which languages, and what is refused. Real ones: tests/consumers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.runs.places import Kind, find_model, open_place
from polystill.targets import bergamot, teachers
from polystill.targets.job import Compute

OPTIONS, PLAIN = DecodingOptions(), Compute()


@pytest.fixture
def folder(tmp_path: Path, counting_student: Path) -> Path:
    """Files with the names of a Bergamot model: a real vocabulary, and a model that is none."""
    folder = tmp_path / "en-pt"
    folder.mkdir()
    (folder / "model.enpt.intgemm.alphas.bin").write_bytes(b"x" * 100)
    (folder / "vocab.enpt.spm").write_bytes((counting_student / "source.spm").read_bytes())
    return folder


def packed(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def job(folder: Path, options: DecodingOptions = OPTIONS, compute: Compute = PLAIN, others: int = 0) -> None:
    bergamot.job([folder] * (1 + others), folder, options, compute, print)


def test_it_is_recognised_plain_and_packed(folder: Path) -> None:
    assert open_place(folder).kind is Kind.BERGAMOT
    for path in list(folder.iterdir()):
        packed(path)
    assert open_place(folder).kind is Kind.BERGAMOT
    with pytest.raises(UserError, match="a Bergamot model, which only polystill generate reads; expected a model's"):
        find_model(folder)
    (folder / "vocab.enpt.spm.gz").unlink()
    assert open_place(folder).kind is Kind.FOLDER


def test_its_languages_are_those_of_its_files_or_metadata(folder: Path) -> None:
    assert teachers.languages_of(folder) == ("en", "pt")
    (folder / "metadata.json").write_text(json.dumps({"sourceLanguage": "en", "targetLanguage": "zh_hant"}))
    assert teachers.languages_of(folder) == ("en", "zh_hant")
    (folder / "metadata.json").write_text("[]")
    (folder / "model.enpt.intgemm.alphas.bin").rename(folder / "model.npz.bin")
    assert teachers.languages_of(folder) == (None, None)


def test_its_fingerprint_is_of_model_vocabulary_and_shortlist(folder: Path) -> None:
    seen = {teachers.fingerprint(folder)}
    for name in ("model.enpt.intgemm.alphas.bin", "vocab.enpt.spm", "lex.50.50.enpt.s2t.bin"):
        (folder / name).write_bytes(b"other")
        seen.add(teachers.fingerprint(folder))
    (folder / "README.md").write_text("no matter")
    assert teachers.fingerprint(folder) in seen and len(seen) == 4


@pytest.mark.parametrize(
    ("options", "compute", "message"),
    [
        (DecodingOptions(n_best=2), Compute(), "--n-best 2: Firefox's engine writes one translation"),
        (
            DecodingOptions(beam_size=2),
            Compute(),
            r"searches greedily, in 8 bits; leave out --engine, --precision, --b",
        ),
        (OPTIONS, Compute(precision="int8"), "leave out --engine"),
        (OPTIONS, Compute(engine="torch"), "leave out --engine"),
    ],
)
def test_what_the_engine_does_not_do_is_refused(
    folder: Path, options: DecodingOptions, compute: Compute, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        job(folder, options, compute)


def test_what_does_not_load_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="en-pt: a Bergamot model cannot be part of an ensemble"):
        job(folder, others=1)
    with pytest.raises(UserError, match=r"en-pt: the model cannot be loaded \(unsupported model version"):
        job(folder)
    (folder / "lex.enpt.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="en-pt: the model cannot be loaded"):
        job(folder)
    (folder / "model.other.bin").touch()
    with pytest.raises(UserError, match=r"expected one file model\*\.bin \(or .*there are: model\.enpt.* model\.other"):
        job(folder)
    (folder / "model.other.bin").unlink()
    (folder / "srcvocab.enpt.spm").write_bytes((folder / "vocab.enpt.spm").read_bytes())
    (folder / "vocab.enpt.spm").unlink()
    with pytest.raises(UserError, match=r"en-pt: expected one file vocab\*\.spm .* there are: none"):
        job(folder)
