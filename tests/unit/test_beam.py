"""The beam search against enumeration of all sequences, against its own greedy path, and against itself in pieces."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from polystill.decoding.beam import Finished, TorchTranslator, beam_search
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.models.lstm import Lstm, LstmConfig

EOS = 0


@dataclass
class ToyState:
    hidden: Tensor
    beam_size: int

    def reorder(self, rows: Tensor) -> None:
        assert torch.equal(rows // self.beam_size, torch.arange(len(rows)) // self.beam_size)
        self.hidden = self.hidden[rows]

    def keep(self, sentences: Tensor) -> None:
        self.hidden = self.hidden.view(-1, self.beam_size, self.hidden.shape[1])[sentences].flatten(0, 1)


class ToyModel(nn.Module):
    """A small random recurrent network: each distribution depends on the source and on all tokens before."""

    def __init__(self, vocabulary: int = 5, width: int = 6, seed: int = 0, end_bias: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.eos_id, self.pad_id = EOS, vocabulary - 1
        self.embedding = nn.Parameter(torch.randn(vocabulary, width))
        self.recurrent = nn.Parameter(torch.randn(width, width))
        self.output = nn.Parameter(torch.randn(width, vocabulary) * 1.5)
        self.end_bias = end_bias
        self.steps: list[int] = []
        self.max_positions: int | None = None

    def start(self, source: Tensor, student: object = None, beam_size: int = 1) -> ToyState:
        filled = (source != self.pad_id).unsqueeze(-1)
        memory = (self.embedding[source] * filled).sum(1)
        return ToyState(memory.repeat_interleave(beam_size, 0), beam_size)

    def step(self, state: ToyState, tokens: Tensor) -> Tensor:
        self.steps.append(len(tokens))
        state.hidden = torch.tanh(state.hidden @ self.recurrent + self.embedding[tokens])
        logits = state.hidden @ self.output
        logits[:, EOS] += self.end_bias
        return logits


def enumerate_all(model: ToyModel | Lstm, source: Tensor, max_length: int, length_penalty: float) -> list[Finished]:
    """Every hypothesis of one sentence (1, S), best first, scored one token at a time."""
    tokens = [t for t in range(model.pad_id) if t != EOS]
    found = []
    for length in range(1, max_length + 1):
        for ids in itertools.product(tokens, repeat=length):
            ended = [[*ids, EOS]] if length < max_length else [list(ids)]
            for sequence in ended:
                scores = score_tokens(model, source, sequence)
                found.append(Finished(list(ids), sum(scores) / len(scores) ** length_penalty, scores))
    return sorted(found, key=lambda f: -f.score)


def score_tokens(model: ToyModel | Lstm, source: Tensor, sequence: list[int]) -> list[float]:
    state, previous, scores = model.start(source), model.pad_id, []
    for i, token in enumerate(sequence):
        logits = model.step(state, torch.tensor([previous]))[0].double()
        logits[model.pad_id] = -math.inf
        if i == 0:
            logits[EOS] = -math.inf
        scores.append(float(logits.log_softmax(0)[token]))
        previous = token
    return scores


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_a_beam_wide_enough_finds_the_best_of_all_sequences(seed: int, length_penalty: float) -> None:
    model = ToyModel(seed=seed)
    source = torch.tensor([[1, 2, EOS], [3, EOS, model.pad_id]])
    every = [enumerate_all(model, source[i : i + 1], 4, length_penalty) for i in range(2)]
    # Without length penalty the search may stop as soon as it has what was asked for, so ask for the best alone.
    n_best = 1 if length_penalty == 0 else 5
    options = DecodingOptions(beam_size=150, n_best=n_best, length_penalty=length_penalty, max_length=4)
    for found, expected in zip(beam_search(model, source, options), every, strict=True):
        assert [f.ids for f in found] == [f.ids for f in expected[:n_best]]
        for f, e in zip(found, expected, strict=False):
            assert f.score == pytest.approx(e.score, abs=1e-5)
            assert f.token_scores == pytest.approx(e.token_scores, abs=1e-5)


@torch.no_grad()
def tiny_lstm(vocabulary: int, seed: int) -> Lstm:
    """Weights so large that every token before matters."""
    torch.manual_seed(seed)
    model = Lstm(LstmConfig(vocabulary, vocabulary - 1, EOS, d_model=6, encoder_layers=2, decoder_layers=2)).eval()
    for parameter in model.parameters():
        parameter.mul_(2)
    model.embedding[: model.pad_id].mul_(1.5)
    model.output_bias[EOS] = 1.0
    return model


@torch.no_grad()
def test_a_wide_beam_of_an_lstm_finds_the_best_of_all_sequences() -> None:
    model = tiny_lstm(vocabulary=5, seed=1)
    source = torch.tensor([[1, 2, EOS], [3, EOS, model.pad_id]])
    options = DecodingOptions(beam_size=30, n_best=5, max_length=3)
    for i, found in enumerate(beam_search(model, source, options)):
        every = enumerate_all(model, source[i : i + 1], 3, 1.0)[:5]
        assert [f.ids for f in found] == [f.ids for f in every]
        assert [f.score for f in found] == pytest.approx([f.score for f in every], abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
@torch.no_grad()
def test_batched_search_of_an_lstm_follows_the_rules_written_out(beam_size: int) -> None:
    model = tiny_lstm(vocabulary=12, seed=2)
    source = torch.randint(1, 11, (10, 4), generator=torch.Generator().manual_seed(1))
    source[3:6, 3] = model.pad_id
    options = DecodingOptions(beam_size=beam_size, max_length=7)
    lengths: set[int] = set()
    for i, found in enumerate(beam_search(model, source, options)):
        expected = reference_search(model, source[i : i + 1], options)
        assert [f.ids for f in found] == [f.ids for f in expected]
        lengths.update(len(f.ids) for f in found)
    assert len(lengths) > 1, "the test means little if all sentences end together"


def reference_search(model: ToyModel | Lstm, source: Tensor, options: DecodingOptions) -> list[Finished]:
    """CTranslate2's rules for one sentence (1, S), in plain Python over lists of tokens."""
    K = options.beam_size
    beams: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[Finished] = []
    top_finished = False
    for step in range(options.max_length):
        last = step + 1 == options.max_length
        candidates = []
        for ids, score in beams:
            state, logits = model.start(source), torch.empty(0)
            for token in [model.pad_id, *ids]:
                logits = model.step(state, torch.tensor([token]))[0]
            logits[model.pad_id] = -math.inf
            if not ids:
                logits[EOS] = -math.inf
            log_p = logits.log_softmax(0)
            candidates += [([*ids, t], score + float(log_p[t])) for t in range(model.pad_id) if log_p[t] > -math.inf]
        candidates = sorted(candidates, key=lambda c: -c[1])[: 2 * K]
        for k, (ids, score) in enumerate(candidates[:K]):
            if ids[-1] == EOS or last:
                top_finished |= k == 0
                normalised = score / len(ids) ** options.length_penalty
                finished.append(Finished(ids[:-1] if ids[-1] == EOS else ids, normalised, []))
        enough = top_finished and len(finished) >= options.n_best
        if last or (enough if options.length_penalty == 0 else len(finished) >= K):
            break
        beams = [c for c in candidates if c[0][-1] != EOS][:K]
    return sorted(finished, key=lambda f: -f.score)[: options.n_best]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 1), (3, 3), (5, 2)])
@torch.no_grad()
def test_batched_search_follows_the_rules_written_out_for_one_sentence(
    beam_size: int, n_best: int, length_penalty: float
) -> None:
    model = ToyModel(vocabulary=12, seed=7, end_bias=1.0)
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(1, 11, (24, 4), generator=generator)
    options = DecodingOptions(beam_size=beam_size, n_best=n_best, length_penalty=length_penalty, max_length=9)
    lengths: set[int] = set()
    for i, found in enumerate(beam_search(model, source, options)):
        expected = reference_search(model, source[i : i + 1], options)
        assert [f.ids for f in found] == [f.ids for f in expected]
        assert [f.score for f in found] == pytest.approx([f.score for f in expected], abs=1e-5)
        lengths.update(len(f.ids) for f in found)
    assert len(lengths) > 2, "the test means little if all sentences end together"


@torch.no_grad()
def test_greedy_path_equals_beam_search_of_one_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    import polystill.decoding.beam as beam

    model = ToyModel(vocabulary=12, seed=3, end_bias=1.0)
    source = torch.randint(1, 11, (30, 4), generator=torch.Generator().manual_seed(2))
    options = DecodingOptions(beam_size=1, max_length=9)
    fast = beam_search(model, source, options)
    search = beam._Beams(EOS, source, options)
    state, tokens = model.start(source), torch.full((30,), model.pad_id)
    for step in range(9):
        rows = search.advance(beam.mask_logits(model.step(state, tokens), model, first=step == 0), last=step == 8)
        state.reorder(rows)
        tokens = search.tokens[:, -1]
    for (f,), (slow,) in zip(fast, search.results(), strict=True):
        assert f.ids == slow.ids
        assert f.score == pytest.approx(slow.score, abs=1e-5)
        assert f.token_scores == pytest.approx(slow.token_scores, abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 4])
@torch.no_grad()
def test_a_sentence_is_translated_alike_alone_and_in_a_batch(beam_size: int) -> None:
    model = ToyModel(vocabulary=20, seed=5, end_bias=1.5)
    source = torch.randint(1, 19, (40, 3), generator=torch.Generator().manual_seed(3))
    options = DecodingOptions(beam_size=beam_size, max_length=12)
    together = beam_search(model, source, options)
    assert model.steps[-1] < model.steps[0], "finished sentences must leave the batch"
    for i, found in enumerate(together):
        assert found[0].ids == beam_search(model, source[i : i + 1], options)[0][0].ids


@pytest.mark.parametrize("beam_size", [1, 3])
@torch.no_grad()
def test_pad_and_an_empty_translation_have_no_probability(beam_size: int) -> None:
    model = ToyModel(vocabulary=8, seed=1, end_bias=50.0)
    model.output.data[:, model.pad_id] = 0
    model.output.data[:, : model.pad_id] -= 20  # <pad> would win everywhere
    found = beam_search(model, torch.tensor([[1, 2], [3, 4]]), DecodingOptions(beam_size=beam_size, max_length=5))
    for (best,) in found:
        assert len(best.ids) == 1 and model.pad_id not in best.ids
        assert best.token_scores[1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_max_length_cuts_and_positions_limit_it(beam_size: int) -> None:
    model = ToyModel(vocabulary=8, seed=1, end_bias=-50.0)
    source = torch.tensor([[1, 2]])
    assert len(beam_search(model, source, DecodingOptions(beam_size=beam_size, max_length=7))[0][0].ids) == 7
    model.max_positions = 4
    assert len(beam_search(model, source, DecodingOptions(beam_size=beam_size, max_length=7))[0][0].ids) == 4


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_numbers_are_an_error(beam_size: int, value: float) -> None:
    model = ToyModel(vocabulary=8)
    model.output.data[0, 2:4] = torch.tensor([value, -value])
    with pytest.raises(UserError, match="not numbers"):
        beam_search(model, torch.tensor([[1, 2]]), DecodingOptions(beam_size=beam_size))


@pytest.mark.parametrize("beam_size", [1, 3])
@torch.no_grad()
def test_logits_beyond_half_precision_are_scored_in_float32(beam_size: int) -> None:
    model = ToyModel(vocabulary=8, seed=2)
    model.output.data *= 1e5  # beyond float16's 65,504
    (best,) = beam_search(model, torch.tensor([[1, 2]]), DecodingOptions(beam_size=beam_size, max_length=5))[0]
    assert math.isfinite(best.score)


@pytest.mark.parametrize("beam_size", [1, 2])
def test_by_default_the_positions_alone_limit_a_translation(beam_size: int) -> None:
    model = ToyModel(seed=1, end_bias=-100.0)
    for positions, expected in ((300, 300), (600, 600), (None, 512)):
        model.max_positions = positions
        (found,) = beam_search(model, torch.tensor([[1, 2]]), DecodingOptions(beam_size=beam_size))
        assert len(found[0].ids) == expected


@pytest.mark.parametrize("field", ["beam_size", "n_best", "max_length", "batch_tokens"])
def test_options_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(UserError, match=field):
        DecodingOptions(**{field: 0})
    with pytest.raises(UserError, match=r"6 translations of each sentence from a beam of 5: .* 6 at least"):
        DecodingOptions(n_best=6)
    with pytest.raises(UserError, match="beam_size 100000000: expected at most 1000"):
        DecodingOptions(beam_size=100_000_000)


# --- TorchTranslator ----------------------------------------------------------------------------------------------


class ToyTokenizer:
    """Words are letters a.. with ids 1..; the vocabulary is theirs, `</s>` 0 and `<pad>` last."""

    vocabulary_size, eos_id, languages = 20, EOS, (None, None)
    pieces = ["</s>", *"abcdefghijklmnopqr", "<pad>"]  # noqa: RUF012

    def encode_source(self, lines: list[str]) -> list[list[int]]:
        return [[*(self.pieces.index(word) for word in line.split()), EOS] for line in lines]

    def decode_pieces(self, rows: list[list[str]]) -> list[str]:
        return [" ".join(row) for row in rows]


def test_translator_keeps_order_leaves_blank_lines_and_batches_by_tokens() -> None:
    model = ToyModel(vocabulary=20, seed=5, end_bias=1.5)
    lines = ["a b c", "", "d", "a b c d e f", "   ", "g h", "d"]
    options = DecodingOptions(beam_size=2, max_length=6, batch_tokens=8, token_scores=True)
    results = TorchTranslator(model, ToyTokenizer()).translate(lines, options)
    assert [r[0].text for i, r in enumerate(results) if not lines[i].strip()] == ["", ""]
    for line, (best,) in zip(lines, results, strict=True):
        if line.strip():
            alone = TorchTranslator(model, ToyTokenizer()).translate([line], options)[0][0]
            assert best.text == alone.text == " ".join(best.tokens)
            assert best.score == pytest.approx(sum(best.token_scores) / len(best.token_scores), abs=1e-5)
    assert max(model.steps) <= 8, "two beams of at most four rows of two tokens"


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_loop_ends_at_three_times_its_source(beam_size: int, caplog: pytest.LogCaptureFixture) -> None:
    translator = TorchTranslator(ToyModel(vocabulary=20, seed=5, end_bias=-100.0), ToyTokenizer())
    lines = ["a", "a b c d e f g h i j k l m n o p", "a b c", "q r"]
    found = translator.translate(lines, DecodingOptions(beam_size=beam_size))
    assert [len(best.tokens) for (best,) in found] == [48, 96, 48, 48]
    assert caplog.messages == [
        "4 of 4 translations had not ended after 48 to 96 tokens, the most allowed, and were cut there"
    ]


def test_translator_cuts_over_long_lines_and_counts_them(caplog: pytest.LogCaptureFixture) -> None:
    model = ToyModel(vocabulary=20, seed=5)
    model.max_positions = 4
    translator = TorchTranslator(model, ToyTokenizer())
    results = translator.translate(["a b c d e f g", "a b c", "a"], DecodingOptions(beam_size=1))
    assert results[0] == results[1]
    assert "1 of 3 lines are longer than the model's 4 tokens" in caplog.text
