"""The measurements as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table

from polystill.runs.results import WITH_SHORTLIST

Row = dict[str, Any]


def train_table(result: Row) -> Table:
    s = result["settings"]
    title = f"{s['name']}: teacher {s['teacher']} and {s['students_per_step']} students, {s['batches']} batches of "
    title += f"{s['target_tokens'] / s['batches']:.0f} target tokens, {s['device']}, {s['threads']} threads"
    table = Table(Column("variant", no_wrap=True), title=title, title_justify="left", box=None)
    columns = ["target tokens/s", "× family-plain", "teacher steps", "peak MiB", "GFLOP/s", "of GEMM"]
    for column in [*columns, "enc", "dec", "loss", "opt"]:
        table.add_column(column, justify="right")
    for row in result["rows"]:
        table.add_row(
            row["variant"],
            _range(row["target_tokens_per_second"], 0),
            _range(row["speed_to_family_plain"], 2),
            _range(row["cost_in_teacher_steps"], 2),
            f"{row['memory']['peak_bytes'] / 2**20:.0f}",
            f"{row['flops_per_second']['median'] / 1e9:.0f}",
            f"{row['share_of_gemm']['median']:.0%}",
            *(f"{share:.0%}" for share in row["shares"].values()),
        )
    return table


def loss_table(result: Row) -> Table:
    s = result["settings"]
    title = f"vocabulary {s['vocabulary_size']}, {s['tokens']} tokens, d_model {s['d_model']}"
    table = Table("loss", title=title, title_justify="left", box=None)
    for column in ("students", "MiB beyond states, weights, gradients", "seconds"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        fits = row["extra_bytes"] is not None
        memory = f"{row['extra_bytes'] / 2**20:.0f}" if fits else "too large"
        table.add_row(row["loss"], str(row["students"]), memory, _range(row["seconds"], 2) if fits else "")
    return table


def decode_table(rows: list[Row]) -> Table:
    """Devices are in it where they differ."""
    several = len({row["device"] for row in rows}) > 1
    table = Table("student", "engine", *(["device"] if several else []), "precision", "beam", "batch", box=None)
    for column in ("words/s", "× teacher float32", "× teacher same", "p50 ms", "p95 ms"):
        table.add_column(column, justify="right")
    for row in rows:
        ratios = [
            _range(row[key], 2) if key in row else "" for key in ("speed_to_reference", "speed_to_teacher_same_engine")
        ]
        latency = [f"{row['latency_ms'][p]['median']:.1f}" if "latency_ms" in row else "" for p in ("p50", "p95")]
        student = f"{row['student']} {WITH_SHORTLIST}" if row.get("shortlist") else row["student"]
        how = [student, row["engine"], *([row["device"]] if several else []), row["precision"]]
        how += [str(row["beam"]), str(row["batch_size"])]
        table.add_row(*how, _range(row["words_per_second"], 0), *ratios, *latency)
    return table


def generate_line(row: Row) -> str:
    speeds = row["words_per_second"]
    return (
        f"torch beam search, beam {row['beam']}, batch {row['batch_size']}: "
        f"{_range(speeds['polystill'], 0)} words/s, "
        f"{_range(row['speed_to_transformers'], 2)} times transformers' generate "
        f"({_range(speeds['transformers'], 0)}); {row['same_translations']:.1%} of the translations are the same"
    )


def _range(values: dict[str, float], digits: int) -> str:
    """Such as "1619 (1580–1650)": the median, the least and the largest."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}–{values['max']:.{digits}f})"
