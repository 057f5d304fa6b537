"""Domains of training text: which rows belong to which, and how often a stage draws each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystill.config import Recipe, parse_recipe
from polystill.data.domains import groups_of
from polystill.data.packing import PackedDataset
from polystill.data.prepare import prepare_data
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.runs import Run
from polystill.targets.store import Candidate, Entry, TargetSet
from polystill.training.session import Session

VERBS = {"open": "öffne", "close": "schließe", "print": "drucke", "rename": "benenne", "export": "speichere"}
NOUNS = {"file": "Datei", "folder": "Ordner", "window": "Fenster", "picture": "Bild", "sheet": "Blatt"}
FAMILY = {"mother": "Mutter", "brother": "Bruder", "uncle": "Onkel", "daughter": "Tochter"}
SOFTWARE = [(f"{a} the {b}", f"{c} {d}") for a, c in VERBS.items() for b, d in NOUNS.items()]
CHAT = [(f"does your {a} {b} it", f"{d} {c}") for a, c in FAMILY.items() for b, d in VERBS.items()]
MENU = [(f"recent {a}", f"neues {b}") for a, b in NOUNS.items()]
TOO_LONG = ("a b " * 20, "c d " * 20)
LOG: Callable[[str], None] = lambda line: None  # noqa: E731


def write(folder: Path, name: str, pairs: list[tuple[str, str]], **more: str) -> dict[str, str]:
    for i, side in enumerate(("en", "de")):
        text = "".join(f"{pair[i].strip()}\n" for pair in pairs)
        (folder / f"{name}.{side}").write_text(text, encoding="utf-8")
    return {"kind": "text", "source": f"{name}.en", "target": f"{name}.de", **more}


def recipe(folder: Path, sources: dict[str, tuple[str, list[tuple[str, str]]]], **values: Any) -> Recipe:
    """Of sources by name, each with its domain and pairs."""
    data = {
        "folder": str(folder),
        "train": [write(folder, name, pairs, domain=domain) for name, (domain, pairs) in sources.items()],
        "validation": write(folder, "valid", [("how is file", "wie geht es Datei")]),
        "tokenizer": {"vocabulary_size": 45, "byte_fallback": False},
        "max_tokens": 40,
        **values.pop("data", {}),
    }
    model = {"d_model": 16, "ffn_dim": 32, "heads": 2, "max_positions": 64, "encoder_layers": 1, "decoder_layers": 1}
    students = {"encoder": [1, 1], "decoder": [1, 1]}
    given = {"data": data, "model": model, "students": students, "stages": [{"name": "only", "updates": 1}], **values}
    return parse_recipe(given, "recipe.yaml")


def text_of(folder: Path) -> list[str]:
    tokenizer = Tokenizer.load(folder.parents[folder.parent.name == "targets"] / "tokenizer")
    return tokenizer.decode([source.tolist() for source, _ in PackedDataset.open(folder)])


def domains_in(folder: Path) -> list[int]:
    numbers = np.load(folder / "domains.npy")
    assert len(numbers) == len(PackedDataset.open(folder))
    return [int(number) for number in numbers]


def test_rows_without_domains_take_no_memory(tmp_path: Path) -> None:
    numbers = range(5, 10**13)
    assert groups_of(tmp_path, numbers, None) == groups_of(tmp_path, numbers, {0: 2.0}) == [(numbers, 1.0)]


def test_rows_have_the_domain_of_their_source(tmp_path: Path) -> None:
    """Of doubles the first counts; pairs that are too long have no row; two sources share a domain."""
    sources = {
        "software": ("software", [SOFTWARE[0], TOO_LONG, *SOFTWARE[1:]]),
        "chat": ("chat", [SOFTWARE[2], *CHAT, TOO_LONG, CHAT[3]]),
        "menu": ("software", [CHAT[1], *MENU]),
    }
    out, lines = tmp_path / "data", list[str]()
    record = prepare_data(recipe(tmp_path, sources), out, log=lines.append)
    rows = dict(zip(text_of(out / "train"), domains_in(out / "train"), strict=True))
    assert rows == {source: 0 for source, _ in [*SOFTWARE, *MENU]} | {source: 1 for source, _ in CHAT}
    tokens = PackedDataset.open(out / "train").target_lengths
    of_each = [int(tokens[:25].sum()), int(tokens[25:45].sum()), int(tokens[45:].sum())]
    assert record["domains"] == {
        "software": {"pairs": 30, "target_tokens": of_each[0] + of_each[2]},
        "chat": {"pairs": 20, "target_tokens": of_each[1]},
    }
    assert record["sources"] == [
        {"name": str(tmp_path / f"{name}.en"), "pairs": pairs, "target_tokens": total, "domain": domain}
        for (name, (domain, _)), pairs, total in zip(sources.items(), (25, 20, 5), of_each, strict=True)
    ]
    assert "train/domains.npy" in record["files"]
    (said,) = (line for line in lines if line.startswith("domains of train: "))
    assert "software 30 pairs, " in said and "; chat 20 pairs, " in said


def test_without_domains_none_are_written(tmp_path: Path) -> None:
    given = recipe(tmp_path, {"all": ("x", SOFTWARE)}).model_dump()
    given["data"]["train"][0]["domain"] = None
    record = prepare_data(parse_recipe(given, "recipe.yaml"), tmp_path / "data", log=LOG)
    assert "domains" not in record and not list(tmp_path.rglob("domains.npy"))
    assert [(source["pairs"], "domain" in source) for source in record["sources"]] == [(25, False)]


SHARED = ("how is file", "wie geht es Datei")


def prepared(
    tmp_path: Path, make_targets: Callable[..., TargetSet], *stages: dict[str, Any], **data: Any
) -> tuple[Run, dict[str, Any]]:
    """A run with gold, beam (translations of the training text; SHARED's source is in both domains) and news.

    The source's own pairs are numbers 25 (software) and 46 (chat).
    """
    corpus = [*SOFTWARE, SHARED, *CHAT, (SHARED[0], "wie ist Datei")]
    entries = [Entry([i], source, [target], [Candidate(f"{target} a")]) for i, (source, target) in enumerate(corpus)]
    entries[25] = Entry([25, 46], SHARED[0], ["", ""], [Candidate("Datei"), Candidate("geht"), Candidate("c d " * 40)])
    entries[3] = Entry([3], SOFTWARE[3][0], [""], [], filtered=1)
    targets = {
        "beam": make_targets(tmp_path / "beam", entries[:-1], size=100),
        "news": make_targets(tmp_path / "news", [Entry([0, 25], "open", [], [Candidate("öffne")])], kind="text"),
    }
    named = [{"name": f"stage{i}", "updates": 1, **stage} for i, stage in enumerate(stages)]
    given = recipe(
        tmp_path,
        {"software": ("software", corpus[:26]), "chat": ("chat", corpus[26:])},
        data={"targets": {name: str(tmp_path / name) for name in targets}, **data},
        stages=named,
    )
    run = Run.start(tmp_path / "run", given)
    record = prepare_data(given, run.data, targets=targets, log=LOG)
    run.finish("data", record)
    return run, record


def test_translations_have_the_domain_of_their_sentence(tmp_path: Path, make_targets: Any) -> None:
    run, record = prepared(tmp_path, make_targets, {})
    beam = run.data / "targets" / "beam"
    rows = Counter(zip(text_of(beam), domains_in(beam), strict=True))
    expected = Counter({(source, 0): 1 for i, (source, _) in enumerate(SOFTWARE) if i != 3})
    expected |= Counter({(source, 1): 1 for source, _ in CHAT})
    assert rows == expected | Counter({(SHARED[0], 0): 2, (SHARED[0], 1): 2})
    counts = record["targets"]["beam"]["domains"]
    assert {name: count["pairs"] for name, count in counts.items()} == {"software": 26, "chat": 22}
    assert sum(count["target_tokens"] for count in counts.values()) == record["targets"]["beam"]["target_tokens"]
    assert not (run.data / "targets" / "news" / "domains.npy").exists() and "domains" not in record["targets"]["news"]


EVERYTHING = {"gold": 1.0, "beam": 1.0, "news": 1.0}


@pytest.mark.parametrize(
    ("stage", "weights"),
    [
        ({"targets": EVERYTHING}, {"gold": (1, 1), "beam": (1, 1), "news": 1}),
        ({"targets": EVERYTHING, "domains": {"chat": 1.0}}, {"gold": (0, 1), "beam": (0, 1), "news": 1}),
        (
            {"targets": {"gold": 0.5, "beam": 2.0, "news": 3.0}, "domains": {"chat": 0.5, "software": 2.0}},
            {"gold": (1, 0.25), "beam": (4, 1), "news": 3},
        ),
        ({"targets": {"beam": 1.0}, "domains": {"software": 3.0}}, {"beam": (3, 0)}),
    ],
)
def test_a_stage_draws_pairs_by_their_targets_and_domains(
    tmp_path: Path, make_targets: Any, stage: dict[str, Any], weights: dict[str, Any]
) -> None:
    run, _ = prepared(tmp_path, make_targets, stage, alignment={"kind": "ibm"})
    session, (stage_,) = Session(run), run.recipe.stages
    mixture, alignments = session.mixture(stage_, seed=5), session.alignments(stage_)
    folders = {name: run.data / "train" if name == "gold" else run.data / "targets" / name for name in weights}
    expected: list[float] = []
    for name, weight in weights.items():
        domains = [-1] * 2 if name == "news" else domains_in(folders[name])
        expected += [weight if domain < 0 else weight[domain] for domain in domains]
    assert len(mixture.dataset) == len(expected) and alignments is not None and len(alignments) == len(expected)
    epochs = 60
    counts = [Counter(np.concatenate(list(mixture.epoch(epoch))).tolist()) for epoch in range(epochs)]
    for row, weight in enumerate(expected):
        found = [count[row] for count in counts]
        if weight == int(weight):
            assert set(found) == {weight}
        else:
            assert set(found) == {int(weight), int(weight) + 1}
            assert abs(sum(found) / epochs - weight) < 0.25


def test_a_stage_without_a_pair_is_refused_before_training(tmp_path: Path, make_targets: Any) -> None:
    make_targets(tmp_path / "news", [Entry([0], "open", [], [Candidate("öffne")])], kind="text")
    news = TargetSet.open(tmp_path / "news")

    def prepare(name: str, **second: Any) -> None:
        sources = {"one": ("software", SOFTWARE), "two": ("chat", [SOFTWARE[1], TOO_LONG])}
        stages = [{"name": "first", "updates": 1}, {"name": "second", "updates": 1, **second}]
        given = recipe(tmp_path, sources, data={"targets": {"news": str(news.folder)}}, stages=stages)
        prepare_data(given, tmp_path / name, targets={"news": news}, log=LOG)

    with pytest.raises(UserError) as caught:
        prepare("gold", domains={"chat": 1.0})
    message = str(caught.value)
    assert message.startswith("stage second: no pair of the domains (chat) is left in the targets (gold); ")
    prepare("both", domains={"chat": 1.0, "software": 1.0})
    prepare("news", domains={"chat": 1.0}, targets={"gold": 1.0, "news": 1.0})
