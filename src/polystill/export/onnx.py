"""Export to ONNX: one folder for browsers, node and onnxruntime.

    onnx/*.onnx        an encoder and a decoder: onnx_transformer.py, onnx_lstm.py
    config.json        (of a Transformer also generation_config.json)
    tokenizer.json     and what else OPUS-MT's folders have of a tokenizer

A Transformer's layout is that of Hugging Face's transformers.js. Each architecture has its own pair of graphs, and
`Sessions` that run them token by token; the rest is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from polystill.data.tokenizer import Tokenizer
from polystill.environment.extras import need_packages
from polystill.export import onnx_lstm, onnx_transformer
from polystill.export.agreement import Agreement, agreement, forced_log_probs, greedy_ids, judge, preference
from polystill.export.card import Record, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, versions, write_info
from polystill.export.fast_tokenizer import write_fast_tokenizer
from polystill.models.elastic import ElasticModel
from polystill.models.folder import load_model_with_tokenizer
from polystill.storage import atomic_folder


class Sessions(Protocol):
    """An export's two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None: ...

    def logits(self, source: Sequence[int], target_in: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) of one sentence, computed token by token with the state of the step before."""
        ...


@dataclass(frozen=True)
class Graphs:
    """One architecture's pair of graphs."""

    write: Callable[[Any, Path], None]
    """A model's, into a folder that has onnx/."""
    sessions: type[Sessions]


GRAPHS = {
    "transformer": Graphs(onnx_transformer.write_graphs, onnx_transformer.Sessions),
    "lstm": Graphs(onnx_lstm.write_graphs, onnx_lstm.Sessions),
}
"""By the architecture's name."""


def export_onnx(
    student: Path, out: Path, lines: Sequence[str] | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Write a model's folder as ONNX, verify in onnxruntime that it translates alike.

    Raises:
        UserError: as `export_folder`; or a package of the [onnx] extra is missing.
    """
    check_replaceable(out)
    need_packages("export --to onnx", ("onnx", "onnxruntime"), extra="onnx")
    model, tokenizer = load_model_with_tokenizer(student)
    lines = lines_to_verify(model, tokenizer, lines)
    with atomic_folder(out) as temporary:
        (temporary / "onnx").mkdir()
        GRAPHS[model.architecture.name].write(model, temporary)
        _write_configuration(model, temporary)
        tokenizer.save(temporary)
        write_fast_tokenizer(tokenizer, temporary, lines)
        found = verify(model, tokenizer, temporary, lines)
        judge(found, "float32", out)
        info = describe_export(student, model, tokenizer, "onnx")
        info["versions"] |= versions("onnx", "onnxruntime")
        info["verification"] = found._asdict()
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def _write_configuration(model: ElasticModel, folder: Path) -> None:
    for name, values in model.architecture.config_files(model.config).items():
        if "num_beams" in values:
            values |= {"num_beams": 1, "early_stopping": False}  # transformers.js searches greedily
        (folder / name).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# --- verification -------------------------------------------------------------------------------------------------


def verify(model: ElasticModel, tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> Agreement:
    """Let onnxruntime score, token by token, what the source model wrote, and see whether it would write the same."""
    sessions, preferences, differences = GRAPHS[model.architecture.name].sessions(folder), [], []
    for source, target in zip(tokenizer.encode_source(lines), greedy_ids(model, tokenizer, lines), strict=True):
        logits = torch.from_numpy(sessions.logits(source, [model.pad_id, *target[:-1]]))
        logits[:, model.pad_id] = -torch.inf
        scores = logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None])[:, 0].tolist()
        differences += [abs(a - b) for a, b in zip(forced_log_probs(model, source, target), scores, strict=True)]
        logits[0, model.eos_id] = -torch.inf  # an empty translation is ruled out
        preferences.append(preference(model, source, target, logits.argmax(-1).tolist()))
    return agreement(preferences, differences)
