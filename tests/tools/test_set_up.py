"""Set-up: uv looks for packages where pip does, and pip installs them where uv cannot."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools import set_up

LISTED = """
:env:.find-links='/wheels /more'
:env:.disable-pip-version-check='1'
global.cert='/etc/cert.pem'
global.extra-index-url='\\nfile:///a\\nfile:///b'
global.find-links='/elsewhere'
install.index-url='https://example.org/simple'
list.format='columns'
"""


def test_uv_has_pips_settings() -> None:
    assert set_up.uv_settings(LISTED) == {
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/etc/cert.pem",
        "UV_INDEX": "file:///a file:///b",
        "UV_DEFAULT_INDEX": "https://example.org/simple",
    }
    assert set_up.uv_settings("") == {}


def test_the_users_settings_of_uv_come_first() -> None:
    environment = set_up.uv_environment(Path(sys.executable), {**os.environ, "UV_INDEX_STRATEGY": "first-index"})
    assert environment["UV_INDEX_STRATEGY"] == "first-index"


@pytest.mark.parametrize("uv", ["works", "fails", "is not to be had"])
def test_pip_installs_where_uv_cannot(
    uv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With stand-ins for both that print what they are called with."""
    python = program(tmp_path / "venv" / "bin" / "python", 'echo "pip: $*"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    if uv == "is not to be had":
        monkeypatch.setattr("shutil.which", lambda name: None)
    else:
        program(tmp_path / "bin" / "uv", f'echo "uv: $*"; exit {int(uv == "fails")}')
    monkeypatch.setattr(sys, "argv", ["set_up.py", str(tmp_path / "venv"), "train,dev"])
    with pytest.raises(SystemExit) if uv != "works" else pytest.MonkeyPatch.context():
        set_up.main()
    calls = [line for line in capfd.readouterr().out.splitlines() if line.startswith(("pip: ", "uv: "))]
    wanted = "install -c constraints.txt -e .[train,dev]"
    by_pip = "pip: -m pip " + wanted.replace("install", "install --no-compile")
    by_uv = "uv: " + wanted.replace("install", f"pip install --python {python}")
    tried = {"works": [by_uv], "fails": [by_uv, by_pip]}
    assert calls == tried.get(uv, ["pip: -m pip install --quiet -c constraints.txt uv", by_pip])


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
