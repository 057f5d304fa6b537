"""What other processes write is said as it comes, once, and nothing of before."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from polystill.environment.following import following

WRITER = """
import sys
from pathlib import Path
from polystill.environment.following import write_stderr_into
write_stderr_into(Path(sys.argv[1]))
print("first", file=sys.stderr)
input()
print("Grüße", file=sys.stderr)
print("half a line", end="", file=sys.stderr)
"""


def test_lines_of_another_process(tmp_path: Path) -> None:
    (tmp_path / "before.log").write_text("of an earlier job\n")
    said: list[str] = []
    with following(tmp_path, said.append):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
            deadline = time.monotonic() + 60
            while not said and time.monotonic() < deadline:
                time.sleep(0.01)
            assert said == ["first"]
            assert writer.communicate(b"\n")[1] == b""
    assert said == ["first", "Grüße"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".log", ".log"]


def test_what_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    with following(tmp_path, said.append):
        (tmp_path / "a.log").mkdir()
        (tmp_path / "b.log").write_text("from b\n")
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == ["from b"]
        (tmp_path / "a.log").rmdir()
        (tmp_path / "c.log").mkdir()  # and to the end
        (tmp_path / "a.log").write_text("from a\n")
    assert said == ["from b", "from a"]
