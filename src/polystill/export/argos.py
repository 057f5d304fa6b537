"""Export as an Argos package, a zip with a CTranslate2 model, which Argos Translate and LibreTranslate install.

A package may hold a model that splits text into sentences; this one holds none, and Argos Translate then downloads its
own (MiniSBD) when it first translates from a language. The weights are always int8: Argos Translate computes in 8 bits
whatever the package holds, and float weights would then lack the seven bits that ctranslate2.py keeps to.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polystill.errors import UserError
from polystill.export.ctranslate2 import CTranslate2
from polystill.export.format import CARD, Export, Format, Info, MakeCard, Verified, write_info
from polystill.storage import sha256, write_json

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.elastic import ElasticModel

PACKAGE_VERSION, ARGOS_VERSION = "1.0", "1.9"
PIECES = "sentencepiece.model"
MODEL_FILES = ("config.json", "model.bin", "shared_vocabulary.json")


class Argos(Format):
    name = "argos"
    engine = "Argos Translate"
    purpose = "Argos Translate, LibreTranslate"
    library = "argostranslate"
    precisions = ("int8",)
    beam = 4
    usage = """
```
argospm install translate-{between}-1_0.argosmodel
argos-translate --from-lang {source_language} --to-lang {target_language} "A sentence."
```

LibreTranslate serves what is installed this way.
"""

    def check(self, model: ElasticModel, tokenizer: Tokenizer, origin: Path) -> None:
        if tokenizer.source_language is None or tokenizer.target_language is None:
            raise UserError(f"{origin}: tokenizer_config.json lacks source_lang or target_lang, which Argos needs")

    def write(self, export: Export, folder: Path) -> None:
        """Write the package, translate-{from}_{to}-1_0.argosmodel, around a model that is verified in CTranslate2."""
        import zipfile

        from polystill.export.agreement import compare
        from polystill.export.pieces import joint_pieces

        source, target = export.tokenizer.languages
        assert source is not None and target is not None
        pieces = joint_pieces(export.tokenizer, export.lines)[0]
        name = f"translate-{source}_{target}-{PACKAGE_VERSION.replace('.', '_')}"
        with TemporaryDirectory(prefix="polystill-") as temporary:
            package = Path(temporary) / name
            model = package / "model"
            model.mkdir(parents=True)
            CTranslate2().write(export, model)
            write_info(model, {"max_positions": export.model.max_positions})
            compare(export, CTranslate2().verify(export, model))
            _change_to_argos(package, pieces, source, target)
            with zipfile.ZipFile(folder / f"{name}.argosmodel", "w", zipfile.ZIP_DEFLATED) as archive:
                for file in ("metadata.json", PIECES, *(f"model/{file}" for file in MODEL_FILES)):
                    archive.write(package / file, f"{name}/{file}")

    def verify(self, export: Export, folder: Path) -> Verified:
        """Run the package's own files as Argos Translate does: SentencePiece's pieces, and no end mark."""
        import zipfile

        import ctranslate2
        from sentencepiece import SentencePieceProcessor

        from polystill.data.tokenizer import EOS
        from polystill.export.agreement import VERIFIED_TOKENS, piece_ids, score_differences

        with TemporaryDirectory(prefix="polystill-") as temporary:
            with zipfile.ZipFile(_package(folder)) as archive:
                archive.extractall(temporary)
            package = Path(temporary) / _package(folder).stem
            processor = SentencePieceProcessor(model_file=str(package / PIECES))
            engine = ctranslate2.Translator(str(package / "model"), intra_threads=1)
        rows = [processor.encode(line, out_type=str) for line in export.lines]
        longest = min(VERIFIED_TOKENS, export.model.max_positions - 1)
        translated = engine.translate_batch(rows, beam_size=1, max_decoding_length=longest)
        scored = engine.score_batch(rows, [hypothesis.tokens[:longest] for hypothesis in export.hypotheses])
        differences, pieces = [], []
        for hypothesis, result, written in zip(export.hypotheses, scored, translated, strict=True):
            scores = (hypothesis.token_scores or [])[1:], result.log_probs[1:]  # not the first, as in ctranslate2.py
            differences += score_differences(*scores, strict=False)
            tokens = written.hypotheses[0]
            pieces.append([*tokens, *[EOS] * (len(tokens) < longest)])  # it does not say whether it has ended
        return Verified(piece_ids(pieces, export.tokenizer), differences)

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        """Put the card beside the package and into it, too."""
        import zipfile

        package = _package(folder)
        text = card(info, package.stat().st_size)  # without the few kilobytes of the card itself
        (folder / CARD).write_text(text, encoding="utf-8")
        with zipfile.ZipFile(package, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / CARD, f"{package.stem}/{CARD}")
        info["files"] = {package.name: sha256(package)}
        write_info(folder, info)


def _package(folder: Path) -> Path:
    return next(folder.glob("*.argosmodel"))


def _change_to_argos(package: Path, pieces: bytes, source: str, target: str) -> None:
    """Turn a folder with a model into a package's: add the other files and change the model's configuration."""
    from polystill.languages import language_name

    path = package / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"add_source_eos": True}  # Argos gives the pieces alone
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    metadata = {
        "package_version": PACKAGE_VERSION,
        "argos_version": ARGOS_VERSION,
        "from_code": source,
        "from_name": language_name(source),
        "to_code": target,
        "to_name": language_name(target),
    }
    write_json(package / "metadata.json", metadata)
    (package / PIECES).write_bytes(pieces)
