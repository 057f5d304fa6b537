"""Validation of every network that a stage trains, and the choice of its best weights.

Networks are scored at once by their cross-entropies (in every supernet one encoder pass, and one decoder pass for
each encoder depth), and by BLEU of greedy translations where the stage selects by it: Kim & Rush (2016) choose so when
they fine-tune on Seq-Inter targets, which lowers BLEU's distance and not perplexity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from polystill.config import Stage
from polystill.data.batching import SCORED_BATCH_TOKENS, BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.metrics import bleu_metric
from polystill.decoding.translator import Cuts, DecodingOptions
from polystill.models.supernets import Supernets
from polystill.objectives.fused import cross_entropies
from polystill.sources.lines import read_lines
from polystill.students import Student, StudentSpace
from polystill.training.checkpoint import Checkpoints
from polystill.training.feed import make_micro_batch
from polystill.training.pruning import Pruner
from polystill.training.quantization import Quantizer
from polystill.training.record import StageState
from polystill.training.session import Session


@dataclass(frozen=True)
class Validation:
    """Per target token and by candidate's name: label-smoothed cross-entropy and negative log-likelihood, in nats."""

    cross_entropy: dict[str, float]
    nll: dict[str, float]
    bleu: dict[str, float] | None = None
    """BLEU of greedy translations, where the stage selects by it."""

    @property
    def score(self) -> float:
        """The score by which a point is the best: the lower the better.

        The mean cross-entropy of a supernet's candidates, summed over supernets: one of many members counts no more
        than another. In a family of one supernet this is the published sum over all candidates, divided by their
        number. Or the same of their BLEU, with a minus sign.
        """
        return _summed_means(self.cross_entropy) if self.bleu is None else -_summed_means(self.bleu)

    def record(self) -> dict[str, Any]:
        """Its values for JSON; what was not measured is absent."""
        return {name: values for name, values in vars(self).items() if values is not None}

    def __str__(self) -> str:
        """Such as "nll e2d2 2.31 … e6d6 2.10, mean CE 3.512", and "greedy BLEU e2d2 30.1 … e6d6 33.0, mean 31.9".

        Of several supernets, the means are summed, as in `score`.
        """
        names = list(self.nll)
        ends = dict.fromkeys([names[0], names[-1]])
        nll = " … ".join(f"{name} {self.nll[name]:.3f}" for name in ends)
        what = "mean" if len({Student.parse(name).supernet for name in names}) == 1 else "sum of means"
        text = f"nll {nll}, {what} CE {_summed_means(self.cross_entropy):.3f}"
        if self.bleu is None:
            return text
        bleu = " … ".join(f"{name} {self.bleu[name]:.2f}" for name in ends)
        return f"{text}, greedy BLEU {bleu}, {what} {_summed_means(self.bleu):.2f}"


def _summed_means(values: dict[str, float]) -> float:
    by_supernet: dict[str, list[float]] = {}
    for name, value in values.items():
        by_supernet.setdefault(Student.parse(name).supernet, []).append(value)
    return sum(map(fmean, by_supernet.values()))


@torch.no_grad()
def validate(
    model: Supernets,
    dataset: PackedDataset,
    space: StudentSpace,
    label_smoothing: float,
    *,
    rank: int = 0,
    ranks: int = 1,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Validation:
    """Score all candidates on a data set; with several ranks each does its share."""
    networks = list(space.candidates)
    plans = model.plans(networks)
    columns = {name: [i for i, n in enumerate(networks) if n.supernet == name] for name in plans}
    device = model.first.embedding.device
    sums = torch.zeros(2, len(networks), dtype=torch.float64, device=device)
    batches = BatchSchedule(dataset.source_lengths, dataset.target_lengths, SCORED_BATCH_TOKENS, seed=0).epoch(0)
    was_training = model.training
    model.eval()
    for rows in batches[rank::ranks]:
        batch = make_micro_batch(*dataset.rows(rows), model.first.pad_id).to(device)
        target = batch.real_tokens(batch.target)
        for name, plan in plans.items():
            net = model[name]
            states = net.hidden_states(batch.source, batch.target_in, plan, packing=batch.packing)
            hidden = [batch.real_tokens(h) for h in states]
            scores = cross_entropies(hidden, net.embedding, net.output_bias, target, label_smoothing)
            sums[:, columns[name]] += torch.stack(scores)[:, list(plan.members)]
    model.train(was_training)
    per_token = (sum_over_ranks(sums) / int(dataset.target_lengths.sum())).tolist()
    names = [network.name for network in networks]
    return Validation(dict(zip(names, per_token[0], strict=True)), dict(zip(names, per_token[1], strict=True)))


def with_bleu(result: Validation, session: Session, space: StudentSpace) -> Validation:
    """The same validation with greedy BLEU of every network; with several ranks each translates with its share."""
    source, references = (_text(session.run.data / f"validation.{side}.txt") for side in ("source", "target"))
    metric = bleu_metric(session.recipe.data.target_language)
    options = DecodingOptions(beam_size=1, batch_tokens=SCORED_BATCH_TOKENS, max_length=session.recipe.data.max_tokens)
    was_training = session.model.training
    students = space.candidates
    scores = torch.zeros(len(students), dtype=torch.float64, device=session.accelerator.device)
    with torch.no_grad():
        for i in range(session.rank, len(students), session.ranks):
            translator = TorchTranslator(session.model[students[i].supernet], session.tokenizer, students[i])
            translations = translator.translate(source, options, Cuts())
            scores[i] = metric.corpus_score([h[0].text for h in translations], [references]).score
    session.model.train(was_training)
    bleu = session.sum_over_ranks(scores).tolist()  # so all ranks decide alike, whatever their processors
    return replace(result, bleu=dict(zip([student.name for student in students], bleu, strict=True)))


def _text(path: Path) -> list[str]:
    return [line.decode("utf-8") for line in read_lines(path)]


class BestWeights:
    """Validates, keeps the best weights so far and the last few for an average, and chooses between them in the end."""

    def __init__(
        self,
        session: Session,
        stage: Stage,
        state: StageState,
        checkpoints: Checkpoints,
        pruner: Pruner,
        quantizer: Quantizer,
    ) -> None:
        self._session, self._stage, self._state = session, stage, state
        self._space = session.space.only(stage.networks, stage.supernets)
        self._checkpoints, self._pruner, self._quantizer = checkpoints, pruner, quantizer
        self._average_last = session.recipe.training.average_last

    def validate(self) -> tuple[Validation, bool]:
        """Score the model as it stands after the state's update: the result, and whether it is the best so far."""
        state, result = self._state, self._score()
        state.history.append({"update": state.update, **result.record()})
        if self._pruner.at_target(state.update):
            self._keep(result)
        return result, state.best_update == state.update

    def _keep(self, result: Validation) -> None:
        state, session = self._state, self._session
        weights = session.model.state_dict()
        if session.is_main and self._average_last > 1:
            self._checkpoints.save_weights(state.update, weights, self._average_last)
        if result.score < state.best_score:
            state.best_score, state.best_update, state.validations_since_best = result.score, state.update, 0
            if session.is_main:
                self._checkpoints.save_best(state.update, weights)
        else:
            state.validations_since_best += 1

    def _score(self, space: StudentSpace | None = None) -> Validation:
        """Score the networks that the stage trains, or in a space all networks, rounded where they are trained so."""
        session = self._session
        quantizer = self._quantizer if space is None else Quantizer(session.model, session.recipe.quantized)
        space = space or self._space
        with quantizer():
            result = validate(
                session.model,
                session.validation_set,
                space,
                session.recipe.stage_objective(self._stage).label_smoothing,
                rank=session.rank,
                ranks=session.ranks,
                sum_over_ranks=session.sum_over_ranks,
            )
            return with_bleu(result, session, space) if self._stage.select_by == "bleu" else result

    def stopped_early(self) -> bool:
        """Whether the stage ends because it has not become better for `training.early_stopping` validations."""
        return 0 < self._session.recipe.training.early_stopping <= self._state.validations_since_best

    def choose(self) -> tuple[dict[str, Tensor], str, Validation]:
        """Load the best weights, or the average of the last validation points where that is better, into the model.

        Returns them, what they are, and their score: in the last stage of the run, that of all its networks.
        """
        session, model, state = self._session, self._session.model, self._state
        final, chosen = self._checkpoints.load_best(state.best_update), f"update {state.best_update}"
        average = self._checkpoints.average_weights() if self._average_last > 1 else None
        if average is not None:
            mean, count = average
            model.load_state_dict(mean)
            if self._score().score < state.best_score:
                final, chosen = mean, f"average of the last {count}"
        model.load_state_dict(final)
        return final, chosen, self._score(session.space if self._stage is session.recipe.stages[-1] else None)
