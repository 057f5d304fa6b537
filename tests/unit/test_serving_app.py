"""serving.app where the engine fails: the real application, called as a server calls it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.cli.served_family import open_family
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.runs import Run
from polystill.serving.app import Settings, create_app
from polystill.serving.limits import Limits
from polystill.serving.models import Family, Student
from polystill.serving.service import _translate

SECRET = "one secret"


class Broken(CTranslate2Translator):
    """An engine that names the text in its error."""

    def translate(self, lines: Any, options: Any, cuts: Any = None) -> Any:
        if SECRET in lines:
            raise RuntimeError(f"cannot take {lines}")
        return super().translate(lines, options, cuts)


async def post(app: Any, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and content of POST /translate."""
    sent: list[Any] = []
    received = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    scope: dict[str, Any]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/translate", "raw_path": b"/translate", "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "asgi": {"version": "3.0"}}

    async def receive() -> Any:
        if received:
            return received.pop()
        await asyncio.sleep(60)  # the client waits

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


def test_a_mistake_of_the_server_is_logged_without_the_text(
    counting_ctranslate2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    family = Family("test", [Student("e2d2", Broken(counting_ctranslate2, threads=1))], "en", "de")
    app = create_app(family, Settings(Limits(), beam=1, threads=1))
    fields = {"source": "en", "target": "de"}

    async def ask() -> list[tuple[int, Any]]:
        return [await post(app, {"q": q, **fields}) for q in (SECRET, "one two", SECRET)]

    with caplog.at_level(logging.INFO, "polystill"):
        wrong, well, again = asyncio.run(ask())
    assert wrong == again == (500, {"error": "the server made a mistake; its log says where"})
    assert well[0] == 200
    assert "RuntimeError while answering" in caplog.text
    assert "translate_n_best" in caplog.text  # where
    assert SECRET not in caplog.text


def test_a_run_is_served_as_it_was_evaluated(
    counting_recipe: dict[str, Any],
    prepared_run: Callable[..., Run],
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family

    run = prepared_run({**counting_recipe, "evaluation": {"length_penalty": 0.25}})
    tokenizer = Tokenizer.load(run.data / "tokenizer")
    model = make_model(2, tokenizer.vocabulary_size)
    save_family(run.family, model, tokenizer, run.recipe.students.space(model.teacher), {})
    run.finish("family", {})
    row = {"model": "e1d1", "model_id": "x", "test_set": "counting", "engine": "ctranslate2", "precision": "float32"}
    rows = [{**row, "beam": 2, "length_penalty": penalty, "bleu": 100 * penalty} for penalty in (1.0, 0.25)]
    run.add_results(rows)
    run.close()
    asked: list[Any] = []
    translate = CTranslate2Translator.translate

    def keep(self: Any, lines: Any, options: Any, cuts: Any = None) -> Any:
        asked.append(options)
        return translate(self, lines, options, cuts)

    with open_family(run.folder, ["e1d1"], engine=None, precision="default", beam=2, threads=1) as loaded:
        (student,) = loaded.family.students
        assert student.measured.bleu == 25.0
        monkeypatch.setattr(CTranslate2Translator, "translate", keep)
        _translate(student, 2, ["one two"], 1)
    assert [(options.beam_size, options.length_penalty) for options in asked] == [(2, 0.25)]
