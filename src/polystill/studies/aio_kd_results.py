"""What an AIO-KD study has come to: results.json, results.md and plots, from what its runs have left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polystill.reporting.interaction import interaction
from polystill.storage import write_atomic
from polystill.studies.aio_kd_claims import claims_of
from polystill.studies.aio_kd_found import Found
from polystill.studies.aio_kd_plots import plots_of
from polystill.studies.aio_kd_tables import to_markdown
from polystill.studies.claims import Claim
from polystill.studies.measured import Bootstrap, write_results
from polystill.studies.plots import shown_plots, write_plots
from polystill.studies.recipe import AioKd
from polystill.studies.steps import Step


def write(study: AioKd, folder: Path, steps: Sequence[Step], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    What takes its time is done at the end (`final`): bootstraps, how alike outputs are, plots. Until then only
    differences that were tested before say how sure they are.
    """
    found = Found(study, folder, steps, Bootstrap(folder, final))
    claims = claims_of(found)
    content = {
        "claims": [claim.record() for claim in claims],
        "families": [found.summary(name) for name in found.families],
        "one_by_one": found.significance(),
        "cost_of_ways": found.cost_of_ways(),
        "interaction": {name: interaction(found.runs[name], found.teacher) for name in found.families},
        **({"likeness": {name: found.likeness(name) for name in found.families}} if final else {}),
        "pretrained": found.learning_curves(),
    }
    write_results(folder, "aio-kd", study.name, steps, content)
    plots = plots_of(content)
    if final:
        write_plots(plots, folder)
    write_atomic(folder / "results.md", to_markdown(found, content, claims, shown_plots(plots, folder)))
    return claims
