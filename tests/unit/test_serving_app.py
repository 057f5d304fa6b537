"""serving.app where the engine fails: the real application, called as a server calls it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.runs import Run
from polystill.serving.app import Settings, create_app
from polystill.serving.batching import Wanted
from polystill.serving.family import Family, Student, open_family
from polystill.serving.page import BrowserModels
from polystill.serving.requests import Limits
from polystill.serving.server import settings_of
from polystill.serving.service import _search, _translate

SECRET = "one secret"


class Broken(CTranslate2Translator):
    """An engine that names the text in its error."""

    def translate(self, lines: Any, options: Any, cuts: Any = None) -> Any:
        if SECRET in lines:
            raise RuntimeError(f"cannot take {lines}")
        return super().translate(lines, options, cuts)


async def post(app: Any, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and content of POST /translate."""
    headers = {"content-type": "application/json"}
    status, _, content = await call(app, "POST", "/translate", headers, json.dumps(body).encode())
    return status, json.loads(content)


async def call(
    app: Any, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of an answer."""
    sent: list[Any] = []
    received = [{"type": "http.request", "body": body, "more_body": False}]
    given = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
    scope: dict[str, Any]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": given, "http_version": "1.1", "scheme": "http", "root_path": "", "asgi": {"version": "3.0"}}

    async def receive() -> Any:
        if received:
            return received.pop()
        await asyncio.sleep(60)  # the client waits

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent)


def test_a_mistake_of_the_server_is_logged_without_the_text(
    counting_ctranslate2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    family = Family("test", [Student("e2d2", Broken(counting_ctranslate2, threads=1))], "en", "de")
    app = create_app(family, Settings(Limits()))
    fields = {"source": "en", "target": "de"}

    async def ask() -> list[tuple[int, Any]]:
        return [await post(app, {"q": q, **fields}) for q in (SECRET, "one two", SECRET)]

    with caplog.at_level(logging.INFO, "polystill"):
        wrong, well, again = asyncio.run(ask())
    assert wrong == again == (500, {"error": "the server made a mistake; its log says where"})
    assert well[0] == 200
    assert "RuntimeError while answering" in caplog.text
    assert "translate_lines" in caplog.text  # where
    assert SECRET not in caplog.text


def test_a_browser_keeps_the_models_files_only_as_long_as_they_are_the_same(counting_ctranslate2: Path) -> None:
    family = Family("test", [Student("e2d2", CTranslate2Translator(counting_ctranslate2, threads=1))], "en", "de")

    def app_with(content: bytes) -> Any:
        browser = BrowserModels({"translator.js": b"code"}, {("e2d2", "m.bin"): content}, {"e2d2": {}})
        return create_app(family, Settings(Limits(), browser=browser))

    def get(app: Any, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return asyncio.run(call(app, "GET", path, {name.replace("_", "-"): value for name, value in headers.items()}))

    path, app = "/bergamot/models/e2d2/m.bin", app_with(b"one")
    status, headers, content = get(app, path)
    assert (status, content, headers["cache-control"]) == (200, b"one", "private, no-cache")
    tag = headers["etag"]
    assert get(app, path, if_none_match=tag)[::2] == (304, b"")
    assert get(app_with(b"two"), path, if_none_match=tag)[::2] == (200, b"two")
    assert get(app, "/bergamot/runtime/translator.js")[1]["cache-control"] == "private, no-cache"


def test_a_local_server_answers_to_the_address_that_it_was_given(counting_ctranslate2: Path) -> None:
    with open_family(counting_ctranslate2, None, engine=None, precision="default", beam=1, threads=1) as family:
        for host, foreign in (("127.0.0.2", 421), ("0.0.0.0", 200)):
            settings = settings_of(
                family, counting_ctranslate2, Limits(), host=host, api_keys=None, runtime=None, log_text=False
            )
            app = create_app(family, settings)
            asked = {
                name: asyncio.run(call(app, "GET", "/health", {"host": f"{name}:5000"}))[0]
                for name in ("127.0.0.2", "localhost", "evil.example")
            }
            assert asked == {"127.0.0.2": 200, "localhost": 200, "evil.example": foreign}


def test_a_run_is_served_as_it_was_evaluated(
    counting_recipe: dict[str, Any],
    prepared_run: Callable[..., Run],
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from polystill.data.tokenizer import Tokenizer
    from polystill.models.folder import save_family
    from polystill.models.supernets import Supernets
    from polystill.runs.results import QualityRow

    run = prepared_run({**counting_recipe, "evaluation": {"length_penalty": 0.25}})
    tokenizer = Tokenizer.load(run.data / "tokenizer")
    model = make_model(2, tokenizer.vocabulary_size)
    save_family(run.family, Supernets(model), tokenizer, run.recipe.students.space(model.teacher), {})
    run.finish("family", {})
    row: dict[str, Any] = {
        "model": "e1d1",
        "model_id": "x",
        "test_set": "counting",
        "engine": "ctranslate2",
        "precision": "float32",
    }
    row |= {"beam": 2}
    run.add([QualityRow(**row, length_penalty=penalty, bleu=100 * penalty) for penalty in (1.0, 0.25)])
    run.close()
    asked: list[Any] = []
    translate = CTranslate2Translator.translate

    def keep(self: Any, lines: Any, options: Any, cuts: Any = None) -> Any:
        asked.append(options)
        return translate(self, lines, options, cuts)

    with open_family(run.folder, ["e1d1"], engine=None, precision="default", beam=2, threads=1) as family:
        (student,) = family.students
        assert student.measured.bleu == 25.0
        monkeypatch.setattr(CTranslate2Translator, "translate", keep)
        _translate(student, 2, ["one two"], Wanted())
    assert [(options.beam_size, options.length_penalty) for options in asked] == [(2, 0.25)]


@pytest.mark.parametrize(("beam", "n_best"), [(1, 2), (1, 6), (2, 6)])
def test_alternatives_leave_the_best_translation_as_it_is(
    counting_student: Path, make_model: Callable[..., Any], tmp_path: Path, beam: int, n_best: int
) -> None:
    """Of a model that knows nothing, a larger beam finds other translations."""
    from polystill.export.driver import export_folder
    from polystill.models.folder import load_model_with_tokenizer, write_dense_model

    _, tokenizer = load_model_with_tokenizer(counting_student)
    (tmp_path / "model").mkdir()
    write_dense_model(tmp_path / "model", make_model(2, tokenizer.vocabulary_size), tokenizer)
    export_folder(tmp_path / "model", tmp_path / "export", "ctranslate2")
    student = Student("e2d2", CTranslate2Translator(tmp_path / "export", threads=1))
    lines = [f"{a} {b}" for a in ("one", "two", "three", "four") for b in ("five", "six", "seven")]
    alone = [best for (best,) in _translate(student, beam, lines, Wanted())]
    assert alone != [best for best, *_ in _search(student, n_best, lines, Wanted(n_best))]
    for best, translations in zip(alone, _translate(student, beam, lines, Wanted(n_best)), strict=True):
        assert translations[0] == best
        assert len(set(translations)) == len(translations) <= n_best


def test_tags_follow_their_words_where_the_model_aligns(aligned_student: Path, tmp_path: Path) -> None:
    """The toy language says words in reverse. Text is translated without alignments, and as it is in HTML."""
    from polystill.export.driver import export_folder

    export_folder(aligned_student, tmp_path / "export", "ctranslate2")
    student = Student("e2d2", CTranslate2Translator(tmp_path / "export", threads=1))
    assert student.aligns
    app = create_app(Family("test", [student], "en", "de"), Settings(Limits()))
    english, german = ["one", "two", "three", "four", "five"], ["eins", "zwei", "drei", "vier", "fünf"]
    pairs = [(a, b) for a in range(5) for b in range(5) if a != b]
    html = [f"<p><b>{english[a]}</b> {english[b]}</p>" for a, b in pairs]
    expected = [f"<p>{german[b]} <b>{german[a]}</b></p>" for a, b in pairs]

    async def ask() -> list[Any]:
        fields = {"source": "en", "target": "de"}
        bodies = [{"q": html, "format": "html", **fields}, {"q": [re.sub("<.*?>", "", q) for q in html], **fields}]
        return [(await post(app, body))[1]["translatedText"] for body in bodies]

    translated, text = asyncio.run(ask())
    assert [re.sub("<.*?>", "", each) for each in translated] == text
    right = [a == b for a, b in zip(translated, expected, strict=True) if re.sub("<.*?>", "", b) in text]
    assert len(right) > 10
    assert sum(right) > 0.8 * len(right)
