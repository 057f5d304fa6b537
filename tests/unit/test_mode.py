"""p(mode) and perplexity against enumeration and against numbers worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from polystill.decoding.beam import beam_search
from polystill.decoding.translator import DecodingOptions
from polystill.evaluation import mode
from polystill.evaluation.mode import log_probabilities, p_mode, perplexity

EOS, PAD = 0, 4  # of a vocabulary of five


@pytest.fixture
def toy(make_model: Any) -> Any:
    model = make_model(layers=1, vocabulary_size=5)
    model.output_bias.data[EOS] += 2  # its sentences are short
    return model


def stepwise(model: Any, source: list[int], target: list[int]) -> float:
    """p(target | source), one token after another by the decoding interface."""
    state = model.start(torch.tensor([source]))
    probability, last = 1.0, PAD
    for token in target:
        logits = model.step(state, torch.tensor([last]))[0]
        logits[PAD] = -math.inf
        probability *= float(logits.softmax(0)[token])
        last = token
    return probability


def test_p_of_the_beams_output_is_its_share_in_an_enumeration(toy: Any) -> None:
    """All sentences of up to three tokens and all beginnings of longer ones make up the whole mass."""
    sources = [[1, 2, EOS], [3, EOS], [2, 2, 1, EOS]]
    outputs = []
    expected = 0.0
    for source in sources:
        sentences = [[*s, EOS] for n in range(4) for s in itertools.product((1, 2, 3), repeat=n)]
        mass = {tuple(s): stepwise(toy, source, s) for s in sentences}
        unfinished = sum(stepwise(toy, source, list(s)) for s in itertools.product((1, 2, 3), repeat=4))
        assert sum(mass.values()) + unfinished == pytest.approx(1, abs=1e-5)
        options = DecodingOptions(beam_size=50, length_penalty=0.0, max_length=4)
        ((best,),) = beam_search(toy, torch.tensor([source]), options)
        output = (*best.ids, EOS)
        assert mass[output] == max(p for s, p in mass.items() if len(s) > 1)  # the search rules out the empty one
        outputs.append(list(output))
        expected += mass[output] / len(sources)
    assert p_mode(toy, sources, outputs) == pytest.approx(expected, rel=1e-5)


def test_a_translation_that_was_cut_counts_with_nothing(toy: Any) -> None:
    whole = p_mode(toy, [[1, EOS]], [[2, EOS]])
    assert p_mode(toy, [[1, EOS], [2, EOS]], [[2, EOS], None]) == pytest.approx(whole / 2)
    assert p_mode(toy, [[1, EOS]], [None]) == 0


class Uneven(torch.nn.Module):
    """p is 1/2, 1/4, 1/8, 1/8 for the ids 0 to 3 whatever comes before; `<pad>` would have most if it were asked."""

    pad_id, eos_id = PAD, EOS

    def __init__(self) -> None:
        super().__init__()
        self.output_bias = torch.nn.Parameter(torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8, 100.0]).log())

    def forward(self, source: torch.Tensor, target_in: torch.Tensor, student: object = None) -> torch.Tensor:
        return self.output_bias.expand(*target_in.shape, -1)


def test_perplexity_by_hand() -> None:
    """Tokens 1 2 </s> and 3 </s>: 2 + 3 + 1 + 3 + 1 = 10 bits over five tokens."""
    model, sources = Uneven().eval(), [[1, EOS], [2, 3, EOS]]
    assert perplexity(model, sources, [[1, 2, EOS], [3, EOS]]) == pytest.approx(2 ** (10 / 5))
    assert p_mode(model, sources, [[1, 2, EOS], [3, EOS]]) == pytest.approx((1 / 64 + 1 / 16) / 2)


def test_batches_change_nothing(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    generator = torch.Generator().manual_seed(1)

    def sentences(count: int) -> list[list[int]]:
        lengths = torch.randint(0, 9, (count,), generator=generator).tolist()
        return [[*torch.randint(2, 39, (n,), generator=generator).tolist(), 0] for n in lengths]

    sources, targets = sentences(17), sentences(17)
    together = log_probabilities(model, sources, targets)
    assert [len(row) for row in together] == [len(target) for target in targets]
    monkeypatch.setattr(mode, "SCORED_BATCH_TOKENS", 1)
    for row, alone in zip(together, log_probabilities(model, sources, targets), strict=True):
        assert row == pytest.approx(alone, abs=1e-5)
