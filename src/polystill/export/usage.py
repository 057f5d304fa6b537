"""How an export is used, format by format: a model card's section for whoever has only the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def how_to_use(info: dict[str, Any], languages: Sequence[str]) -> str:
    """The section's Markdown; `info` as in polystill.json."""
    values = {
        **info,
        "between": "_".join(languages),
        "vmap": ", use_vmap=True" * ("shortlist" in info),
        "target": _TARGET if "target.spm" in info.get("files", {}) else "source",
    }
    return _TEXTS[_kind(info)].strip().format(**values)


def library_of(info: dict[str, Any]) -> str:
    """The Hub's name for what runs it."""
    return _LIBRARIES[_kind(info)]


def other_formats(info: dict[str, Any]) -> str:
    """The other formats of its architecture, as options are written."""
    known = ["onnx", "sparse"] if info["architecture"] == "lstm" else [n for n in _LIBRARIES if n != "onnx-lstm"]
    return ", ".join(f"`{name}`" for name in known if name != info["format"])


def _kind(info: dict[str, Any]) -> str:
    """Which of the texts is right."""
    return "onnx-lstm" if (info["format"], info["architecture"]) == ("onnx", "lstm") else str(info["format"])


_LIBRARIES = {
    "hf": "transformers",
    "ctranslate2": "ctranslate2",
    "argos": "argostranslate",
    "onnx": "transformers.js",
    "onnx-lstm": "onnxruntime",
    "marian": "marian",
    "bergamot": "bergamot",
    "sparse": "polystill",
}
_TARGET = 'sentencepiece.SentencePieceProcessor(model_file="path/of/this/folder/target.spm")'
_TEXTS = {
    "hf": """
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
model = AutoModelForSeq2SeqLM.from_pretrained("path/of/this/folder")
batch = tokenizer(["A sentence."], return_tensors="pt", padding=True)
print(tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True))
```
""",
    "ctranslate2": """
With CTranslate2 itself (`pip install ctranslate2 sentencepiece`):

```python
import ctranslate2, sentencepiece

source = sentencepiece.SentencePieceProcessor(model_file="path/of/this/folder/source.spm")
target = {target}
translator = ctranslate2.Translator("path/of/this/folder")
pieces = [*source.encode("A sentence.", out_type=str), "</s>"]
found = translator.translate_batch([pieces], beam_size={beam_size}, length_penalty={length_penalty:g}{vmap})
print(target.decode(found[0].hypotheses[0]))
```

With polystill, which is installed from its source (`pip install PATH_TO_CHECKOUT`, no torch):

```
echo "A sentence." | polystill translate path/of/this/folder
```
""",
    "argos": """
```
argospm install translate-{between}-1_0.argosmodel
argos-translate --from-lang {source_language} --to-lang {target_language} "A sentence."
```

LibreTranslate serves what is installed this way.
""",
    "onnx": """
In JavaScript (`npm install @huggingface/transformers`), in node or in a browser:

```js
import {{ env, pipeline }} from "@huggingface/transformers";

env.localModelPath = "path/of/the/folder/above";
const translate = await pipeline("translation", "name-of-this-folder", {{ dtype: "fp32" }});
console.log(await translate("A sentence."));
```

The two graphs in `onnx/` run in any onnxruntime.
""",
    "onnx-lstm": """
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
""",
    "marian": """
```
echo "A sentence." | marian-decoder --config decoder.yml
```

or `pymarian decode --config decoder.yml`. Vocabularies are SentencePiece models: give it plain text.
""",
    "bergamot": """
Unpack the files (`gunzip`) and give them to Bergamot's translator (`npm install @browsermt/bergamot-translator`, or
translateLocally) with `gemm-precision: int8shiftAll`. `metadata.json` names them, with sizes and hashes.
""",
    "sparse": """
With polystill, installed from its source (`pip install 'PATH_TO_CHECKOUT[train]'`), which reads weights without their
zeros:

```
echo "A sentence." | polystill translate path/of/this/folder --engine torch
```
""",
}
