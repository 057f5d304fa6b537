"""The programs that exports are for, each in an environment of its own, made once and kept.

They are kept in POLYSTILL_TEST_TOOLS, by default .pytest_cache/tools. Where one cannot be installed, its tests are
skipped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

from polystill.data.normalization import is_blank
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions
from polystill.models.folder import load_model_with_tokenizer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.consumer)


@pytest.fixture(scope="session")
def tools(pytestconfig: pytest.Config) -> Path:
    folder = Path(os.environ.get("POLYSTILL_TEST_TOOLS", pytestconfig.rootpath / ".pytest_cache" / "tools"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def install(folder: Path, *commands: list[str | Path]) -> Path:
    """Run the commands that fill a folder, unless that was done before; skip where one fails."""
    with FileLock(f"{folder}.lock"):
        if not (folder / ".complete").exists():
            for command in commands:
                try:
                    subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
                except subprocess.TimeoutExpired:
                    pytest.skip("cannot be installed here within 15 minutes")
                except subprocess.CalledProcessError as error:
                    pytest.skip(f"cannot be installed here: {error.stderr.strip()[-500:]}")
            (folder / ".complete").touch()
    return folder


@pytest.fixture(scope="session")
def pymarian(tools: Path) -> Path:
    """Marian's program."""
    folder = tools / "pymarian-1.12.42"
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "pymarian==1.12.42"]
    return install(folder, [sys.executable, "-m", "venv", "--clear", folder], pip) / "bin" / "pymarian"


@pytest.fixture
def with_pymarian(pymarian: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYSTILL_PYMARIAN", str(pymarian))
    return pymarian


@pytest.fixture(scope="session")
def argos(tools: Path) -> Path:
    """A Python with argostranslate. torch, CTranslate2 and so on are those of this environment: they are gigabytes."""
    folder = tools / "argostranslate-1.11.0"
    packages = ["argostranslate==1.11.0", "stanza==1.10.1", "minisbd==0.9.5", "emoji==2.16.0"]
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", *packages]
    python = install(folder, [sys.executable, "-m", "venv", "--clear", folder], pip) / "bin" / "python"
    (libraries,) = folder.glob("lib/python*/site-packages")
    (libraries / "beneath.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="session")
def node_modules(tools: Path) -> Path:
    """Packages from npm: Bergamot's runtime and Hugging Face's transformers."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    wanted = (HERE / "package.json").read_text()
    folder = tools / f"node-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    with FileLock(f"{folder}.files.lock"):
        folder.mkdir(exist_ok=True)
        if not (folder / "package.json").exists():
            (folder / "package.json").write_text(wanted)
    # Its scripts would only download libraries for GPUs.
    install(folder, ["npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"])
    # The package calls all its files modules, but its worker is a classic script: browsers take it, node needs telling.
    worker = folder / "node_modules" / "@browsermt" / "bergamot-translator" / "worker"
    (worker / "package.json").write_text('{"type": "commonjs"}')
    return folder / "node_modules"


@pytest.fixture(scope="session")
def run_node(node_modules: Path) -> Callable[..., list[str]]:
    """Run one of the scripts here on an export; lines in, lines out. Further options go to the script."""

    def run(script: str, folder: Path, lines: list[str], *options: str) -> list[str]:
        text = "".join(f"{line}\n" for line in lines)
        command = ["node", str(HERE / script), str(node_modules), str(folder), *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return [line.strip() for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def run_argos(argos: Path, tmp_path: Path) -> Callable[[Path, list[str]], list[str]]:
    """Install a package in a home of its own and translate lines with it; the languages' names come first."""

    def run(package: Path, lines: list[str]) -> list[str]:
        home = tmp_path / "home"
        home.mkdir()
        done = subprocess.run(
            [argos, HERE / "argos_translate.py", package],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            | {f"XDG_{kind}_HOME": str(home / kind) for kind in ("DATA", "CACHE", "CONFIG")}
            | {"HOME": str(home)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def run_marian(with_pymarian: Path) -> Callable[..., list[str]]:
    """Translate lines with a Marian export; further options go to `pymarian decode`."""

    def run(folder: Path, lines: list[str], *options: str, config: str = "decoder.yml") -> list[str]:
        command = [str(with_pymarian), "decode", "--config", str(folder / config), "--quiet", *options]
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=True)
        return [line.strip() for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def translate() -> Callable[[Path, list[str], int], list[str]]:
    """Translations by a student's folder in torch: what every consumer's are compared with."""

    def by_torch(student: Path, lines: list[str], beam_size: int = 1) -> list[str]:
        translator = TorchTranslator(*load_model_with_tokenizer(student))
        return [found[0].text for found in translator.translate(lines, DecodingOptions(beam_size=beam_size))]

    return by_torch


@pytest.fixture(scope="session")
def hundred_lines() -> list[str]:
    """Sentences of the toy language, no two alike."""
    import random

    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    generator = random.Random(7)
    return [f"{' '.join(generator.choices(words, k=1 + i % 9))} {words[i % 10]}" for i in range(100)]


@pytest.fixture(scope="session")
def typed_lines(odd_lines: list[str]) -> Callable[[Path], list[str]]:
    """The odd lines that have text and that a student takes whole."""

    def fitting(student: Path) -> list[str]:
        model, tokenizer = load_model_with_tokenizer(student)
        rows = zip(odd_lines, tokenizer.encode_source(odd_lines), strict=True)
        return [line for line, ids in rows if not is_blank(line) and len(ids) <= model.max_positions]

    return fitting


@pytest.fixture
def byte_student(tmp_path: Path) -> Callable[[Path], Path]:
    """Make a copy of a student that writes nothing but the byte 0x41, an A."""
    from safetensors.numpy import load_file, save_file

    def biased(student: Path) -> Path:
        folder = Path(shutil.copytree(student, tmp_path / "byte-student"))
        weights = load_file(folder / "model.safetensors")
        weights["final_logits_bias"][0, Tokenizer.load(folder).pieces.index("<0x41>")] = 100
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    return biased


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
