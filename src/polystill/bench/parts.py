"""The parts of a training update in its time: encoder, decoders, vocabulary loss, optimizer.

Marks are set where the update passes from one part to the next, in a run of its own that is not timed as a whole:

- forward: hooks on the first and the last module of every layer, since batched passes call a decoder layer in two
  parts. The step begins in the encoder (embedding included); what follows an encoder layer belongs to the decoders
  until the next encoder layer begins, and what follows a decoder layer to the loss until the next layer begins.
- backward: it begins in the loss; a hook on the gradient of a layer's output marks where that layer's backward pass
  begins, and a hook on the logits' gradient, where the model makes logits, that of the projection. The rest, embeddings
  included, counts to the part before it.
- the optimizer: from the end of the backward pass to the end of the update.

On a GPU the marks are events in its own queue, so nothing waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from polystill.models.transformer import DecoderLayer, EncoderLayer, Transformer

PARTS = ("encoder", "decoders", "vocabulary_loss", "optimizer")


class Timeline:
    """Marks of the moments at which parts begin."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str | None, Any]] = []

    def enter(self, part: str | None) -> None:
        """From here on time belongs to `part`, or to none."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((part, event))
        else:
            self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds of each part so far; the last mark ends the last part."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        total = dict.fromkeys(PARTS, 0.0)
        for (part, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            if part is not None:
                total[part] += start.elapsed_time(end) / 1000 if self._device.type == "cuda" else end - start
        return total

    def shares(self) -> dict[str, float]:
        """Of each part; they add up to 1. Empty where no layer was seen, as when the step does not call them."""
        seconds = self.seconds()
        whole = sum(seconds.values())
        if not seconds["decoders"]:
            return {}
        return {part: value / whole for part, value in seconds.items()}


@contextmanager
def marked_parts(model: Transformer, timeline: Timeline) -> Iterator[None]:
    """While the block runs, the model's passes set the timeline's marks; the caller marks steps and optimizer."""
    handles = []
    for layers, part, after in (
        (model.encoder, "encoder", "decoders"),
        (model.decoder, "decoders", "vocabulary_loss"),
    ):
        for layer in layers:
            assert isinstance(layer, EncoderLayer | DecoderLayer)
            handles.append(layer.self_attention.register_forward_pre_hook(_before(timeline, part)))
            handles.append(layer.feed_forward_norm.register_forward_hook(_after(timeline, part, after)))
    project = model.project

    def marked_project(hidden: Tensor) -> Tensor:
        logits = project(hidden)
        _mark_backward(logits, timeline, "vocabulary_loss")
        return logits

    model.project = marked_project  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.project
        for handle in handles:
            handle.remove()


def _before(timeline: Timeline, part: str) -> Callable[..., None]:
    return lambda *_: timeline.enter(part)


def _after(timeline: Timeline, part: str, after: str) -> Callable[..., None]:
    def hook(_: Any, __: Any, output: Tensor) -> None:
        timeline.enter(after)
        _mark_backward(output, timeline, part)

    return hook


def _mark_backward(output: Tensor, timeline: Timeline, part: str) -> None:
    if output.requires_grad:
        output.register_hook(lambda _: timeline.enter(part))
