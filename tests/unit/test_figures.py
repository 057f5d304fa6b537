"""The table of results never shows a score without saying how it was computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rich.console import Console

from polystill.decoding.metrics import corpus_scores
from polystill.evaluation.figures import results_table, speed_table
from polystill.runs.results import QualityRow

ROW = QualityRow(
    test_set="flickr",
    model_id="x-e2d2",
    model="e2d2",
    engine="torch",
    precision="float32",
    beam=1,
    length_penalty=1.0,
    bleu=30.0,
)


def test_every_score_has_its_signature() -> None:
    scores = corpus_scores(["Ein Hund."], ["ein Hund läuft."], target_language="de", lowercase=True)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(results_table([replace(ROW, **scores, beam=beam) for beam in (1, 5)]))
    below = captured.get().split("└")[1]
    for title, name in (("BLEU", "bleu"), ("BLEU -lc", "bleu_lc"), ("chrF", "chrf")):
        assert below.count(f"{title} {scores[f'{name}_signature']}") == 1
    assert "case:lc" in below


def test_p_mode_is_that_of_the_largest_beam_and_perplexity_the_students() -> None:
    row = replace(ROW, perplexity=22.714)
    rows = [
        replace(row, beam=1, p_mode=0.121),
        replace(row, beam=5, p_mode=0.16923),
        replace(row, model_id="x-e1d1", model="e1d1", beam=5, p_mode=2e-9),
    ]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table(rows))
    shown = captured.get()
    assert "p(mode)" in shown and "16.92 %" in shown and "12.1" not in shown and "<0.01 %" in shown
    assert shown.count("22.71") == 2 and "PPL" in shown


def test_with_a_shortlist_is_a_line_of_its_own() -> None:
    row = replace(ROW, engine="ctranslate2", precision="int8")
    rows = [replace(row, beam=beam, bleu=30.0 + beam) for beam in (1, 5)]
    rows += [replace(each, shortlist=True, bleu=each.bleu - 0.5) for each in rows]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table(rows))
    lines = [line.split() for line in captured.get().splitlines()]
    whole, short = (line for line in lines if "e2d2" in line)
    assert "31.00" in whole and "35.00" in whole and "+list" not in whole
    assert "30.50" in short and "34.50" in short and "+list" in short


def test_each_length_penalty_is_a_line_of_its_own() -> None:
    rows = [replace(ROW, length_penalty=penalty, comet=penalty / 2) for penalty in (1.0, 0.6)]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table(rows))
    lines = [[cell.strip() for cell in line.split("│")] for line in captured.get().splitlines() if "e2d2" in line]
    assert [(line[3], line[-2]) for line in lines] == [("0.6", "0.3000"), ("1", "0.5000")]
    with console.capture() as captured:
        console.print(results_table(rows[:1]))
    assert "penalty" not in captured.get()


def test_a_pruned_model_shows_what_is_left_of_it() -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table([replace(ROW, parameters=2_811_904, nonzero_parameters=590_000)]))
    assert "0.59 of 2.81 M" in captured.get()


def test_speed_and_memory_fit_a_terminal() -> None:
    named = replace(ROW, test_set="test_2016_flickr", model_id="x-e6d6", model="e6d6", engine="ctranslate2")
    row = replace(named, size_bytes=17_100_000, threads=2, hardware="a CPU")
    measured: dict[str, Any] = {"words_per_second": 12345.6, "latency_p50_ms": 10.04, "latency_p95_ms": 123.42}
    measured["peak_memory_bytes"] = 181_400_000
    rows = [replace(row, **measured, precision=name, beam=beam) for name in ("int8", "float32") for beam in (1, 5)]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(speed_table([*rows, replace(row, precision="int16")]))
    shown = captured.get()
    lines = [line for line in shown.splitlines() if "│" in line]
    for precision in ("int8", "float32"):
        (line,) = [line for line in lines if f" {precision} " in line]
        assert line.count("12,346") == line.count("10.0 | 123.4 ") == line.count("181 MB") == 2
        assert "17.1 MB" in line
    assert (
        "ctranslate2 float32, ctranslate2 int16, ctranslate2 int8" in shown
        and "threads: 2, a CPU" in shown
        and "…" not in shown
    )
    (line,) = [line for line in lines if "int16" in line]
    assert line.count("MB") == 1  # what is not measured is not shown


def test_table_shows_what_is_measured() -> None:
    rows = [
        replace(ROW, bleu=31.25, parameters=2_811_904, size_bytes=11_000_000),
        replace(ROW, beam=5, bleu=32.5, chrf=60.25),
        replace(ROW, model_id="x-e6d6", model="e6d6", bleu=35.0, parameters=5_000_000),
    ]
    console = Console(width=160)
    with console.capture() as captured:
        console.print(results_table(rows))
    lines = captured.get().splitlines()
    assert "beam 5" in captured.get() and "greedy" in captured.get() and "words/s" not in captured.get()
    large, small = (next(line for line in lines if name in line) for name in ("e6d6", "e2d2"))
    assert lines.index(large) < lines.index(small)
    for cell in ("2.81 M", "11.0 MB", "31.25", "32.50", "60.25"):
        assert cell in small
    assert "flickr" in large and "0.00" not in large
