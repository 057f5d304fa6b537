"""What `make quickstart` promises. Several minutes; run with `make test-long`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.long
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    folder = tmp_path / "quickstart"
    command = [sys.executable, "-m", "polystill", "run", "recipes/quickstart.yaml", "--out", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr

    rows: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["rows"]
    rows = [row for row in rows if row["test_set"] != "validation"]
    for beam in (1, 5):
        bleu = {row["model"]: row["bleu"] for row in rows if row["beam"] == beam}
        sizes = {row["model"]: row["parameters"] for row in rows if row["beam"] == beam}
        assert len(bleu) >= 12
        largest, smallest = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
        assert bleu[largest] >= 60
        assert sizes[largest] >= 5 * sizes[smallest]
        assert bleu[largest] >= bleu[smallest] + 3
    assert done.stdout.count("\n  source ") == 3
    assert "Next:" in done.stdout
