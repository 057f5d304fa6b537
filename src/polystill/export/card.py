"""README.md of an export: a model card in the Hugging Face Hub's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.translator import DecodingOptions
from polystill.export import FORMATS
from polystill.export.format import Info
from polystill.runs.results import DeviceRow, QualityRow
from polystill.storage import text_lines

if TYPE_CHECKING:
    from polystill.config.data import Data
    from polystill.runs import Run
    from polystill.students import Student


@dataclass(frozen=True)
class Record:
    """A run's knowledge of a student, beyond its weights."""

    rows: Sequence[QualityRow] = ()
    """This student's rows of RUN/results.json."""
    family: dict[str, Any] = field(default_factory=dict)
    """The contents of RUN/family/family.json: method, targets, seed."""
    devices: Sequence[DeviceRow] = ()
    """This student's figures on devices."""
    note: str = ""
    """The purpose that it was exported for."""
    data: Sequence[str] = ()
    """The text that it was trained and measured on, a line for each fact."""
    search: DecodingOptions = field(default_factory=DecodingOptions)
    """The beam size and length penalty that it is meant for, if the format can say so."""


def record_of(run: Run, student: Student, search: DecodingOptions, note: str = "") -> Record:
    """The record of a run's student.

    Raises:
        UserError: the run's results, tokenizer or text is damaged.
    """
    from polystill.runs.family import read_family

    results = run.results()
    return Record(
        rows=[row for row in results.rows if row.model == student.name],
        devices=[row for row in results.devices if row.model == student.name],
        note=note,
        search=search,
        family=read_family(run.family),
        data=data_lines(run.recipe.data, run.data),
    )


def model_card(info: Info, record: Record, size: int) -> str:
    """The card's text, from polystill.json, the run's record and the size of the export in bytes."""
    languages = [info[key] for key in ("source_language", "target_language") if key in info]
    forms = [form for form in FORMATS.values() if info["architecture"] in form.architectures]
    others = [f"`{form.name}`" for form in forms if form.name != info["format"]]
    parts = [
        f"---\n{_front(info, languages, record)}---",
        f"# {info['name']}: {' → '.join(languages) or 'translation'}",
        _summary(info, size),
        *([record.note] if record.note else []),
        *_training(record),
        *_quality(info, record),
        *_devices(info, record),
        "## How to use it",
        how_to_use({**search_of(record.search), **info}, languages),
        f"For other engines: `polystill export RUN {info['name']} --to FORMAT` with {', '.join(others)}.",
        _verification(info),
    ]
    return "\n\n".join(parts) + "\n"


def search_of(search: DecodingOptions) -> Info:
    """The search that an export is meant for, as polystill.json has it."""
    return {"beam_size": search.beam_size, "length_penalty": search.length_penalty}


def _front(info: Info, languages: list[str], record: Record) -> str:
    """The card's metadata, which the Hub reads."""
    library = FORMATS[info["format"]].library_for(info["architecture"])
    values: dict[str, Any] = {"library_name": library, "pipeline_tag": "translation"}
    if languages:
        values["language"] = languages
    kind = "marian" if info["architecture"] == "transformer" else info["architecture"]
    values["tags"] = list(dict.fromkeys(["translation", kind, "polystill", info["format"]]))
    measured = [row for row in record.rows if _is_of_package(row, info, record)]
    metrics = [name for name in _METRICS if any(_is_there(row, name) for row in measured)]
    if metrics:
        values["metrics"] = metrics
        values["model-index"] = [{"name": info["name"], "results": list(_index(measured))}]
    return yaml.safe_dump(values, sort_keys=False) + "# license: yours to choose, within the licenses of the data\n"


def _summary(info: Info, size: int) -> str:
    precision = info.get("quantization", "float32")
    what = {"transformer": "A Transformer", "lstm": "An LSTM with attention"}[info["architecture"]]
    nonzero = info.get("nonzero_parameters", info["parameters"])
    zeros = f" ({nonzero:,} of them not zero)" if nonzero < info["parameters"] else ""
    return (
        f"{what} for translation with {info['encoder_layers']} encoder and {info['decoder_layers']} decoder "
        f"layers: {info['parameters']:,} parameters{zeros}, a vocabulary of {info['vocabulary_size']:,}, weights in "
        f"{precision}, {size / 1e6:.1f} MB on disk."
    )


# --- use and verification -------------------------------------------------------------------------------------------


def how_to_use(info: Info, languages: Sequence[str]) -> str:
    """The Markdown of the card's section on using the export, for those who have nothing but the package."""
    target = 'sentencepiece.SentencePieceProcessor(model_file="path/of/this/folder/target.spm")'
    values = {
        **info,
        "between": "_".join(languages),
        "vmap": ", use_vmap=True" * ("shortlist" in info),
        "target": target if "target.spm" in info.get("files", {}) else "source",
    }
    return FORMATS[info["format"]].usage_for(info["architecture"]).strip().format(**values)


def _verification(info: Info) -> str:
    result = info.get("verification", {})
    if "identical" not in result:
        return "`polystill.json` says what it was made of and how it was verified."
    text = (
        f"Verified when it was written: of {result['sentences']} sentences {result['identical']:.0%} are translated "
        f"with the same tokens as by the source model, log-probabilities of tokens differ by "
        f"{result['mean_difference']:.2g} on average. "
    )
    if facts := info.get("shortlist"):
        text += (
            f"That is with its whole vocabulary; with the shortlist ({FORMATS[info['format']].shortlist_usage}), "
            f"learnt from {facts['sentences']:,} sentences, {facts['same_translations']} of {facts['lines']} "
            "translations stay as they are. "
        )
    return f"{text}`polystill.json` says what it was made of."


# --- figures --------------------------------------------------------------------------------------------------------

_METRICS = {"bleu": "BLEU", "chrf": "chrF", "comet": "COMET"}
_COLUMNS = (
    ("test set", "test_set", "{}"),
    ("engine", "engine", "{}"),
    ("precision", "precision", "{}"),
    ("shortlist", "shortlist", "yes"),
    ("beam", "beam", "{}"),
    ("length penalty", "length_penalty", "{:g}"),
    ("BLEU", "bleu", "{:.1f}"),
    ("chrF", "chrf", "{:.1f}"),
    ("COMET", "comet", "{:.3f}"),
    ("words/s", "words_per_second", "{:,.0f}"),
    ("p50 ms", "latency_p50_ms", "{:.1f}"),
    ("p95 ms", "latency_p95_ms", "{:.1f}"),
    ("peak memory, bytes", "peak_memory_bytes", "{:,}"),
    ("threads", "threads", "{}"),
)
_DEVICE_COLUMNS = (("device", "device", "{}"), *(c for c in _COLUMNS if c[1] not in ("test_set", "engine")))


def _is_of_package(row: QualityRow | DeviceRow, info: Info, record: Record) -> bool:
    """Whether a row was measured on this very package and its search, and not on another form of the student."""
    precision = info.get("quantization", "float32")
    engine = FORMATS[info["format"]].evaluated_in(precision)
    form = (engine, precision, "shortlist" in info, record.search.beam_size)
    if isinstance(row, QualityRow) and row.length_penalty != record.search.length_penalty:
        return False  # speed hardly depends on it, so a device's row does not state it
    return (*row.variant, row.beam) == form


def _index(rows: Sequence[QualityRow]) -> Iterator[dict[str, Any]]:
    """The entries of model-index, one for each row; metrics are named with how they were obtained."""
    for row in rows:
        how = f"{row.engine}, {row.precision}{', shortlist' * row.shortlist}, beam {row.beam}"
        how += "" if row.length_penalty == 1.0 else f", length penalty {row.length_penalty:g}"
        metrics = [
            {"type": key, "value": round(getattr(row, key), 4 if key == "comet" else 2), "name": f"{title} ({how})"}
            for key, title in _METRICS.items()
            if _is_there(row, key)
        ]
        dataset = {"type": row.test_set, "name": row.test_set}
        yield {"task": {"type": "translation"}, "dataset": dataset, "metrics": metrics}


def _quality(info: Info, record: Record) -> Iterator[str]:
    if not record.rows:
        return
    yield "## Measured quality"
    measured = [row for row in record.rows if _is_of_package(row, info, record)]
    others = [row for row in record.rows if row not in measured]
    if measured:
        yield _table(measured, _COLUMNS)
    else:
        parts = [info["format"], info.get("quantization"), "shortlist" if "shortlist" in info else None]
        form = ", ".join([*filter(None, parts), *([f"beam {info['beam_size']}"] if "beam_size" in info else [])])
        yield f"This package itself ({form}) was not measured; what was measured is the same student otherwise."
    meanings = {f"{name}_signature": f"{title}: `{{}}`" for name, title in _METRICS.items()}
    meanings["hardware"] = "speed: whole test sets in batches, latency: one sentence after another, on {}"
    yield "\n".join(
        f"- {meaning.format(value)}"
        for key, meaning in meanings.items()
        for value in sorted({getattr(row, key) for row in record.rows if _is_there(row, key)})
    )
    if others:
        yield "### Other forms of the same student"
        yield _table(others, _COLUMNS)


def _devices(info: Info, record: Record) -> Iterator[str]:
    if record.devices:
        yield "## Measured on devices"
        yield _table(sorted(record.devices, key=lambda row: not _is_of_package(row, info, record)), _DEVICE_COLUMNS)
        yield "\n".join(dict.fromkeys(f"- {row.device}: {row.hardware}" for row in record.devices))


def _table(rows: Sequence[QualityRow | DeviceRow], columns: Sequence[tuple[str, str, str]]) -> str:
    """A Markdown table without the columns that no row has; a length penalty of 1 is none."""
    no_penalty = all(row.length_penalty == 1.0 for row in rows if isinstance(row, QualityRow))
    shown = {}
    for title, key, form in columns:
        cells = [form.format(getattr(row, key)) if _is_there(row, key) else "" for row in rows]
        if any(cells) and not (key == "length_penalty" and no_penalty):
            shown[title] = cells
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_there(row: QualityRow | DeviceRow, key: str) -> bool:
    value = getattr(row, key, None)
    return value is not None and value is not False and value != ""


# --- training -------------------------------------------------------------------------------------------------------


def _training(record: Record) -> Iterator[str]:
    from polystill.objectives import title_of

    lines = []
    facts = {**record.family, **(record.rows[0].to_json() if record.rows else {})}
    if facts.get("method"):
        lines.append(f"- method: {title_of(facts['method'])}")
    if (members := len(facts.get("candidates", []))) > 1:
        lines.append(f"- one of the {members} students of a family that one run trained")
    keys = (("targets", "targets"), ("domains", "domains"), ("seed", "seed"), ("run", "run_id"))
    named = [f"{name}: {facts[key]}" for name, key in keys if key in facts]
    lines += [f"- {'; '.join(named)}"] if named else []
    lines += [f"- {line}" for line in record.data]
    if lines:
        yield "## Training"
        yield "\n".join(lines)


def data_lines(settings: Data, folder: Path) -> list[str]:
    """Facts about a run's text: sources, pairs after cleaning, vocabulary, held-out sets.

    Those that `folder`, RUN/data, has no files for are left out.

    Raises:
        UserError: its tokenizer or a text is damaged.
    """
    sources = (source.model_dump(exclude_defaults=True) for source in settings.train)
    lines = [f"data: {', '.join(f'{key} {value}' for key, value in source.items())}" for source in sources]
    files = {"validation": folder / "validation.source.txt"}
    files |= {f"test set {name}": folder / "test" / f"{name}.source.txt" for name in settings.test}
    sizes = "; ".join(f"{name}: {len(text_lines(path)):,} sentences" for name, path in files.items() if path.is_file())
    return [*lines, *_pairs(folder / "cleaning.json"), *_vocabulary(folder / "tokenizer"), *([sizes] if sizes else [])]


def _pairs(path: Path) -> Iterator[str]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        kept, total = f"{report['kept']:,}", f"{report['total']:,}"
    except (OSError, ValueError, KeyError, TypeError):
        return
    all_kept = f"training pairs: {total}, of which cleaning dropped none"
    yield all_kept if kept == total else f"training pairs: {kept} of {total}, the others dropped by cleaning"


def _vocabulary(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    from sentencepiece import sentencepiece_model_pb2 as pb

    tokenizer = Tokenizer.load(folder)
    source, target = tokenizer.sentencepiece_models
    kind = pb.TrainerSpec.ModelType.Name(pb.ModelProto.FromString(source).trainer_spec.model_type).lower()
    models = "one model" if source == target else "a model each"
    yield f"vocabulary: {tokenizer.vocabulary_size:,} pieces (SentencePiece, {kind}), {models} for both languages"
