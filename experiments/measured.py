"""The measured models of a study's runs, read from their folders."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.study import BEAM, BEAMS, GREEDY
from polystill.runs import Run
from polystill.runs.results import QualityRow, Results
from polystill.storage import text_lines


@dataclass(frozen=True)
class Measured:
    """One model on the first test set, by beam size, with the engine and precision of its recipe."""

    row: str
    model: str
    seed: int
    run: Run
    by_beam: dict[int, QualityRow]
    """Has at least BEAMS."""

    @property
    def any(self) -> QualityRow:
        """For figures that no search changes."""
        return self.by_beam[GREEDY]

    @property
    def network(self) -> tuple[str, str, int | None]:
        return self.any.architecture, self.model, self.any.parameters

    @property
    def weights(self) -> int:
        """Parameters that are not zero."""
        return self.any.nonzero_parameters or self.any.parameters or 0

    @property
    def p_mode(self) -> float | None:
        return self.by_beam[BEAM].p_mode

    @property
    def language(self) -> str:
        return self.run.recipe.data.target_language

    def bleu(self, beam: int) -> float:
        return self.by_beam[beam].bleu

    def translations(self, beam: int) -> list[str]:
        return text_lines(self.run.folder / self.by_beam[beam].hypotheses)

    def references(self) -> list[str]:
        return self.run.test_lines(self.any.test_set, "target")


def measured_models(name: str, run: Run, results: Results) -> dict[str, Measured]:
    """The models of a row that are measured with all of BEAMS, by their names."""
    test_set = next(iter(run.recipe.data.test), None)
    by_model: dict[str, dict[int, QualityRow]] = {}
    for row in results.rows:
        if row.measured_as(run.recipe) and row.test_set == test_set:
            by_model.setdefault(row.model, {})[row.beam] = row
    complete = {model: rows for model, rows in by_model.items() if rows.keys() >= set(BEAMS)}
    return {model: Measured(name, model, run.recipe.seed, run, rows) for model, rows in complete.items()}
