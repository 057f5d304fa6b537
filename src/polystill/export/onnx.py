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

UNKNOWN_SCORE = 100.0
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
    config |= {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD, "tokenizer_class": "MarianTokenizer"}
    write_json(path, config, indent=1)


def fast_tokenizer(tokenizer: Tokenizer) -> Any:
    """A `tokenizers.Tokenizer` with the vocabulary's ids and the source's segmentation.

    Raises:
        UserError: the source's SentencePiece model is not a unigram model.
    """
    import tokenizers
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import decoders, pre_tokenizers, processors
    from tokenizers.models import Unigram

    from polystill.data.tokenizer import EOS, PAD, SPACE, UNK

    proto: Any = pb.ModelProto.FromString(tokenizer.sentencepiece_models[0])
    if proto.trainer_spec.model_type != pb.TrainerSpec.UNIGRAM:
        raise UserError("this format needs a SentencePiece model of the unigram kind")
    scores = {piece.piece: piece.score for piece in proto.pieces}
    lowest = min(scores.values()) - UNKNOWN_SCORE
    vocabulary = [(piece, scores.get(piece, lowest)) for piece in tokenizer.pieces]
    fast = tokenizers.Tokenizer(Unigram(vocabulary, unk_id=tokenizer.unk_id, byte_fallback=False))
    fast.normalizer = _normalizer(proto.normalizer_spec)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    fast.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    fast.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.eos_id)])
    specials = [EOS, UNK, PAD, *(piece for piece in tokenizer.pieces if piece.startswith(">>") and piece[-2:] == "<<")]
    fast.add_special_tokens([tokenizers.AddedToken(piece, special=True, normalized=False) for piece in specials])
    return fast


def _normalizer(spec: Any) -> Any:
    from tokenizers import Regex, normalizers

    rules: list[Any] = []
    if spec.precompiled_charsmap:
        rules.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        rules += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=True, right=True)]
    return normalizers.Sequence(rules)
