"""Where a figure comes from: versions, commit, hardware, command."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("polystill", "torch", "transformers", "accelerate", "ctranslate2"),
    *("sentencepiece", "sacrebleu", "datasets", "numpy"),
)


def provenance() -> dict[str, Any]:
    """How results were obtained: versions, commit (of a source checkout), hardware, malloc and command line."""
    import platform

    from polystill import __version__
    from polystill.environment.process import malloc_in_use

    found = {
        "versions": {"python": platform.python_version(), **_versions(), "polystill": __version__},
        "hardware": _hardware(),
        "malloc": malloc_in_use(),
        "command": shlex.join(["polystill", *sys.argv[1:]]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    commit = _commit()
    return {**found, "commit": commit} if commit else found


@cache
def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str | None:
    """The commit of the checkout that this code runs from, "-dirty" added where files differ from it."""
    import subprocess

    here = Path(__file__).resolve()

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here.parent), *arguments], capture_output=True, text=True, check=False, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and git("status", "--porcelain", "--", ".") else commit


def _hardware() -> dict[str, Any]:
    """CPU model, cores this process may use, memory in bytes, GPU (where torch is loaded), and a one-line summary."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found: dict[str, Any] = {"cpu": _cpu_model(), "cores": cores}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    parts = [found["cpu"], f"{cores} cores"]
    if "memory_bytes" in found:
        parts.append(f"{found['memory_bytes'] / 2**30:.0f} GiB")
    if "gpu" in found:
        parts.append(found["gpu"])
    return {**found, "summary": ", ".join(parts)}


@cache
def _cpu_model() -> str:
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()
