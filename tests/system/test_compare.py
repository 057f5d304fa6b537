"""polystill compare: students of one run, and of two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def test_students_of_one_run(polystill: Any, finished_run: Path) -> None:
    done = polystill("compare", finished_run, "e2d2", "e1d1", "--beam", "1").ok()
    assert "(compared with)" in done.stdout
    assert "bs:1000" in done.stdout  # the signature says that it was a bootstrap
    assert done.stdout.count("e1d1") == 2  # BLEU and chrF


def test_a_student_of_another_run(polystill: Any, finished_run: Path, own_run: Path) -> None:
    done = polystill("compare", finished_run, "e2d2", f"{own_run}/e2d2", "--beam", "2").ok()
    assert done.stdout.count("1.0000") == 2  # a copy of the run: the same translations


def test_bad_input(polystill: Any, finished_run: Path, own_run: Path, tmp_path: Path) -> None:
    polystill("compare", finished_run, "e2d2", "e9d9").refused("e9d9 is not in this family")
    polystill("compare", finished_run, "e2d2", "e1d1", "--beam", "7").refused("not evaluated on unseen with beam 7")
    polystill("compare", finished_run, "e2d2", "e1d1", "--test-set", "other").refused("other", "the run has unseen")
    polystill("compare", finished_run, "e2d2").refused("at least two")
    polystill("compare", finished_run, "e2d2", f"{tmp_path}/nowhere/e2d2").refused("nowhere: no such run")
    references = own_run / "data" / "test" / "unseen.target.txt"
    shutil.copy(own_run / "data" / "test" / "unseen.source.txt", references)
    polystill("compare", finished_run, "e2d2", f"{own_run}/e2d2").refused(own_run, "has not the same test set unseen")
