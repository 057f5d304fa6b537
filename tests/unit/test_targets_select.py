"""The best of each list, by any criterion, in targets of their own. The filter: what goes, and reports that add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polystill.config import Cleaning
from polystill.errors import UserError
from polystill.targets.select import (
    FilterReport,
    HypothesisFilter,
    best_first,
    left_out,
    select_targets,
)
from polystill.targets.store import Candidate, Entry, write_manifest
from tests.candidates import LIST, REFERENCE


def test_of_equals_the_teachers_best() -> None:
    assert best_first([1.0, 2.0, 2.0, 0.0]) == [1, 2, 0, 3]


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
    assert counts["mean_score"] > counts["mean_score_of_the_teachers_best"] > 0


def test_without_references_sentences_with_one_source_share_the_choice(tmp_path: Path, make_targets: Any) -> None:
    for kind in ("corpus", "text"):
        references = [[], [], [], []] if kind == "text" else [entry.references for entry in ENTRIES]
        entries = [
            Entry(e.ids, e.source, r, e.hypotheses, e.filtered) for e, r in zip(ENTRIES, references, strict=True)
        ]
        targets = make_targets(tmp_path / kind, entries, kind=kind)
        out = tmp_path / f"{kind}-out"
        counts = select_targets(tmp_path / kind, out, by="mbr-chrf", keep=2)["selection"]
        chosen = {tuple(entry.ids): entry for entry in type(targets).open(out).entries()}
        assert [candidate.text for candidate in chosen[0, 3].hypotheses] == [LIST[4], LIST[1]]
        assert chosen[0, 3].references == references[0]
        assert (counts["sentences"], counts["translations"], counts["without_candidates"]) == (4, 8, 1)
        pairs = [
            pair for _, pair in type(targets).open(out).pairs()
        ]  # what a student learns from: each kept one of each sentence
        assert len(pairs) == 8 and pairs.count(("black dog", LIST[4])) == 2


def test_scores_from_a_file_and_from_a_command(tmp_path: Path, make_targets: Any) -> None:
    targets = make_targets(tmp_path / "n-best", ENTRIES)
    (tmp_path / "scores.txt").write_text("".join(f"{score}\n" for score in (0, 1, 5, 2, 3, 4, 0.1, 0.2, -1, 1e-3)))
    select_targets(tmp_path / "n-best", tmp_path / "file", scores=tmp_path / "scores.txt", keep=2)
    # The command prefers short translations, and says for which its score is.
    command = """awk -F '\\t' -v OFS='\\t' '{print $1, $2, -length($2)}'"""
    select_targets(tmp_path / "n-best", tmp_path / "command", scorer=command)

    def found(name: str) -> list[list[str]]:
        entries = type(targets).open(tmp_path / name).entries()
        return [[candidate.text for candidate in entry.hypotheses] for entry in entries]

    assert found("file") == [[LIST[2], LIST[5]], ["Katze .", "Hund"], ["Katze", "Hund"]]
    assert found("command") == [["Katze ."], ["Hund"], ["Hund"]]


def test_a_share_takes_the_scores_of_its_own_sentences(tmp_path: Path, make_targets: Any) -> None:
    both = [Candidate("x", -1.0), Candidate("y", -2.0)]
    targets = make_targets(tmp_path / "n-best", [Entry([i], f"line {i}", ["x"], both) for i in range(20)])
    command = """awk -F '\\t' '{split($1, words, " "); print ($2 == "x") == (words[2] % 2)}'"""
    select_targets(tmp_path / "n-best", tmp_path / "out", scorer=command, share=0.4)
    entries = list(type(targets).open(tmp_path / "out").entries())
    assert len(entries) == 8
    assert all(entry.hypotheses[0].text == "yx"[entry.ids[0] % 2] for entry in entries)


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
    assert "without references, so there is nothing to compare with; choose with --by mbr-chrf" in error("mono")
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
