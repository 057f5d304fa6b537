"""The finished rows of a study, and the files and tables that it makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic

from experiments.measured import Measured, measured_models
from experiments.significance import Bootstrap, Claim, Values, Verdict
from experiments.study import Row, S
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.storage import write_atomic


class Finished(Generic[S]):
    """The finished rows of a study."""

    def __init__(self, study: S, folder: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
        self.study, self.folder, self.bootstrap = study, folder, bootstrap
        self.rows = {row.name: row for row in rows}
        self.written = {row.name for row in rows if row.is_written(folder)}
        evaluated = [row for row in rows if row.recipe is not None and row.name in self.written]
        self.runs = {row.name: Run.open(folder / row.out) for row in evaluated}
        self.results = {name: run.results() for name, run in self.runs.items()}
        self.models = {name: measured_models(name, run, self.results[name]) for name, run in self.runs.items()}

    def members(self, row: str) -> list[Measured]:
        """All models of a row; none where it is not finished."""
        return list(self.models.get(row, {}).values())

    def only(self, row: str) -> Measured | None:
        """The model of a row that trains one network."""
        return next(iter(self.members(row)), None)

    def conditions(self) -> str:
        """The test set, engine, precision and BLEU signature of the tables."""
        for row in (model.any for name in self.models for model in self.members(name)):
            return f"{row.test_set}; {row.engine}, {row.precision}; BLEU {row.bleu_signature}."
        return "Nothing is measured yet."

    def claim(
        self,
        text: str,
        paper: str,
        models: dict[str, Measured | None],
        judge: Callable[..., Verdict],
        seed: int | None = None,
    ) -> Iterator[Claim]:
        """A claim about these models; where some are missing, of the study's own seed only."""
        missing = [name for name, model in models.items() if model is None]
        suffix = "" if seed in (None, self.study.seed) else f" (seed {seed})"
        if not missing:
            yield Claim(text + suffix, paper, *judge(*models.values()))
        elif not suffix:
            yield Claim(text, paper, None, {}, missing)

    def write(self, study: str, content: Values, claims: Sequence[Claim], parts: Sequence[str]) -> None:
        """STUDY/results.json: claims, what else the study makes of the runs, their rows and costs, and the commands.

        STUDY/results.md: the `parts`, and the claims.
        """
        rows = [
            {"row": name, **row.to_json(), "hypotheses": str(self.rows[name].out / row.hypotheses)}
            for name, results in self.results.items()
            for row in results.rows
        ]
        result = {
            **{"format": 1, "study": study, "name": self.study.name, "claims": [claim.record() for claim in claims]},
            **{**content, "rows": rows},
            "cost": {name: results.to_json()["cost"] for name, results in self.results.items()},
            "commands": {name: row.shown_command() for name, row in self.rows.items()},
            "provenance": provenance().to_json(),
        }
        write_atomic(self.folder / "results.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        text = "\n\n".join([*parts, "## Claims", _claims_table(claims)]) + "\n"
        write_atomic(self.folder / "results.md", text)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are to the right."""
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def _claims_table(claims: Sequence[Claim]) -> str:
    lines = ["| claim | paper | holds here | ours |", "|---|---|---|---|"]
    for claim in claims:
        ours = "; ".join(f"{name} {shown(value)}" for name, value in claim.ours.items())
        ours = f"rows missing: {', '.join(claim.missing)}" if claim.missing else ours
        lines.append(f"| {claim.text} | {claim.paper} | {claim.verdict} | {ours} |")
    return "\n".join(lines)


def shown(value: Any, digits: int = 2) -> str:
    """A figure in a table; empty where there is none."""
    if isinstance(value, float):
        return f"{value + 0.0:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def signed(difference: float, digits: int = 2) -> str:
    """A difference in a table; one that is rounded to nothing has no minus."""
    return f"{round(difference, digits) + 0.0:+.{digits}f}"


def change(before: float | None, after: float | None, digits: int = 2) -> str:
    """The gain of `after` over `before`; empty where one of them is missing."""
    return "" if before is None or after is None else signed(after - before, digits)
