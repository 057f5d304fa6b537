"""serving.app where the engine fails: the real application, called as a server calls it."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.serving.app import Settings, create_app
from polystill.serving.limits import Limits
from polystill.serving.models import Family, Student

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
