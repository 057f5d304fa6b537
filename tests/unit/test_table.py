"""The table of results never shows a score without saying how it was computed."""

from __future__ import annotations

from rich.console import Console

from polystill.evaluation.quality import corpus_scores
from polystill.evaluation.table import results_table


def test_every_score_has_its_signature() -> None:
    row = {"test_set": "flickr", "model_id": "x-e2d2", "model": "e2d2", "engine": "torch", "precision": "float32"}
    scores = corpus_scores(["Ein Hund."], ["ein Hund läuft."], target_language="de", lowercase=True)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(results_table([{**row, **scores, "beam": beam} for beam in (1, 5)]))
    below = captured.get().split("└")[1]
    for title, name in (("BLEU", "bleu"), ("BLEU -lc", "bleu_lc"), ("chrF", "chrf")):
        assert below.count(f"{title} {scores[f'{name}_signature']}") == 1
    assert "case:lc" in below


def test_p_mode_is_that_of_the_largest_beam_and_perplexity_the_students() -> None:
    row = {"test_set": "flickr", "model_id": "x-e2d2", "model": "e2d2", "engine": "torch", "precision": "float32"}
    measured = {"bleu": 30.0, "perplexity": 22.714}
    rows = [
        {**row, **measured, "beam": 1, "p_mode": 0.121},
        {**row, **measured, "beam": 5, "p_mode": 0.16923},
        {**row, **measured, "model_id": "x-e1d1", "model": "e1d1", "beam": 5, "p_mode": 2e-9},
    ]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table(rows))
    shown = captured.get()
    assert "p(mode)" in shown and "16.92 %" in shown and "12.1" not in shown and "<0.01 %" in shown
    assert shown.count("22.71") == 2 and "PPL" in shown


def test_a_pruned_model_shows_what_is_left_of_it() -> None:
    row = {"test_set": "flickr", "model_id": "x-e2d2", "model": "e2d2", "engine": "torch", "precision": "float32"}
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table([{**row, "beam": 1, "parameters": 2_811_904, "nonzero_parameters": 590_000}]))
    assert "0.59 of 2.81 M" in captured.get()
