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

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export.card import CARD, Record, model_card
from polystill.export.ctranslate2 import export_ctranslate2
from polystill.export.description import check_replaceable, lines_to_verify, write_info
from polystill.export.pieces import joint_pieces
from polystill.models.folder import need_transformer
from polystill.storage import atomic_folder

PACKAGE_VERSION, ARGOS_VERSION = "1.0", "1.9"
MODEL_FILES = ("config.json", "model.bin", "shared_vocabulary.json")


def export_argos(
    student: Path,
    out: Path,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Write a folder with translate-{from}_{to}-1_0.argosmodel, whose model is `export_ctranslate2`'s, verified there.

    Raises:
        UserError: as `export_student`; or the tokenizer's folder does not say the languages.
    """
    check_replaceable(out)
    need_transformer(student, "Argos Translate")
    tokenizer = Tokenizer.load(student)
    source, target = tokenizer.source_language, tokenizer.target_language
    if source is None or target is None:
        raise UserError(f"{student}: tokenizer_config.json lacks source_lang or target_lang, which Argos needs")
    lines = lines_to_verify(tokenizer, lines)
    pieces = joint_pieces(tokenizer, lines)[0]
    with atomic_folder(out) as temporary, TemporaryDirectory(prefix="polystill-") as work:
        converted = Path(work) / "model"
        info = export_ctranslate2(student, converted, "int8", lines)
        config = json.loads((converted / "config.json").read_text(encoding="utf-8"))
        config["add_source_eos"] = True  # Argos gives the pieces alone
        (converted / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        name = f"translate-{source}_{target}-{PACKAGE_VERSION.replace('.', '_')}"
        metadata = {
            "package_version": PACKAGE_VERSION,
            "argos_version": ARGOS_VERSION,
            "from_code": source,
            "from_name": language_name(source),
            "to_code": target,
            "to_name": language_name(target),
        }
        info["format"] = "argos"
        card = model_card(info, record or Record(), sum((converted / file).stat().st_size for file in MODEL_FILES))
        with zipfile.ZipFile(temporary / f"{name}.argosmodel", "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr(f"{name}/metadata.json", json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
            package.writestr(f"{name}/README.md", card)
            package.writestr(f"{name}/sentencepiece.model", pieces)
            for file in MODEL_FILES:
                package.write(converted / file, f"{name}/model/{file}")
        write_info(temporary, info)
        (temporary / CARD).write_text(card, encoding="utf-8")
    return info


_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """The language's English name, where it is a common one; else the code."""
    return _NAMES.get(code, code)
