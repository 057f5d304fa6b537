import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polystill
from polystill.environment.process import malloc_in_use
from polystill.runs.provenance import provenance


def test_provenance_can_be_written_as_json() -> None:
    found = json.loads(json.dumps(provenance().to_json()))
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["ctranslate2"]
    assert found["command"]
    assert found["malloc"] == malloc_in_use()


def test_any_changed_file_of_the_package_makes_its_commit_dirty(tmp_path: Path) -> None:
    package = tmp_path / "polystill"
    shutil.copytree(Path(polystill.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "corpus"))

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit() -> str:
        code = "from polystill.runs.provenance import provenance; print(provenance().commit)"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    assert commit() == git("rev-parse", "HEAD")
    with (package / "training" / "feed.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"
