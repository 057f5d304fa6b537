"""Batched beam search in torch over any `Decodable` model, by CTranslate2's rules.

Each step takes the 2K best continuations of a sentence's K beams. Of the first K, those that end in the end mark are
finished hypotheses; the best K that do not end live on. A sentence is done when it has K finished hypotheses, or at
max_length, where the first K are taken as they are. Without a length penalty it is done when its best beam has finished
and n_best hypotheses are there. Finished hypotheses are ranked by log p / length ** length_penalty, which both count
the end mark. `<pad>` never has a probability; the end mark has none in the first step.

Shapes: B sentences in the batch, K beams, R = B * K rows (row = sentence * K + beam), V vocabulary, C = 2 * K
candidates, S source positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from polystill.data.batching import padded
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.translator import (
    EMPTY,
    UNLIMITED,
    Alignment,
    Cuts,
    Decodable,
    DecodingOptions,
    Hypothesis,
    by_limit,
    counted_cuts,
    longest_of_any,
    longest_of_each,
)
from polystill.errors import UserError
from polystill.models.passes import exact_plan

KEEP_SHARE = 0.8
"""Finished sentences leave the batch when at most this share of it is alive. Leaving copies all caches."""
LARGEST_LOGITS = 2**25
"""The most logits (R * V) of one step: 128 MiB."""


class Finished(NamedTuple):
    """A finished hypothesis: ids without the end mark, score, and log-probabilities of the tokens and the end mark."""

    ids: list[int]
    score: float
    token_scores: list[float]


# --- search -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def beam_search(
    model: Decodable, source: Tensor, options: DecodingOptions, student: Any = None
) -> list[list[Finished]]:
    """Translate source (B, S), int64, padded with model.pad_id, into each sentence's n best hypotheses, best first.

    Raises:
        UserError: the model's scores are not numbers, for example because half-precision weights overflow.
    """
    max_length = longest_of_any(options, max_positions(model) or UNLIMITED)
    if options.beam_size == 1:
        return _greedy(model, source, options, max_length, student)
    beams = _Beams(model.eos_id, source, options)
    state = model.start(source, student, options.beam_size)
    tokens = torch.full((source.shape[0] * options.beam_size,), model.pad_id, device=source.device)
    for step in range(max_length):
        logits = mask_logits(model.step(state, tokens), model, first=step == 0)
        rows = beams.advance(logits, last=step + 1 == max_length)
        if not any(beams.alive):
            break
        kept = _leaving(beams.alive, source.device)
        if kept is not None:
            state.keep(kept)
            rows = beams.keep(kept, rows)
        state.reorder(rows)
        tokens = beams.tokens[:, -1]
    return beams.results()


def mask_logits(logits: Tensor, model: Decodable, *, first: bool) -> Tensor:
    """Return float32 logits (R, V) with -inf for `<pad>` and in the first step for the end mark. Changes its input."""
    logits = logits.float()
    logits[:, model.pad_id] = -math.inf
    if first:
        logits[:, model.eos_id] = -math.inf
    return logits


def max_positions(model: Decodable) -> int | None:
    """Return the most tokens that the model takes on either side, or None if it has no limit."""
    return getattr(model, "max_positions", None)


def _leaving(alive: list[bool], device: torch.device) -> Tensor | None:
    """Return the sentences (B',) that stay if it is time for the finished ones to leave, else None."""
    if sum(alive) > KEEP_SHARE * len(alive):
        return None
    return torch.tensor([i for i, is_alive in enumerate(alive) if is_alive], device=device)


class _Beams:
    """The hypotheses of one batch, alive and finished."""

    def __init__(self, eos_id: int, source: Tensor, options: DecodingOptions) -> None:
        self.eos_id, self.options = eos_id, options
        sentences, device, K = source.shape[0], source.device, options.beam_size
        self.finished: list[list[Finished]] = [[] for _ in range(sentences)]
        self.numbers = list(range(sentences))  # the sentence at each place of the batch
        self.alive = [True] * sentences  # by place
        self.top_finished = [False] * sentences  # by place
        # The beams of a sentence start equal: all but one are impossible until the first step makes them differ.
        self.scores_BK = torch.full((sentences, K), -math.inf, device=device)
        self.scores_BK[:, 0] = 0
        self.tokens = torch.empty(sentences * K, 0, dtype=torch.long, device=device)  # (R, tokens so far)
        self.token_scores = torch.empty(sentences * K, 0, device=device)

    def advance(self, logits_RV: Tensor, *, last: bool) -> Tensor:
        """Extend the beams by one token and return for each row the old row (R,) that it continues."""
        K, B = len(self.scores_BK[0]), len(self.scores_BK)
        # The 2K best of every beam include the 2K best of all beams, so only those need a log p.
        log_p_RC, id_RC = logits_RV.topk(min(2 * K, logits_RV.shape[1]), dim=1)
        best = log_p_RC[:, :1]
        log_p_RC = log_p_RC - best - _log_sum_exp_of(logits_RV.sub_(best))[:, None]
        totals = (self.scores_BK.view(-1, 1) + log_p_RC).view(B, -1)
        score_BC, place_BC = totals.topk(2 * K, dim=1)
        row_BC = torch.arange(B, device=place_BC.device)[:, None] * K + place_BC // id_RC.shape[1]
        id_BC = id_RC.view(B, -1).gather(1, place_BC)
        log_p_BC = log_p_RC.view(B, -1).gather(1, place_BC)

        self._collect(score_BC[:, :K], row_BC[:, :K], id_BC[:, :K], log_p_BC[:, :K], last)
        # The best K that do not end, in order. At most one candidate of each beam ends, so there are always K.
        live_BK = (id_BC == self.eos_id).byte().sort(dim=1, stable=True).indices[:, :K]
        rows = row_BC.gather(1, live_BK).flatten()
        self.scores_BK = score_BC.gather(1, live_BK)
        self.tokens = torch.cat([self.tokens[rows], id_BC.gather(1, live_BK).view(-1, 1)], 1)
        self.token_scores = torch.cat([self.token_scores[rows], log_p_BC.gather(1, live_BK).view(-1, 1)], 1)
        return rows

    def _collect(self, score_BK: Tensor, row_BK: Tensor, id_BK: Tensor, log_p_BK: Tensor, last: bool) -> None:
        """Keep the hypotheses that finish in this step, and mark the sentences that are done."""
        columns = torch.stack([score_BK.double(), row_BK.double(), id_BK.double(), log_p_BK.double()])
        score, row, token, log_p = columns.cpu().unbind()  # the one transfer of a step, unless something finishes
        if not torch.isfinite(score[:, 0]).all():
            raise _not_numbers()
        ends = token == self.eos_id
        finishes = (ends | last) & torch.isfinite(score)
        finishes &= torch.tensor(self.alive)[:, None]
        if finishes.any():
            rows = row[finishes].long().to(row_BK.device)
            tokens, token_scores = self.tokens[rows].tolist(), self.token_scores[rows].tolist()
            for (i, k), ids, scores in zip(finishes.nonzero().tolist(), tokens, token_scores, strict=True):
                self.top_finished[i] |= k == 0
                ids += [] if ends[i, k] else [int(token[i, k])]
                scores.append(float(log_p[i, k]))
                normalised = float(score[i, k]) / len(scores) ** self.options.length_penalty
                self.finished[self.numbers[i]].append(Finished(ids, normalised, scores))
        for i, alive in enumerate(self.alive):
            self.alive[i] = alive and not last and not self._complete(i)

    def _complete(self, i: int) -> bool:
        count = len(self.finished[self.numbers[i]])
        if self.options.length_penalty == 0:
            return self.top_finished[i] and count >= self.options.n_best
        return count >= self.options.beam_size

    def keep(self, kept: Tensor, rows: Tensor) -> Tensor:
        """Drop all sentences except those at the places `kept` (B',), and return the rows renumbered for them."""
        K = self.options.beam_size
        places = kept.tolist()
        self.numbers = [self.numbers[i] for i in places]
        self.top_finished = [self.top_finished[i] for i in places]
        self.alive = [True] * len(places)
        kept_rows = (kept[:, None] * K + torch.arange(K, device=rows.device)).flatten()
        self.scores_BK = self.scores_BK[kept]
        self.tokens, self.token_scores = self.tokens[kept_rows], self.token_scores[kept_rows]
        first_rows = torch.arange(len(places), device=rows.device)[:, None] * K
        return (first_rows + (rows % K).view(-1, K)[kept]).flatten()

    def results(self) -> list[list[Finished]]:
        return [sorted(finished, key=lambda f: -f.score)[: self.options.n_best] for finished in self.finished]


def _greedy(
    model: Decodable, source: Tensor, options: DecodingOptions, max_length: int, student: Any
) -> list[list[Finished]]:
    """Beam search with one beam, without the bookkeeping: take the best token of each step until the end mark."""
    sentences, device = source.shape[0], source.device
    state = model.start(source, student, 1)
    penalty = options.length_penalty
    tokens = torch.full((sentences,), model.pad_id, device=device)
    places = list(range(sentences))  # the sentence of each row of the batch
    alive = [True] * sentences  # by row
    ids: list[list[int]] = [[] for _ in places]
    place_steps, log_p_steps = [], []  # by step: the rows' sentences and the log-probabilities of their tokens
    for step in range(max_length):
        logits = mask_logits(model.step(state, tokens), model, first=step == 0)
        best, tokens = logits.max(1)
        place_steps.append(places)
        log_p_steps.append(-_log_sum_exp_of(logits.sub_(best[:, None])))
        for row, token in enumerate(tokens.tolist()):
            if alive[row]:
                ids[places[row]].append(token)
                alive[row] = token != model.eos_id
        if not any(alive):
            break
        kept = _leaving(alive, device)
        if kept is not None:
            state.keep(kept)
            tokens = tokens[kept]
            places = [place for place, is_alive in zip(places, alive, strict=True) if is_alive]
            alive = [True] * len(places)
    scores: list[list[float]] = [[] for _ in ids]
    for place, log_p in zip(chain(*place_steps), torch.cat(log_p_steps).tolist(), strict=True):
        if len(scores[place]) < len(ids[place]):  # skip rows that have ended and wait for others
            scores[place].append(log_p)
    if not all(math.isfinite(sum(each)) for each in scores):
        raise _not_numbers()
    return [
        [Finished(tokens[: -1 if tokens[-1] == model.eos_id else None], sum(each) / len(each) ** penalty, each)]
        for tokens, each in zip(ids, scores, strict=True)
    ]


def _log_sum_exp_of(shifted: Tensor) -> Tensor:
    """Return log sum exp (R,) of rows of logits (R, V) whose largest is 0. Changes its input. Cheaper than torch's."""
    return shifted.exp_().sum(1).log_()


def _not_numbers() -> UserError:
    return UserError("the model's scores are not numbers (an overflow in half precision, or a broken checkpoint)")


# --- translator ---------------------------------------------------------------------------------------------------


class TorchTranslator:
    """A `Translator` over a torch model and its tokenizer. `student` is passed to the model's `start`."""

    engine: ClassVar[str] = "torch"
    folder: ClassVar[None] = None

    def __init__(self, model: Any, tokenizer: Tokenizer, student: Any = None) -> None:
        self.model = model.eval()
        self.tokenizer, self.languages = tokenizer, tokenizer.languages
        self.pieces = tokenizer.pieces
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.student = student
        weight = next(model.parameters())
        self.device, self.compute_type = weight.device, str(weight.dtype).removeprefix("torch.")
        self.info: dict[str, Any] = {}
        self.max_source_tokens = max_positions(model) or UNLIMITED

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        """See `Translator`. The lines are sorted by length and translated in batches of options.batch_tokens."""
        with counted_cuts(cuts) as cuts:
            sources = cuts.fit_sources(lines, self.tokenizer.encode_source, self.max_source_tokens)
            limits = longest_of_each(options, self.max_source_tokens, sources)
            results = self._translate(sources, options, limits)
            cuts.count_translations(results, limits)
        return results

    def _translate(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, limits: Sequence[int]
    ) -> list[list[Hypothesis]]:
        results: list[list[Hypothesis]] = [[EMPTY]] * len(sources)
        for limit, numbers in self._batches(sources, options, limits):
            source = torch.from_numpy(padded([sources[number] for number in numbers], self.model.pad_id))
            limited = replace(options, max_length=limit)
            n_best_lists = beam_search(self.model, source.to(self.device), limited, self.student)
            for number, candidates in zip(numbers, n_best_lists, strict=True):
                results[number] = self._hypotheses(candidates, limit, options.token_scores)
            if options.alignment:
                self._align(source.to(self.device), [results[number] for number in numbers])
        return results

    def _align(self, source: Tensor, lists: Sequence[list[Hypothesis]]) -> None:
        """Add alignments to the hypotheses of source (B, S), in place, by forced decoding: the search keeps none."""
        for rank in range(max(map(len, lists))):
            rows = [i for i, hypotheses in enumerate(lists) if len(hypotheses) > rank]
            hypotheses = [lists[i][rank] for i in rows]
            found = self.align(source[rows], [h.tokens for h in hypotheses])
            for i, h, alignment in zip(rows, hypotheses, found, strict=True):
                lists[i][rank] = replace(h, alignment=alignment)

    @torch.inference_mode()
    def align(self, source: Tensor, targets: Sequence[Sequence[str]]) -> list[Alignment]:
        """The alignments of source (B, S) with given targets, pieces without end marks."""
        ids = [[self._ids[piece] for piece in target] for target in targets]
        target_in = torch.from_numpy(padded([[self.model.pad_id, *each[:-1]] for each in ids], self.model.pad_id))
        attention: list[Tensor] = []
        plan = exact_plan([self.student or self.model.teacher])
        self.model.hidden_states(source, target_in.to(self.device), plan, attention)
        pieces = [[self.pieces[i] for i in row if i != self.model.pad_id] for row in source.tolist()]
        rows = zip(pieces, attention[0].tolist(), ids, strict=True)
        return [Alignment.of(of, [row[: len(of)] for row in weights[: len(each)]]) for of, weights, each in rows]

    def _batches(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, limits: Sequence[int]
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield batches of sources that are not blank, by number and longest first, each with its length limit."""
        filled = [i for i, source in enumerate(sources) if len(source) > 1]
        filled.sort(key=lambda i: -len(sources[i]))
        largest = LARGEST_LOGITS // (options.beam_size * self.tokenizer.vocabulary_size)
        for limit, numbers in by_limit(filled, limits):
            while numbers:
                rows = max(1, min(options.batch_tokens // len(sources[numbers[0]]), largest))
                yield limit, numbers[:rows]
                numbers = numbers[rows:]

    def _hypotheses(self, finished: list[Finished], limit: int, token_scores: bool) -> list[Hypothesis]:
        tokens = [[self.pieces[i] for i in f.ids] for f in finished]
        texts = self.tokenizer.decode_pieces(tokens)
        return [
            Hypothesis(text, pieces, f.score, f.token_scores if token_scores else None, cut=len(pieces) >= limit)
            for text, pieces, f in zip(texts, tokens, finished, strict=True)
        ]
