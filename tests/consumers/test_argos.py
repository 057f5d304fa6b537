"""Argos packages, installed and used by argostranslate."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import DecodingOptions
from polystill.export.driver import export_folder


def test_argostranslate_installs_it_and_translates_alike(
    counting_student: Path, tmp_path: Path, run_argos: Callable[..., list[str]], hundred_lines: list[str]
) -> None:
    info = export_folder(counting_student, tmp_path / "out", "argos", lines=hundred_lines)
    assert info["quantization"] == "int8"
    (package,) = (tmp_path / "out").glob("*.argosmodel")
    assert package.name == "translate-en_de-1_0.argosmodel"
    languages, *theirs = run_argos(package, hundred_lines)
    assert languages == "English German"
    export_folder(counting_student, tmp_path / "same", "ctranslate2", "int8")
    options = DecodingOptions(beam_size=4, length_penalty=0.2, max_length=256)  # Argos' settings
    translator = CTranslate2Translator(tmp_path / "same")
    ours = [found[0].text for found in translator.translate(hundred_lines, options)]
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b and not b.startswith(a)]
    assert len(different) <= 2, different
    assert len(set(theirs)) > 50


def test_the_layout_is_argos(counting_student: Path, tmp_path: Path) -> None:
    export_folder(counting_student, tmp_path / "out", "argos")
    with zipfile.ZipFile(tmp_path / "out" / "translate-en_de-1_0.argosmodel") as package:
        names = {name.removeprefix("translate-en_de-1_0/") for name in package.namelist()}
    assert names >= {"metadata.json", "README.md", "sentencepiece.model", "model/model.bin", "model/config.json"}
