"""The provenance of figures: versions, commit, hardware, command."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from polystill.runs.results import Hardware, Provenance

_PACKAGES = (
    *("polystill", "torch", "transformers", "accelerate", "ctranslate2"),
    *("sentencepiece", "sacrebleu", "datasets", "numpy"),
)


def provenance() -> Provenance:
    """The provenance of what this process measures: versions, commit (of a source checkout), hardware, command line."""
    import platform

    from polystill import __version__
    from polystill.environment.process import malloc_in_use

    return Provenance(
        versions={"python": platform.python_version(), **_versions(), "polystill": __version__},
        hardware=_hardware(),
        malloc=malloc_in_use(),
        command=shlex.join(["polystill", *sys.argv[1:]]),
        time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        commit=_commit(),
    )


@cache
def _versions() -> dict[str, str]:
    from importlib import metadata

    versions = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


@cache
def _commit() -> str:
    """The commit of the checkout that this code runs from, with "-dirty" where files differ from it; "" without one."""
    import subprocess

    package = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *arguments], capture_output=True, text=True, check=False, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if not git("ls-files", "--error-unmatch", "__init__.py"):
        return ""
    commit = git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and git("status", "--porcelain", "--", ".") else commit


def _hardware() -> Hardware:
    """This machine; its GPU only where torch is loaded already, its cores as far as this process may use them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = gpu = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    parts = [
        _cpu_model(),
        f"{cores} core{'s' * (cores != 1)}",
        f"{memory / 2**30:.0f} GiB" if memory else "",
        gpu or "",
    ]
    summary = ", ".join(filter(None, parts))
    return Hardware(cpu=_cpu_model(), cores=cores, memory_bytes=memory, gpu=gpu or "", summary=summary)


@cache
def _cpu_model() -> str:
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()
