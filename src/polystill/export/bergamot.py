"""Export to Bergamot, the translator of Firefox: 8-bit weights in its own file format, gzipped, with metadata.json.

Bergamot's Marian is a fork from 2021. Today's Marian (`pymarian convert --gemm-type intgemm8`) numbers its types
otherwise and keeps the embeddings, half of a small model, in float32, so the file is written here. It is read back
into a float32 model which Marian itself runs, to check what the weights have become.

Weights are rounded to w * 127 / max|w|, matrices transposed, embeddings not; activations are rounded while
translating, by their own largest value each time. (Names with "alphas" are for files with fixed ones; this has none.)
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polystill.data.shortlist import Shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export import marian
from polystill.export.agreement import judge
from polystill.export.bergamot_shortlist import write_shortlist
from polystill.export.card import Record, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, write_info
from polystill.export.pieces import filled, joint_pieces
from polystill.export.pymarian import decode_with_scores, find_pymarian
from polystill.models.folder import load_transformer_with_tokenizer
from polystill.models.transformer import Transformer
from polystill.storage import atomic_folder

INT8, FLOAT32, CHAR = 0x4101, 0x0404, 0x0101
"""Types by the numbers of Bergamot's Marian: int8 for intgemm, for any processor; float; the model's settings."""
ALIGNMENT = 256
WIDTH = 64
"""Inner dimensions that intgemm multiplies are multiples of this, outer ones of 8."""
NEVER = -1e9
"""Bias of rows that only fill the vocabulary up to a multiple of 8."""


def export_bergamot(
    student: Path,
    out: Path,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
    shortlist: Shortlist | None = None,
) -> dict[str, Any]:
    """Write a Hugging Face Marian folder's model for Bergamot, verify its weights in Marian, and put it at `out`.

    Verified with its whole vocabulary; how many of those translations a shortlist leaves as they are is recorded.

    Raises:
        UserError: as `marian.export_marian`; or the model has sizes that Bergamot's kernels lack, or no languages.
    """
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "Bergamot")
    marian.check_shape(model, student)
    _check_sizes(model, student)
    pair = _pair(tokenizer, student)
    find_pymarian()
    lines = lines_to_verify(model, tokenizer, lines)
    with atomic_folder(out) as temporary:
        size = _up(tokenizer.vocabulary_size - 1, 8)  # without <pad>
        content = write_binary(bergamot_items(model))
        vocabularies = [filled(pieces, size) for pieces in joint_pieces(tokenizer, lines)]
        files = {f"model.{pair}.intgemm8.bin": content}
        sides = ["vocab"] if len(vocabularies) == 1 else ["srcvocab", "trgvocab"]
        files |= {f"{side}.{pair}.spm": v for side, v in zip(sides, vocabularies, strict=True)}
        info = {**describe_export(student, model, tokenizer, "bergamot"), "quantization": "int8"}
        with _unpacked(content, vocabularies) as (readable, paths):
            found = marian.verify(model, tokenizer, readable, paths, lines)
            judge(found, "int8", out)
            info["verification"] = found._asdict()
            if shortlist is not None:
                lists = write_shortlist(shortlist, tokenizer.eos_id, tokenizer.unk_id, size)
                files[f"lex.{pair}.s2t.bin"] = lists
                info["shortlist"] = _say_of(shortlist, lists, readable, paths, lines)
        for name, uncompressed in files.items():
            (temporary / f"{name}.gz").write_bytes(gzip.compress(uncompressed, mtime=0))
        write_info(temporary, info)
        (temporary / "metadata.json").write_text(_metadata(info, files), encoding="utf-8")
        write_card(temporary, info, record)
    return info


def _check_sizes(model: Transformer, origin: Path) -> None:
    for name in ("d_model", "ffn_dim"):
        if (size := getattr(model.config, name)) % WIDTH:
            raise UserError(f"{origin}: {name} {size}: Bergamot multiplies in steps of {WIDTH}; use a multiple of it")


def _pair(tokenizer: Tokenizer, origin: Path) -> str:
    languages = tokenizer.source_language, tokenizer.target_language
    if None in languages:
        raise UserError(
            f"{origin}: tokenizer_config.json lacks source_lang or target_lang, after which files are named"
        )
    return "".join(map(str, languages))


# --- the file format ----------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One array of the file: `content` as stored, padded to ALIGNMENT."""

    name: str
    kind: int
    shape: tuple[int, ...]
    content: bytes


def bergamot_items(model: Transformer) -> Iterator[Item]:
    """The model's arrays, in alphabetical order, as Marian writes them."""
    for name, array in sorted(marian.parameters(model)):
        if name == "special:model.yml":
            continue
        if name == "Wemb":
            yield _rounded(name, _filled(array, 0, 0.0), transpose=False)
        elif name == "decoder_ff_logit_out_b":
            yield _exact(name, _filled(array, 1, NEVER))
        elif name.rsplit("_", 1)[-1].startswith("W"):
            yield _rounded(name, array, transpose=True)
        else:
            yield _exact(name, array)
    settings = marian.model_settings(model, _up(model.config.vocabulary_size - 1, 8)).encode() + b"\0"
    yield Item("special:model.yml", CHAR, (len(settings),), _padded(settings))


def _filled(array: NDArray[Any], axis: int, value: float) -> NDArray[Any]:
    missing = _up(array.shape[axis], 8) - array.shape[axis]
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths, constant_values=value)


def _rounded(name: str, array: NDArray[Any], transpose: bool) -> Item:
    multiplier = np.float32(127 / max(float(np.abs(array).max()), 1e-9))
    rounded = np.rint(array * multiplier).astype(np.int8)
    content = np.ascontiguousarray(rounded.T if transpose else rounded).tobytes() + multiplier.tobytes()
    return Item(name, INT8, array.shape, _padded(content))


def _exact(name: str, array: NDArray[Any]) -> Item:
    return Item(name, FLOAT32, array.shape, _padded(np.ascontiguousarray(array, np.float32).tobytes()))


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _padded(content: bytes) -> bytes:
    return content.ljust(_up(len(content), ALIGNMENT), b"\0")


def write_binary(items: Iterator[Item]) -> bytes:
    """Marian's binary model file, version 1: headers, names, shapes, and from a multiple of ALIGNMENT on the arrays."""
    rows = list(items)
    names = [row.name.encode() + b"\0" for row in rows]
    head = struct.pack("<QQ", 1, len(rows))
    for row, name in zip(rows, names, strict=True):
        head += struct.pack("<QQQQ", len(name), row.kind, len(row.shape), len(row.content))
    head += b"".join(names) + b"".join(struct.pack(f"<{len(row.shape)}i", *row.shape) for row in rows)
    gap = -(len(head) + 8) % ALIGNMENT
    return head + struct.pack("<Q", gap) + b"\0" * gap + b"".join(row.content for row in rows)


def read_binary(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of such a file, 8-bit ones as the float32 values that they stand for."""
    _, count = struct.unpack_from("<QQ", content)
    headers = [struct.unpack_from("<QQQQ", content, 16 + 32 * i) for i in range(count)]
    at = 16 + 32 * count
    names, shapes, arrays = [], [], {}
    for length, *_ in headers:
        names.append(content[at : at + length - 1].decode())
        at += length
    for _, _, dimensions, _ in headers:
        shapes.append(struct.unpack_from(f"<{dimensions}i", content, at))
        at += 4 * dimensions
    at += 8 + struct.unpack_from("<Q", content, at)[0]
    for name, shape, (_, kind, _, length) in zip(names, shapes, headers, strict=True):
        arrays[name] = _read_array(name, kind, shape, content[at : at + length])
        at += length
    return arrays


def _read_array(name: str, kind: int, shape: tuple[int, ...], content: bytes) -> NDArray[Any]:
    size = int(np.prod(shape))
    if kind != INT8:
        return np.frombuffer(content, np.int8 if kind == CHAR else np.float32, size).reshape(shape)
    (multiplier,) = struct.unpack_from("<f", content, size)
    stored = np.frombuffer(content, np.int8, size)
    rounded = stored.reshape(shape) if name == "Wemb" else stored.reshape(shape[::-1]).T
    return np.ascontiguousarray(rounded / np.float32(multiplier), np.float32)


# --- verification, metadata ---------------------------------------------------------------------------------------


@contextmanager
def _unpacked(content: bytes, vocabularies: Sequence[bytes]) -> Iterator[tuple[Path, list[Path]]]:
    """The weights as they were rounded in a float32 model, and the vocabularies, as files that Marian reads."""
    with TemporaryDirectory(prefix="polystill-") as temporary:
        folder = Path(temporary)
        arrays: dict[str, Any] = read_binary(content)
        np.savez(folder / marian.MODEL, **arrays)
        paths = [folder / f"{i}.spm" for i in range(len(vocabularies))]
        for path, pieces in zip(paths, vocabularies, strict=True):
            path.write_bytes(pieces)
        yield folder / marian.MODEL, [paths[0], paths[-1]]


def _say_of(
    shortlist: Shortlist, content: bytes, model: Path, vocabularies: Sequence[Path], lines: Sequence[str]
) -> dict[str, Any]:
    """What polystill.json is to say of a shortlist; Marian reads it, and checks its sum and bounds."""
    path = model.with_name("lex.bin")
    path.write_bytes(content)
    before, after = (decode_with_scores(model, vocabularies, lines, lists) for lists in (None, path))
    same = sum(a.pieces == b.pieces for a, b in zip(before, after, strict=True))
    said = {"frequent": len(shortlist.frequent), "sentences": shortlist.sentences}
    return {**said, "same_translations": same, "lines": len(lines)}


def _metadata(info: dict[str, Any], files: dict[str, bytes]) -> str:
    """metadata.json as Firefox's models have it; sizes and hashes are of the uncompressed files."""
    described = {
        name.split(".")[0]: {
            "name": name,
            "size": len(content),
            "estimatedCompressedSize": len(gzip.compress(content, mtime=0)),
            "expectedSha256Hash": hashlib.sha256(content).hexdigest(),
        }
        for name, content in files.items()
    }
    values = {
        "architecture": f"transformer {info['name']}",
        "byteSize": sum(len(content) for content in files.values()),
        "sourceLanguage": info["source_language"],
        "targetLanguage": info["target_language"],
        "modelConfig": {"beam-size": 1, "normalize": 1.0, "gemm-precision": "int8shiftAll", "skip-cost": True},
        "files": described,
    }
    return json.dumps(values, indent=2) + "\n"
