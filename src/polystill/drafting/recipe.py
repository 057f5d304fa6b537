"""The recipe that `polystill init` writes: YAML with comments that say why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.drafting.choice import Choice


@dataclass(frozen=True)
class Draft:
    """What is known so far of a recipe. Relative paths of its sources start at `folder`."""

    name: str
    folder: Path
    languages: tuple[str, str]
    train: list[dict[str, Any]]
    validation: dict[str, Any]
    test: dict[str, Any]
    choice: Choice
    reasons: dict[str, str]
    """Comments by what they are about: text, held_out, vocabulary, shape, updates."""


def recipe_text(draft: Draft) -> str:
    """The YAML; it holds no key whose default would do."""
    choice, reasons = draft.choice, draft.reasons
    updates = choice.stage_updates
    model, students = choice.shape.model, choice.shape.students
    coverage = f"\n    character_coverage: {choice.character_coverage}" if choice.character_coverage else ""
    train = "\n".join(f"    - {_flow(source)}" for source in draft.train)
    return f"""\
# {reasons["text"]}
#   polystill run {draft.folder / "recipe.yaml"} --out runs/{draft.name}
name: {_value(draft.name)}
seed: 1

data:
  folder: {_value(str(draft.folder))}  # relative paths below start here
  source_language: {_value(draft.languages[0])}
  target_language: {_value(draft.languages[1])}
  train:
{train}
  # {reasons["held_out"]}
  validation: {_flow(draft.validation)}
  test:
    test: {_flow(draft.test)}
  cleaning:  # what is dropped, and how often, is written to RUN/data/cleaning.json
    drop_held_out: true  # no line of validation or test is learnt, also in other capitals
  alignment: {{kind: ibm}}  # which word belongs to which: students learn faster so, and place tags by it
  tokenizer:
    vocabulary_size: {choice.vocabulary}  # {reasons["vocabulary"]}{coverage}

model:  # {reasons["shape"]}
{_block(model)}
  dropout: {choice.dropout}  # {"much, as the text is small" if choice.dropout > 0.1 else "the usual, for much text"}
  positions: marian  # as Marian and Bergamot have them; every other engine takes them too

students:  # the family: smallest and largest number of layers of each side
{_block(students)}

objective:
  kind: aio_kd  # a teacher and its students learn together
  kd_weight: 1.0  # small networks learnt better so than with the published 5.5 (docs/aio-kd.md)
  detach_threshold: 0  # students do not change their teacher
  students_per_step: 2
  sampling: sandwich  # the smallest student in every update, and one drawn from all

training:
  batch_tokens: {choice.batch_tokens}  # target tokens of an update; the smaller, the more updates learn from the text
  learning_rate: {_rate(choice.shape.learning_rate)}  # the wider the network, the lower
  schedule: cosine  # down to 0 at a stage's end
  warmup: {choice.warmup}
  validate_every: {choice.validate_every}  # about {choice.validations} times
  checkpoint_every: {choice.validate_every}
  average_last: 3

# {reasons["updates"]}
# The smallest network learns first, which costs little; the largest grows from it; then all learn from the largest.
stages:
  - {{name: smallest, updates: {updates["smallest"]}, networks: smallest, schedule: constant}}
  - {{name: largest, updates: {updates["largest"]}, networks: largest, schedule: constant, warmup: 0}}
  - {{name: distillation, updates: {updates["distillation"]}, warmup: 0, objective: {{mutual: none}}}}
  - name: mutual  # students teach each other, gently
    updates: {updates["mutual"]}
    learning_rate: {_rate(choice.shape.learning_rate / 10)}
    warmup: {max(1, choice.warmup // 10)}
    objective: {{mutual: no_weight}}

evaluation:
  beams: [1, 5]
"""


def _rate(value: float) -> str:
    """Such as "7.0e-5"; YAML takes a number without a dot for text."""
    return f"{value:.1e}".replace("e-0", "e-")


def _flow(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in values.items()) + "}"


def _block(values: dict[str, Any]) -> str:
    return "\n".join(f"  {key}: {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML; quoted text also where it is "no", Norwegian
