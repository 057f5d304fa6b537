"""What a study's runs have measured: read from their own folders, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.evaluation.significance import compare, compare_families
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.runs.rows import measured_as_recipe
from polystill.storage import text_lines, write_atomic
from polystill.studies.steps import Step

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One model on the first test set, by beam size, with the engine and precision of its recipe."""

    row: str
    """The study's."""
    model: str
    seed: int
    folder: Path
    """Of its run."""
    by_beam: dict[int, Row]

    def get(self, key: str, beam: int) -> float | None:
        """A figure of one search; None where it was not measured."""
        value = self.by_beam.get(beam, {}).get(key)
        return None if value is None else float(value)

    def bleu(self, beam: int) -> float:
        """Where it is known to be there."""
        return float(self.by_beam[beam]["bleu"])

    def of_model(self, key: str) -> Any:
        """A figure that no search changes."""
        return next(iter(self.by_beam.values())).get(key)

    @property
    def weights(self) -> int:
        """Parameters that are not zero."""
        return int(self.of_model("nonzero_parameters") or self.of_model("parameters"))

    def translations(self, beam: int) -> list[str]:
        return text_lines(self.folder / self.by_beam[beam]["hypotheses"])

    def references(self) -> list[str]:
        return text_lines(self.folder / "data" / "test" / f"{self.of_model('test_set')}.target.txt")


def measured(folder: Path, steps: Sequence[Step]) -> list[Measured]:
    """All models of the runs that are evaluated, in the order of the steps."""
    found = []
    for step in steps:
        if step.recipe is None or not step.is_written(folder):
            continue
        run = Run.open(folder / step.out)
        test_set = next(iter(run.recipe.data.test), None)
        rows = [row for row in run.results()["rows"] if measured_as_recipe(row, run.recipe)]
        by_model: dict[str, dict[int, Row]] = {}
        for row in rows:
            if row["test_set"] == test_set:
                by_model.setdefault(row["model"], {})[row["beam"]] = row
        found += [Measured(step.name, model, run.recipe.seed, run.folder, rows) for model, rows in by_model.items()]
    return found


def all_rows(folder: Path, steps: Sequence[Step]) -> Iterator[Row]:
    """Every row of results of every run, with the study's row, and paths that start at the study's folder."""
    for step in steps:
        if step.recipe is not None and step.is_written(folder):
            for row in Run.open(folder / step.out).results()["rows"]:
                yield {"row": step.name, **row, "hypotheses": str(step.out / row["hypotheses"])}


def costs(folder: Path, steps: Sequence[Step]) -> dict[str, Any]:
    """Of every run that is evaluated, what each of its stages cost."""
    written = [step for step in steps if step.recipe is not None and step.is_written(folder)]
    return {step.name: Run.open(folder / step.out).results()["cost"] for step in written}


def write_results(folder: Path, study: str, name: str, steps: Sequence[Step], content: dict[str, Any]) -> None:
    """STUDY/results.json: the runs' rows and costs, what the study makes of them, and the commands."""
    result = {
        "format": 1,
        "study": study,
        "name": name,
        **content,
        "rows": list(all_rows(folder, steps)),
        "cost": costs(folder, steps),
        "commands": {step.name: step.command() for step in steps},
        "provenance": provenance().to_json(),
    }
    write_atomic(folder / "results.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")


# --- is it luck? ------------------------------------------------------------------------------------------------------


class Bootstrap:
    """Paired bootstraps, computed once for the same translations: they are kept in STUDY/significance.json."""

    def __init__(self, folder: Path, compute: bool) -> None:
        """Without `compute` only those that are there already are given."""
        self._path, self._compute = folder / "significance.json", compute
        self._known: dict[str, list[Row]] = {}
        with suppress(OSError, ValueError):  # what is not there, or damaged, is computed again
            known = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = known if isinstance(known, dict) else {}

    def against(self, first: Measured, others: Iterable[Measured], beam: int) -> list[Row]:
        """`evaluation.significance.compare`'s rows of the first model and each other one, with what was compared."""
        rows: list[Row] = []
        for other in others:
            if beam in first.by_beam and beam in other.by_beam:
                rows += self._pair(first, other, beam)
        return rows

    def p_value(self, first: Measured, other: Measured, beam: int) -> float | None:
        """Of the difference in BLEU; None where it was not computed."""
        return next((row["p_value"] for row in self._pair(first, other, beam) if row["metric"] == "bleu"), None)

    def of_families(self, first: Sequence[Measured], other: Sequence[Measured], beam: int) -> dict[str, Row] | None:
        """`evaluation.significance.compare_families` of the members that both have; None where it was not computed."""
        both = ({model.model for model in models if beam in model.by_beam} for models in (first, other))
        names = set.intersection(*both)
        if not names:
            return None
        a = {model.model: model.translations(beam) for model in first if model.model in names}
        b = {model.model: model.translations(beam) for model in other if model.model in names}
        return self._gains(a, b, first[0]) or None

    def of_searches(self, model: Measured, first: int, other: int) -> Row | None:
        """The same of one model and two beam sizes: what the other has over the first."""
        a, b = ({model.model: model.translations(beam)} for beam in (first, other))
        return self._gains(a, b, model).get(model.model)

    def _gains(self, a: dict[str, list[str]], b: dict[str, list[str]], model: Measured) -> dict[str, Row]:
        """By member; of the test set and language of this model. Empty where it was not computed."""
        references = model.references()

        def compute() -> list[Row]:
            language = Run.open(model.folder).recipe.data.target_language
            found = compare_families(a, b, references, target_language=language)
            return [{"member": name, **row} for name, row in found.items()]

        rows = self._cached(["families", a, b, references], compute)
        return {row["member"]: {key: row[key] for key in ("difference", "low", "high")} for row in rows}

    def _pair(self, first: Measured, other: Measured, beam: int) -> list[Row]:
        systems = [model.translations(beam) for model in (first, other)]
        references = first.references()

        def compute() -> list[Row]:
            language = Run.open(first.folder).recipe.data.target_language
            names = dict(zip(("first", "other"), systems, strict=True))
            compared = compare(names, references, target_language=language)
            return [_plain(row) for row in compared if row["system"] == "other"]

        about = {"first": first.row, "row": other.row, "model": other.model, "beam": beam}
        return [{**about, **row} for row in self._cached([*systems, references], compute)]

    def _cached(self, texts: list[Any], compute: Callable[[], list[Row]]) -> list[Row]:
        """What is known of these texts, computed where it is not; empty where it may not be computed."""
        key = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
        if key not in self._known:
            if not self._compute:
                return []
            self._known[key] = compute()
            write_atomic(self._path, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]


def _plain(row: Row) -> Row:
    """Without NumPy's numbers, which JSON does not take."""
    return {key: value if isinstance(value, str) else float(value) for key, value in row.items() if key != "system"}
