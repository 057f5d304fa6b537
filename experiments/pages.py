"""python -m experiments.pages: every figure of the results' pages, recomputed (`make results`).

    <!-- table: EXPRESSION -->    what follows, up to <!-- end -->, is what it makes; --write writes it
    1,791<!-- = EXPRESSION -->    the figure before it is the expression's, to the digits shown

Expressions are Jinja's, with the functions of `experiments.page_figures`. In all pages but quickstart.md
`<!-- unchecked: 12 -->` says how many decimal figures have neither: they cannot become more unnoticed. The scores and
intervals of studies whose translations are in docs/results/ are computed again from these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.claims import Values
from experiments.comparisons import (
    SIGNIFICANCE,
    TRANSLATIONS,
    Differences,
    output_name,
    read_significance,
    read_translations,
)
from experiments.page_figures import FUNCTIONS, RESULTS, content
from polystill.cli import main
from polystill.cli.common import say
from polystill.errors import UserError
from polystill.evaluation.figures import TITLES
from polystill.evaluation.resampling import METRICS
from polystill.storage import write_atomic

EVIDENCE = [RESULTS.parent / f"{name}.md" for name in ("results", "claims", "tables", "earlier")]
PAGES = [*EVIDENCE, RESULTS.parent / "quickstart.md"]

_TABLE = re.compile(r"(<!-- table: (.*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"([+\-−]?)(\d[\d,]*(?:\.(\d+))?)(?: × 10([⁰¹²³⁴-⁹]+))?\s?<!-- = (.*?) -->")
_UNCHECKED = re.compile(r"<!-- unchecked: (\d+) -->")
_NOT_PROSE = re.compile(r"^```.*?^```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
_DECIMAL = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.]*\w\.)")
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def evaluate(expression: str) -> Any:
    """The value of an expression.

    Raises:
        UserError: it does not work.
    """
    from jinja2 import StrictUndefined, Undefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined)
    try:
        value = environment.compile_expression(" ".join(expression.split()), undefined_to_none=False)(**FUNCTIONS)
        if isinstance(value, Undefined):
            str(value)  # raises, and says what is not defined
        return value
    except Exception as error:  # of any kind: the expression is a page's text
        raise UserError(f"{expression}: {error}") from None


def written(text: str) -> str:
    """The page with its tables as they should be."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{evaluate(match[2])}\n\n{match[4]}", text)


def problems_of(text: str, *, every_figure: bool = True) -> Iterator[str]:
    """What is wrong in a page, a line each; with `every_figure` also that it has other decimal figures than it says."""
    for match in _TABLE.finditer(text):
        should = f"\n{evaluate(match[2])}\n\n".splitlines()
        for number, (here, there) in enumerate(zip(match[3].splitlines(), should, strict=False)):
            if here != there:
                yield f"table {match[2]}: line {number}: {here!r} should be {there!r}"
        if len(match[3].splitlines()) != len(should):
            yield f"table {match[2]}: has {len(match[3].splitlines())} lines, should have {len(should)}"
    for match in _FIGURE.finditer(text):
        yield from _problem_of(match)
    if not every_figure:
        return
    left = len(_DECIMAL.findall(_NOT_PROSE.sub("", _FIGURE.sub("", _TABLE.sub("", text)))))
    declared = _UNCHECKED.search(text)
    if left != int(declared[1] if declared else 0):
        yield f"{left} decimal figures are not checked, and the page says {declared[1] if declared else 0}"


def _problem_of(match: re.Match[str]) -> Iterator[str]:
    sign, figure, decimals, power, expression = match.groups()
    value, digits = float(evaluate(expression)), len(decimals or "")
    value /= 10 ** int(power.translate(_POWERS)) if power else 1
    shown = float(figure.replace(",", "")) * (-1 if sign in ("-", "−") else 1)
    if abs(shown - value) > 0.5 * 10**-digits + 1e-9:
        yield f"{match[0]}: is {value:,.{digits + 1}f}"


# --- studies ----------------------------------------------------------------------------------------------------------


def problems_of_study(folder: Path, log: Callable[[str], object] = say) -> Iterator[str]:
    """What of a study's scores and comparisons is not what its translations give."""
    name = folder.name
    results = content(name)
    texts = read_translations(folder / TRANSLATIONS, results["target_language"])
    known = read_significance(folder / SIGNIFICANCE)
    outputs = {output for comparison, _, _ in known for output in comparison.names()}
    log(f"{name}: {len(outputs)} outputs, {len(known)} comparisons")
    stored: dict[str, list[Values]] = {}
    for row in results["rows"]:
        if row["test_set"] == results["test_set"]:
            stored.setdefault(output_name(row["row"], row["model"], row["beam"]), []).append(row)
    for output in sorted(outputs):
        scores = texts.scores(output)
        if not any(all(abs(row[m] - s) < 1e-6 for m, s in scores.items()) for row in stored.get(output, [])):
            yield f"{output}: no row has the scores of its translations, {scores}"
    for comparison, sha256, differences in known:
        if texts.sha256(comparison) != sha256 or not _same(texts.compare(comparison), differences):
            yield f"{SIGNIFICANCE}: {' | '.join(comparison.names()[:2])}: is not what the translations give"
    intervals = {(found.first, found.second, found.low, found.high) for _, _, each in known for found in each.values()}
    for what, told in _told_in(results):
        if tuple(told[key] for key in ("from", "to", "low", "high")) not in intervals:
            yield f"results.json: {what}: {SIGNIFICANCE} has no such difference"


def _told_in(results: Values) -> Iterator[tuple[str, Values]]:
    """Every difference of a study's results, with what it is of."""
    for each in results["comparisons"]:
        yield from ((f"{each['second']} – {each['first']} ({each['search']})", each[m]) for m in METRICS if m in each)
    for claim in results["claims"]:
        ours = claim.get("ours", {})
        yield from ((claim["claim"], ours[TITLES[m]]) for m in METRICS if TITLES[m] in ours)


def _same(found: Differences, stored: Differences) -> bool:
    """Up to what processors compute differently."""
    pairs = [(x, y) for m in found for x, y in zip(astuple(found[m]), astuple(stored[m]), strict=True)]
    return all(x == y or (None not in (x, y) and abs(x - y) < 1e-4) for x, y in pairs)


# --- the command ------------------------------------------------------------------------------------------------------

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def pages(write: Annotated[bool, typer.Option("--write", help="Write the pages' tables anew first.")] = False) -> None:
    """Recompute every figure of the results' pages from docs/results/, and fail where one does not match."""
    wrong = []
    for folder in sorted(path.parent for path in RESULTS.glob(f"*/{TRANSLATIONS}")):
        wrong += [f"{folder.name}: {problem}" for problem in problems_of_study(folder)]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if write:
            write_atomic(page, text := written(text))
        counts = len(_TABLE.findall(text)), len(_FIGURE.findall(text))
        left = _UNCHECKED.search(text)
        unchecked = f", {left[1]} not checked" if left else ""
        say(f"{page.name}: {counts[0]} tables, {counts[1]} figures in the text{unchecked}")
        wrong += [f"{page.name}: {problem}" for problem in problems_of(text, every_figure=page in EVIDENCE)]
    if wrong:
        raise UserError("\n".join(wrong))


if __name__ == "__main__":
    main(command=app, name="python -m experiments.pages")
