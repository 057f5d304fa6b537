"""An AIO-KD study's results.md: tables, plots and claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polystill.evaluation.figures import search
from polystill.studies.aio_kd import OUT_OF_REACH
from polystill.studies.aio_kd_found import Found
from polystill.studies.claims import Claim, claims_table, markdown, shown, signed
from polystill.studies.measured import Row
from polystill.studies.recipe import BEAM, BEAMS, GREEDY


def to_markdown(found: Found, content: dict[str, Any], claims: Sequence[Claim], plots: str) -> str:
    """`content` is that of results.json, `plots` the part that shows them."""
    first = next(iter(found.models.values()), None)
    about = "Nothing is measured yet."
    if first is not None:
        about = f"{first.of_model('test_set')}; {first.of_model('engine')}, {first.of_model('precision')}"
        about += f"; BLEU {first.of_model('bleu_signature')}."
    parts = [f"# AIO-KD: {found.study.name}", about]
    if found.study.alone is not None:
        parts += ["## Against one by one", _one_by_one(found), "## Cost", _cost(content["cost_of_ways"])]
    parts += ["## Families", _FAMILIES, _families(found, content["families"])]
    if found.study.spaces:
        parts += ["## Wider spaces", _spaces(found, content["families"])]
    parts += [
        "## Detaching",
        "Share of a student's draws whose gradient was kept from the teacher.",
        _detaching(content["interaction"]),
    ]
    parts += ["## Plots", plots] if plots else []
    parts += ["## Claims", claims_table(claims)]
    return "\n\n".join(parts) + "\n"


def _one_by_one(found: Found) -> str:
    assert found.study.alone is not None
    rows = []
    for seed in found.seeds():
        for student in found.study.alone.students:
            models = [found.get(f"{way}-{student}", student, seed) for way in ("alone", "word-kd")]
            models.append(found.get("family", student, seed))
            if any(models) or seed == found.study.seed:
                figures = [None if m is None else m.get(key, beam) for key, beam in _FIGURES for m in models]
                rows.append([student, str(seed), *(shown(figure) for figure in figures)])
    ways = ("alone", "Word-KD", "family")
    titles = [f"{name} {way}" for name in ("greedy", "beam 5", "chrF") for way in ways]
    return markdown(["student", "seed", *titles], rows)


_FIGURES = (("bleu", GREEDY), ("bleu", BEAM), ("chrf", BEAM))


def _cost(ways: dict[str, Row]) -> str:
    rows = [
        [
            *(way, str(cost["runs"]), f"{cost['seconds'] / 3600:.2f}", f"{cost['cpu_seconds'] / 3600:.2f}"),
            *(f"{cost['target_tokens']:,}", f"{cost['flops']:.3g}"),
            *(f"{cost['peak_rss_bytes'] / 1e6:.0f}", f"{cost['bytes_kept'] / 1e6:.1f}"),
        ]
        for way, cost in ways.items()
    ]
    return markdown(["way", "runs", "hours", "CPU hours", "target tokens", "FLOPs", "peak MB", "weights MB"], rows)


_FAMILIES = (
    "Δ is of the mean over the members that a family has in common with the one as published of the same seed; behind "
    "it, where that lies at 95 % (bootstrap of the sentences). The cost of `pretrained` is without its teacher's."
)


def _families(found: Found, families: Sequence[Row]) -> str:
    rows = []
    for family in families:
        cells = [family["row"], str(family["seed"]), str(len(family["members"]))]
        for beam in BEAMS:
            scores = family.get(f"beam {beam}", {})
            cells += [*(shown(scores.get(key)) for key in _SCORES), *_difference(found, family, beam)]
        cost = family["cost"]
        rows.append([*cells, f"{cost['cpu_seconds'] / 3600:.2f}", f"{cost['flops']:.3g}"])
    titles = [title for beam in BEAMS for title in (*(f"{search(beam)} {key}" for key in _SCORES), "Δ", "95 %")]
    return markdown(["family", "seed", "members", *titles, "CPU hours", "FLOPs"], rows)


_SCORES = ("mean", "worst", "teacher")


def _difference(found: Found, family: Row, beam: int) -> tuple[str, str]:
    """Δ and its limits."""
    row = family["row"]
    shared = found.shared(row)
    published, own = (found.mean(name, beam, shared) for name in (found.published(row), row))
    if row == found.published(row) or published is None or own is None:
        return "", ""
    mean = family[f"beam {beam}"].get("against_published", {}).get("mean")
    return signed(own - published), "" if mean is None else f"{signed(mean['low'])} to {signed(mean['high'])}"


def _spaces(found: Found, families: Sequence[Row]) -> str:
    """What the others lose, and the member with the deepest encoder and the shallowest decoder."""
    rows = []
    for family in families:
        row, slim = family["row"], found.slimmest(family["row"])
        if not row.startswith("space-") or slim is None:
            continue
        shared = found.shared(row)
        cells = [row, str(family["seed"]), str(len(shared))]
        for beam in BEAMS:
            means = [shown(found.mean(name, beam, shared)) for name in (found.published(row), row)]
            cells += [*means, *_difference(found, family, beam)]
        rows.append([*cells, slim.model, *(shown(slim.get("bleu", beam)) for beam in BEAMS)])
    means = [f"{search(beam)}{what}" for beam in BEAMS for what in (", as published", ", here", " Δ", " 95 %")]
    own = ["slimmest member", *(f"its {search(beam)}" for beam in BEAMS)]
    return markdown(["space", "seed", "shared members", *means, *own], rows)


def _detaching(interaction: dict[str, Row]) -> str:
    rows = []
    for name, stages in interaction.items():
        for stage, values in stages.items():
            threshold = "out of reach" if values["threshold"] >= OUT_OF_REACH else f"{values['threshold']:.2f}"
            draws = values.get("draws", {})
            cells = [str(sum(draws.values())) if draws else "", _shares(values.get("detached", {}))]
            rows.append([f"{name}, {stage}", threshold, *cells])
    return markdown(["family, stage", "threshold", "draws in the curves", "detached"], rows)


def _shares(detached: dict[str, float]) -> str:
    """By student, unless it is the same for all."""
    shares = set(detached.values())
    if shares == {0}:
        return "none"
    if shares == {1}:
        return "all"
    return ", ".join(f"{student} {share:.0%}" for student, share in detached.items())
