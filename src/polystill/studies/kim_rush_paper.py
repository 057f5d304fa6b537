"""The figures of Kim & Rush (2016), "Sequence-Level Knowledge Distillation", EMNLP.

Rows are named as in `kim_rush`. Cells that are not here are not quoted, not zero.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def _row(parameters: int | None, greedy: float, beam: float, perplexity: float | None, p_mode: float | None) -> Row:
    values = {"parameters": parameters, "greedy": greedy, "beam": beam, "perplexity": perplexity, "p_mode": p_mode}
    return {key: value for key, value in values.items() if value is not None}


TABLES: dict[str, dict[str, Row]] = {
    # Table 1: WMT 2014, 4 M pairs, teacher 4×1000, student 2×500. p(mode) as a share.
    "english-german": {
        "teacher": _row(221_000_000, 17.7, 19.5, 6.7, 0.013),
        "teacher+seq-inter": _row(221_000_000, 19.6, 19.8, 10.4, 0.082),
        "baseline": _row(84_000_000, 14.7, 17.6, 8.2, 0.009),
        "word-kd": _row(84_000_000, 15.4, 17.7, 8.0, 0.010),
        "seq-kd": _row(84_000_000, 18.9, 19.0, 22.7, 0.169),
        "seq-kd+seq-inter": _row(84_000_000, 18.9, 19.3, 15.8, 0.076),
    },
    # Table 1: IWSLT 2015, 90 k pairs, teacher 2×500, student 2×100.
    "thai-english": {
        "teacher": _row(None, 14.3, 15.7, None, None),
        "baseline": _row(None, 10.6, 12.7, None, None),
        "seq-kd+word-kd+seq-inter": _row(None, 14.2, 14.4, None, None),
    },
}
UNQUOTED = "–"
LANGUAGES = {"english-german": "English→German, WMT 2014", "thai-english": "Thai→English, IWSLT 2015"}

# Source words a second, greedy and beam 5 (its table on speed, English–German).
SPEED = {
    "teacher": {"gpu": (425.5, 101.9), "cpu": (15.0, 7.9)},
    "student": {"gpu": (1051.3, 181.9), "cpu": (63.6, 22.1)},
}

# BLEU of the pruned and retrained 2×500 student with Seq-KD + Seq-Inter (its table on pruning, English–German), by
# sparsity, and times fewer parameters than the teacher.
PRUNED = {0.0: 19.3, 0.5: 19.3, 0.8: 19.1, 0.85: 18.8, 0.9: 18.5}
PRUNED_TIMES = {0.8: 13, 0.85: 18, 0.9: 26}
