"""Install polystill from this checkout, in the versions of constraints.txt: `python tools/set_up.py .venv train,dev`.

Makes the virtual environment if it is missing. uv, which is several times as fast as pip, installs the packages: the uv
on PATH, or one that pip installs into the environment. If it cannot be had or fails, pip installs them.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

UV_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
}
"""pip's settings, and the variables in which uv takes the same: uv does not read pip's files and variables."""
SEPARATORS = {"UV_FIND_LINKS": ","}


def main() -> None:
    folder, extras = Path(sys.argv[1]), sys.argv[2]
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = ["-c", "constraints.txt", "-e", f".[{extras}]"]
    uv = find_uv(python)
    if (
        uv
        and not subprocess.run(
            [uv, "pip", "install", "--python", python, *wanted], env=uv_environment(python, os.environ)
        ).returncode
    ):
        return
    print("installing with pip, which takes some minutes", flush=True)
    # Compiling all modules, used or not, takes pip as long as all the rest.
    sys.exit(subprocess.run([python, "-m", "pip", "install", "--no-compile", *wanted]).returncode)


def find_uv(python: Path) -> str | None:
    """The uv on PATH, or the environment's own, installed first if need be; None if it cannot be had."""
    if uv := shutil.which("uv"):
        return uv
    uv_here = python.with_name("uv")
    if not uv_here.exists():
        print("installing uv, which then installs the rest", flush=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "uv"])
    return str(uv_here) if uv_here.exists() else None


def uv_environment(python: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: it looks for packages where pip does, and the user's own settings of uv come first."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **uv_settings(listed), **environment}  # pip's strategy


def uv_settings(listed: str) -> dict[str, str]:
    """uv's variables for what `pip config list` says, such as "global.find-links='/wheels'".

    pip's settings of one command come before global ones, and those of the environment before both.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        place, _, value = line.partition("=")
        section, _, key = place.rpartition(".")
        if section in sections and key in UV_SETTINGS:
            variable = UV_SETTINGS[key]
            words = str(ast.literal_eval(value)).split()
            sections[section][variable] = SEPARATORS.get(variable, " ").join(words)
    return sections["global"] | sections["install"] | sections[":env:"]


if __name__ == "__main__":
    main()
