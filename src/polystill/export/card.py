"""README.md of an export: a model card in the Hugging Face Hub's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from polystill.decoding.contract import DecodingOptions
from polystill.export.usage import how_to_use, library_of, other_formats
from polystill.runs.rows import artefact_key, has_shortlist
from polystill.storage import tree_bytes

CARD = "README.md"
Row = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What a run knows of a student, beyond its weights."""

    rows: Sequence[dict[str, Any]] = field(default_factory=list)
    """Those of RUN/results.json that are of this student."""
    family: dict[str, Any] = field(default_factory=dict)
    """RUN/family/family.json: method, targets, seed."""
    devices: Sequence[dict[str, Any]] = field(default_factory=list)
    """What was measured of this student on devices (RUN/results.json, `devices`)."""
    note: str = ""
    """What it was exported for."""
    data: Sequence[str] = field(default_factory=list)
    """What it was trained and measured on (`export.training_data`), a line each."""
    search: DecodingOptions = field(default_factory=DecodingOptions)
    """Beam size and length penalty that it is used with, where the format can say so."""


def write_card(folder: Path, info: dict[str, Any], record: Record | None = None) -> None:
    """Write README.md; `info` as in polystill.json. The other files of the export are there already."""
    (folder / CARD).write_text(model_card(info, record or Record(), tree_bytes(folder)), encoding="utf-8")


def model_card(info: dict[str, Any], record: Record, size: int) -> str:
    """The card's text; `size` is the export's, in bytes."""
    languages = [info[key] for key in ("source_language", "target_language") if key in info]
    parts = [
        f"---\n{_front(info, languages, record)}---",
        f"# {info['name']}: {' → '.join(languages) or 'translation'}",
        _what(info, size),
        *([record.note] if record.note else []),
        *_training(record),
        *_quality(info, record),
        *_devices(info, record),
        "## How to use it",
        how_to_use({**search_of(record), **info}, languages),
        f"For other engines: `polystill export RUN {info['name']} --to FORMAT` with {other_formats(info)}.",
        _verified(info),
    ]
    return "\n\n".join(parts) + "\n"


def search_of(record: Record | None) -> dict[str, Any]:
    """What polystill.json says of the search that an export is used with; nothing where nobody has said."""
    if record is None:
        return {}
    return {"beam_size": record.search.beam_size, "length_penalty": record.search.length_penalty}


def _front(info: dict[str, Any], languages: list[str], record: Record) -> str:
    values: dict[str, Any] = {"library_name": library_of(info), "pipeline_tag": "translation"}
    if languages:
        values["language"] = languages
    kind = "marian" if info["architecture"] == "transformer" else info["architecture"]
    values["tags"] = list(dict.fromkeys(["translation", kind, "polystill", info["format"]]))
    own, _ = _own_and_other(record.rows, info, record)
    metrics = [name for name in _METRICS if any(name in row for row in own)]
    if metrics:
        values["metrics"] = metrics
        values["model-index"] = [{"name": info["name"], "results": list(_results(own))}]
    return yaml.safe_dump(values, sort_keys=False) + "# license: yours to choose, within the licenses of the data\n"


def _own_and_other(rows: Sequence[Row], info: dict[str, Any], record: Record) -> tuple[list[Row], list[Row]]:
    """Rows that were measured on this package as it is and as it searches, and those of the student in other forms."""
    precision = info.get("quantization")
    engine = {"ctranslate2": "ctranslate2", "sparse": "torch" if precision == "float32" else None}.get(info["format"])
    form = (engine, precision, "shortlist" in info, record.search.beam_size, record.search.length_penalty)
    found: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        found[(*artefact_key(row), row.get("beam"), row.get("length_penalty", 1.0)) != form].append(row)
    return found


_METRICS = {"bleu": "BLEU", "chrf": "chrF", "comet": "COMET"}


def _results(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries of model-index: one for each row of results, the metrics named by how they were obtained."""
    for row in rows:
        how = ", ".join(str(row[key]) for key in ("engine", "precision") if key in row)
        how += ", shortlist" * has_shortlist(row)
        how += f", beam {row['beam']}" + ("" if _is_neutral(row) else f", length penalty {row['length_penalty']:g}")
        metrics = [
            {"type": key, "value": round(row[key], 4 if key == "comet" else 2), "name": f"{title} ({how})"}
            for key, title in _METRICS.items()
            if key in row
        ]
        if metrics:
            dataset = {"type": row["test_set"], "name": row["test_set"]}
            yield {"task": {"type": "translation"}, "dataset": dataset, "metrics": metrics}


def _is_neutral(row: dict[str, Any]) -> bool:
    return bool(row.get("length_penalty", 1.0) == 1.0)


def _what(info: dict[str, Any], size: int) -> str:
    precision = info.get("quantization", "float32")
    what = {"transformer": "A Transformer", "lstm": "An LSTM with attention"}[info["architecture"]]
    nonzero = info.get("nonzero_parameters", info["parameters"])
    zeros = f" ({nonzero:,} of them not zero)" if nonzero < info["parameters"] else ""
    return (
        f"{what} for translation with {info['encoder_layers']} encoder and {info['decoder_layers']} decoder "
        f"layers: {info['parameters']:,} parameters{zeros}, a vocabulary of {info['vocabulary_size']:,}, weights in "
        f"{precision}, {size / 1e6:.1f} MB on disk."
    )


_FACTS = (("targets", "targets"), ("seed", "seed"), ("run", "run_id"))


def _training(record: Record) -> Iterator[str]:
    from polystill.objectives import title_of

    lines = []
    known = {**record.family, **(record.rows[0] if record.rows else {})}
    if "method" in known:
        lines.append(f"- method: {title_of(known['method'])}")
    if (members := len(known.get("candidates", []))) > 1:
        lines.append(f"- one of a family of {members} students that one run trained together")
    facts = [f"{name}: {known[key]}" for name, key in _FACTS if key in known]
    lines += [f"- {'; '.join(facts)}"] if facts else []
    lines += [f"- {line}" for line in record.data]
    if lines:
        yield "## Training"
        yield "\n".join(lines)


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


def _quality(info: dict[str, Any], record: Record) -> Iterator[str]:
    if not record.rows:
        return
    yield "## Measured quality"
    own, others = _own_and_other(record.rows, info, record)
    if own:
        yield _table(own, _COLUMNS)
    else:
        yield f"This package itself ({_form(info)}) was not measured; what was measured is the same student otherwise."
    notes = [f"BLEU: `{s}`" for s in _distinct(record, "bleu_signature")]
    notes += [f"chrF: `{s}`" for s in _distinct(record, "chrf_signature")]
    notes += [f"COMET: `{s}`" for s in _distinct(record, "comet_signature")]
    notes += [
        f"speed: whole test sets in batches, latency: one sentence after another, on {hardware}"
        for hardware in _distinct(record, "hardware")
    ]
    yield "\n".join(f"- {note}" for note in notes)
    if others:
        yield "### Other forms of the same student"
        yield _table(others, _COLUMNS)


def _form(info: dict[str, Any]) -> str:
    """The package as it is, in words."""
    parts = [info["format"], info.get("quantization"), "shortlist" if "shortlist" in info else None]
    return ", ".join([*filter(None, parts), *([f"beam {info['beam_size']}"] if "beam_size" in info else [])])


def _devices(info: dict[str, Any], record: Record) -> Iterator[str]:
    if record.devices:
        own, others = _own_and_other(record.devices, info, record)
        yield "## Measured on devices"
        yield _table([*own, *others], _DEVICE_COLUMNS)
        hardware = dict.fromkeys(f"- {row['device']}: {row['hardware']}" for row in record.devices)
        yield "\n".join(hardware)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, str]]) -> str:
    """Columns that no row has are left out, and so is a length penalty of 1."""
    shown = [column for column in columns if any(column[1] in row for row in rows)]
    if all(map(_is_neutral, rows)):
        shown = [column for column in shown if column[1] != "length_penalty"]
    lines = [" | ".join(title for title, _, _ in shown), " | ".join("---" for _ in shown)]
    for row in rows:
        lines.append(" | ".join(form.format(row[key]) if key in row else "" for _, key, form in shown))
    return "\n".join(f"| {line} |" for line in lines)


def _distinct(record: Record, key: str) -> list[str]:
    return sorted({str(row[key]) for row in record.rows if key in row})


def _verified(info: dict[str, Any]) -> str:
    found = info.get("verification", {})
    if "identical" not in found:
        return "`polystill.json` says what it was made of and how it was verified."
    return (
        f"Verified when it was written: of {found['sentences']} sentences {found['identical']:.0%} are translated with "
        f"the same tokens as by the source model, log-probabilities of tokens differ by {found['mean_difference']:.2g} "
        f"on average. {_shortlist(info)}`polystill.json` says what it was made of."
    )


def _shortlist(info: dict[str, Any]) -> str:
    found = info.get("shortlist")
    if found is None:
        return ""
    where = {"ctranslate2": "`vmap.txt`; `use_vmap=True`", "bergamot": "`lex.*.bin`, which the runtime uses by itself"}
    return (
        f"That is with its whole vocabulary; with the shortlist ({where[info['format']]}), learnt from "
        f"{found['sentences']:,} sentences, {found['same_translations']} of {found['lines']} translations stay as they "
        "are. "
    )
