"""An hour's requests of fifty clients, while the model's folder is swapped underneath and the server starts again."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from polystill.decoding.translator import DecodingOptions
from polystill.export.driver import export_folder
from polystill.translation import open_translator
from tests.apart import free_port
from tests.best import best
from tests.conftest import counting_pairs, train_counting_student

CLIENTS = 50
REQUESTS = 36_000
"""Ten a second for an hour, each of one to three texts; asked as fast as they are answered."""
SWAPS = 12
"""One in five minutes."""


@pytest.fixture(scope="session")
def narrow_ctranslate2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As counting_ctranslate2, half as wide: a model with other translations."""
    folder = tmp_path_factory.mktemp("narrow")
    export_folder(train_counting_student(folder / "student", d_model=16), folder / "model", "ctranslate2")
    return folder / "model"


@dataclass
class Clients:
    """Ask a server for lines until each has its answer, and count what else was answered."""

    port: int
    expected: dict[str, dict[str, str]]
    """By the name of a model: the translation of each line."""
    serving: list[str]
    """The models that may answer now: one, or two while the server changes."""
    done: int = 0
    failure: BaseException | None = None
    """The first; all further requests end at once."""
    answers: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, texts: list[str]) -> None:
        try:
            self._ask(texts)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def _ask(self, texts: list[str]) -> None:
        body = json.dumps({"q": texts, "source": "en", "target": "de"}).encode()
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and self.failure is None:
            before = list(self.serving)
            kind, content = self._once(body)
            with self.lock:
                self.answers[kind] += 1
            if kind == "200":
                models = {*before, *self.serving}
                right = [[self.expected[model][text] for text in texts] for model in models]
                assert content["translatedText"] in right, (models, texts, content)
                with self.lock:
                    self.done += 1
                return
            if kind == "closed":  # without an answer: the server must be about to change, or just have
                assert len({*before, *self.serving}) > 1, "a connection was lost while the server was there"
            time.sleep(0.05)
        raise AssertionError(f"no answer: {texts}")

    def _once(self, body: bytes) -> tuple[str, Any]:
        """One request, by a connection of its own: the status, or why there was none, and the content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/translate", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (ConnectionError, http.client.HTTPException):
            return "closed", None
        finally:
            connection.close()
        if answer.status != 200:
            assert answer.status in (429, 503), (answer.status, content)
            assert list(content) == ["error"] and isinstance(content["error"], str)
            assert answer.status == 429 or answer.getheader("retry-after"), content
        return str(answer.status), content


def test_swapped_underneath(
    counting_ctranslate2: Path,
    narrow_ctranslate2: Path,
    start_server: Any,
    dice: Random,
    part: Callable[[int], int],
    note: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """A swap replaces the folder by another model's, or writes the other model's files over those that are there.

    The server goes on with what it has read, until it is stopped and started again.
    """
    lines = sorted({source for source, _ in counting_pairs(500, seed=9)})
    models, expected = {"wide": counting_ctranslate2, "narrow": narrow_ctranslate2}, {}
    for name, folder in models.items():
        with open_translator(folder, None, threads=1) as translator:
            expected[name] = dict(zip(lines, best(translator.translate(lines, DecodingOptions(1))), strict=True))
    assert expected["wide"] != expected["narrow"]
    live, port = tmp_path / "live", free_port()
    shutil.copytree(models["wide"], live)
    clients = Clients(port, expected, ["wide"])
    questions = [dice.sample(lines, dice.randint(1, 3)) for _ in range(part(REQUESTS))]
    swaps, logs = max(2, part(SWAPS)), list[str]()
    options = ("--beam", "1", "--port", str(port))
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as threads:
        server = stack.enter_context(start_server(live, tmp_path / "log-0", *options))
        asked = [threads.submit(clients.ask, question) for question in questions]
        for swap in range(1, swaps + 1):
            _wait_for(clients, len(questions) * swap // (swaps + 1))
            other = "narrow" if clients.serving == ["wide"] else "wide"
            _swap(live, models[other], in_place=dice.random() < 0.5)
            _wait_for(clients, len(questions) * (2 * swap + 1) // (2 * swaps + 2))
            clients.serving[:] = [*clients.serving, other]
            logs.append(server.stop())
            server = stack.enter_context(start_server(live, tmp_path / f"log-{swap}", *options))
            clients.serving[:] = [other]
        for future in asked:
            future.result()
        logs.append(server.stop())
    assert clients.done == clients.answers["200"] == len(questions)
    assert not [log for log in logs if "Traceback" in log]
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(clients.answers.items()) if kind != "200")
    note(f"{len(questions)} requests of {CLIENTS} clients, {swaps} swaps: all right (besides: {others})")


def _wait_for(clients: Clients, count: int) -> None:
    while clients.done < count:
        if clients.failure is not None:
            raise clients.failure
        time.sleep(0.05)


def _swap(live: Path, other: Path, in_place: bool) -> None:
    if in_place:
        shutil.copytree(other, live, dirs_exist_ok=True)
        return
    new, old = live.with_name("new"), live.with_name("old")
    shutil.copytree(other, new)
    live.rename(old)
    new.rename(live)
    shutil.rmtree(old)
