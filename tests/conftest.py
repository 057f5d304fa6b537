"""Small real models and batches that many tests start from."""

from __future__ import annotations

import ctypes
import gc
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from polystill.models.elastic import ElasticModel
    from polystill.runs import Run
    from polystill.targets.store import TargetSet
    from polystill.training.feed import MicroBatch


BYTECODE = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
if sys.dont_write_bytecode:  # a user's wish, but many tests start processes, each of which would compile torch
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(BYTECODE)
    os.environ["PYTHONDONTWRITEBYTECODE"], os.environ["PYTHONPYCACHEPREFIX"] = "", str(BYTECODE)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background: Ctrl-C is tested here, and in children
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep what is imported out of the garbage collection at the end of every stage of every training."""
    gc.freeze()


def model_shape(architecture: str, **shape: Any) -> dict[str, Any]:
    """Those keys that an architecture has, out of a Transformer's."""
    from polystill.config import TRANSFORMER_ONLY

    return {key: value for key, value in shape.items() if architecture == "transformer" or key not in TRANSFORMER_ONLY}


@pytest.fixture
def architecture() -> str:
    """What `make_model` makes where a test does not say; tests of both parametrize it."""
    return "transformer"


@pytest.fixture
def make_model(architecture: str) -> Callable[..., ElasticModel]:
    """Random tiny models in evaluation mode; every weight is far from its initial symmetry, `<pad>` is zero.

    They have dropout, so that the exact mode has passes of its own.
    """
    import torch

    from polystill.models import ARCHITECTURES

    def make(layers: int = 3, vocabulary_size: int = 40, **changes: Any) -> ElasticModel:
        torch.manual_seed(changes.pop("seed", 1))
        shape = {"d_model": 16, "ffn_dim": 32, "heads": 4, "dropout": 0.1, "max_positions": 64, **changes}
        model_class, config_class = ARCHITECTURES[architecture].model_class, ARCHITECTURES[architecture].config_class
        model = model_class(
            config_class(
                vocabulary_size=vocabulary_size,
                pad_id=vocabulary_size - 1,
                eos_id=0,
                **{"encoder_layers": layers, "decoder_layers": layers, **model_shape(architecture, **shape)},
            )
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            model.embedding[model.pad_id] = 0
            model.output_bias[model.pad_id] = 0
        return model

    return make


@pytest.fixture
def make_batch() -> Callable[..., MicroBatch]:
    """Random batches with sentences of several lengths, padded as in training."""
    import torch

    from polystill.training.feed import MicroBatch

    def make(vocabulary_size: int = 40, sentences: int = 5, longest: int = 7, seed: int = 1) -> MicroBatch:
        generator = torch.Generator().manual_seed(seed)
        pad = vocabulary_size - 1

        def side() -> torch.Tensor:
            rows = torch.full((sentences, longest), pad)
            for i in range(sentences):
                length = longest - i % 4
                rows[i, : length - 1] = torch.randint(2, pad, (length - 1,), generator=generator)
                rows[i, length - 1] = 0
            return rows

        return MicroBatch.of(side(), side(), pad)

    return make


def counting_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """A toy language that small networks learn: digits in words, to be said in the other language and in reverse."""
    import random

    english = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    german = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
    generator = random.Random(seed)
    rows = [[generator.randrange(10) for _ in range(generator.randint(2, 8))] for _ in range(count)]
    return [(" ".join(english[i] for i in row), " ".join(german[i] for i in reversed(row))) for row in rows]


@pytest.fixture(scope="session")
def counting_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy corpus as text: train (1,500 pairs), validation (60) and test (60)."""
    folder = tmp_path_factory.mktemp("counting")
    for name, count, seed in (("train", 1500, 1), ("validation", 60, 2), ("test", 60, 3)):
        pairs = counting_pairs(count, seed)
        (folder / f"{name}.en").write_text("".join(f"{source}\n" for source, _ in pairs), encoding="utf-8")
        (folder / f"{name}.de").write_text("".join(f"{target}\n" for _, target in pairs), encoding="utf-8")
    return folder


@pytest.fixture
def counting_recipe(counting_data: Path) -> dict[str, Any]:
    """A recipe on the toy corpus that trains in seconds; tests change single keys of it."""
    return recipe_on(counting_data)


@pytest.fixture(scope="session")
def small_run(counting_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of that recipe to its end. Tests that change it make a copy."""
    from polystill.config import parse_recipe
    from polystill.pipeline import run_recipe

    folder = tmp_path_factory.mktemp("runs") / "small"
    run_recipe(parse_recipe({**recipe_on(counting_data), "evaluation": {"beams": [1, 2]}}, "test"), folder)
    return folder


def recipe_on(counting_data: Path) -> dict[str, Any]:

    def text(name: str) -> dict[str, str]:
        return {"kind": "text", "source": f"{name}.en", "target": f"{name}.de"}

    return {
        "name": "counting",
        "data": {
            "folder": str(counting_data),
            "train": [text("train")],
            "validation": text("validation"),
            "test": {"counting": text("test")},
            "tokenizer": {"vocabulary_size": 45, "byte_fallback": False},
            "max_tokens": 64,
        },
        "model": {
            "encoder_layers": 2,
            "decoder_layers": 2,
            "d_model": 16,
            "ffn_dim": 32,
            "heads": 2,
            "dropout": 0.1,
            "max_positions": 64,
        },
        "students": {"encoder": [1, 2], "decoder": [1, 2]},
        "training": {
            "batch_tokens": 256,
            "learning_rate": 0.005,
            "warmup": 10,
            "validate_every": 5,
            "checkpoint_every": 4,
            "threads": 1,
            "precision": "fp32",
        },
        "stages": [
            {"name": "distillation", "updates": 12},
            {"name": "mutual", "updates": 6, "objective": {"mutual": "no_weight"}},
        ],
    }


@pytest.fixture
def prepared_run(tmp_path: Path) -> Callable[..., Run]:
    """Start a run of a recipe, its data stage done."""
    from polystill.config import parse_recipe
    from polystill.data.prepare import prepare_data
    from polystill.runs import Run

    def start(recipe: dict[str, Any], name: str = "run") -> Run:
        run = Run.start(tmp_path / name, parse_recipe(recipe, "test"))
        if not run.finished("data"):
            run.finish("data", prepare_data(run.recipe, run.data, log=lambda line: None))
        return run

    return start


@pytest.fixture
def counting_lstm_recipe(counting_recipe: dict[str, Any]) -> dict[str, Any]:
    """The same for LSTMs."""
    model = {"architecture": "lstm", **model_shape("lstm", **counting_recipe["model"])}
    return {**counting_recipe, "model": model}


@pytest.fixture(scope="session")
def counting_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face Marian folder of a small network that speaks the toy language, if not without mistakes."""
    return train_counting_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def marian_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As counting_student, with the positions that Marian has, and as wide as Bergamot needs it."""
    folder = tmp_path_factory.mktemp("marian-student")
    return train_counting_student(folder, positions="marian", d_model=64, learning_rate=3e-3, vocabulary_size=301)


@pytest.fixture(scope="session")
def marian_npz(marian_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """marian_student as Marian keeps it: model.npz and vocab.spm."""
    import numpy as np

    from polystill.export.pieces import joint_pieces
    from polystill.models.folder import load_model_with_tokenizer
    from polystill.models.marian_npz import arrays_of
    from polystill.models.transformer import Transformer

    folder = tmp_path_factory.mktemp("marian")
    model, tokenizer = load_model_with_tokenizer(marian_student)
    assert isinstance(model, Transformer)
    arrays: dict[str, Any] = arrays_of(model)
    np.savez(folder / "model.npz", **arrays)
    (vocabulary,) = joint_pieces(tokenizer, [])
    (folder / "vocab.spm").write_bytes(vocabulary)
    return folder


@pytest.fixture(scope="session")
def aligned_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As marian_student; a head of its attention has learnt word alignments."""
    folder = tmp_path_factory.mktemp("aligned-student")
    settings = {"learning_rate": 3e-3, "vocabulary_size": 301, "alignment_weight": 0.5}
    return train_counting_student(folder, positions="marian", d_model=64, **settings)


@pytest.fixture(scope="session")
def spelling_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As counting_student; it spells characters that it does not know in bytes."""
    return train_counting_student(tmp_path_factory.mktemp("spelling-student"), vocabulary_size=301)


@pytest.fixture(scope="session")
def counting_lstm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As counting_student, an LSTM."""
    return train_counting_student(tmp_path_factory.mktemp("lstm"), "lstm")


def train_counting_student(
    folder: Path,
    architecture: str = "transformer",
    learning_rate: float = 5e-3,
    vocabulary_size: int = 45,
    alignment_weight: float = 0.0,
    **changes: Any,
) -> Path:
    """vocabulary_size: with room for 256 bytes, these are in it. alignment_weight: of guided alignment."""
    import numpy as np
    import torch

    from polystill.config import TokenizerSettings
    from polystill.data.tokenizer import train_tokenizer, words_of
    from polystill.export.format import write_info
    from polystill.models import ARCHITECTURES
    from polystill.models.folder import save_family, save_student
    from polystill.models.supernets import Supernets
    from polystill.objectives.alignment import alignment_loss
    from polystill.students import StudentSpace
    from polystill.training.feed import make_micro_batch

    pairs = counting_pairs(2000, seed=4)
    lines = [line for pair in pairs for line in pair]
    settings = TokenizerSettings(vocabulary_size=vocabulary_size, byte_fallback=vocabulary_size > 256)
    tokenizer = train_tokenizer(lines, settings, "en", "de")
    torch.manual_seed(1)
    shape = {"d_model": 32, "ffn_dim": 64, "heads": 4, "encoder_layers": 2, "decoder_layers": 2, "max_positions": 48}
    shape = model_shape(architecture, **{**shape, **changes})
    config = ARCHITECTURES[architecture].config_class(
        vocabulary_size, tokenizer.pad_id, tokenizer.eos_id, dropout=0.0, **shape
    )
    model = ARCHITECTURES[architecture].model_class(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=(0.9, 0.98))
    sources = [np.array(ids) for ids in tokenizer.encode_source([source for source, _ in pairs])]
    targets = [np.array(ids) for ids in tokenizer.encode_target([target for _, target in pairs])]
    links = []  # each word is that at the same place from the end
    for source, target in zip(sources, targets, strict=True):
        words = [words_of([tokenizer.pieces[i] for i in side[:-1]]) for side in (source, target)]
        of_same = [(s, t) for s, i in enumerate(words[0]) for t, j in enumerate(words[1]) if i + j == words[0][-1]]
        links.append(np.array([*of_same, (len(source) - 1, len(target) - 1)]))
    steps = 320
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)  # or it would end in loops, now and then
        rows = slice(step * 32 % 2000, step * 32 % 2000 + 32)
        batch = make_micro_batch(sources[rows], targets[rows], tokenizer.pad_id, links[rows])
        attention: list[torch.Tensor] = []
        logits = model(batch.source, batch.target_in, None, attention).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, batch.target.flatten(), ignore_index=tokenizer.pad_id)
        if alignment_weight:
            aligned = alignment_loss(attention[0], batch.links, batch.link_shares) / len(batch.real)
            loss = loss + alignment_weight * aligned
        optimizer.zero_grad()
        loss.backward()
        model.mask_pad_gradient()
        optimizer.step()
    space = StudentSpace.from_list([model.teacher], [])
    save_family(folder / "family", Supernets(model), tokenizer, space, {})
    save_student(folder / "family", space.teacher, folder / "e2d2")
    if alignment_weight:
        write_info(folder / "e2d2", {"format": "hf", "alignment": True})
    return folder / "e2d2"


@pytest.fixture
def make_targets() -> Callable[..., TargetSet]:
    """A finished folder of targets with these entries, in shards of two sources unless `size` says otherwise."""
    from polystill.data.training_text import lines_sha256
    from polystill.targets import store

    def make(folder: Path, entries: list[store.Entry], kind: str = "corpus", size: int = 2, **more: Any) -> TargetSet:
        sentences = sum(len(entry.ids) for entry in entries)
        lines = {i: entry.source for entry in entries for i in entry.ids}
        about = {"kind": kind, "sha256": lines_sha256(lines[i] for i in sorted(lines)), "sentences": sentences}
        n_best = max(len(entry.hypotheses) for entry in entries)
        plan = {"source": about, "n_best": n_best, "languages": ["en", "de"], "shard_size": size, **more}
        (folder / store.SHARDS).mkdir(parents=True)
        shards: list[dict[str, Any]] = []
        for start in range(0, len(entries), size):
            store.write_shard(folder, len(shards), store.plan_sha256(plan), entries[start : start + size], {})
            note = store.read_note(store.shard_path(folder, len(shards)))
            shards.append({key: note[key] for key in ("sources", "sentences", "source_sha256")})
        manifest = {"format": store.FORMAT, "finished": True, "plan": plan, "teachers": ["someone"]}
        store.write_manifest(folder, {**manifest, "sentences": sentences, "shards": shards})
        return store.TargetSet.open(folder)

    return make


@pytest.fixture(scope="session")
def counting_ctranslate2(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """counting_student as a CTranslate2 folder."""
    from polystill.export.driver import export_folder

    folder = tmp_path_factory.mktemp("ctranslate2") / "counting"
    export_folder(counting_student, folder, "ctranslate2")
    return folder


def _mount(folder: Path, size: int = 0) -> None:
    """Let this process see `folder` read-only; or, with a size, an empty disk of so many bytes in its place."""
    new_mounts, new_user, read_only, remount, bind, recursive, private = 0x20000, 0x10000000, 1, 32, 4096, 16384, 2**18
    path = str(folder).encode()
    libc = ctypes.CDLL(None, use_errno=True)

    def need(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), "mounting")

    need(libc.unshare(new_mounts | (new_user if os.getuid() else 0)))
    need(libc.mount(None, b"/", None, recursive | private, None))
    if size:
        need(libc.mount(b"none", path, b"tmpfs", 0, b"size=%d" % size))
    else:
        need(libc.mount(path, path, None, bind, None))
        need(libc.mount(None, path, None, remount | bind | read_only, None))


@pytest.fixture(scope="session")
def mounting(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Callable[[], None]]:
    """`mounting(folder, size)` is what a process calls first, as `_mount`."""
    try:
        subprocess.run(["true"], preexec_fn=partial(_mount, tmp_path_factory.mktemp("mount")), check=True)
    except subprocess.SubprocessError:
        pytest.skip("this system lets the tests mount nothing")
    return partial(partial, _mount)


@dataclass
class Server:
    """A real `polystill serve` process."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and content of one answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and content of a GET, or of a POST of a body."""
        if body is None:
            status, _, content = self.ask("GET", path)
        else:
            status, _, content = self.ask("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        return status, json.loads(content)

    def translate(self, q: str | list[str], **fields: Any) -> Any:
        """The content of an answer to /translate, which must be well."""
        status, content = self.json("/translate", {"q": q, "source": "en", "target": "de", **fields})
        assert status == 200, content
        return content

    def stop(self) -> str:
        """End it in order; returns what it has written to stderr."""
        self.process.terminate()
        self.process.wait(timeout=30)
        return self.log.read_text(encoding="utf-8")


@contextmanager
def serving(folder: Path, log: Path, *options: str | Path) -> Iterator[Server]:
    """`polystill serve` of a model, at a free port."""
    command = [sys.executable, "-m", "polystill", "serve", str(folder), "--port", "0", *map(str, options)]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, text=True)
    try:
        for _ in range(1200):
            if match := re.search(r"http://([\d.]+):(\d+) ", log.read_text()):
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            raise AssertionError(f"not started: {log.read_text()}")
        yield Server(process, match[1], int(match[2]), log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Any]:
    return serving


@pytest.fixture(scope="session")
def odd_lines() -> list[str]:
    """Lines as people type and paste them."""
    path = Path(__file__).parent / "data" / "odd_lines.txt"
    return path.read_bytes().decode().removesuffix("\n").split("\n")
