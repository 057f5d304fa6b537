"""Export in polystill's own sparse form: a pruned student in as few bytes as its remaining weights need."""

from __future__ import annotations

from pathlib import Path

from polystill.errors import UserError
from polystill.export.format import Export, Format, Verified


class Sparse(Format):
    name = "sparse"
    engine = "polystill"
    purpose = "polystill: pruned students"
    library = "polystill"
    precisions = ("float32", "float16", "int8")  # exact; rounded; with one scale for each row
    architectures = ("transformer", "lstm")
    reads_sparse = True
    for_devices = False
    usage = """
With polystill, installed from its source (`pip install 'PATH_TO_CHECKOUT[train]'`), which reads weights without their
zeros:

```
echo "A sentence." | polystill translate path/of/this/folder --engine torch
```
"""

    def evaluated_in(self, precision: str) -> str | None:
        from polystill.decoding.torch import Torch

        return Torch.name if precision == "float32" else None

    def write(self, export: Export, folder: Path) -> None:
        from polystill.models.folder import write_sparse_model

        write_sparse_model(folder, export.model, export.tokenizer, export.precision)

    def verify(self, export: Export, folder: Path) -> Verified:
        """Read the folder back, translate with both models, and let both score what the student wrote.

        Raises:
            UserError: float32 weights are not exactly the student's.
        """
        from polystill.decoding.beam import TorchTranslator
        from polystill.export.agreement import forced_log_probs, greedy, ids_of, largest, score_differences
        from polystill.models.folder import load_model, weights_path
        from polystill.models.pruning import nonzero_parameters

        written = load_model(folder)
        weights = zip(export.model.parameters(), written.parameters(), strict=True)
        difference = largest(float((ours - theirs).abs().max().detach()) for ours, theirs in weights)
        if export.precision == "float32" and difference:
            raise UserError(
                f"{export.out}: not written: weights read back differ by up to {difference:.3g}; float32 is exact"
            )
        translations = ids_of(greedy(TorchTranslator(written, export.tokenizer), export.lines), export.tokenizer)
        differences = []
        for source, target in zip(export.sources, export.targets, strict=True):
            ours, theirs = (forced_log_probs(model, source, target) for model in (export.model, written))
            differences += score_differences(ours, theirs)
        size = weights_path(folder).stat().st_size
        facts = {"nonzero_parameters": nonzero_parameters(written), "weights_bytes": size}
        return Verified(translations, differences, {"largest_weight_difference": difference}, facts)
