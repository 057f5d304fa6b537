"""Export to ONNX: one folder for browsers, node and onnxruntime.

    onnx/*.onnx        an encoder and a decoder (onnx_graphs.py)
    config.json        (of a Transformer also generation_config.json)
    tokenizer.json     and what else OPUS-MT's folders have of a tokenizer

A Transformer's layout is that of Hugging Face's transformers.js; an LSTM's is polystill's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError
from polystill.export.format import Export, Format, Verified
from polystill.storage import write_json

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer

UNKNOWN_SCORE = 1000.0
"""How far the score of a piece that the source's SentencePiece model lacks lies below all others."""


class Onnx(Format):
    name = "onnx"
    engine = "ONNX"
    purpose = "onnxruntime; transformers.js in node and browsers (Transformers)"
    library = "transformers.js"
    architectures = ("transformer", "lstm")
    beam = 1
    packages = ("onnx", "onnxruntime")
    usage = """
In JavaScript (`npm install @huggingface/transformers`), in node or in a browser:

```js
import {{ env, pipeline }} from "@huggingface/transformers";

env.localModelPath = "path/of/the/folder/above";
const translate = await pipeline("translation", "name-of-this-folder", {{ dtype: "fp32" }});
console.log(await translate("A sentence."));
```

The two graphs in `onnx/` run in any onnxruntime.
"""
    lstm_usage = """
In Python (`pip install onnxruntime tokenizers`), greedily:

```python
import numpy as np, onnxruntime, tokenizers

folder, state = "path/of/this/folder", ("hidden", "cells", "attentional")
tokenizer = tokenizers.Tokenizer.from_file(f"{{folder}}/tokenizer.json")
pad, eos = tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("</s>")
encoder = onnxruntime.InferenceSession(f"{{folder}}/onnx/encoder_model.onnx")
decoder = onnxruntime.InferenceSession(f"{{folder}}/onnx/decoder_model.onnx")


def translate(text):
    ids = np.array([tokenizer.encode(text).ids])
    mask = np.ones_like(ids)
    encoded = encoder.run(None, {{"input_ids": ids, "attention_mask": mask}})
    feeds = {{"encoder_attention_mask": mask, **dict(zip((*state, "keys", "values"), encoded))}}
    tokens = [pad]
    while tokens[-1] != eos and len(tokens) <= {max_positions}:
        logits, *following = decoder.run(None, {{**feeds, "input_ids": np.array(tokens[-1:])}})
        feeds |= dict(zip(state, following))
        logits[0, [pad, eos] if len(tokens) == 1 else pad] = -np.inf
        tokens.append(int(logits[0].argmax()))
    return tokenizer.decode(tokens[1:])


print(translate("A sentence."))
```

For beam search the decoder takes several rows for each sentence of the encoder's.
"""

    def library_for(self, architecture: str) -> str:
        return "onnxruntime" if architecture == "lstm" else self.library

    def usage_for(self, architecture: str) -> str:
        return self.lstm_usage if architecture == "lstm" else self.usage

    def write(self, export: Export, folder: Path) -> None:
        from polystill.export.onnx_graphs import GRAPHS

        (folder / "onnx").mkdir()
        architecture = export.model.architecture
        GRAPHS[architecture.name].write(export.model, folder)
        for name, values in architecture.config_files(export.model.config).items():
            if "num_beams" in values:
                values |= {"num_beams": 1, "early_stopping": False}  # transformers.js searches greedily
            write_json(folder / name, values)
        export.tokenizer.save(folder)
        _write_tokenizer_json(export.tokenizer, folder, export.lines)

    def verify(self, export: Export, folder: Path) -> Verified:
        """Let onnxruntime score, token by token, what the student wrote, and see whether it would write the same."""
        import torch

        from polystill.export.agreement import forced_log_probs, log_probs, score_differences
        from polystill.export.onnx_graphs import GRAPHS

        model, translations, differences = export.model, [], []
        sessions = GRAPHS[model.architecture.name].sessions(folder)
        for source, target in zip(export.sources, export.targets, strict=True):
            logits = torch.from_numpy(sessions.logits(source, [model.pad_id, *target[:-1]]))
            scores = log_probs(logits, target, model.pad_id)
            differences += score_differences(forced_log_probs(model, source, target), scores)
            logits[0, model.eos_id] = -torch.inf  # an empty translation is ruled out
            translations.append(logits.argmax(-1).tolist())
        return Verified(translations, differences)


def _write_tokenizer_json(tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> None:
    """Write tokenizer.json, which Hugging Face's JavaScript and Rust libraries read, and what JavaScript needs beside.

    Raises:
        UserError: the source's SentencePiece model is not a unigram model, or a line of `lines` gets other ids.
    """
    from polystill.data.tokenizer import EOS, PAD, UNK

    fast = fast_tokenizer(tokenizer)
    for line, expected in zip(lines, tokenizer.encode_source(lines), strict=True):
        if fast.encode(line).ids != expected:
            raise UserError(f"this format needs tokenizer.json, which cuts {line!r} into other ids than SentencePiece")
    fast.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD}
    # In JavaScript the class MarianTokenizer takes every ">>word<<" at the start of a text for a language code.
    config["tokenizer_class"] = "MarianTokenizer" if tokenizer.language_codes else "PreTrainedTokenizer"
    write_json(path, config, indent=1)


def fast_tokenizer(tokenizer: Tokenizer) -> Any:
    """A `tokenizers.Tokenizer` with the vocabulary's ids and the source's segmentation.

    Its Unigram model works on bytes, each written as a letter, because the one of transformers.js has no fallback to
    bytes. Only language codes are special tokens. The marks `</s>`, `<unk>` and `<pad>` are not, as the library would
    take them out of a user's text; the decoder drops them.

    Raises:
        UserError: the source's SentencePiece model is not a unigram model.
    """
    import tokenizers
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import processors
    from tokenizers.models import Unigram

    from polystill.data.tokenizer import EOS

    proto: Any = pb.ModelProto.FromString(tokenizer.sentencepiece_models[0])
    if proto.trainer_spec.model_type != pb.TrainerSpec.UNIGRAM:
        raise UserError(
            "the SentencePiece model is not of the unigram kind, which this format needs; --to ctranslate2 and --to hf "
            "take any"
        )
    fast = tokenizers.Tokenizer(Unigram(_scored_pieces(proto, tokenizer.pieces), unk_id=tokenizer.unk_id))
    fast.normalizer = _normalizer(proto.normalizer_spec)
    fast.pre_tokenizer = _pre_tokenizer()
    fast.decoder = _decoder()
    fast.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.eos_id)])
    fast.add_special_tokens(
        [tokenizers.AddedToken(code, special=True, normalized=False) for code in tokenizer.language_codes]
    )
    return fast


def _scored_pieces(proto: Any, pieces: Sequence[str]) -> list[tuple[str, float]]:
    """The vocabulary in letters that stand for bytes, with SentencePiece's scores.

    Pieces that SentencePiece never cuts text into lie far below all others. So do bytes: what else covers a character
    is preferred to them.
    """
    from sentencepiece import sentencepiece_model_pb2 as pb

    from polystill.data.tokenizer import EOS, PAD, UNK

    kinds = pb.ModelProto.SentencePiece
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type in (kinds.NORMAL, kinds.USER_DEFINED)}
    lowest = min(scores.values()) - UNKNOWN_SCORE
    letters = _letters_of_bytes()
    names = {piece: "".join(letters[byte] for byte in piece.encode()) for piece in pieces}
    names |= {mark: mark for mark in (EOS, UNK, PAD)}
    taken = set(names.values())
    for byte, letter in enumerate(letters):
        if letter not in taken and (piece := f"<0x{byte:02X}>") in names:
            names[piece] = letter
    return [(names[piece], scores.get(piece, lowest)) for piece in pieces]


def _letters_of_bytes() -> list[str]:
    """The letter that ByteLevel pre-tokenizers write for each of the 256 bytes, as GPT-2 does."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(0x100)]


def _normalizer(spec: Any) -> Any:
    """The model's normalisation. Ours is spelt out in rules, as transformers.js does not read SentencePiece's."""
    from tokenizers import Regex, normalizers

    from polystill.data.normalization import BLANKS, INVISIBLE, JOINERS, PLAIN_LETTERS

    rules: list[Any] = []
    if spec.name in ("nfc", "nfkc"):
        rules += [
            normalizers.Replace(Regex(f"(?<=[{PLAIN_LETTERS}])[{JOINERS}]"), ""),
            normalizers.Replace(Regex(f"[{INVISIBLE}]"), ""),
            normalizers.Replace(Regex(f"[{BLANKS}]"), " "),
            normalizers.NFC() if spec.name == "nfc" else normalizers.NFKC(),
        ]
    elif spec.precompiled_charsmap:
        rules.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        rules += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=True, right=True)]
    return normalizers.Sequence(rules)


def _pre_tokenizer() -> Any:
    """Mark blanks, and write text in letters that stand for bytes.

    In between, marks that a user types (`</s>`, `<0x41>`) are cut where their signs meet their letters. SentencePiece
    cuts there, too, while here they would be the pieces of these names.
    """
    from tokenizers import Regex, pre_tokenizers

    from polystill.data.tokenizer import SPACE

    names = "(?<=</)s(?=>)|(?<=<)(?:unk|pad|0x[0-9A-F]{2})(?=>)"
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(names), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _decoder() -> Any:
    from tokenizers import decoders

    from polystill.data.tokenizer import EOS, PAD, SPACE, UNK

    return decoders.Sequence(
        [
            *(decoders.Replace(mark, "") for mark in (EOS, UNK, PAD)),
            decoders.ByteFallback(),
            decoders.ByteLevel(),
            decoders.Replace(SPACE, " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
