"""The finished rows of a study, and the files and tables that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Generic

from experiments.claims import Claim, Compared, Values, Verdict
from experiments.comparisons import (
    TRANSLATIONS,
    Comparison,
    Known,
    Side,
    Texts,
    Trainings,
    output_name,
    write_translations,
)
from experiments.measured import Measured, measured_models
from experiments.study import Row, S, read_kept
from polystill.errors import UserError
from polystill.evaluation.figures import search
from polystill.models.folder import weights_bytes
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.storage import json_text, write_atomic


class Finished(Generic[S]):
    """The finished rows of a study.

    `final`: also compute what takes long, comparisons. Until then only those have results that were computed before.
    """

    teachers: Collection[str] = ()
    """Labels that have one seed, since comparisons are about these very networks."""

    def __init__(self, study: S, folder: Path, rows: Sequence[Row], *, final: bool) -> None:
        self.study, self.folder, self.final = study, folder, final
        self.rows = {row.name: row for row in rows}
        self.written = {row.name for row in rows if row.is_written(folder)}
        evaluated = [row for row in rows if row.recipe is not None and row.name in self.written]
        self.runs = {row.name: Run.open(folder / row.out) for row in evaluated}
        self.results = {name: run.results() for name, run in self.runs.items()}
        self.models = {name: measured_models(name, run, self.results[name]) for name, run in self.runs.items()}
        self.compared: dict[Comparison, Compared] = {}
        """All that was compared so far, in this order."""
        self._known = Known(folder, compute=final)

    def members(self, row: str) -> list[Measured]:
        """All models of a row; none where it is not finished."""
        return list(self.models.get(row, {}).values())

    def only(self, row: str) -> Measured | None:
        """The model of a row that trains one network."""
        return next(iter(self.members(row)), None)

    def seeds(self, label: str) -> list[str]:
        """The rows of a label that are measured, by seed."""
        rows = [row for row in self.rows.values() if row.label == label and self.models.get(row.name)]
        return [row.name for row in sorted(rows, key=lambda row: row.seed)]

    def each(self, label: str) -> list[Measured]:
        """The models of a row that trains one network, by seed."""
        return [model for name in self.seeds(label) for model in self.members(name)[:1]]

    def pairs(self, before: str, after: str) -> list[tuple[Measured, Measured]]:
        """The models of two such rows, for each seed that both have."""
        of_seed = {model.seed: model for model in self.each(after)}
        return [(model, of_seed[model.seed]) for model in self.each(before) if model.seed in of_seed]

    def conditions(self) -> str:
        """The test set, engine, precision and signatures of the tables."""
        for row in (model.any for name in self.models for model in self.members(name)):
            signatures = f"BLEU {row.bleu_signature}; chrF {row.chrf_signature}"
            return f"{row.test_set}; {row.engine}, {row.precision}; {signatures}."
        return "Nothing is measured yet."

    def bytes_of_weights(self, name: str) -> int:
        """Of a row's model, as it was kept where the weights themselves are not here."""
        row = self.rows[name]
        if (kept := row.kept(self.folder)).is_file():
            return read_kept(kept)
        folder = self.runs[name].family if name in self.runs else self.folder / row.out
        return weights_bytes(folder)

    # Comparisons

    @cached_property
    def texts(self) -> Texts:
        """The stored translations."""
        models = [model for name in self.models for model in self.members(name)]
        by_name = {output_name(m.row, m.model, beam): (m, beam) for m in models for beam in m.by_beam}

        def read(name: str) -> list[str]:
            model, beam = by_name[name]
            return model.translations(beam)

        references = models[0].references()
        for other in (members[0] for members in map(self.members, self.models) if members):
            if other.references() != references:
                raise UserError(f"{other.run.folder}: its test set has other references than {models[0].run.folder}")
        return Texts(references, models[0].language, read)

    def compare(
        self,
        first: str | Sequence[str],
        second: str | Sequence[str],
        beams: int | tuple[int, int],
        members: Sequence[str] | None = None,
    ) -> Compared | None:
        """Two labels over all their seeds, by the mean of these members (all by default); None where one is missing.

        Several labels on a side are networks that are trained one by one, whose mean counts.
        """
        before, after = (beams, beams) if isinstance(beams, int) else beams
        sides = self._side(first, before, members), self._side(second, after, members)
        if sides[0] is None or sides[1] is None:
            return None
        labels = [[side] if isinstance(side, str) else list(side) for side in (first, second)]
        comparison = Comparison(sides[0], sides[1], paired=labels[0] == labels[1])
        if comparison not in self.compared:
            names = [_named(side, members) for side in labels]
            how = search(before) if before == after else f"{search(before)}, {search(after)}"
            seeds = len(sides[0].trainings), len(sides[1].trainings)
            trials = self._trials(labels[0]), self._trials(labels[1])
            tell = all(n > 1 or set(side) <= set(self.teachers) for n, side in zip(seeds, labels, strict=True))
            found = self._known.differences(self.texts, comparison)
            self.compared[comparison] = Compared(names[0], names[1], how, seeds, trials, tell, found)
        return self.compared[comparison]

    def _side(self, labels: str | Sequence[str], beam: int, members: Sequence[str] | None) -> Side | None:
        if isinstance(labels, str):
            trainings = self._trainings(labels, beam, members)
            return Side(trainings, self._like(labels, beam, members)) if trainings else None
        by_label = [self._trainings(label, beam, None) for label in labels]
        number = min(map(len, by_label), default=0)
        if not number:
            return None
        trainings = tuple(tuple(name for each in by_label for name in each[i]) for i in range(number))
        return Side(trainings, self._like(labels[0], beam, None), independent=len(labels))

    def _trainings(self, label: str, beam: int, members: Sequence[str] | None) -> Trainings:
        """The outputs of a label's rows by seed, without rows that lack one of the members."""
        result = []
        for name in self.seeds(label):
            models = self.models[name]
            wanted = list(models) if members is None or not self._is_family(label) else members
            if all(member in models for member in wanted):
                result.append(tuple(output_name(name, member, beam) for member in wanted))
        return tuple(result)

    def _like(self, label: str, beam: int, members: Sequence[str] | None) -> tuple[Trainings, ...]:
        """Recipes of the same kind, families or single networks, that have several seeds."""
        labels = dict.fromkeys(row.label for row in self.rows.values() if self.models.get(row.name))
        alike = [other for other in labels if self._is_family(other) == self._is_family(label)]
        of_all = [self._trainings(other, beam, members) for other in alike]
        return tuple(trainings for trainings in of_all if len(trainings) > 1)

    def _is_family(self, label: str) -> bool:
        return self.rows[self.seeds(label)[0]].parsed.method == "aio_kd"

    def _trials(self, labels: Sequence[str]) -> int:
        """The tuning trials of a side, which are the same for each of its labels."""
        return min(len(self.study.trials_of(self.rows[self.seeds(label)[0]])) for label in labels)

    def claim(
        self,
        text: str,
        paper: str,
        labels: Sequence[str],
        judge: Callable[[], Verdict | None],
    ) -> Iterator[Claim]:
        """A claim about these labels; without a verdict where rows are missing, or `judge` has none."""
        missing = [label for label in labels if not self.seeds(label)]
        verdict = None if missing else judge()
        if verdict is None:
            yield Claim(text, paper, None, {}, missing, rows=labels)
        else:
            holds, ours, why = verdict
            yield Claim(text, paper, holds, ours, undecided=why, rows=labels)

    # Files

    def write(self, study: str, content: Values, claims: Sequence[Claim], parts: Sequence[str]) -> None:
        """STUDY/results.json: claims, comparisons, what else the study makes of the runs, their rows, costs, commands.

        STUDY/results.md: the `parts`, the comparisons and the claims. At the end also significance.json and the
        translations of all that was compared.
        """
        rows = [
            {"row": name, **row.to_json(), "hypotheses": str(self.rows[name].out / row.hypotheses)}
            for name, results in self.results.items()
            for row in results.rows
        ]
        result = {
            **{"format": 2, "study": study, "name": self.study.name, "claims": [claim.record() for claim in claims]},
            **{"target_language": self.study.data.get("target_language", ""), "test_set": self._test_set()},
            **{"comparisons": [each.record() for each in self.compared.values()]},
            **{"tuning_trials": self._all_trials(), **content, "rows": rows},
            "cost": {name: results.to_json()["cost"] for name, results in self.results.items()},
            "commands": {name: row.shown_command() for name, row in self.rows.items()},
            "provenance": provenance().to_json(),
        }
        write_atomic(self.folder / "results.json", json_text(result))
        tables = ["## Comparisons", ABOUT_COMPARISONS, comparison_table(self.compared.values())]
        tables += ["## Tuning trials", _trials_table(result["tuning_trials"])] if result["tuning_trials"] else []
        text = "\n\n".join([*parts, *tables, "## Claims", _claims_table(claims)]) + "\n"
        write_atomic(self.folder / "results.md", text)
        if self.final and self.compared:
            self._known.write()
            outputs = dict.fromkeys(name for comparison in self.compared for name in comparison.names())
            write_translations(self.folder / TRANSLATIONS, self.texts, list(outputs))

    def _test_set(self) -> str:
        """The one of tables, claims and comparisons."""
        models = [model for name in self.models for model in self.members(name)]
        return models[0].any.test_set if models else ""

    def _all_trials(self) -> Mapping[str, list[Values]]:
        return {arm: [trial.model_dump(mode="json") for trial in trials] for arm, trials in self.study.trials.items()}


def _named(labels: Sequence[str], members: Sequence[str] | None) -> str:
    """One side of a comparison in words."""
    if len(labels) > 1:
        return f"mean of {labels[0]} … {labels[-1]}"
    if not members:
        return labels[0]
    return f"{labels[0]}: {members[0]}" if len(members) == 1 else f"{labels[0]}: mean of {len(members)}"


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of figures are to the right."""
    lines = list(rows)
    of_figures = [all(not row[i] or row[i][0] in "0123456789+-–" for row in lines) for i in range(len(titles))]
    rule = "".join("---:|" if figures else "---|" for figures in of_figures)
    return "\n".join([f"| {' | '.join(titles)} |", f"|{rule}", *(f"| {' | '.join(cells)} |" for cells in lines)])


def timed_row(timing: Values) -> str:
    """The row whose student was timed by `polystill bench decode`; the name itself of a network of the timed run."""
    return str(timing["student"]) if "/" not in timing["student"] else str(Path(timing["student"]).parts[-2])


def shown_rounds(figure: Values, form: str) -> str:
    """Median, lowest and highest of the rounds."""
    return f"{figure['median']:{form}} ({figure['min']:{form}}–{figure['max']:{form}})"


ABOUT_COMPARISONS = (
    "The second minus the first; in brackets the two-sided 95 % interval over test sentences and, where recipes with "
    "several seeds tell how much one training varies, over trainings. p: approximate randomisation over sentences, "
    "where both sides are one training."
)


def comparison_table(compared: Iterable[Compared]) -> str:
    """All comparisons, in both metrics."""
    lines = []
    for each in compared:
        cells = [each.first, each.second, each.search, "{} / {}".format(*each.seeds), "{} / {}".format(*each.trials)]
        for name in ("bleu", "chrf"):
            found = each.differences.get(name)
            cells += ["", ""] if found is None else [between(found.value, found.low, found.high), shown(found.p, 4)]
        lines.append([*cells, each.summary])
    titles = ["first", "second", "search", "seeds", "tuning trials", "BLEU", "p", "chrF", "p", "the second is"]
    return markdown(titles, lines)


def _trials_table(trials: Mapping[str, list[Values]]) -> str:
    lines = []
    for arm, tried in trials.items():
        for number, trial in enumerate(tried, 1):
            what = ", ".join(f"{key}: {value}" for key, value in trial["tried"].items()) or "as the recipe has it"
            score = ", ".join(f"{name} {shown(value)}" for name, value in trial["validation"].items())
            lines.append([arm, f"{number} of {len(tried)}", what, score])
    return markdown(["arm", "trial", "tried", "on validation"], lines)


def _claims_table(claims: Sequence[Claim]) -> str:
    lines = ["| claim | rows | paper | holds here | ours |", "|---|---|---|---|---|"]
    for claim in claims:
        ours = "; ".join(f"{name} {_told(value)}" for name, value in claim.ours.items())
        ours = f"rows missing: {', '.join(claim.missing)}" if claim.missing else ours
        rows = ", ".join(dict.fromkeys(claim.rows))
        lines.append(f"| {claim.text} | {rows} | {claim.paper} | {claim.verdict} | {ours} |")
    return "\n".join(lines)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        change = between(value["difference"], value["low"], value["high"])
        return f"{shown(value['from'])} → {shown(value['to'])}, {change}"
    return " and ".join(map(shown, value)) if isinstance(value, list) else shown(value)


def shown(value: Any, digits: int = 2) -> str:
    """A figure in a table; empty where there is none."""
    if isinstance(value, float):
        return f"{value + 0.0:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def signed(difference: float, digits: int = 2) -> str:
    """A difference with its sign; one that is rounded to nothing is +0."""
    return f"{round(difference, digits) + 0.0:+.{digits}f}"


def between(difference: float, low: float, high: float) -> str:
    """A difference and its interval."""
    return f"{signed(difference)} ({signed(low)} to {signed(high)})"


def change(before: float | None, after: float | None, digits: int = 2) -> str:
    """The difference of two figures with its sign; empty where one is missing."""
    return "" if before is None or after is None else signed(after - before, digits)


def mean_over_seeds(figures: Sequence[float | None]) -> str:
    """The mean over seeds, with its standard deviation where there are several; empty where one is missing."""
    known = [figure for figure in figures if figure is not None]
    if not known or len(known) < len(figures):
        return ""
    return shown(fmean(known)) + (f" ± {stdev(known):.2f}" if len(known) > 1 else "")
