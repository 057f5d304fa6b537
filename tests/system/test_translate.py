"""polystill translate, extract, export: every kind of model, text as it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def folders(polystill: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One student in every format, by format."""
    parent = tmp_path_factory.mktemp("models")
    polystill("extract", finished_run, "e2d1", "--out", parent / "extracted").ok()
    polystill("export", finished_run, "e2d1", "--to", "hf", "--out", parent / "hf").ok()
    polystill("export", finished_run, "e2d1", "--to", "ctranslate2", "--out", parent / "ctranslate2").ok()
    return {path.name: path for path in parent.iterdir()}


@pytest.fixture(scope="module")
def sentences(finished_run: Path) -> list[str]:
    return (finished_run / "data/test/unseen.source.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def test_all_kinds_of_folders_translate_alike(
    polystill: Any, finished_run: Path, folders: dict[str, Path], sentences: list[str]
) -> None:
    text = "\n".join(sentences) + "\n"
    outputs = {name: polystill("translate", folder, stdin=text).ok().stdout for name, folder in folders.items()}
    outputs["run"] = polystill("translate", finished_run, "--student", "e2d1", stdin=text).ok().stdout
    outputs["family"] = polystill("translate", finished_run / "family", "--student", "e2d1", stdin=text).ok().stdout
    outputs["torch"] = (
        polystill("translate", finished_run, "--student", "e2d1", "--engine", "torch", stdin=text).ok().stdout
    )
    assert len(set(outputs.values())) == 1, outputs
    teacher = polystill("translate", finished_run, stdin=text).ok().stdout
    assert teacher == polystill("translate", finished_run, "--student", "teacher", stdin=text).ok().stdout
    assert len(teacher.splitlines()) == len(sentences)


def test_a_run_that_was_evaluated_is_translated_without_torch(finished_run: Path) -> None:
    """Whose import takes longer than all the rest."""
    code = (
        "import sys; from polystill.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules and 'ctranslate2' in sys.modules"
    )
    command = [sys.executable, "-c", code, "translate", finished_run, "--student", "e1d1"]
    done = subprocess.run(command, input="A dog.\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr


def test_without_out_extract_and_export_write_into_the_run(polystill: Any, own_run: Path) -> None:
    said = polystill("extract", own_run, "e2d1").ok().stderr
    assert f"wrote {own_run / 'students' / 'e2d1'}" in said
    assert (own_run / "students/e2d1/model.safetensors").is_file()
    for arguments, name in (
        (["--to", "ctranslate2"], "e2d2-ctranslate2"),
        (["--quantization", "int8"], "e2d2-ctranslate2-int8"),
        (["--to", "hf"], "e2d2-hf"),
    ):
        said = polystill("export", own_run, "teacher", *arguments).ok().stderr
        assert f"wrote {own_run / 'exports' / name}" in said
        assert (own_run / "exports" / name / "polystill.json").is_file()


def test_a_run_that_may_only_be_read(polystill: Any, own_run: Path, tmp_path: Path, read_only: Any) -> None:
    before = read_only(own_run)
    done = polystill("translate", own_run, "--student", "e1d1", stdin="A dog.\n", before=before).ok()
    assert done.stdout.count("\n") == 1
    polystill("export", own_run, "e1d1", "--out", tmp_path / "out", before=before).ok()
    polystill("extract", own_run, "e1d1", before=before).refused(own_run / "students", "no permission", "--out")
    polystill("export", own_run, "e1d1", before=before).refused(own_run / "exports", "no permission")
    own_run.chmod(0o755)
    assert not (own_run / "students").exists()


def test_extracted_student_loads_in_transformers(folders: dict[str, Path]) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    for name in ("extracted", "hf"):
        model = AutoModelForSeq2SeqLM.from_pretrained(folders[name])
        tokenizer = AutoTokenizer.from_pretrained(folders[name])
        assert (model.config.encoder_layers, model.config.decoder_layers) == (2, 1)
        ids = model.generate(**tokenizer(["A dog."], return_tensors="pt"), max_new_tokens=5)
        assert ids.shape[0] == 1
        assert not list(folders[name].glob("*.bin"))


def test_one_line_in_is_one_line_out(polystill: Any, folders: dict[str, Path], sentences: list[str]) -> None:
    odd = ["", "   ", "word " * 600, "a\u2028b\x0cc\x85d", "tab\there", sentences[0], "🙂", "", sentences[1]]
    done = polystill("translate", folders["ctranslate2"], stdin="\n".join(odd) + "\n").ok()
    lines = done.stdout.removesuffix("\n").split("\n")
    assert len(lines) == len(odd)
    assert (lines[0], lines[1], lines[7]) == ("", "", "")
    alone = polystill("translate", folders["ctranslate2"], stdin=f"{sentences[0]}\n{sentences[1]}\n").ok()
    assert [lines[5], lines[8]] == alone.stdout.splitlines()
    assert "cut" in done.stderr


@pytest.mark.parametrize(("stdin", "lines"), [("", 0), ("\n", 1), ("no end", 1), ("\n\n\n", 3), ("a\r\nb\r\n", 2)])
def test_number_of_lines(polystill: Any, folders: dict[str, Path], stdin: str, lines: int) -> None:
    out = polystill("translate", folders["ctranslate2"], "--beam", "1", stdin=stdin).ok().stdout
    assert out.count("\n") == lines


def test_files_in_file_out(polystill: Any, folders: dict[str, Path], sentences: list[str], tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"in{number}").write_text("\n".join(sentences[number * 6 : number * 6 + 6]) + "\n")
    arguments = ("--input", tmp_path / "in0", "--input", tmp_path / "in1", "--output", tmp_path / "out")
    polystill("translate", folders["ctranslate2"], *arguments).ok()
    expected = polystill("translate", folders["ctranslate2"], stdin="\n".join(sentences) + "\n").ok().stdout
    assert (tmp_path / "out").read_text() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in0", "in1", "out"]


def test_output_appears_whole_or_not_at_all(polystill: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"fine\n\xff\xfe\n")
    (tmp_path / "out").write_text("old")
    polystill("translate", folders["ctranslate2"], "-i", tmp_path / "in", "-o", tmp_path / "out").refused("line 2")
    assert (tmp_path / "out").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_input_is_not_overwritten(polystill: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("A dog.\n")
    arguments = ("-i", tmp_path / "in", "-o", tmp_path / "in")
    polystill("translate", folders["ctranslate2"], *arguments).refused("--output", "this is the input")
    assert (tmp_path / "in").read_text() == "A dog.\n"


def test_sigterm_leaves_nothing_behind(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    command = [sys.executable, "-m", "polystill", "translate", folders["ctranslate2"], "-o", tmp_path / "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:  # it has begun to write
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert (tmp_path / "out").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_huge_line_takes_little_memory(folders: dict[str, Path]) -> None:
    """200 MB on one line in 4 GB of address space, of which the libraries alone take more than two."""
    words = "yes 'A dog.' | head -c 200000000 | tr '\\n' ' '"
    translate = f"{sys.executable} -m polystill translate {folders['ctranslate2']} --beam 1 --threads 1"
    script = f"({words}; echo; echo 'A dog.') | (ulimit -v 4000000; {translate})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads reserve space
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 2
    assert "1 of 2 lines are longer" in done.stderr


def test_n_best_stays_on_one_line(polystill: Any, folders: dict[str, Path], sentences: list[str]) -> None:
    arguments = ("--beam", "3", "--n-best", "3")
    out = polystill("translate", folders["ctranslate2"], *arguments, stdin=f"{sentences[0]}\n\n{sentences[1]}\n").ok()
    lines = out.stdout.removesuffix("\n").split("\n")
    assert [len(line.split("\t")) for line in lines] == [3, 1, 3]
    best = polystill("translate", folders["ctranslate2"], "--beam", "3", stdin=f"{sentences[0]}\n").ok().stdout
    assert lines[0].split("\t")[0] == best.removesuffix("\n")


def test_a_reader_that_goes_away_is_no_error(folders: dict[str, Path]) -> None:
    translate = f"{sys.executable} -m polystill translate {folders['ctranslate2']} --beam 1"
    command = f"yes 'A dog.' | head -20000 | {translate} | head -1"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_quantized_export_is_smaller(
    polystill: Any, finished_run: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "int8"
    polystill("export", finished_run, "e2d1", "--to", "ctranslate2", "--quantization", "int8", "--out", out).ok()
    assert (out / "model.bin").stat().st_size < (folders["ctranslate2"] / "model.bin").stat().st_size
    polystill("translate", out, "--precision", "int8", stdin="A dog.\n").ok()


def test_python_family(finished_run: Path) -> None:
    from polystill import Family, StudentSpace

    family = Family.load(finished_run)
    assert isinstance(family.space, StudentSpace)
    assert family.students == ["e1d1", "e2d1", "e2d2"]
    student: Any = family.student("e2d1")
    assert student.config.decoder_layers == 1
    batch = student.tokenizer(["A dog runs."], return_tensors="pt", padding=True)
    texts = student.tokenizer.batch_decode(student.generate(**batch, max_new_tokens=8), skip_special_tokens=True)
    assert len(texts) == 1
    assert Family.load(finished_run / "family").students == family.students
