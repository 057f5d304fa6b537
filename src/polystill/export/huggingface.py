"""Export for Hugging Face's transformers: the student's Marian folder with a model card."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

from polystill.errors import UserError
from polystill.export.format import Export, Format, Verified
from polystill.storage import write_json

GENERATION = "generation_config.json"
LARGEST_DIFFERENCE = 1e-3
"""The most that a logit of MarianMTModel may differ from ours."""
_GREEDILY = {
    **{"num_beams": 1, "do_sample": False, "length_penalty": 1.0, "early_stopping": False},
    **{"max_length": None, "forced_eos_token_id": None},
}


class HuggingFace(Format):
    name = "hf"
    engine = "Hugging Face's transformers"
    purpose = "transformers (Python)"
    library = "transformers"
    usage = """
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
model = AutoModelForSeq2SeqLM.from_pretrained("path/of/this/folder")
text = "A sentence."
if not text.startswith(tuple(tokenizer.supported_language_codes)):
    text = " " + text  # without the blank, MarianTokenizer would lose a text that begins with >>...<<
batch = tokenizer([text], return_tensors="pt", padding=True)
print(tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True))
```
"""

    def write(self, export: Export, folder: Path) -> None:
        from polystill.runs.family import WEIGHTS

        for name in ("config.json", GENERATION, WEIGHTS):
            if (export.student / name).is_file():
                shutil.copyfile(export.student / name, folder / name)
        path, search = folder / GENERATION, export.search
        if search is not None and path.is_file():
            beam = search.beam_size > 1
            penalty = search.length_penalty if beam else 1.0  # without a beam transformers would warn of another one
            values = json.loads(path.read_text(encoding="utf-8"))
            values |= {"num_beams": search.beam_size, "length_penalty": penalty, "early_stopping": beam}
            write_json(path, values)
        export.tokenizer.save(folder)

    def verify(self, export: Export, folder: Path) -> Verified:
        """Let MarianMTModel translate, and score what the student wrote.

        Raises:
            UserError: its logits differ from ours by more than LARGEST_DIFFERENCE, or its tokenizer's ids differ.
        """
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
        from transformers.utils import logging

        from polystill.data.tokenizer import keep_unknown_codes
        from polystill.export.agreement import forced_log_probs, largest, log_probs, score_differences

        logging.disable_progress_bar()
        their_model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        their_tokenizer = AutoTokenizer.from_pretrained(folder)
        keep_unknown_codes(their_tokenizer)
        model, translations, differences, of_logits = export.model, [], [], []
        for line, ids, target in zip(export.lines, export.sources, export.targets, strict=True):
            source, target_in = torch.tensor([ids]), torch.tensor([[model.pad_id, *target[:-1]]])
            with torch.inference_mode():
                logits = their_model(input_ids=source, decoder_input_ids=target_in).logits
                of_logits.append(float((model(source, target_in) - logits).abs().max()))
            if their_tokenizer(line).input_ids != ids:
                of_logits.append(math.inf)
            scores = log_probs(logits[0], target, model.pad_id)
            differences += score_differences(forced_log_probs(model, ids, target), scores)
            translations.append(their_model.generate(source, max_new_tokens=len(target), **_GREEDILY)[0].tolist()[1:])
        if not (difference := largest(of_logits)) <= LARGEST_DIFFERENCE:
            raise UserError(
                f"{export.out}: not written: transformers computes other logits than polystill (by up to "
                f"{difference:.3g})"
            )
        return Verified(translations, differences, {"largest_logit_difference": difference})
