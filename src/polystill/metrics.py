"""The one place that chooses BLEU's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sacrebleu import BLEU

CHARACTER_LANGUAGES = {"zh": "zh", "ja": "char", "ko": "char"}
"""sacreBLEU's tokenizer for target languages that do not put spaces between words; 13a for all others."""


def bleu_metric(target_language: str, **settings: Any) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that the target language needs; `settings` go to it."""
    from sacrebleu import BLEU

    return BLEU(tokenize=CHARACTER_LANGUAGES.get(target_language, "13a"), **settings)
