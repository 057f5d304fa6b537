"""sacreBLEU's metrics; the one place that chooses BLEU's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polystill.languages import is_unspaced, scripts_of

if TYPE_CHECKING:
    from sacrebleu import BLEU


def bleu_metric(target_language: str, **settings: Any) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that the target language needs; `settings` go to it."""
    from sacrebleu import BLEU

    return BLEU(tokenize=_tokenizer(target_language), **settings)


def _tokenizer(language: str) -> str:
    """sacreBLEU's for Chinese, characters where words have no spaces between them and for Korean, otherwise 13a."""
    scripts = scripts_of(language)
    if scripts == ["Han"]:
        return "zh"
    return "char" if is_unspaced(language) or "Hangul" in scripts else "13a"


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
