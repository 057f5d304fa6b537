"""Export to Marian: model.npz (see `polystill.models.marian_npz`), its vocabulary, and decoder.yml to run it with.

Marian's sinusoids are not Hugging Face's (`polystill.models.transformer.POSITIONS`), and no setting of Marian's changes
that. A model that was trained with the other ones translates some 10 to 20 % of sentences otherwise there, so only
models with `positions: marian` are exported; those run in every other engine as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError
from polystill.export.format import Export, Format, Info, MakeCard, Verified
from polystill.export.pymarian import decode_with_scores, find_pymarian

if TYPE_CHECKING:
    from polystill.data.tokenizer import Tokenizer
    from polystill.decoding.translator import DecodingOptions
    from polystill.models.elastic import ElasticModel

MODEL, ALIGNING = "model.npz", "decoder-alignment.yml"


class Marian(Format):
    name = "marian"
    engine = "Marian"
    purpose = "Marian"
    library = "marian"
    needs = "`model.positions: marian` in the recipe and `pip install pymarian`"
    usage = """
```
echo "A sentence." | marian-decoder --config decoder.yml
```

or `pymarian decode --config decoder.yml`. Vocabularies are SentencePiece models: give it plain text. If the model was
trained with alignments, `--config decoder-alignment.yml` writes those of its pieces behind each translation.
"""

    def check(self, model: ElasticModel, tokenizer: Tokenizer, origin: Path) -> None:
        check_shape(model, origin)
        find_pymarian()

    def write(self, export: Export, folder: Path) -> None:
        import numpy as np

        from polystill.decoding.translator import DecodingOptions
        from polystill.export.pieces import joint_pieces
        from polystill.models.marian_npz import arrays_of
        from polystill.models.transformer import Transformer
        from polystill.runs.places import MARIAN_SETTINGS

        assert isinstance(export.model, Transformer)
        models = joint_pieces(export.tokenizer, export.lines)
        arrays: dict[str, Any] = arrays_of(export.model)
        np.savez(folder / MODEL, **arrays)
        names = ["vocab.spm"] if len(models) == 1 else ["source.spm", "target.spm"]
        for name, content in zip(names, models, strict=True):
            (folder / name).write_bytes(content)
        settings = decoder_settings(export.model, (names[0], names[-1]), export.search or DecodingOptions())
        (folder / MARIAN_SETTINGS).write_text(settings, encoding="utf-8")

    def verify(self, export: Export, folder: Path) -> Verified:
        vocabularies = sorted(folder.glob("*.spm"))  # vocab.spm, or source.spm and target.spm
        return verify_in_marian(export, folder / MODEL, [vocabularies[0], vocabularies[-1]])

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        from polystill.runs.places import MARIAN_SETTINGS

        if info.get("alignment"):
            settings = (folder / MARIAN_SETTINGS).read_text(encoding="utf-8")
            (folder / ALIGNING).write_text(f"{settings}alignment: soft\n", encoding="utf-8")
        super().finish(folder, info, card)


def check_shape(model: ElasticModel, origin: Path) -> None:
    """Refuse a model that Marian has nothing like.

    Raises:
        UserError: the model has positions or an activation that Marian lacks.
    """
    from polystill.models.marian_npz import ACTIVATIONS
    from polystill.models.transformer import TransformerConfig

    config = model.config
    assert isinstance(config, TransformerConfig)
    if config.positions != "marian":
        raise UserError(
            f"{origin}: Marian has other sinusoidal positions than this model was trained with; train with "
            "model.positions: marian (or continue this family so, with model.start)"
        )
    if config.activation not in ACTIVATIONS:
        raise UserError(
            f"{origin}: Marian computes {config.activation} by another formula; train with {' or '.join(ACTIVATIONS)}"
        )


def verify_in_marian(export: Export, written: Path, vocabularies: Sequence[Path]) -> Verified:
    """Let Marian translate; then let the student score, token by token, what Marian wrote.

    `written` is the model's file, and `vocabularies` are the source's and the target's.
    """
    from polystill.export.agreement import forced_log_probs, piece_ids, score_differences

    model, translations, differences = export.model, [], []
    scored = decode_with_scores(written, vocabularies, export.lines)
    rows = piece_ids([translation.pieces for translation in scored], export.tokenizer)
    for source, ids, (_, scores) in zip(export.sources, rows, scored, strict=True):
        target = [*ids, model.eos_id][: min(len(scores), model.max_positions)]
        differences += score_differences(forced_log_probs(model, source, target), scores, strict=False)
        translations.append(target)
    return Verified(translations, differences)


def decoder_settings(model: ElasticModel, vocabularies: Sequence[str], search: DecodingOptions) -> str:
    """decoder.yml, which makes Marian translate as polystill does; `vocabularies` are file names."""
    import yaml

    from polystill.decoding.translator import LENGTH_FACTOR

    settings = {
        "relative-paths": True,
        "models": [MODEL],
        "vocabs": list(vocabularies),
        "beam-size": search.beam_size,
        "normalize": search.length_penalty,
        "allow-unk": True,
        "max-length": model.max_positions,
        "max-length-crop": True,
        "max-length-factor": LENGTH_FACTOR,
        "mini-batch": 32,
        "maxi-batch": 100,
        "maxi-batch-sort": "src",
        "cpu-threads": 1,
        "workspace": 512,
    }
    return yaml.safe_dump(settings, sort_keys=False)
