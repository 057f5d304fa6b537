"""What a card says of a run's data: everything that the data folder says, and nothing that it lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from polystill.export.training_data import data_lines
from polystill.runs import Run


def test_sources_pairs_vocabulary_and_held_out_sets(small_run: Path, tmp_path: Path) -> None:
    settings = Run.open(small_run).recipe.data
    data = Path(shutil.copytree(small_run / "data", tmp_path / "data"))
    report = json.loads((data / "cleaning.json").read_text())
    kept, total = (f"{report[key]:,}" for key in ("kept", "total"))
    assert (total, kept != total) == ("1,500", True)
    source = "data: kind text, source train.en, target train.de"
    vocabulary = "vocabulary: 45 pieces (SentencePiece, unigram), one model for both languages"
    assert data_lines(settings, data) == [
        source,
        f"training pairs: {kept} of {total}, the others dropped by cleaning",
        vocabulary,
        "validation: 60 sentences; test set counting: 60 sentences",
    ]
    (data / "cleaning.json").write_text(json.dumps({**report, "kept": 1500}))
    assert "training pairs: 1,500, of which cleaning dropped none" in data_lines(settings, data)
    (data / "cleaning.json").unlink()
    (data / "validation.source.txt").unlink()
    shutil.rmtree(data / "test")
    assert data_lines(settings, data) == [source, vocabulary]
    assert data_lines(settings, tmp_path / "nowhere") == [source]
