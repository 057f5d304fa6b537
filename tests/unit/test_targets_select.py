"""Seq-Inter: the choice is sacreBLEU's, sentence by sentence. The filter: what goes, and reports that add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sacrebleu import sentence_bleu, sentence_chrf

from polystill.config import Cleaning
from polystill.errors import UserError
from polystill.targets.select import (
    FilterReport,
    HypothesisFilter,
    left_out,
    nearest_candidate,
    select_targets,
    similarity,
)
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


# --- filter ---------------------------------------------------------------------------------------------------------


KEEP = HypothesisFilter(Cleaning(), ("en", "de"))


@pytest.mark.parametrize(
    ("source", "hypothesis", "reason"),
    [
        ("A dog runs.", "Ein Hund rennt.", None),
        ("A dog runs.", "", "empty"),
        ("A dog runs.", "A dog runs.", "identical"),
        ("A dog runs.", "Ein " * 13 + "Hund", "ratio"),
        ("A dog runs here.", "Собака бежит", "wrong_script"),
        ("no no no no", "nein nein nein nein", None),
        ("no, no", "nein nein nein nein", "repetition"),
        ("a b c d", "der Hund der Hund der Hund der Hund", "repetition"),
        ("a b c", "der Hund der Hund der Hund", None),
        ("It rains.", "Es regnetetetetetetetetetetet.", "repetition"),
        ("Goooooooooooal!", "Tooooooooooor!", None),
    ],
)
def test_reasons(source: str, hypothesis: str, reason: str | None) -> None:
    assert KEEP.reason(source, Candidate(hypothesis)) == reason


def test_repetitions_without_spaces() -> None:
    chinese = HypothesisFilter(Cleaning(), ("en", "zh"))
    assert chinese.reason("The dogs run fast here", Candidate("狗跑得快狗跑得快狗跑得快狗跑得快")) == "repetition"
    assert chinese.reason("ha ha ha ha", Candidate("哈哈哈哈")) is None


def test_what_had_not_ended_is_no_sentence() -> None:
    assert KEEP.reason("A dog runs.", Candidate("Ein Hund rennt und", -1.0, cut=True)) == "cut"


def test_switched_off_only_empty_ones_and_doubles_go() -> None:
    off = HypothesisFilter(Cleaning(enabled=False), ("en", "de"))
    report = FilterReport()
    kept = off.keep("a b", [Candidate(t) for t in ("a b", "x x x x x", "", "a b")], report)
    assert [candidate.text for candidate in kept] == ["a b", "x x x x x"]
    assert {k: v for k, v in report.dropped.items() if v} == {"empty": 1, "same": 1}


def test_reports_count_and_add_up() -> None:
    first, second, total = FilterReport(), FilterReport(), FilterReport()
    kept = KEEP.keep("A dog.", [Candidate("Ein Hund.", -1.0), Candidate("Ein Hund.", -2.0), Candidate("A dog.")], first)
    assert kept == [Candidate("Ein Hund.", -1.0)]
    assert KEEP.keep("A cat.", [Candidate("A cat.")], second) == []
    total.add(first.as_dict())
    total.add(second.as_dict())
    assert (total.hypotheses, total.kept, total.sources_without) == (4, 1, 1)
    assert left_out(total.dropped) == "identical 2, same 1"
    assert total.examples["identical"] == [["A dog.", "A dog."], ["A cat.", "A cat."]]
