"""Export to Marian: model.npz with Marian's own parameter names, its vocabulary, and decoder.yml to run it with.

Marian's sinusoids are not Hugging Face's (`polystill.models.transformer.POSITIONS`), and no setting of Marian's changes
that. A model that was trained with the other ones translates some 10 to 20 % of sentences otherwise there, so only
models with `positions: marian` are exported; those run in every other engine as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.errors import UserError
from polystill.export.format import Export, Format, Info, MakeCard, Verified
from polystill.export.pymarian import decode_with_scores, find_pymarian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polystill.data.tokenizer import Tokenizer
    from polystill.decoding.translator import DecodingOptions
    from polystill.models.elastic import ElasticModel
    from polystill.models.transformer import TransformerConfig

MODEL, DECODER, ALIGNING = "model.npz", "decoder.yml", "decoder-alignment.yml"

_ATTENTION = (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"), ("out_proj", "o"))
_SUBLAYERS = {"encoder": (("self_attn", "self"),), "decoder": (("self_attn", "self"), ("encoder_attn", "context"))}


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

        arrays: dict[str, Any] = dict(parameters(export.model))
        np.savez(folder / MODEL, **arrays)
        models = joint_pieces(export.tokenizer, export.lines)
        names = ["vocab.spm"] if len(models) == 1 else ["source.spm", "target.spm"]
        for name, content in zip(names, models, strict=True):
            (folder / name).write_bytes(content)
        settings = decoder_settings(export.model, (names[0], names[-1]), export.search or DecodingOptions())
        (folder / DECODER).write_text(settings, encoding="utf-8")

    def verify(self, export: Export, folder: Path) -> Verified:
        vocabularies = sorted(folder.glob("*.spm"))  # vocab.spm, or source.spm and target.spm
        return verify_in_marian(export, folder / MODEL, [vocabularies[0], vocabularies[-1]])

    def finish(self, folder: Path, info: Info, card: MakeCard) -> None:
        if info.get("alignment"):
            settings = (folder / DECODER).read_text(encoding="utf-8")
            (folder / ALIGNING).write_text(f"{settings}alignment: soft\n", encoding="utf-8")
        super().finish(folder, info, card)


def check_shape(model: ElasticModel, origin: Path) -> None:
    """Refuse a model that Marian has nothing like.

    Raises:
        UserError: the model has positions or an activation that Marian lacks.
    """
    config = _config(model)
    if config.positions != "marian":
        raise UserError(
            f"{origin}: Marian has other sinusoidal positions than this model was trained with; train with "
            "model.positions: marian (or continue this family so, with model.start)"
        )
    if config.activation == "gelu":
        raise UserError(f"{origin}: Marian computes gelu by another formula; train with relu or swish")


def _config(model: ElasticModel) -> TransformerConfig:
    from polystill.models.transformer import TransformerConfig

    assert isinstance(model.config, TransformerConfig)
    return model.config


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


# --- the one table of Marian's names ------------------------------------------------------------------------------


def parameters(model: ElasticModel) -> Iterator[tuple[str, NDArray[Any]]]:
    """Marian's names and arrays: matrices (in, out), vectors (1, out); without `<pad>`, which Marian lacks."""
    import numpy as np

    depths = {"encoder": model.config.encoder_layers, "decoder": model.config.decoder_layers}
    state = {n: t.numpy() for n, t in model.architecture.to_folder(model.state_dict(), model.config).items()}
    yield "Wemb", np.delete(state["model.shared.weight"], model.pad_id, 0)
    yield "decoder_ff_logit_out_b", np.delete(state["final_logits_bias"], model.pad_id, 1)
    for side, depth in depths.items():
        for i in range(depth):
            layer, named = f"model.{side}.layers.{i}", f"{side}_l{i + 1}"  # Hugging Face's name, and Marian's
            for block, name in _SUBLAYERS[side]:
                for projection, letter in _ATTENTION:
                    yield from _linear(state, f"{layer}.{block}.{projection}", f"{named}_{name}", letter)
                yield from _norm(state, f"{layer}.{block}_layer_norm", f"{named}_{name}_Wo")
            yield from _linear(state, f"{layer}.fc1", f"{named}_ffn", "1")
            yield from _linear(state, f"{layer}.fc2", f"{named}_ffn", "2")
            yield from _norm(state, f"{layer}.final_layer_norm", f"{named}_ffn_ffn")
    settings = model_settings(model, model.config.vocabulary_size - 1)
    yield "special:model.yml", np.frombuffer(settings.encode() + b"\0", dtype=np.int8)


def _linear(state: dict[str, NDArray[Any]], layer: str, named: str, letter: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{named}_W{letter}", state[f"{layer}.weight"].T.copy()
    yield f"{named}_b{letter}", state[f"{layer}.bias"][None]


def _norm(state: dict[str, NDArray[Any]], layer: str, named: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{named}_ln_scale", state[f"{layer}.weight"][None]
    yield f"{named}_ln_bias", state[f"{layer}.bias"][None]


def model_settings(model: ElasticModel, vocabulary_size: int) -> str:
    """The model's shape, as Marian keeps it in the model file."""
    import yaml

    c = _config(model)
    settings = {
        "version": "v1.12.0",
        "type": "transformer",
        "dim-vocabs": [vocabulary_size] * 2,
        "dim-emb": c.d_model,
        "enc-depth": c.encoder_layers,
        "dec-depth": c.decoder_layers,
        "transformer-heads": c.heads,
        "transformer-dim-ffn": c.ffn_dim,
        "transformer-decoder-dim-ffn": c.ffn_dim,
        "transformer-ffn-depth": 2,
        "transformer-decoder-ffn-depth": 2,
        "transformer-ffn-activation": c.activation,
        "transformer-decoder-autoreg": "self-attention",
        "transformer-preprocess": "",
        "transformer-postprocess": "dan",
        "transformer-postprocess-emb": "d",
        "transformer-postprocess-top": "",
        "transformer-no-projection": False,
        "transformer-tied-layers": [],
        "transformer-train-position-embeddings": False,
        "transformer-guided-alignment-layer": "last",
        "transformer-aan-depth": 2,
        "transformer-aan-activation": "swish",
        "transformer-aan-nogate": False,
        "transformer-dim-aan": 2048,
        "tied-embeddings": False,
        "tied-embeddings-src": False,
        "tied-embeddings-all": True,
        "input-types": [],
        "layer-normalization": False,
        "lemma-dim-emb": 0,
        "right-left": False,
        "skip": False,
    }
    return yaml.safe_dump(settings, sort_keys=False)


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
