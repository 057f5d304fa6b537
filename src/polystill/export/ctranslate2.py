"""Export for CTranslate2: one folder with the model and its tokenizer, which is all that a device needs.

8-bit weights are kept within ±63, seven bits. On AVX2 processors without VNNI (seen on AMD's), CTranslate2's matrix
product adds pairs of 8-bit products in 16 bits and clips the sum, which garbles translations if weights use all eight
bits. With seven bits nothing is clipped (2 * 255 * 63 < 2**15).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.export.format import Export, Format, Info, MakeCard, Verified, write_info
from polystill.storage import sha256

if TYPE_CHECKING:
    from polystill.data.shortlist import Shortlist


class CTranslate2(Format):
    name = "ctranslate2"
    engine = "CTranslate2"
    purpose = "CTranslate2, `polystill translate` without torch"
    library = "ctranslate2"
    precisions = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
    shortlist = 10
    shortlist_usage = "`vmap.txt`; `use_vmap=True`"
    usage = """
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
"""

    def write(self, export: Export, folder: Path) -> None:
        _convert(export.student, folder, export.precision)
        export.tokenizer.save_with_engine(folder)

    def verify(self, export: Export, folder: Path) -> Verified:
        """Let CTranslate2 translate, and score what the student wrote."""
        from polystill.decoding.ctranslate2 import CTranslate2Translator
        from polystill.export.agreement import greedy, ids_of, score_differences

        exported = CTranslate2Translator(folder, _compute_type(export.precision))
        translations = ids_of(greedy(exported, export.lines), export.tokenizer)
        differences = []
        rows = exported.score(export.lines, [hypothesis.tokens for hypothesis in export.hypotheses])
        for hypothesis, scores in zip(export.hypotheses, rows, strict=True):
            # The search gives an empty translation no probability, which moves the first token's. And a translation
            # that was cut off has no score of its end mark.
            differences += score_differences((hypothesis.token_scores or [])[1:], scores[1:], strict=False)
        return Verified(translations, differences)

    def add_shortlist(self, export: Export, folder: Path, shortlist: Shortlist) -> int:
        """Write the shortlist as CTranslate2's vocabulary map."""
        from polystill.decoding.ctranslate2 import SHORTLIST, read_info

        before = _texts(folder, export)
        pieces = export.tokenizer.pieces
        rules = {"": shortlist.frequent, **{pieces[source]: targets for source, targets in shortlist.likely.items()}}
        rows = (f"{source}\t{' '.join(pieces[target] for target in targets)}\n" for source, targets in rules.items())
        (folder / SHORTLIST).write_text("".join(rows), encoding="utf-8")
        write_info(folder, {**read_info(folder), "shortlist": {}})  # polystill's engine uses what is named there
        return sum(a == b for a, b in zip(before, _texts(folder, export), strict=True))

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        from polystill.decoding.ctranslate2 import INFO

        info["files"] = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != INFO}
        super().finish(folder, info, card)


def _convert(student: Path, folder: Path, precision: str) -> None:
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
    _quantize(spec, precision)
    spec.save(str(folder))


def _quantize(spec: Any, precision: str) -> None:
    """Quantize as CTranslate2 does, but int8 weights to ±63. They stand for weight / scale, one scale a row."""
    import numpy as np

    exact = {}
    if precision.startswith("int8"):
        exact = {name: value.numpy().copy() for name, value in spec.variables().items() if hasattr(value, "numpy")}
    spec.optimize(quantization=precision)
    variables = spec.variables()
    for name, weight in variables.items():
        scale = variables.get(f"{name}_scale")
        if scale is not None and getattr(weight, "dtype", None) == "int8":  # others are aliases of these
            scale.array = scale.numpy() * np.float32(63 / 127)
            weight.array = np.rint(exact[name] * scale.array[:, None]).astype(np.int8)


def _texts(folder: Path, export: Export) -> list[str]:
    from polystill.decoding.ctranslate2 import CTranslate2Translator
    from polystill.decoding.translator import DecodingOptions

    engine = CTranslate2Translator(folder, _compute_type(export.precision))
    return [hypotheses[0].text for hypotheses in engine.translate(export.lines, DecodingOptions(beam_size=1))]


def _compute_type(precision: str) -> str:
    """The type to compute in when verifying: as stored, or in float32 if this device cannot."""
    from ctranslate2 import get_supported_compute_types

    native = precision in get_supported_compute_types("cpu")
    return "default" if native else "int8_float32" if precision.startswith("int8") else "float32"
