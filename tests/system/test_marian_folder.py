"""A model as Marian itself writes it, where a user can name a model."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Polystill

RECIPE = """
name: from-marian
data:
  folder: {data}
  source_language: en
  target_language: de
  train: [{{kind: text, source: train.en, target: train.de}}]
  validation: {{kind: text, source: validation.en, target: validation.de}}
  test:
    counting: {{kind: text, source: test.en, target: test.de}}
  max_tokens: 32
model: {{start: {start}, dropout: 0.0}}
students: {{encoder: [1, 2], decoder: [1, 2]}}
training: {{batch_tokens: 512, learning_rate: 1.0e-5, warmup: 2, validate_every: 2, checkpoint_every: 2, threads: 1}}
objective: {{kind: word_kd, teacher: {start}, alpha: 0.5}}
stages: [{{name: distillation, updates: 2}}]
evaluation: {{beams: [1], students: [e2d2]}}
"""


def test_it_starts_a_family_teaches_and_translates(
    marian_npz: Path, marian_student: Path, counting_data: Path, polystill: Polystill, tmp_path: Path
) -> None:
    lines = "one two three\nnine\nfour four six seven zero\n"
    both = [polystill("translate", place, stdin=lines).ok().stdout for place in (marian_npz, marian_student)]
    assert both[0] == both[1]

    (tmp_path / "recipe.yaml").write_text(RECIPE.format(data=counting_data, start=marian_npz))
    run = tmp_path / "run"
    polystill("run", tmp_path / "recipe.yaml", "--out", run).ok()
    config = json.loads((run / "family" / "config.json").read_text())
    assert (config["polystill_positions"], config["encoder_layers"]) == ("marian", 2)
    languages = json.loads((run / "family" / "tokenizer_config.json").read_text())
    assert (languages["source_lang"], languages["target_lang"]) == ("en", "de")  # the recipe's: Marian states none
    assert polystill("translate", run, stdin=lines).ok().stdout == both[0]  # two small steps away

    polystill("generate", marian_npz, "--run", run, "--beam", "1", "--out", tmp_path / "targets").ok()
    polystill("export", marian_npz, "teacher", "--to", "hf", "--out", tmp_path / "hf").ok()
    assert polystill("translate", tmp_path / "hf", stdin=lines).ok().stdout == both[0]


def test_what_cannot_be_read_is_refused_before_any_work(
    marian_npz: Path, counting_data: Path, polystill: Polystill, tmp_path: Path
) -> None:
    folder = tmp_path / "marian"
    folder.mkdir()
    (folder / "model.npz").write_bytes((marian_npz / "model.npz").read_bytes())
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(data=counting_data, start=folder))
    polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run").refused("model.start", "no vocabulary")
    assert not (tmp_path / "run" / "data").exists()
    polystill("translate", folder, stdin="one\n").refused(folder, "no vocabulary")
    (folder / "vocab.spm").write_bytes((marian_npz / "vocab.spm").read_bytes())
    (folder / "model.npz").write_bytes((marian_npz / "model.npz").read_bytes()[:5000])
    polystill("translate", folder, stdin="one\n").refused(folder / "model.npz", "not a readable npz file")
    polystill("generate", folder, "--source", counting_data / "test.en", "--out", tmp_path / "t").refused("model.npz")
