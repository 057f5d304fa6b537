"""The loop of a training: a run's stages one after another, and the updates of each; resumable to the bit.

An update depends on the recipe, the weights and its number alone (`training.update`), so a killed run continues from
its last checkpoint as if nothing had happened.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np

from polystill.config import Stage
from polystill.data.batching import Mixture
from polystill.data.modifiers import Augmenter
from polystill.environment.process import MALLOC_ADVICE, malloc_is_slow
from polystill.errors import UserError
from polystill.models.folder import save_family
from polystill.objectives import base
from polystill.progress import Progress
from polystill.runs import Run
from polystill.students import are_chosen
from polystill.training.feed import GPU_MULTIPLE, BatchFeed, UpdateBatch
from polystill.training.memory import LOOKED_AT, Batching, MemoryOfUpdates, check_memory, free_bytes
from polystill.training.pruning import Pruner, warn_of_zeros
from polystill.training.quantization import Quantizer
from polystill.training.record import Interaction, StageCost, StageState
from polystill.training.session import Session
from polystill.training.update import Update, Updated, learning_rate, make_optimizer, stage_seed
from polystill.training.validation import BestWeights

LOG_EVERY = 10
"""Updates between two points of the training curves. A GPU is not waited for in between."""


def train_family(run: Run) -> None:
    """Train every stage of the run's recipe on RUN/data and write RUN/family; finished stages are skipped.

    Raises:
        UserError: the data or a start folder does not fit, a loss is not finite, a checkpoint cannot be written.
    """
    if run.finished("family"):
        return
    session = Session(run)
    stages = run.recipe.stages
    if session.is_main and not run.finished(stage_key(stages[0])):
        warn_of_zeros(run.recipe, session.model.first, warn)
        if session.accelerator.device.type == "cpu" and malloc_is_slow():
            warn(MALLOC_ADVICE)
    for index, stage in enumerate(stages):
        if run.finished(stage_key(stage)):
            continue
        if index:
            session.model.load_state_dict(session.checkpoints(stages[index - 1]).load_final())
        session.project_before(stage)
        StageTraining(session, index, stage).train()
    _write_family(session)


def _write_family(session: Session) -> None:
    run, recipe = session.run, session.recipe
    last = recipe.stages[-1]
    session.model.load_state_dict(session.checkpoints(last).load_final())
    if session.is_main:
        record = run.record(stage_key(last))
        assert record is not None
        info = {
            "source_language": recipe.data.source_language,
            "target_language": recipe.data.target_language,
            "method": recipe.method,
            "targets": recipe.targets_label,
            **({"domains": recipe.domains_label} if recipe.domains_label else {}),
            "seed": recipe.seed,
            "validation": record["validation"],
            **({"alignment": True} if recipe.data.alignment else {}),
            **({"sparsity": record["sparsity"]} if "sparsity" in record else {}),
        }
        save_family(run.family, session.model, session.tokenizer, session.space, info)
        run.finish("family", {"teacher": str(session.space.teacher), "students": len(session.space.candidates)})
    session.accelerator.wait_for_everyone()


def stage_key(stage: Stage) -> str:
    """The stage's name in the run's state."""
    return f"training.{stage.name}"


def warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- one stage --------------------------------------------------------------------------------------------------------


class StageTraining:
    """One stage of a run, from wherever its last checkpoint left it."""

    def __init__(self, session: Session, index: int, stage: Stage) -> None:
        recipe, silent = session.recipe, not session.is_main
        self.session, self.index, self.stage, self.training = session, index, stage, recipe.training
        objective, space = recipe.stage_objective(stage), session.space.only(stage.networks, stage.supernets)
        session.model.hold_all_but(space)
        self.checkpoints = session.checkpoints(stage)
        factors = {name: supernet.learning_rate_factor for name, supernet in recipe.supernets.items()}
        self.optimizer = make_optimizer(session.model, recipe.training, factors)
        self.state = self._resume()
        if not session.alike_on_all_ranks(index, self.state.update):
            raise UserError(
                f"stage {stage.name}: not all ranks see the same checkpoints in {self.checkpoints.folder} (rank "
                f"{session.rank} sees that of update {self.state.update}); all nodes must share that folder, and see "
                "changes in it at once (NFS: mount with actimeo=0)"
            )
        self._mixture, self._augmenter = self._training_data()
        self.pruner = Pruner(session.model, recipe.stage_pruning(stage))
        trained = [name for name, _ in session.model.items() if are_chosen(stage.supernets, name)]
        self.quantizer = Quantizer(session.model, trained if stage.quantization else ())
        teacher = session.frozen_teacher(stage)
        self.update = Update(
            session.model,
            objective,
            space,
            recipe.training,
            session.accelerator,
            optimizer=self.optimizer,
            learning_rate=partial(
                learning_rate,
                peak=stage.learning_rate or recipe.training.learning_rate,
                warmup=recipe.training.warmup if stage.warmup is None else stage.warmup,
                schedule=recipe.stage_schedule(stage),
                updates=stage.updates,
            ),
            seed=recipe.seed,
            stage=index,
            dropout=stage.dropout,
            teacher=teacher,
            pruner=self.pruner,
            quantizer=self.quantizer,
        )
        self.progress = StageProgress(stage, self.state.update, silent)
        self.curves = Curves(session.run.logs / stage.name, self.state.update + 1, silent)
        self.best = BestWeights(session, stage, self.state, self.checkpoints, self.pruner, self.quantizer)
        self.cost = StageCost(session, self.state, self.update.batch_loss, teacher)
        self.interaction = Interaction(self.state, stage.updates, objective)
        self._unread: list[tuple[int, Updated, UpdateBatch]] = []

    def train(self) -> None:
        """Train to the stage's end and keep the best weights."""
        try:
            if not self.best.stopped_early():
                self._check_memory()
                with Interruption(alone=self.session.ranks == 1) as interruption:
                    self._train_updates(interruption)
            self._finish()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of what an update needs beside the weights."""
        self.progress.close()
        self.curves.close()
        self.cost.close()
        self.session.accelerator.free_memory()  # it would go on scaling for this stage's optimizer

    def _check_memory(self) -> None:
        """Raises UserError where updates need more memory than there is; the plain mode is not estimated."""
        session, state, device = self.session, self.state, self.session.accelerator.device
        free = free_bytes(device)
        if free is None or self.training.mode == "plain" or state.update >= self.stage.updates:
            return
        numbers = range(state.update + 1, min(self.stage.updates, state.update + LOOKED_AT) + 1)
        drawn = dict.fromkeys(tuple(self.update.networks(number)) for number in numbers)
        plans = [self.update.batch_loss.plans(networks) for networks in drawn]
        check_memory(
            MemoryOfUpdates(session.model, plans, session.precision, device, copied=self.quantizer.copied_bytes),
            self._mixture,
            state.position.epoch,
            Batching(
                self.training.batch_tokens, self.training.accumulate * session.ranks, GPU_MULTIPLE if self._gpu else 1
            ),
            moments=not self.optimizer.state,
            free=free,
            where=f"stage {self.stage.name} on {device}",
        )

    def _train_updates(self, interruption: Interruption) -> None:
        state, stage = self.state, self.stage
        for batch in self.feed().updates(state.position):
            if state.update >= stage.updates:
                return
            state.update += 1
            self._train_on(batch)
            state.position = batch.following
            done = state.update == stage.updates
            if done or state.update % self.training.validate_every == 0:
                done = self._validate() or done
            if done or interruption.requested or state.update % self.training.checkpoint_every == 0:
                self._save()
            if interruption.requested:
                self.progress.say(f"{stage.name} {state.update}: saved")
                interruption.act()
            if done:
                return

    def _train_on(self, batch: UpdateBatch) -> None:
        """One update, and what is counted of it."""
        state = self.state
        updated = self.update(batch, state.update)
        for micro_batch, loss in zip(batch.micro_batches, updated.losses, strict=True):
            self.cost.count(micro_batch, updated.networks, loss.projections_again)
            self.interaction.add(updated.networks, loss)
        state.target_tokens += batch.target_tokens
        self._unread.append((state.update, updated, replace(batch, micro_batches=[])))
        if state.update % LOG_EVERY == 0 or base.on_host(updated.figures):
            self._read()

    def _read(self) -> None:
        """Count and show how the updates went whose figures were left on a device, which is waited for."""
        for update, updated, batch in self._unread:
            if not updated.applied or not math.isfinite(updated.norm):
                self.state.skipped += 1
            if not updated.applied:
                self._report_skipped(update, updated, batch)
            if update % LOG_EVERY == 0:
                self._draw_curves(update, updated)
            self.progress.updated(updated.loss, batch.target_tokens)
        self._unread.clear()

    def _draw_curves(self, update: int, updated: Updated) -> None:
        self.curves.add(update, {"train/loss": updated.loss, "train/learning_rate": updated.learning_rate})
        if (alignment := updated.losses[-1].alignment) is not None:
            self.curves.add(update, {"train/alignment": float(alignment)})
        if self.interaction.compares(updated.networks):
            names = map(str, updated.networks[1:])
            self.curves.add(update, dict(zip(names, updated.losses[-1].ce_ratio, strict=True)), "ce_ratio/")

    def _report_skipped(self, update: int, updated: Updated, batch: UpdateBatch) -> None:
        """Raise, or say under `on_nonfinite: skip`, that an update's loss or gradient is not finite."""
        where = (
            f"stage {self.stage.name}, update {update}, epoch {batch.position.epoch}, "
            f"batch {batch.position.batch} (training rows {_first_few(batch.rows)})"
        )
        loss_is_finite = math.isfinite(updated.loss)
        what = f"the gradient's norm is {updated.norm}" if loss_is_finite else f"the loss is {updated.loss}"
        if self.training.on_nonfinite == "stop":
            raise UserError(
                f"{where}: {what}; start in a new folder with a lower training.learning_rate or a training.clip_norm, "
                "or leave such updates out with training.on_nonfinite=skip"
            )
        self.progress.say(f"{where}: {what}, skipped")

    def _validate(self) -> bool:
        """Score all candidates and keep the weights if they are the best; returns whether the stage ends early."""
        self._read()
        name, update = self.stage.name, self.state.update
        result, is_best = self.best.validate()
        self.curves.add(update, result.nll, "validation/")
        self.curves.add(update, result.bleu or {}, "validation_bleu/")
        self.progress.say(f"{name} {update}: validation {result}{' (best)' if is_best else ''}")
        stops = self.best.stopped_early()
        if stops and update < self.stage.updates:
            self.progress.say(f"{name}: no better for {self.training.early_stopping} validations, stopped")
        return stops

    @property
    def _gpu(self) -> bool:
        return self.session.accelerator.device.type == "cuda"

    def _training_data(self) -> tuple[Mixture, Augmenter | None]:
        """The stage's training data, and what modifies it."""
        session = self.session
        seed = stage_seed(session.recipe.seed, self.index)
        mixture = session.mixture(self.stage, seed)
        augmenter = None
        if shares := {str(name): share for name, share in session.recipe.training.modifiers.items()}:
            augmenter = Augmenter(
                mixture.dataset,
                session.tokenizer,
                shares,
                session.recipe.data.max_tokens,
                seed,
                trained_on=mixture.drawn,
            )
            mixture.lengths = augmenter.lengths
        return mixture, augmenter

    def feed(self) -> BatchFeed:
        """The batches of the stage's updates."""
        session = self.session
        return BatchFeed(
            self._mixture.dataset,
            self._mixture,
            pad_id=session.model.first.pad_id,
            accumulate=self.training.accumulate,
            rank=session.rank,
            ranks=session.ranks,
            gpu=self._gpu,
            augmenter=self._augmenter,
            alignments=session.alignments(self.stage),
        )

    def _finish(self) -> None:
        """Leave the model with the stage's best weights, and write the stage's record."""
        session, state = self.session, self.state
        session.accelerator.wait_for_everyone()  # the first rank writes what all read
        if not state.best_update:
            raise UserError(
                f"stage {self.stage.name}: no validation gave a finite cross-entropy "
                f"({state.skipped} of {state.update} updates were skipped); "
                "start in a new folder with a lower training.learning_rate or a training.clip_norm"
            )
        final, chosen, result = self.best.choose()
        self.progress.say(f"{self.stage.name}: keeps {chosen}, validation {result}")
        cost = self.cost.record()
        if session.is_main:
            self.checkpoints.save_final(final)
            session.run.add_cost(stage_key(self.stage), cost)
            session.run.finish(
                stage_key(self.stage),
                {
                    "updates": state.update,
                    **({"stopped_early": True} if self.best.stopped_early() else {}),
                    "kept": chosen,
                    "skipped": state.skipped,
                    **self.pruner.record(),
                    **({"quantization": self.stage.quantization} if self.stage.quantization else {}),
                    "validation": result.record(),
                    "history": state.history,
                    **self.interaction.record(),
                },
            )
        session.accelerator.wait_for_everyone()

    def _save(self) -> None:
        self._read()
        self.interaction.flush()
        if not self.session.is_main:
            return
        self.cost.lap()
        scaler = self.session.accelerator.scaler
        self.checkpoints.save_state(
            self.state.update,
            {
                "model": self.session.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "stage": asdict(self.state),
                "scaler": None if scaler is None else scaler.state_dict(),
            },
            self.state.best_update,
        )

    def _resume(self) -> StageState:
        """Load the last checkpoint, if there is one; returns where the stage stands."""
        self.session.begin_scaling()
        saved = self.checkpoints.load_state(warn)
        if self.session.is_main:
            self.checkpoints.forget_after(0 if saved is None else saved["stage"]["update"])
        if saved is None:
            return StageState()
        self.session.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved["scaler"] is not None and self.session.accelerator.scaler is not None:
            self.session.accelerator.scaler.load_state_dict(saved["scaler"])
        state = StageState.restore(saved["stage"])
        if self.session.is_main:
            warn(f"{self.stage.name}: continues after update {state.update} of {self.stage.updates}")
        return state


def _first_few(rows: np.ndarray) -> str:
    shown = ", ".join(map(str, rows[:5].tolist()))
    return shown + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


# --- what a person sees -----------------------------------------------------------------------------------------------


class StageProgress(Progress):
    """Shows how far a stage has come, with its loss and speed; silent on all ranks but the first."""

    def __init__(self, stage: Stage, done: int, silent: bool) -> None:
        super().__init__(stage.name, "update", stage.updates, done, silent)
        self._tokens = 0

    def updated(self, loss: float, target_tokens: int) -> None:
        """After one update: its loss a token, its target tokens."""
        self._tokens += target_tokens
        self.add(1, f"loss {loss:.3f}, {self._tokens / self.seconds:,.0f} target tokens/s")


class Curves:
    """Training curves for TensorBoard; nothing is written on ranks other than the first."""

    def __init__(self, folder: Path, first_update: int, silent: bool) -> None:
        """Points from `first_update` on replace those that a killed process may have written."""
        self._writer = None
        if not silent:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_update)

    def add(self, update: int, values: Mapping[str, float], prefix: str = "") -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{prefix}{name}", value, update)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


# --- signals ----------------------------------------------------------------------------------------------------------


class Interruption:
    """Lets the update in progress end, and be saved, when SIGINT or SIGTERM asks the process to stop.

    Within its block the first signal is only noted. The second one acts at once, as it would have without the block.
    It is not for several ranks, which would stop after different updates, nor for threads, which get no signals.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, alone: bool) -> None:
        self._active = alone and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self._noted: int | None = None

    @property
    def requested(self) -> bool:
        return self._noted is not None

    def act(self) -> None:
        """Do what the noted signal would have done: raise KeyboardInterrupt, or end the process."""
        if self._noted is not None:
            self._act_on(self._noted)

    def __enter__(self) -> Self:
        if self._active:
            heeded = [number for number in self.SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None:  # a signal that came after the last look at `requested`
            self.act()

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            self._act_on(number)
        self._noted = number
        os.write(2, b"stopping after this update; a second signal stops at once\n")  # a print may be under way

    def _act_on(self, number: int) -> None:
        self._noted = None
        handler = self._before[number]
        if callable(handler):
            handler(number, None)
            return
        signal.signal(number, handler)
        os.kill(os.getpid(), number)
