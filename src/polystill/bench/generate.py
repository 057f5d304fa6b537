"""The torch beam search against `generate` of transformers: same weights, beam, batches of token ids and stopping rule.

Tokenisation is left out on both sides. transformers' `early_stopping=True` ends a sentence when it has as many finished
hypotheses as beams, which is our rule. How many translations agree is reported beside the speeds: the two differ where
scores tie or where a hypothesis would be as long as the model has positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polystill.bench.decode import batches_of
from polystill.bench.gemm import synchronize
from polystill.bench.rounds import interleaved, quotients, spread
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import beam_search
from polystill.decoding.contract import DecodingOptions
from polystill.models.folder import load_model_with_tokenizer

Row = dict[str, Any]


def measure(
    folder: Path,
    lines: Sequence[str],
    *,
    beam_size: int,
    batch_size: int,
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> Row:
    """Both searches over the sentences, with the single model in `folder`; see docs/benchmark.md."""
    from transformers import MarianMTModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_model_with_tokenizer(folder)
    model = model.to(device).eval()
    theirs: Any = MarianMTModel.from_pretrained(folder).to(device).eval()
    sources = [_padded(batch, tokenizer, model.max_positions, device) for batch in batches_of(lines, batch_size)]
    found: dict[str, list[list[int]]] = {}

    def search(batches: Sequence[Tensor] = sources) -> None:
        options = DecodingOptions(beam_size=beam_size)
        found["polystill"] = [
            hypotheses[0].ids for source in batches for hypotheses in beam_search(model, source, options)
        ]

    def generate(batches: Sequence[Tensor] = sources) -> None:
        rows: list[list[int]] = []
        for source in batches:
            out = theirs.generate(
                input_ids=source,
                attention_mask=(source != tokenizer.pad_id).long(),
                num_beams=beam_size,
                early_stopping=beam_size > 1,
                max_length=model.max_positions,
                do_sample=False,
            )
            rows += [_without_marks(row, tokenizer) for row in out.tolist()]
        found["transformers"] = rows

    for warm_up in (search, generate):
        warm_up(sources[:1])
    seconds = interleaved(
        {"polystill": search, "transformers": generate}, rounds, lambda: synchronize(device), log, warm_up=False
    )
    words = sum(len(line.split()) for line in lines)
    same = [a == b for a, b in zip(found["polystill"], found["transformers"], strict=True)]
    return {
        "device": device.type,
        "beam": beam_size,
        "batch_size": batch_size,
        "words_per_second": {name: spread([words / s for s in values]) for name, values in seconds.items()},
        "speed_to_transformers": quotients(seconds["transformers"], seconds["polystill"]),
        "same_translations": sum(same) / len(same),
    }


def _padded(lines: Sequence[str], tokenizer: Tokenizer, most: int, device: torch.device) -> Tensor:
    """(B, S) token ids; of a longer line the first `most`, the end mark last."""
    rows = [ids if len(ids) <= most else [*ids[: most - 1], ids[-1]] for ids in tokenizer.encode_source(lines)]
    out = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_id)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return out.to(device)


def _without_marks(ids: list[int], tokenizer: Tokenizer) -> list[int]:
    """Up to the end mark, without the `<pad>` that decoding starts from."""
    ids = ids[1:]
    return ids[: ids.index(tokenizer.eos_id)] if tokenizer.eos_id in ids else [i for i in ids if i != tokenizer.pad_id]
