"""Exports by name: what is refused, and before anything is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from polystill.cli.export import export
from polystill.data.shortlist import Shortlist
from polystill.errors import UserError
from polystill.export import FORMATS
from polystill.export.driver import export_folder


def test_unknown_format_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--to ctranslate: unknown format \(did you mean 'ctranslate2'\?\)"):
        export_folder(tmp_path, tmp_path / "out", "ctranslate")


@pytest.mark.parametrize("to", ["hf", "argos", "onnx", "marian", "bergamot"])
def test_formats_of_one_precision_are_not_quantized(to: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--quantization int8: --to {to} has no choice of precision"):
        export_folder(tmp_path, tmp_path / "out", to, "int8")


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if form.shortlist is None])
def test_engines_without_shortlists_get_none(to: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=f"--shortlist: --to {to} has no shortlists, only ctranslate2 and bergamot have"
    ):
        export_folder(tmp_path, tmp_path / "out", to, shortlist=Shortlist([0], {}, 1))


def test_the_command_offers_all_formats() -> None:
    hint = get_type_hints(export, include_extras=True)["to"]
    assert get_args(get_args(hint)[0]) == tuple(FORMATS)


def test_the_documented_table_of_formats_is_the_registry() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    table = text.split("| `--to` | for | `--quantization` |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    assert [name for name, _, _ in rows] == [f"`{name}`" for name in FORMATS]
    for (_, purpose, precisions), form in zip(rows, FORMATS.values(), strict=True):
        assert re.sub(r"\[(.*?)\]\(.*?\)", r"\1", purpose) == form.purpose
        if form.precisions == ("float32",):
            assert precisions == "–"
        elif len(form.precisions) == 1:
            assert precisions == f"– (always {form.precisions[0]})"
        elif "all of" in precisions:
            assert precisions.endswith(f"; {form.default_precision} by default")
        else:
            assert precisions == ", ".join(form.precisions)


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_no_export_is_not_overwritten(to: str, counting_student: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty and not an earlier export"):
        export_folder(counting_student, tmp_path, to)
    with pytest.raises(UserError, match="is a file"):
        export_folder(counting_student, tmp_path / "thesis.txt", to)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_folder_that_is_no_model_is_refused(to: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        export_folder(tmp_path / "empty", tmp_path / "out", to)
    assert not (tmp_path / "out").exists()
