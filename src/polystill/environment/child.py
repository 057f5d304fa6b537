"""Calling a function in a fresh process, whose peak memory then is the function's own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import Any

from polystill.errors import UserError


def call(function: str, **arguments: Any) -> Any:
    """What `function` ("module:name") returns in a new interpreter; arguments and result are what JSON can hold.

    Raises:
        UserError: the process failed; the message is its last line.
    """
    done = subprocess.run(
        # -P: a file of the user's named like a module, in the folder where this runs, is not imported.
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps([function, arguments]),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else lines[-1]
        raise UserError(f"measuring {function} in a process of its own failed: {ended}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    function, arguments = json.load(sys.stdin)
    module, name = function.split(":")
    print(json.dumps(getattr(import_module(module), name)(**arguments)))


if __name__ == "__main__":
    main()
