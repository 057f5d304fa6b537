"""Export as an Argos package: what Argos Translate and LibreTranslate install, a zip with a CTranslate2 model.

A package may hold a model that parts text into sentences; this one holds none, and Argos Translate then downloads its
own (MiniSBD) when it first translates from a language. It is int8 always: Argos Translate computes in 8 bits whatever
the package holds, and float weights would then lack the seven bits that ctranslate2.py keeps to.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.data.languages import language_name
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.errors import UserError
from polystill.export.agreement import VERIFIED_TOKENS, Agreement, agreement, greedy, judge, piece_ids, preference
from polystill.export.card import CARD, Record, model_card
from polystill.export.ctranslate2 import export_ctranslate2
from polystill.export.description import check_replaceable, lines_to_verify, write_info
from polystill.export.pieces import joint_pieces
from polystill.models.folder import load_transformer_with_tokenizer
from polystill.models.transformer import Transformer
from polystill.storage import atomic_folder, sha256

PACKAGE_VERSION, ARGOS_VERSION = "1.0", "1.9"
PIECES = "sentencepiece.model"
MODEL_FILES = ("config.json", "model.bin", "shared_vocabulary.json")


def export_argos(
    student: Path,
    out: Path,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Write a folder with translate-{from}_{to}-1_0.argosmodel, whose model is `export_ctranslate2`'s, and verify it as
    Argos Translate will run it.

    Raises:
        UserError: as `export_folder`; or the tokenizer's folder does not say the languages.
    """
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "Argos Translate")
    source, target = tokenizer.source_language, tokenizer.target_language
    if source is None or target is None:
        raise UserError(f"{student}: tokenizer_config.json lacks source_lang or target_lang, which Argos needs")
    lines = lines_to_verify(model, tokenizer, lines)
    pieces = joint_pieces(tokenizer, lines)[0]
    name = f"translate-{source}_{target}-{PACKAGE_VERSION.replace('.', '_')}"
    with atomic_folder(out) as temporary, TemporaryDirectory(prefix="polystill-") as work:
        package = Path(work) / name
        info = {**export_ctranslate2(student, package / "model", "int8", lines), "format": "argos"}
        _change_to_argos(package, pieces, source, target)
        found = verify(model, tokenizer, package, lines)
        judge(found, "int8", out)
        info["verification"] = found._asdict()
        written = temporary / f"{name}.argosmodel"
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in ("metadata.json", PIECES, *(f"model/{file}" for file in MODEL_FILES)):
                archive.write(package / file, f"{name}/{file}")
        card = model_card(info, record or Record(), written.stat().st_size)  # its own few kilobytes are not in it
        (temporary / CARD).write_text(card, encoding="utf-8")
        with zipfile.ZipFile(written, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.write(temporary / CARD, f"{name}/{CARD}")
        info["files"] = {written.name: sha256(written)}
        write_info(temporary, info)
    return info


def _change_to_argos(package: Path, pieces: bytes, source: str, target: str) -> None:
    """Add to a folder with a model what else is in a package."""
    path = package / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["add_source_eos"] = True  # Argos gives the pieces alone
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    metadata = {
        "package_version": PACKAGE_VERSION,
        "argos_version": ARGOS_VERSION,
        "from_code": source,
        "from_name": language_name(source),
        "to_code": target,
        "to_name": language_name(target),
    }
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (package / "metadata.json").write_text(text, encoding="utf-8")
    (package / PIECES).write_bytes(pieces)


def verify(model: Transformer, tokenizer: Tokenizer, package: Path, lines: Sequence[str]) -> Agreement:
    """Run an unpacked package as Argos Translate does, by its own files: SentencePiece's pieces, and no end mark."""
    import ctranslate2
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(package / PIECES))
    rows = [processor.encode(line, out_type=str) for line in lines]
    engine = ctranslate2.Translator(str(package / "model"), intra_threads=1)
    longest = min(VERIFIED_TOKENS, model.max_positions - 1)
    found = engine.translate_batch(rows, beam_size=1, max_decoding_length=longest)
    theirs = piece_ids([result.hypotheses[0] for result in found], tokenizer)
    ours = greedy(TorchTranslator(model, tokenizer), lines)
    scored = engine.score_batch(rows, [hypothesis.tokens[:longest] for hypothesis in ours])
    differences = []
    for hypothesis, result in zip(ours, scored, strict=True):
        pairs = zip(hypothesis.token_scores or [], result.log_probs, strict=False)
        differences += [abs(a - b) for a, b in list(pairs)[1:]]  # as in ctranslate2.py
    parted = zip(tokenizer.encode_source(lines), piece_ids([h.tokens for h in ours], tokenizer), theirs, strict=True)
    return agreement([preference(model, *row) for row in parted], differences)
