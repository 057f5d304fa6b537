"""Export to CTranslate2: one folder with the model and its tokenizer, which is all that a device needs.

Eight-bit weights are kept within ±63, seven bits. On AVX2 processors without VNNI (seen on AMD's), CTranslate2's
matrix product adds pairs of 8-bit products in 16 bits and clips the sum, which garbles translations when weights use
all eight bits. With seven nothing is clipped (2 * 255 * 63 < 2**15).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polystill.data.shortlist import Shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.contract import DecodingOptions
from polystill.decoding.ctranslate2 import INFO, SHORTLIST, CTranslate2Translator
from polystill.errors import UserError, nearest
from polystill.export.agreement import Agreement, agreement, greedy, ids_of, judge, preference
from polystill.export.card import Record, search_of, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import load_transformer_with_tokenizer
from polystill.storage import atomic_folder, sha256


def export_ctranslate2(
    student: Path,
    out: Path,
    quantization: str | None = None,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
    shortlist: Shortlist | None = None,
) -> dict[str, Any]:
    """Convert a Hugging Face Marian folder, verify that it translates alike, and put it at `out`.

    Verified with its whole vocabulary; how many of those translations a shortlist leaves as they are is recorded.

    Raises:
        UserError: as `export_folder`.
    """
    quantization = quantization or "float32"
    _check_quantization(quantization)
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "CTranslate2")
    with atomic_folder(out) as temporary:
        _convert(student, temporary, quantization)
        tokenizer.save_with_engine(temporary)
        info = {
            **describe_export(student, model, tokenizer, "ctranslate2"),
            "quantization": quantization,
            **search_of(record),
        }
        write_info(temporary, info)
        precision, lines = _precision(quantization), lines_to_verify(model, tokenizer, lines)
        found = verify(model, tokenizer, temporary, lines, precision)
        judge(found, quantization, out)
        info["verification"] = found._asdict()
        if shortlist is not None:
            info["shortlist"] = _add_shortlist(temporary, info, shortlist, tokenizer, lines, precision)
        info["files"] = {path.name: sha256(path) for path in sorted(temporary.iterdir()) if path.name != INFO}
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def _check_quantization(quantization: str) -> None:
    from ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES

    if quantization not in ACCEPTED_MODEL_TYPES:
        known = list(ACCEPTED_MODEL_TYPES)
        raise UserError(f"--quantization {quantization}: unknown{nearest(quantization, known)}; use {' '.join(known)}")


def _convert(student: Path, folder: Path, quantization: str) -> None:
    from ctranslate2.converters import TransformersConverter
    from transformers.utils import logging

    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        spec = TransformersConverter(str(student))._load()  # what its convert() does, step by step
    finally:
        if shows_bars:
            logging.enable_progress_bar()
    spec.validate()
    spec.optimize(quantization=quantization)
    if quantization.startswith("int8"):
        _limit_to_seven_bits(spec)
    spec.save(str(folder))


def _limit_to_seven_bits(spec: Any) -> None:
    """Scale int8 weights from ±127 to ±63, in place. A weight w stands for w / scale, one scale a row."""
    variables = spec.variables()
    for name, weight in variables.items():
        scale = variables.get(f"{name}_scale")
        if scale is not None and getattr(weight, "dtype", None) == "int8":  # others are aliases of these
            weight.array = np.rint(weight.numpy() * (63 / 127)).astype(np.int8)
            scale.array = scale.numpy() * np.float32(63 / 127)


def _add_shortlist(
    folder: Path, info: dict[str, Any], shortlist: Shortlist, tokenizer: Tokenizer, lines: Sequence[str], precision: str
) -> dict[str, Any]:
    """Write the shortlist as CTranslate2's vocabulary map; what polystill.json is to say of it."""
    before = _texts(folder, lines, precision)
    pieces = tokenizer.pieces
    rules = {"": shortlist.frequent, **{pieces[source]: targets for source, targets in shortlist.likely.items()}}
    rows = (f"{source}\t{' '.join(pieces[target] for target in targets)}\n" for source, targets in rules.items())
    (folder / SHORTLIST).write_text("".join(rows), encoding="utf-8")
    said = {"frequent": len(shortlist.frequent), "sentences": shortlist.sentences}
    write_info(folder, {**info, "shortlist": said})
    same = sum(a == b for a, b in zip(before, _texts(folder, lines, precision), strict=True))
    return {**said, "same_translations": same, "lines": len(lines)}


def _texts(folder: Path, lines: Sequence[str], precision: str) -> list[str]:
    found = CTranslate2Translator(folder, precision).translate(lines, DecodingOptions(beam_size=1))
    return [hypotheses[0].text for hypotheses in found]


# --- verification -------------------------------------------------------------------------------------------------


def verify(
    model: ElasticModel, tokenizer: Tokenizer, folder: Path, lines: Sequence[str], precision: str = "default"
) -> Agreement:
    """Translate with both; then let the exported model score, token by token, what the source model wrote."""
    exported = CTranslate2Translator(folder, precision)
    ours, theirs = greedy(TorchTranslator(model, tokenizer), lines), greedy(exported, lines)
    scores = exported.score(lines, [found.tokens for found in ours])
    differences = []
    for hypothesis, scored in zip(ours, scores, strict=True):
        # The search gives an empty translation no probability, which moves the first token's. And a translation that
        # was cut off has no score of its end mark.
        pairs = zip(hypothesis.token_scores or [], scored, strict=False)
        differences += [abs(a - b) for a, b in list(pairs)[1:]]
    rows = zip(tokenizer.encode_source(lines), ids_of(ours, tokenizer), ids_of(theirs, tokenizer), strict=True)
    return agreement([preference(model, source, own, other) for source, own, other in rows], differences)


def _precision(quantization: str) -> str:
    """What to compute in when verifying: as stored, or in float32 where this device cannot."""
    from ctranslate2 import get_supported_compute_types

    native = quantization in get_supported_compute_types("cpu")
    return "default" if native else "int8_float32" if quantization.startswith("int8") else "float32"
