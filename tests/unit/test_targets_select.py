"""Seq-Inter: the choice is sacreBLEU's, sentence by sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sacrebleu import sentence_bleu, sentence_chrf

from polystill.errors import UserError
from polystill.targets.select import nearest_candidate, select_targets, similarity
from polystill.targets.store import Candidate, Entry, write_manifest

REFERENCE = "Ein schwarzer Hund rennt über die grüne Wiese ."
LIST = [
    "Ein Hund läuft auf der Wiese .",
    "Ein schwarzer Hund läuft über die grüne Wiese .",
    "Ein schwarzer Hund rennt über eine Wiese .",
    "Schwarzer Hund rennt über grüne Wiesen .",
    "Ein schwarzer Hund rennt über die grünen Wiesen .",
    "Katze .",
]


@pytest.mark.parametrize("by", ["bleu", "chrf"])
@pytest.mark.parametrize("reference", [REFERENCE, "Katzen .", "Hund", *LIST])
def test_the_choice_is_sacrebleus(by: Any, reference: str) -> None:
    measure = sentence_bleu if by == "bleu" else sentence_chrf
    scores = [measure(text, [reference]).score for text in LIST]
    similar, signature = similarity(by, "de")
    best, found = nearest_candidate([Candidate(text) for text in LIST], reference, similar)
    assert found == pytest.approx(scores)
    assert best == scores.index(max(scores))
    assert ("smooth:exp" in signature) == (by == "bleu")


def test_of_equals_the_teachers_best() -> None:
    similar, _ = similarity("bleu", "de")
    assert nearest_candidate([Candidate("x y"), Candidate("z w")], "a b", similar)[0] == 0


ENTRIES = [
    Entry([0, 3], "black dog", [REFERENCE, LIST[0]], [Candidate(text, -float(i)) for i, text in enumerate(LIST)]),
    Entry([1], "all filtered", ["x"], [], filtered=6),
    Entry([2], "cat", ["Katze ."], [Candidate("Hund", -0.1), Candidate("Katze .", -0.2)]),
    Entry([4], "dog", ["Hund"], [Candidate("Hund", -0.1), Candidate("Katze", -0.2)]),
]


def test_a_file_with_one_candidate_a_sentence_has_nothing_to_choose(tmp_path: Path, make_targets: Any) -> None:
    folder = tmp_path / "file"
    targets = make_targets(folder, [Entry([i], f"s{i}", ["x"], [Candidate("y")]) for i in range(3)], n_best=None)
    assert targets.plan["n_best"] is None  # a file's lines may hold any number
    with pytest.raises(UserError, match="holds one candidate a sentence"):
        select_targets(folder, tmp_path / "out", by="bleu")
    assert not (tmp_path / "out").exists()


def test_each_sentence_by_its_own_reference(tmp_path: Path, make_targets: Any) -> None:
    targets = make_targets(tmp_path / "n-best", ENTRIES)
    manifest = select_targets(tmp_path / "n-best", tmp_path / "out", by="bleu")
    chosen = type(targets).open(tmp_path / "out")
    found = {entry.ids[0]: (entry.source, entry.hypotheses) for entry in chosen.entries()}
    assert found == {
        0: ("black dog", [Candidate(LIST[4], -4.0)]),
        3: ("black dog", [Candidate(LIST[0], 0.0)]),
        2: ("cat", [Candidate("Katze .", -0.2)]),
        4: ("dog", [Candidate("Hund", -0.1)]),
    }
    chosen.check_source(targets.source["sha256"], 5)
    counts = manifest["selection"]
    assert (counts["sentences"], counts["without_candidates"], counts["not_the_teachers_best"]) == (4, 1, 2)
    assert counts["mean_similarity"] > counts["mean_similarity_of_the_teachers_best"] > 0


def test_a_share_is_drawn_the_same_every_time(tmp_path: Path, make_targets: Any) -> None:
    both = [Candidate("x", -1.0), Candidate("y", -2.0)]
    targets = make_targets(tmp_path / "n-best", [Entry([i], f"line {i}", ["x"], both) for i in range(40)])
    drawn = []
    for name in "ab":
        select_targets(tmp_path / "n-best", tmp_path / name, by="chrf", share=0.25)
        drawn.append([entry.ids[0] for entry in type(targets).open(tmp_path / name).entries()])
    assert drawn[0] == drawn[1] and len(drawn[0]) == 10 and drawn[0] != list(range(10))


def test_bad_input(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "n-best", ENTRIES)
    make_targets(tmp_path / "mono", ENTRIES, kind="text")
    make_targets(tmp_path / "one", [Entry([0], "a", ["b"], [Candidate("c")])])
    make_targets(
        tmp_path / "none", [Entry([0], "a", ["b"], [Candidate("c"), Candidate("d")]), Entry([1], "b", ["c"], [])]
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()

    def error(folder: str, out: str = "out", share: float = 1.0) -> str:
        with pytest.raises(UserError) as caught:
            select_targets(tmp_path / folder, tmp_path / out, by="bleu", share=share)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert "expected more than 0 and at most 1" in error("n-best", share=1.5)
    assert "full: exists already" in error("n-best", "full")
    assert "without references" in error("mono")
    assert "one candidate a sentence" in error("one")
    assert "no translation of sentence 1 ('b')" in error("none")
    assert "no such folder" in error("nowhere")
    manifest = make_targets(tmp_path / "unfinished", ENTRIES).manifest
    write_manifest(tmp_path / "unfinished", {**manifest, "finished": False})
    assert "not finished" in error("unfinished")
