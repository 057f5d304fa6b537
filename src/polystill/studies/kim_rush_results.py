"""What a Kim & Rush study has come to: results.json and results.md, from what its runs have left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polystill.storage import write_atomic
from polystill.studies.claims import Claim
from polystill.studies.kim_rush_claims import claims_of
from polystill.studies.kim_rush_found import Found
from polystill.studies.kim_rush_tables import to_markdown
from polystill.studies.measured import Bootstrap, write_results
from polystill.studies.recipe import KimRush
from polystill.studies.steps import Step


def write(study: KimRush, folder: Path, steps: Sequence[Step], *, final: bool) -> list[Claim]:
    """Write results.json and results.md from what is finished, and return the claims.

    Bootstraps are computed at the end (`final`); until then only differences that were tested before say how sure they
    are.
    """
    found = Found(study, folder, steps, Bootstrap(folder, final))
    claims = claims_of(found)
    content = {
        "claims": [claim.record() for claim in claims],
        "significance": found.significance(),
        **({"speed": found.speed} if found.speed else {}),
        **({"pruning": pruning} if (pruning := found.pruning()) else {}),
    }
    write_results(folder, "kim-rush", study.name, steps, content)
    write_atomic(folder / "results.md", to_markdown(found, claims))
    return claims
