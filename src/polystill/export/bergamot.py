"""Export to Bergamot, the translator of Firefox: 8-bit weights in its own file format, gzipped, with metadata.json.

Bergamot's Marian is a fork from 2021. Today's Marian (`pymarian convert --gemm-type intgemm8`) numbers its types
otherwise and keeps the embeddings, half of a small model, in float32, so the file is written here (bergamot_file.py).
To verify it, it is read back into a float32 model, which Marian itself runs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError
from polystill.export.format import Export, Format, Info, MakeCard, Verified
from polystill.export.marian import MODEL, check_shape, verify_in_marian
from polystill.export.pymarian import decode_with_scores, find_pymarian

if TYPE_CHECKING:
    from polystill.data.shortlist import Shortlist
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.elastic import ElasticModel

WIDTH = 64
"""Inner dimensions that intgemm multiplies are multiples of this, outer ones of 8."""


class Bergamot(Format):
    name = "bergamot"
    engine = "Bergamot"
    purpose = "Firefox's translator, translateLocally"
    library = "bergamot"
    precisions = ("int8",)
    beam = 1
    shortlist = 50  # a page translates few sentences at a time, whose pieces ask for less together than a batch's
    shortlist_usage = "`lex.*.bin`, which the runtime uses by itself"
    needs = "`model.positions: marian` in the recipe and `pip install pymarian`"
    usage = """
Unpack the files (`gunzip`) and give them to Bergamot's translator (`npm install @browsermt/bergamot-translator`, or
translateLocally) with `gemm-precision: int8shiftAll`. `metadata.json` names them, with sizes and hashes.
"""

    def check(self, model: ElasticModel, tokenizer: Tokenizer, origin: Path) -> None:
        check_shape(model, origin)
        for name in ("d_model", "ffn_dim"):
            if (size := getattr(model.config, name)) % WIDTH:
                raise UserError(
                    f"{origin}: {name} {size}: Bergamot multiplies in steps of {WIDTH}; use a multiple of it"
                )
        if None in (tokenizer.source_language, tokenizer.target_language):
            raise UserError(
                f"{origin}: tokenizer_config.json lacks source_lang or target_lang, after which files are named"
            )
        find_pymarian()

    def write(self, export: Export, folder: Path) -> None:
        from polystill.export.bergamot_file import bergamot_items, write_binary
        from polystill.export.pieces import filled, joint_pieces

        pair, size = _pair(export.tokenizer), _size(export.tokenizer)
        vocabularies = [filled(pieces, size) for pieces in joint_pieces(export.tokenizer, export.lines)]
        _write(folder / f"model.{pair}.intgemm8.bin", write_binary(bergamot_items(export.model)))
        sides = ["vocab"] if len(vocabularies) == 1 else ["srcvocab", "trgvocab"]
        for side, content in zip(sides, vocabularies, strict=True):
            _write(folder / f"{side}.{pair}.spm", content)

    def verify(self, export: Export, folder: Path) -> Verified:
        """Run the weights as they were rounded, in Marian."""
        with _unpacked(folder) as (model, vocabularies):
            return verify_in_marian(export, model, vocabularies)

    def add_shortlist(self, export: Export, folder: Path, shortlist: Shortlist) -> int:
        """Write the shortlist beside the model; Marian reads it, and checks its sum and bounds."""
        from polystill.export.bergamot_file import write_shortlist

        tokenizer = export.tokenizer
        content = write_shortlist(shortlist, tokenizer.eos_id, tokenizer.unk_id, _size(tokenizer))
        with _unpacked(folder) as (model, vocabularies):
            path = model.with_name("lex.bin")
            path.write_bytes(content)
            before, after = (decode_with_scores(model, vocabularies, export.lines, lists) for lists in (None, path))
        _write(folder / f"lex.{_pair(tokenizer)}.s2t.bin", content)
        return sum(a.pieces == b.pieces for a, b in zip(before, after, strict=True))

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        (folder / "metadata.json").write_text(_metadata(folder, info), encoding="utf-8")
        super().finish(folder, info, card)


def _pair(tokenizer: Tokenizer) -> str:
    """The languages, as in file names: "ende"."""
    return f"{tokenizer.source_language}{tokenizer.target_language}"


def _size(tokenizer: Tokenizer) -> int:
    """The size of the vocabulary without `<pad>`, rounded up to a multiple of 8."""
    return -(-(tokenizer.vocabulary_size - 1) // 8) * 8


def _write(path: Path, content: bytes) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, mtime=0))


@contextmanager
def _unpacked(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The written weights in a float32 model, and the vocabularies of both sides, as files that Marian reads."""
    import numpy as np

    from polystill.export.bergamot_file import read_binary

    with TemporaryDirectory(prefix="polystill-") as temporary:
        path = Path(temporary) / MODEL
        (packed,) = folder.glob("model.*.gz")
        arrays: dict[str, Any] = read_binary(gzip.decompress(packed.read_bytes()))
        np.savez(path, **arrays)
        vocabularies = sorted(folder.glob("*vocab.*.gz"))  # vocab, or srcvocab and trgvocab
        for packed in vocabularies:
            path.with_name(packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        yield path, [path.with_name(packed.stem) for packed in (vocabularies[0], vocabularies[-1])]


def _metadata(folder: Path, info: Info) -> str:
    """metadata.json as Firefox's models have it; sizes and hashes are of the uncompressed files."""
    import hashlib

    files: dict[str, dict[str, Any]] = {}
    for packed in (path for name in ("model", "*vocab", "lex") for path in sorted(folder.glob(f"{name}.*.gz"))):
        content = gzip.decompress(packed.read_bytes())
        files[packed.name.split(".")[0]] = {
            "name": packed.stem,
            "size": len(content),
            "estimatedCompressedSize": packed.stat().st_size,
            "expectedSha256Hash": hashlib.sha256(content).hexdigest(),
        }
    alignment = {"alignment": "soft"} if info.get("alignment") else {}  # what HTML's tags are placed by
    config = {"beam-size": 1, "normalize": 1.0, "gemm-precision": "int8shiftAll", "skip-cost": True, **alignment}
    values = {
        "architecture": f"transformer {info['name']}",
        "byteSize": sum(file["size"] for file in files.values()),
        "sourceLanguage": info["source_language"],
        "targetLanguage": info["target_language"],
        "modelConfig": config,
        "files": files,
    }
    return json.dumps(values, indent=2) + "\n"
