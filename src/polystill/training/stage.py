"""One stage of training, resumable to the bit.

What an update does depends on the recipe, the weights and the update's number alone: batches, drawn students, learning
rate and dropout are derived from (seed, stage, update), so a checkpoint needs no generator's state and a killed run
continues as if nothing had happened.
"""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from polystill.config import Objective, Stage
from polystill.errors import UserError
from polystill.runs.results import Cost
from polystill.training.best import BestWeights
from polystill.training.curves import Curves
from polystill.training.draw import networks_of, random_seed, settings_of, stage_seed
from polystill.training.feed import BatchFeed, UpdateBatch
from polystill.training.interruption import Interruption
from polystill.training.optimizer import learning_rate, make_optimizer
from polystill.training.progress import StageProgress
from polystill.training.pruning import Pruner
from polystill.training.session import Session
from polystill.training.stage_cost import StageCost
from polystill.training.state import StageState
from polystill.training.step import TrainingStep

LOG_EVERY = 10
"""Updates between two points of the training curves."""


def stage_key(stage: Stage) -> str:
    """The stage's name in the run's state."""
    return f"training.{stage.name}"


class StageTrainer:
    def __init__(self, session: Session, index: int, stage: Stage) -> None:
        recipe = session.recipe
        self.session, self.index, self.stage = session, index, stage
        self.objective: Objective = recipe.stage_objective(stage)
        self.training = recipe.training
        self.peak = stage.learning_rate or recipe.training.learning_rate
        self.warmup = recipe.training.warmup if stage.warmup is None else stage.warmup
        self.checkpoints = session.checkpoints(stage)
        self.state = StageState()
        self.raw_optimizer = make_optimizer(session.model, recipe.training)
        self.pruner = Pruner(session.model, recipe.stage_pruning(stage))
        self.teacher = session.frozen_teacher(self.objective)
        self.step_module = TrainingStep(session.model, recipe.training.mode, session.sum_over_ranks, self.teacher)
        self.scaled = session.precision == "fp16"
        self._resume()
        self.step, self.optimizer = session.accelerator.prepare(self.step_module, self.raw_optimizer)
        silent = not session.is_main
        self.progress = StageProgress(stage.name, stage.updates, self.state.update, silent)
        self.curves = Curves(session.run.logs / stage.name, self.state.update + 1, silent)
        self.best = BestWeights(session, stage, self.state, self.checkpoints, self.pruner, self.curves)
        self.cost = StageCost(session, self.state, self.step_module, self.teacher)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train to the stage's end, from wherever the last checkpoint left it, and keep the best weights."""
        try:
            if not self.best.stopped_early():
                with Interruption(alone=self.session.ranks == 1) as interruption:
                    self._train_updates(interruption)
            self._finish()
        finally:
            self.progress.close()
            self.curves.close()
            self.cost.close()
            self.session.accelerator.free_memory()  # it would go on scaling for this stage's optimizer

    def _train_updates(self, interruption: Interruption) -> None:
        state, stage = self.state, self.stage
        for batch in self._feed().updates(state.position):
            if state.update >= stage.updates:
                return
            state.update += 1
            loss = self._update(batch)
            state.position = batch.following
            self.progress.update(loss, batch.target_tokens)
            done = state.update == stage.updates
            if done or state.update % self.training.validate_every == 0:
                result, is_best = self.best.validate()
                mark = " (best)" if is_best else ""
                self.progress.say(f"{stage.name} {state.update}: validation {result}{mark}")
                if self.best.stopped_early() and not done:
                    self.progress.say(
                        f"{stage.name}: no better for {self.training.early_stopping} validations, stopped"
                    )
                    done = True
            if done or interruption.requested or state.update % self.training.checkpoint_every == 0:
                self._save()
            if interruption.requested:
                self.progress.say(f"{stage.name} {state.update}: saved")
                interruption.obey()
            if done:
                return

    def _update(self, batch: UpdateBatch) -> float:
        """One optimizer update on one batch of all ranks; returns its loss a target token."""
        t, update = self.session, self.state.update
        networks = networks_of(self.objective, t.space, stage_seed(t.recipe.seed, self.index), update)
        settings = settings_of(self.objective, update)
        rate = learning_rate(
            update,
            peak=self.peak,
            warmup=self.warmup,
            schedule=t.recipe.stage_schedule(self.stage),
            updates=self.stage.updates,
        )
        for group in self.raw_optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(random_seed(t.recipe.seed, self.index, update, t.rank))
        self.pruner.begin(update)
        t.model.train()
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=t.accelerator.device)
        for i, micro_batch in enumerate(batch.micro_batches):
            last = i + 1 == len(batch.micro_batches)
            with nullcontext() if last else t.accelerator.no_sync(self.step):
                losses = self.step(micro_batch.to(t.accelerator.device), networks, settings)
                t.accelerator.backward(losses.loss * (t.ranks / batch.target_tokens))
            total += losses.loss.detach()
            self.cost.count(micro_batch, networks, losses.projections_again)
        self.state.target_tokens += batch.target_tokens
        loss = self._apply(t.sum_over_ranks(total) / batch.target_tokens, batch)
        if update % LOG_EVERY == 0:
            ratios = {str(n): r for n, r in zip(networks[1:], losses.ce_ratio, strict=True)}
            self.curves.add(update, {"train/loss": loss, "train/learning_rate": rate})
            self.curves.add(update, {f"ce_ratio/{name}": ratio for name, ratio in ratios.items()})
        return loss

    def _apply(self, mean_loss: Tensor, batch: UpdateBatch) -> float:
        """Take the optimizer's step, unless the loss or the gradient is not finite; returns the loss."""
        t = self.session
        t.model.mask_pad_gradient()
        self.pruner.mask_gradient()
        clipped = t.accelerator.clip_grad_norm_(t.model.parameters(), self.training.clip_norm or math.inf)
        loss, norm = torch.stack([mean_loss, clipped.double()]).tolist()  # a GPU waits here, once an update
        if math.isfinite(loss) and (self.scaled or math.isfinite(norm)):
            self.optimizer.step()
            self.pruner.hold()
            # Under fp16 the scaler itself leaves out updates whose gradient overflows, and lowers its scale.
            self.state.skipped += not math.isfinite(norm)
            return loss
        where = (
            f"stage {self.stage.name}, update {self.state.update}, epoch {batch.position.epoch}, "
            f"batch {batch.position.batch} (training rows {_some(batch.rows)})"
        )
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        if self.training.on_nonfinite == "stop":
            raise UserError(
                f"{where}: {what}; start in a new folder with a lower training.learning_rate or a training.clip_norm, "
                "or leave such updates out with training.on_nonfinite=skip"
            )
        self.state.skipped += 1
        if self.scaled:
            t.accelerator.scaler.update()  # this update's unscaling is over
        self.progress.say(f"{where}: {what}, skipped")
        return loss

    def _feed(self) -> BatchFeed:
        t = self.session
        mixture = t.mixture(self.stage, stage_seed(t.recipe.seed, self.index))
        return BatchFeed(
            mixture.dataset,
            mixture,
            pad_id=t.model.pad_id,
            accumulate=self.training.accumulate,
            rank=t.rank,
            ranks=t.ranks,
            pin=t.accelerator.device.type == "cuda",
        )

    # --- the end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Leave the model with the stage's best weights, and put on record what came of it."""
        t, state = self.session, self.state
        t.accelerator.wait_for_everyone()  # the first rank writes what all read
        if not state.best_update:
            raise UserError(
                f"stage {self.stage.name}: no validation gave a finite cross-entropy "
                f"({state.skipped} of {state.update} updates were skipped); "
                "start in a new folder with a lower training.learning_rate or a training.clip_norm"
            )
        final, chosen, result = self.best.choose()
        self.progress.say(f"{self.stage.name}: keeps {chosen}, validation {result}")
        cost = self.cost.record()
        if t.is_main:
            self.checkpoints.save_final(final)
            t.run.add_cost(stage_key(self.stage), Cost(**cost))
            t.run.finish(
                stage_key(self.stage),
                {
                    "updates": state.update,
                    "kept": chosen,
                    "skipped": state.skipped,
                    **self.pruner.record(),
                    "validation": result.record(),
                    "history": state.history,
                },
            )
        t.accelerator.wait_for_everyone()

    # --- state ------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if not self.session.is_main:
            return
        self.cost.lap()
        scaler = self.session.accelerator.scaler
        self.checkpoints.save_state(
            self.state.update,
            {
                "model": self.session.model.state_dict(),
                "optimizer": self.raw_optimizer.state_dict(),
                "stage": asdict(self.state),
                "scaler": None if scaler is None else scaler.state_dict(),
            },
            self.state.best_update,
        )

    def _resume(self) -> None:
        saved = self.checkpoints.load_state(warn)
        if self.session.is_main:
            self.checkpoints.forget_after(0 if saved is None else saved["stage"]["update"])
        if saved is None:
            return
        self.session.model.load_state_dict(saved["model"])
        self.raw_optimizer.load_state_dict(saved["optimizer"])
        if saved["scaler"] is not None and self.session.accelerator.scaler is not None:
            self.session.accelerator.scaler.load_state_dict(saved["scaler"])
        self.state = StageState.restore(saved["stage"])
        if self.session.is_main:
            warn(f"{self.stage.name}: continues after update {self.state.update} of {self.stage.updates}")


def _some(rows: np.ndarray) -> str:
    shown = ", ".join(map(str, rows[:5].tolist()))
    return shown + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
