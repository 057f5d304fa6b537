"""cli: fast to start, exit statuses, one line for a user's mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polystill
from polystill.cli import app, main
from polystill.errors import UserError
from polystill.export import FORMATS

COMMANDS = [
    "init",
    "run",
    "prepare",
    "status",
    "translate",
    "serve",
    "evaluate",
    "extract",
    "export",
    "compare",
    "report",
    "robustness",
    "comet",
    "measure",
    "merge",
    "pick",
    "ship",
    "generate",
    "select",
    "prune",
]


def exit_status(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_help_loads_no_heavy_library() -> None:
    """Imports decide how soon `--help` answers; seconds would depend on what else the machine does."""
    command = [sys.executable, "-X", "importtime", "-m", "polystill", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    heavy = {"torch", "transformers", "datasets", "pyarrow", "sacrebleu", "pydantic", "ctranslate2", "numpy", "yaml"}
    heavy |= {"accelerate", "fastapi", "safetensors", "sentencepiece", "sentencex", "tqdm", "uvicorn"}
    assert {name.split(".")[0] for name in loaded} & heavy == set()
    assert "typer" in loaded
    parts = {name.split(".")[1] for name in loaded if name.startswith("polystill.")}
    # decoding and export for the names of their engines and formats
    assert parts <= {"cli", "decoding", "environment", "errors", "export", "progress", "storage"}


def test_every_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(command.callback.__name__ for command in app.registered_commands if command.callback) == sorted(
        COMMANDS
    )
    assert exit_status(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in [*COMMANDS, "bench"])


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "bench", "bench train", "bench loss", "bench decode"],
)
def test_help_of_every_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"polystill {command} " in shown


def complete(shell: str, **words: str) -> str:
    environment = {**os.environ, "_POLYSTILL_COMPLETE": shell, **words}
    command = [sys.executable, "-m", "polystill"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_bash_takes_the_completion_script() -> None:
    script = complete("source_bash")
    shown = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p polystill"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "complete -o default -F _polystill_completion polystill\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_completion_script(shell: str) -> None:
    assert f"_POLYSTILL_COMPLETE=complete_{shell} " in complete(f"source_{shell}")


def test_completion_knows_commands_and_formats() -> None:
    assert complete("complete_bash", COMP_WORDS="polystill ex", COMP_CWORD="1").split() == ["extract", "export"]
    formats = complete("complete_bash", COMP_WORDS="polystill export RUN e1d1 --to ", COMP_CWORD="5").split()
    assert formats == list(FORMATS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["--version"]) == 0
    assert capsys.readouterr().out == f"polystill {polystill.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prune x --sparsity half", r"'--sparsity': .*valid number.* \(polystill prune -h\)"),
        ("bench decode x --threads 0", r"'--threads': .* 1 \(polystill bench decode -h\)"),
        ("prune x", r"Missing option '--sparsity'.* \(polystill prune -h\)"),
        ("prun x", r"No such command 'prun'. Did you mean 'prune'.* \(polystill -h\)"),
        ("prune x --scop", r"No such option: --scop.*"),
    ],
)
def test_wrong_options_and_arguments_are_one_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(f"error: .*{message}\n", captured.err)


@pytest.mark.parametrize("arguments", [[], ["bench"]])
def test_a_group_alone_shows_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage:" in captured.out
    assert captured.err == ""


def test_users_mistake_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["status", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err
        == f"error: {tmp_path}: this folder is not a run (it has no recipe.yaml); give one that polystill run wrote\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["run"],
        ["export", "a"],
        ["translate", "x", "--beam", "0"],
        ["translate", "x", "--threads", "100000"],
        ["status", "x", "--no-such"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_programmers_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import polystill.runs

    def broken(folder: Path) -> None:
        raise AssertionError("bug")

    monkeypatch.setattr(polystill.runs.Run, "open", broken)
    with pytest.raises(AssertionError, match="bug"):
        main(["status", str(tmp_path)])


def stopped_by(number: signal.Signals, code: str) -> tuple[int, str]:
    """Exit status and stderr of a program that is sent a signal when it has printed "ready"."""
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_interrupt_is_status_130_and_one_line() -> None:
    code = (
        "import sys, polystill.runs as runs\nfrom polystill.cli import main\n"
        "def wait(folder):\n    import time; print('ready', flush=True); time.sleep(60)\n"
        "runs.Run.open = wait\nmain(['status', 'x'])"
    )
    assert stopped_by(signal.SIGINT, code) == (130, "interrupted\n")


def test_termination_is_status_143_and_clears_up(tmp_path: Path) -> None:
    code = (
        "import sys, polystill.pipeline as pipeline\nfrom pathlib import Path\nfrom polystill.cli import main\n"
        "from polystill.storage import atomic_folder\nimport polystill.config as config\n"
        "def wait(recipe, folder):\n    import time\n"
        "    with atomic_folder(folder): print('ready', flush=True); time.sleep(60)\n"
        "config.load_recipe = lambda *_: None\npipeline.run_recipe = wait\n"
        f"main(['run', 'x', '--out', {str(tmp_path / 'run')!r}])"
    )
    message = "terminated\nstopped; the same command goes on from the last checkpoint\n"
    assert stopped_by(signal.SIGTERM, code) == (143, message)
    assert list(tmp_path.iterdir()) == []


def test_commands_for_training_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from polystill.environment.extras import need_packages

    need_packages("run")
    with pytest.raises(
        UserError, match=r"run needs no_such_package, .* pip install -c constraints.txt '\.\[train\]' in"
    ):
        need_packages("run", ("yaml", "no_such_package"))


def test_a_runs_status_needs_no_torch(tmp_path: Path) -> None:
    from polystill.config import parse_recipe
    from polystill.runs import Run
    from polystill.runs.results import QualityRow

    corpus = {"kind": "synthetic", "pairs": 10}
    values = {"data": {"train": [corpus], "validation": {**corpus, "split": "validation"}}}
    recipe = parse_recipe({**values, "stages": [{"name": "one", "updates": 1}]}, "test")
    row: dict[str, Any] = {"model_id": "x-e1d1", "model": "e1d1", "test_set": "a", "engine": "ctranslate2"}
    with Run.start(tmp_path / "run", recipe) as run:
        for stage in ("data", "training.one", "family", "evaluation"):
            run.finish(stage, {})
        run.data.mkdir()
        run.family.mkdir()
        row |= {"precision": "float32", "beam": 1, "length_penalty": 1.0, "bleu": 30.0, "hypotheses": "copied without"}
        run.add([QualityRow(**row, bleu_signature="x")])
    without = "sys.modules.update(dict.fromkeys(('torch', 'safetensors', 'transformers', 'sacrebleu')))"
    done = python(f"import sys; {without}\nfrom polystill.cli import main\nmain(['status', {str(run.folder)!r}])")
    assert done.returncode == 0, done.stderr
    assert f"polystill translate {run.folder} --student e1d1" in done.stdout


def test_public_names_are_imported_at_first_use() -> None:
    code = "import sys, polystill; assert 'torch' not in sys.modules; polystill.Family; assert 'torch' in sys.modules"
    assert python(code).returncode == 0
    assert polystill.Student(4, 2).name == "e4d2"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = polystill.Nothing
