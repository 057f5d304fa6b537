"""Fine-tuning: the best checkpoint by greedy BLEU, and the schedule of one stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sacrebleu import corpus_bleu

from polystill.config import parse_recipe
from polystill.data.prepare import prepare_data
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions
from polystill.models.folder import load_model_with_tokenizer
from polystill.runs import Run
from polystill.training.loop import StageTraining, train_family
from polystill.training.session import Session
from polystill.training.update import Update
from polystill.training.validation import Validation


def test_best_is_the_highest_summed_bleu() -> None:
    ce = {"e1d1": 2.0, "e2d2": 1.0}
    by_ce, worse = Validation(ce, ce), Validation(ce, ce, {"e1d1": 1.0, "e2d2": 2.0})
    better = Validation(ce, ce, {"e1d1": 3.5})
    assert by_ce.score == 1.5 and better.score < worse.score
    assert by_ce.record() == {"cross_entropy": ce, "nll": ce}
    assert better.record()["bleu"] == {"e1d1": 3.5}


def test_a_fine_tuned_student(
    counting_recipe: dict[str, Any], counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a trained model: its greedy BLEU is sacreBLEU's, the best update is kept, and the rate is constant."""
    counting_recipe["model"] = {"start": str(counting_student), "dropout": 0.0}
    counting_recipe["data"].pop("tokenizer")
    counting_recipe["data"]["max_tokens"] = 48
    counting_recipe["objective"] = {"kind": "nll"}
    tuning = {"name": "tuning", "updates": 6, "select_by": "bleu", "schedule": "constant", "warmup": 0}
    counting_recipe["stages"] = [{**tuning, "learning_rate": 0.004}]
    counting_recipe["training"].update(validate_every=2)
    run = Run.start(tmp_path / "run", parse_recipe(counting_recipe, "test"))
    tokenizer = Tokenizer.load(counting_student)
    run.finish("data", prepare_data(run.recipe, run.data, tokenizer=tokenizer, log=lambda line: None))
    rates: list[float] = []
    update = Update.__call__

    def watch(self: Update, *arguments: Any) -> Any:
        updated = update(self, *arguments)
        rates.append(updated.learning_rate)
        return updated

    monkeypatch.setattr(Update, "__call__", watch)
    train_family(run)
    assert rates == [0.004] * 6
    record = run.record("training.tuning")
    assert record is not None
    found = [point["bleu"]["e2d2"] for point in record["history"]]
    assert len(found) == 3 and record["validation"]["bleu"]["e2d2"] == pytest.approx(max(found))
    assert record["kept"] == f"update {2 * (1 + found.index(max(found)))}"
    model, _ = load_model_with_tokenizer(run.family)
    sources, references = ((run.data / f"validation.{s}.txt").read_text().splitlines() for s in ("source", "target"))
    lines = [h[0].text for h in TorchTranslator(model, tokenizer).translate(sources, DecodingOptions(1))]
    assert corpus_bleu(lines, [references]).score == pytest.approx(max(found))
    assert max(found) > 5


def test_the_model_trains_on_as_it_was(counting_recipe: dict[str, Any], prepared_run: Any) -> None:
    """Greedy decoding between two updates leaves no trace in the weights."""
    weights = []
    for name, by in (("ce", "ce"), ("bleu", "bleu")):
        counting_recipe["stages"] = [{"name": "one", "updates": 6, "select_by": by}]
        run = prepared_run(counting_recipe, name)
        session = Session(run)
        StageTraining(session, 0, run.recipe.stages[0]).train()
        weights.append(torch.load(run.checkpoints / "one/state-00000006.pt", weights_only=True)["model"])
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
