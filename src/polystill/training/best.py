"""A stage's best weights, by validation of all candidates at every so many updates."""

from __future__ import annotations

from torch import Tensor

from polystill.config import Stage
from polystill.training.checkpoint import Checkpoints
from polystill.training.curves import Curves
from polystill.training.pruning import Pruner
from polystill.training.selection import with_bleu
from polystill.training.session import Session
from polystill.training.state import StageState
from polystill.training.validation import Validation, validate


class BestWeights:
    """Validates, keeps what is best so far and the last few for an average, and chooses in the end."""

    def __init__(
        self,
        session: Session,
        stage: Stage,
        state: StageState,
        checkpoints: Checkpoints,
        pruner: Pruner,
        curves: Curves,
    ) -> None:
        self._session, self._stage, self._state = session, stage, state
        self._checkpoints, self._pruner, self._curves = checkpoints, pruner, curves
        self._average_last = session.recipe.training.average_last

    def validate(self) -> tuple[Validation, bool]:
        """Score the model as it stands after the state's update: the result, and whether it is the best so far."""
        state, result = self._state, self._score()
        state.history.append({"update": state.update, **result.record()})
        if self._pruner.at_target(state.update):
            self._keep(result)
        self._curves.add(state.update, {f"validation/{name}": value for name, value in result.nll.items()})
        bleu = result.bleu or {}
        self._curves.add(state.update, {f"validation_bleu/{name}": value for name, value in bleu.items()})
        return result, state.best_update == state.update

    def _keep(self, result: Validation) -> None:
        state, t = self._state, self._session
        weights = t.model.state_dict()
        if t.is_main and self._average_last > 1:
            self._checkpoints.save_weights(state.update, weights, self._average_last)
        if result.score < state.best_score:
            state.best_score, state.best_update, state.validations_since_best = result.score, state.update, 0
            if t.is_main:
                self._checkpoints.save_best(state.update, weights)
        else:
            state.validations_since_best += 1

    def _score(self) -> Validation:
        t = self._session
        result = validate(
            t.model,
            t.validation_set,
            t.space,
            t.recipe.stage_objective(self._stage).label_smoothing,
            rank=t.rank,
            ranks=t.ranks,
            sum_over_ranks=t.sum_over_ranks,
        )
        return with_bleu(result, t) if self._stage.select_by == "bleu" else result

    def stopped_early(self) -> bool:
        """Whether it is so long since the best that the stage ends."""
        return 0 < self._session.recipe.training.early_stopping <= self._state.validations_since_best

    def choose(self) -> tuple[dict[str, Tensor], str, Validation]:
        """Load the best weights, or the average of the last validation points where that is better, into the model.

        Returns them, what they are, and their score.
        """
        model, state = self._session.model, self._state
        final, chosen = self._checkpoints.load_best(state.best_update), f"update {state.best_update}"
        average = self._checkpoints.average_weights() if self._average_last > 1 else None
        if average is not None:
            mean, count = average
            model.load_state_dict(mean)
            if self._score().score < state.best_score:
                final, chosen = mean, f"average of the last {count}"
        model.load_state_dict(final)
        return final, chosen, self._score()
