"""sacreBLEU's metrics; the one place that chooses BLEU's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sacrebleu import BLEU

CHARACTER_LANGUAGES = {"zh": "zh", "ja": "char", "ko": "char"}
"""sacreBLEU's tokenizer for target languages that do not put spaces between words; 13a for all others."""


def bleu_metric(target_language: str, **settings: Any) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that the target language needs; `settings` go to it."""
    from sacrebleu import BLEU

    return BLEU(tokenize=CHARACTER_LANGUAGES.get(target_language, "13a"), **settings)


def corpus_scores(
    hypotheses: Sequence[str], references: Sequence[str], *, target_language: str = "", lowercase: bool = False
) -> dict[str, Any]:
    """BLEU and chrF2 by sacreBLEU with their signatures; with `lowercase` also BLEU as `sacrebleu -lc` counts it."""
    from sacrebleu import CHRF

    assert len(hypotheses) == len(references) > 0, (len(hypotheses), len(references))
    metrics: dict[str, Any] = {"bleu": bleu_metric(target_language), "chrf": CHRF()}
    if lowercase:
        metrics["bleu_lc"] = bleu_metric(target_language, lowercase=True)
    row: dict[str, Any] = {}
    for name, metric in metrics.items():
        row[name] = metric.corpus_score(list(hypotheses), [list(references)]).score
        row[f"{name}_signature"] = metric.get_signature().format()
    return row
