"""Translate with torch, which runs every architecture and reads models as they are. beam.py has its search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polystill.decoding.engine import Engine
from polystill.environment.process import available_cores

if TYPE_CHECKING:
    import torch

    from polystill.decoding.beam import TorchTranslator


class Torch(Engine):
    name = "torch"
    title = "torch"
    architectures = ("transformer", "lstm")
    precisions = ("float32", "bfloat16", "float16")  # as torch calls them
    inner_threads = True

    def dtype(self, precision: str) -> torch.dtype:
        """Return torch's type of that name; "default" is float32.

        Raises:
            UserError: torch has no such precision.
        """
        import torch

        self.check_precision(precision)
        dtype: torch.dtype = getattr(torch, "float32" if precision == "default" else precision)
        return dtype

    def open(self, folder: Path, precision: str = "default", threads: int = 0) -> TorchTranslator:
        """Load a model's folder, of any architecture; on the GPU if there is one."""
        import torch

        from polystill.decoding.beam import TorchTranslator
        from polystill.decoding.ctranslate2 import read_info
        from polystill.models.folder import load_model_with_tokenizer

        dtype = self.dtype(precision)
        torch.set_num_threads(threads or available_cores())
        model, tokenizer = load_model_with_tokenizer(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        translator = TorchTranslator(model.to(device, dtype), tokenizer)
        translator.info = read_info(folder)
        return translator
