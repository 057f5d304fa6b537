"""polystill compare: students of one run, and of two."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from polystill.storage import checked_json, read_checked_json


def test_students_of_one_run(polystill: Any, finished_run: Path) -> None:
    done = polystill("compare", finished_run, "e2d2", "e1d1", "--beam", "1").ok()
    assert "(compared with)" in done.stdout
    assert "ar:10000" in done.stdout and "bs:10000" in done.stdout  # the signature says how it was tested
    assert done.stdout.count("e1d1") >= 2  # BLEU and chrF


def test_a_student_of_another_run(polystill: Any, finished_run: Path, own_run: Path) -> None:
    done = polystill("compare", finished_run, "e2d2", f"{own_run}/e2d2", "--beam", "2").ok()
    assert done.stdout.count("1.0000") == 2  # a copy of the run: the same translations
    assert done.stdout.count("+0.00 to +0.00") == done.stdout.count("as good") == 2


def test_other_runs_are_compared_in_this_ones_engine_and_precision(
    polystill: Any, finished_run: Path, own_run: Path
) -> None:
    """The other run's recipe asks for int8: its float32 rows are those that can be compared with."""
    recipe = own_run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("precision: float32", "precision: int8"))
    done = polystill("compare", finished_run, "e2d2", f"{own_run}/e2d2", "--beam", "2").ok()
    assert done.stdout.count("1.0000") == 2
    polystill("compare", own_run, "e2d2", f"{finished_run}/e1d1", "--beam", "2").refused("beam 2 (ctranslate2 int8")
    done = polystill("compare", own_run, "e2d2:float32", f"{finished_run}/e2d2:float32", "--beam", "2").ok()
    assert done.stdout.count("1.0000") == 2


def test_what_is_missing_is_named(polystill: Any, own_run: Path) -> None:
    shutil.rmtree(own_run / "hypotheses")
    polystill("compare", own_run, "e2d2", "e1d1").refused(own_run / "hypotheses", "cannot be read")
    assert "reference " not in polystill("status", own_run).ok().stdout
    recipe = own_run / "recipe.yaml"
    recipe.write_text(re.sub(r"  test:\n(    .*\n)+", "  test: {}\n", recipe.read_text()))
    polystill("compare", own_run, "e2d2", "e1d1").refused("the run has no test sets to compare on")


def test_bad_input(polystill: Any, finished_run: Path, own_run: Path, tmp_path: Path) -> None:
    polystill("compare", finished_run, "e2d2", "e9d9").refused("e9d9 is not in this family")
    polystill("compare", finished_run, "e2d2", "e1d1", "--beam", "7").refused("not evaluated on unseen with beam 7")
    polystill("compare", finished_run, "e2d2", "e1d1", "--test-set", "other").refused("other", "the run has unseen")
    polystill("compare", finished_run, "e2d2").refused("only e2d2 is given", "takes two")
    polystill("compare", finished_run, "e2d2", f"{tmp_path}/nowhere/e2d2").refused("nowhere: no such run")
    state = read_checked_json(own_run / "state.json")
    del state["stages"]["data"]["files"]  # a run of other text has other checksums
    (own_run / "state.json").write_text(checked_json(state))
    references = own_run / "data" / "test" / "unseen.target.txt"
    shutil.copy(own_run / "data" / "test" / "unseen.source.txt", references)
    polystill("compare", finished_run, "e2d2", f"{own_run}/e2d2").refused(
        own_run, "its test set unseen is not the same"
    )
