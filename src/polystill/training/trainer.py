"""Training a run's family: its stages one after another, then the folder that holds the result."""

from __future__ import annotations

from polystill.environment.process import MALLOC_ADVICE, malloc_is_slow
from polystill.models.folder import save_family
from polystill.runs import Run
from polystill.training.pruning import warn_of_zeros
from polystill.training.session import Session
from polystill.training.stage import StageTrainer, stage_key, warn


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
        warn_of_zeros(run.recipe, session.model, warn)
        if session.accelerator.device.type == "cpu" and malloc_is_slow():
            warn(MALLOC_ADVICE)
    for index, stage in enumerate(stages):
        if run.finished(stage_key(stage)):
            continue
        if index:
            session.model.load_state_dict(session.checkpoints(stages[index - 1]).load_final())
        StageTrainer(session, index, stage).train()
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
            "seed": recipe.seed,
            "validation": record["validation"],
            **({"sparsity": record["sparsity"]} if "sparsity" in record else {}),
        }
        save_family(run.family, session.model, session.tokenizer, session.space, info)
        run.finish("family", {"teacher": str(session.space.teacher), "students": len(session.space.candidates)})
    session.accelerator.wait_for_everyone()
