"""polystill serve as a real process: the LibreTranslate API with its real client, limits, misbehaving clients."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from libretranslatepy import LibreTranslateAPI

from polystill.cli import main
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import DecodingOptions

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
KEY = "a key of mine"


@pytest.fixture(scope="module")
def server(counting_ctranslate2: Path, tmp_path_factory: pytest.TempPathFactory, start_server: Any) -> Iterator[Any]:
    log = tmp_path_factory.mktemp("serve") / "log"
    with start_server(counting_ctranslate2, log, "--beam", "2", "--max-characters", "2000", "--max-batch", "50") as it:
        yield it


@pytest.fixture(scope="module")
def narrow(counting_ctranslate2: Path, tmp_path_factory: pytest.TempPathFactory, start_server: Any) -> Iterator[Any]:
    """A server with a key, for one request at a time, that has no patience."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "keys").write_text(f"{KEY}\n")
    limits = ("--max-requests", "1", "--timeout", "1", "--max-characters", "60000")
    slow = ("--beam", "32")  # so that a long text takes it many seconds
    with start_server(counting_ctranslate2, folder / "log", "--api-keys", folder / "keys", *limits, *slow) as it:
        yield it


@pytest.fixture(scope="module")
def expected(counting_ctranslate2: Path) -> Callable[[str], str]:
    """The model's own translation of a sentence."""
    translator = CTranslate2Translator(counting_ctranslate2, threads=1)
    options = DecodingOptions(beam_size=2)
    return lambda line: translator.translate([line], options)[0][0].text


# --- the API ------------------------------------------------------------------------------------------------------


def test_the_real_libretranslate_client(server: Any, expected: Callable[[str], str]) -> None:
    client = LibreTranslateAPI(server.url)
    assert client.translate("one two three", "en", "de") == expected("one two three") != ""
    assert client.translate("four & five\n\nsix", "auto", "de").count("\n") == 2
    assert client.detect("one two") == [{"confidence": 100.0, "language": "en"}]
    languages = client.languages()
    assert [(row["code"], row["name"], row["targets"]) for row in languages] == [
        ("en", "English", ["de"]),
        ("de", "German", []),
    ]
    with pytest.raises(urllib.error.HTTPError) as caught:
        client.translate("one", "fr", "de")
    assert caught.value.code == 400


def test_the_real_libretranslate_client_with_a_key(narrow: Any) -> None:
    assert LibreTranslateAPI(narrow.url, KEY).translate("one two", "en", "de")
    for key in (None, "another", ""):
        with pytest.raises(urllib.error.HTTPError) as caught:
            LibreTranslateAPI(narrow.url, key).translate("one two", "en", "de")
        assert caught.value.code == 403
        assert "api_key" in json.loads(caught.value.read())["error"]
    assert narrow.json("/frontend/settings")[1]["keyRequired"] is True


def test_a_list_of_texts_is_answered_by_a_list(server: Any, expected: Callable[[str], str]) -> None:
    texts = ["one", "", "two three", " "]
    answer = server.translate(texts)
    assert answer == {"translatedText": [expected("one"), "", expected("two three"), " "], "model": "e2d2"}
    assert server.translate([])["translatedText"] == []
    status, _, content = server.ask("POST", "/translate", b"q=one&q=two&source=en&target=de", FORM)
    assert (status, json.loads(content)["translatedText"]) == (200, [expected("one"), expected("two")])


def test_fields_come_in_a_form_of_parts_in_the_query_or_both(server: Any, expected: Callable[[str], str]) -> None:
    """As LibreTranslate takes them."""
    text = "one two & three"
    for name, (path, headers, body) in {
        "parts": ("/translate", *multipart(("q", text), ("source", "en"), ("target", "de"), ("format", ""))),
        "query": (f"/translate?{urlencode({'q': text, 'source': 'en', 'target': 'de', 'format': ''})}", {}, b""),
        "both": ("/translate?source=en&q=one+two+%26+three", FORM, b"q=five&target=de&alternatives=&model="),
    }.items():
        status, _, content = server.ask("POST", path, body, headers)
        assert (status, json.loads(content).get("translatedText")) == (200, expected(text)), name
    headers, body = multipart(("q", "one"), ("q", "two\r\nthree"), ("source", "en"), ("target", "de"))
    texts = json.loads(server.ask("POST", "/translate", body, headers)[2])["translatedText"]
    assert texts == [expected("one"), f"{expected('two')}\r\n{expected('three')}"]
    assert server.json("/detect?q=one", None)[0] == 405  # GET
    assert json.loads(server.ask("POST", "/detect?q=one", b"")[2])[0]["language"] == "en"


def multipart(*fields: tuple[str, str]) -> tuple[dict[str, str], bytes]:
    """Headers and body of a multipart form."""
    parts = [f'--edge\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    return {"content-type": "multipart/form-data; boundary=edge"}, "".join([*parts, "--edge--\r\n"]).encode()


def test_blank_fields_are_as_good_as_missing_ones(server: Any) -> None:
    for blank in ("", None):
        fields = dict.fromkeys(("format", "alternatives", "api_key", "model", "latency_budget_ms"), blank)
        assert server.translate("one", **fields) == server.translate("one")
    status, answer = server.json("/translate", {"q": "one", "source": "", "target": "de"})
    assert (status, answer["error"]) == (400, "source is missing")


def test_languages_are_matched_as_bcp_47_says(server: Any) -> None:
    for source, target in (("en-US", "de"), ("EN", "DE"), ("eng_Latn", "deu_Latn"), ("AUTO", "de-AT")):
        assert server.translate("one", source=source, target=target)["translatedText"]
    for source, target in (("en", "nds"), ("enm", "de"), ("en-Cyrl", "de"), ("auto", "auto")):
        assert server.json("/translate", {"q": "one", "source": source, "target": target})[0] == 400


def test_sentences_lines_and_blanks_are_kept(server: Any, expected: Callable[[str], str]) -> None:
    answer = server.translate("one two.\n\n  three\tfour\r\n")["translatedText"]
    assert answer == f"{expected('one two.')}\n\n  {expected('three' + chr(9) + 'four')}\r\n"
    long = "one two three four five " * 60  # more than the model takes
    assert len(server.translate(long)["translatedText"].split()) > 100  # one cut to 48 pieces has fewer


def test_html_stays_html(server: Any, expected: Callable[[str], str]) -> None:
    html = "<p class='x'>one two</p><script>three</script><br>"
    answer = server.translate(html, format="html")["translatedText"]
    assert answer == f"<p class='x'>{expected('one two')}</p><script>three</script><br>"


def test_alternatives_and_detection(server: Any) -> None:
    answer = server.translate(["one two three"], alternatives=3, source="auto")
    assert answer["detectedLanguage"] == [{"confidence": 100.0, "language": "en"}]
    (others,) = answer["alternatives"]
    assert 1 <= len(others) <= 3
    assert len({answer["translatedText"][0], *others}) == 1 + len(others)
    assert server.translate("一 two", source="auto")["detectedLanguage"]["confidence"] == 50.0


def test_alternatives_leave_the_first_translation_as_it_is(server: Any) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    texts = [f"{a} {b} {a}" for a in words for b in words[:2]]
    alone = server.translate(texts)["translatedText"]
    for alternatives in (1, 5, 10):
        answer = server.translate(texts, alternatives=alternatives)
        assert answer["translatedText"] == alone
        for best, others in zip(alone, answer["alternatives"], strict=True):
            assert len(others) <= alternatives and best not in others


def test_information(server: Any) -> None:
    assert server.json("/health") == (200, {"status": "ok"})
    settings = server.json("/frontend/settings")[1]
    assert (settings["charLimit"], settings["apiKeys"], settings["language"]["source"]["code"]) == (2000, False, "en")
    ((model,),) = (server.json("/models")[1],)
    assert model["name"] == "e2d2"
    assert model["size_bytes"] > model["parameters"] > 0
    schema = server.json("/openapi.json")[1]
    assert {"/translate", "/detect", "/languages", "/health"} <= set(schema["paths"])
    fields = schema["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert fields["required"] == ["q", "source", "target"]
    status, headers, page = server.ask("GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"latency_budget_ms" in page


def test_metrics_count_and_hold_no_text(server: Any) -> None:
    server.translate("seven eight", model="e2d2")
    server.ask("GET", "/seven?q=eight")
    text = server.ask("GET", "/metrics")[2].decode()
    assert 'polystill_requests_total{path="/translate",status="200"}' in text
    assert 'polystill_sentences_total{model="e2d2"}' in text
    assert 'polystill_batch_sentences_count{model="e2d2"}' in text
    assert "seven" not in text


# --- what is refused ----------------------------------------------------------------------------------------------


def multipart_file() -> tuple[bytes, dict[str, str]]:
    headers, body = multipart(("q", "one"))
    return body.replace(b'name="q"', b'name="q"; filename="a.txt"'), headers


GOOD = {"q": "one", "source": "en", "target": "de"}
DEEP = b'{"q":' + b"[" * 5000 + b"]" * 5000 + b"}"


@pytest.mark.parametrize(
    ("body", "headers", "status", "word"),
    [
        (b"{", JSON, 400, "JSON"),
        (b"[1]", JSON, 400, "object"),
        (b"", JSON, 400, "JSON"),
        (DEEP, JSON, 400, "JSON"),
        (b'{"q": "\xff", "source": "en", "target": "de"}', JSON, 400, "UTF-8"),
        (b'{"q": "\\ud800", "source": "en", "target": "de"}', JSON, 400, "Unicode"),
        (b"q=%ff&source=en&target=de", FORM, 400, "UTF-8"),
        (b"&".join([b"q=x"] * 1000), FORM, 400, "fields"),
        (b"q=one", FORM, 400, "source is missing"),
        (b"q=one", {"content-type": "text/plain"}, 415, "json"),
        (b"q=one", {}, 415, "json"),
        (b"", {}, 400, "q is missing"),
        (b"x", {"content-type": "multipart/form-data"}, 400, "multipart"),
        (b"x", {"content-type": "multipart/form-data; boundary=edge"}, 400, "multipart"),
        (*multipart_file(), 400, "file"),
        (b"--edge\r\n\r\n", {"content-type": "multipart/form-data; boundary=edge; charset=idna"}, 400, "multipart"),
        (b"{}", {**JSON, "content-encoding": "gzip"}, 415, "content-encoding"),
        (b"x" * 100_000, JSON, 413, "bytes"),
        ({**GOOD, "q": "x" * 2001}, JSON, 413, "2001 characters"),
        ({**GOOD, "q": ["x"] * 51}, JSON, 413, "51 texts"),
        ({**GOOD, "q": 5}, JSON, 400, "q: expected a string or a list of strings"),
        ({**GOOD, "q": ["a", None]}, JSON, 400, "q: expected"),
        ({**GOOD, "q": {"a": "b"}}, JSON, 400, "q: expected"),
        ({**GOOD, "source": "xx"}, JSON, 400, "source: not supported; this server translates from en to de"),
        ({**GOOD, "source": ["en"]}, JSON, 400, "source: expected a string"),
        ({**GOOD, "target": "en"}, JSON, 400, "target: not supported"),
        ({**GOOD, "target": "auto"}, JSON, 400, "target: not supported"),
        ({**GOOD, "format": "pdf"}, JSON, 400, "format"),
        ({**GOOD, "alternatives": -1}, JSON, 400, "alternatives"),
        ({**GOOD, "alternatives": 10**9}, JSON, 400, "alternatives"),
        ({**GOOD, "model": "../../etc/passwd"}, JSON, 400, "there are: e2d2"),
        ({**GOOD, "latency_budget_ms": 5}, JSON, 400, "has been measured"),
        ({**GOOD, "latency_budget_ms": 0}, JSON, 400, "latency_budget_ms"),
    ],
)
def test_a_wrong_request_gets_its_status_and_one_line(
    server: Any, body: Any, headers: dict[str, str], status: int, word: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found, answered, answer = server.ask("POST", "/translate", content, headers)
    assert found == status, answer
    assert answered["content-type"] == "application/json"
    message = json.loads(answer)["error"]
    assert word in message
    assert "\n" not in message
    assert server.translate("one")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/translate", 405),
        ("POST", "/nothing", 404),
        ("POST", "/translate_file", 403),
        ("GET", "/page/..%2f..%2fapp.py", 404),
        ("GET", "/page/../app.py", 404),
        ("GET", "/bergamot/runtime/../../../../../../etc/passwd", 404),
        ("GET", "/bergamot/models/e2d2/..%2f..%2fmodel.bin", 404),
        ("GET", "//etc/passwd", 404),
    ],
)
def test_other_paths_lead_nowhere(server: Any, method: str, path: str, status: int) -> None:
    found, _, answer = server.ask(method, path, b"" if method == "POST" else None)
    assert found == status
    assert "error" in json.loads(answer)


def test_every_answer_has_the_headers_of_a_careful_server(server: Any) -> None:
    for path in ("/", "/docs", "/health", "/nothing", "/page/page.js"):
        _, headers, _ = server.ask("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy  # no wasm where no model runs in the browser
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({}, True),
        ({"origin": "http://HOST"}, True),
        ({"origin": "https://HOST", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://proxy.example", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "moz-extension://8f2d", "sec-fetch-site": "cross-site"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
    ],
)
def test_a_web_page_of_another_origin_gets_nothing_translated(
    server: Any, headers: dict[str, str], is_taken: bool
) -> None:
    headers = {name: value.replace("HOST", f"127.0.0.1:{server.port}") for name, value in headers.items()}
    form = b"q=one&source=en&target=de"
    status, answered, content = server.ask("POST", "/translate", form, {**FORM, **headers})
    assert status == (200 if is_taken else 403), content
    assert is_taken or "another origin" in json.loads(content)["error"]
    assert "access-control-allow-origin" not in answered
    assert server.ask("GET", "/health", headers=headers)[0] == 200


def test_a_key_is_needed_for_what_users_do_and_not_for_what_is_served(narrow: Any) -> None:
    for path in ("/", "/models", "/languages", "/frontend/settings", "/health", "/docs", "/openapi.json"):
        assert narrow.ask("GET", path)[0] == 200
    assert narrow.json("/detect", {"q": "one"})[0] == 403
    for authorization, status in ((None, 403), ("Bearer wrong", 403), (f"Basic {KEY}", 403), (f"Bearer {KEY}", 200)):
        headers = {} if authorization is None else {"authorization": authorization}
        assert narrow.ask("GET", "/metrics", headers=headers)[0] == status


def test_a_foreign_host_name_is_not_answered(server: Any) -> None:
    assert server.ask("GET", "/health", headers={"host": "evil.example"})[0] == 421
    for host in ("localhost", f"localhost:{server.port}", "[::1]:80", "127.0.0.1"):
        assert server.ask("GET", "/health", headers={"host": host})[0] == 200


# --- load, slow clients, the end ----------------------------------------------------------------------------------


def test_many_clients_at_once_get_their_own_answers(server: Any, expected: Callable[[str], str]) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    questions = [f"{a} {b} {a}" for a in words for b in words[:6]]

    def ask(question: str) -> tuple[str, str]:
        return question, server.translate([question, question.split()[0]])["translatedText"][0]

    with ThreadPoolExecutor(16) as clients:
        answers = dict(clients.map(ask, questions))
    assert answers == {question: expected(question) for question in questions}


def slow_text() -> bytes:
    """Takes the narrow server's model far more than a second."""
    fields = {"q": "one two three four. " * 2900, "source": "en", "target": "de", "api_key": KEY}
    return json.dumps(fields).encode()


def test_too_many_and_too_slow(narrow: Any) -> None:
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(narrow.ask, "POST", "/translate", slow_text(), JSON)
        time.sleep(0.4)
        status, headers, content = narrow.ask("POST", "/translate", json.dumps({**GOOD, "api_key": KEY}).encode(), JSON)
        assert (status, headers["retry-after"]) == (429, "1"), content
        status, headers, content = first.result()
    assert (status, headers["retry-after"]) == (503, "1"), content
    assert "longer than 1 seconds" in json.loads(content)["error"]
    assert narrow.translate("one", api_key=KEY)


def raw(server: Any, content: bytes) -> socket.socket:
    connection = socket.create_connection((server.host, server.port), timeout=30)
    connection.sendall(content)
    return connection


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_timeout(narrow: Any) -> None:
    head = (
        b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
    )
    with raw(narrow, head + b'{"q":') as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    assert narrow.json("/health")[0] == 200


def test_a_body_without_an_end_is_refused_when_it_is_too_large(narrow: Any) -> None:
    head = b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with raw(narrow, head + b"transfer-encoding: chunked\r\n\r\n") as connection:
        for _ in range(4):
            connection.sendall(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert narrow.json("/health")[0] == 200


def test_clients_that_leave_are_forgotten(narrow: Any) -> None:
    body = slow_text()
    head = (
        f"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    )
    connection = raw(narrow, head.encode() + b"\r\n\r\n" + body)
    time.sleep(0.3)
    connection.close()
    for _ in range(50):  # its place is free again before the second that it could have taken is over
        status, content = narrow.json("/translate", {**GOOD, "api_key": KEY})
        if status == 200:
            break
        time.sleep(0.02)
    assert status == 200, content
    metrics = narrow.ask("GET", "/metrics", headers={"authorization": f"Bearer {KEY}"})[2]
    assert 'path="/translate",status="499"' in metrics.decode()


def test_what_is_no_http_is_refused(server: Any) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 200_000):
        with raw(server, b"") as connection:
            try:
                connection.sendall(nonsense)
                assert connection.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421", b"")
            except ConnectionError:
                pass
    assert server.json("/health")[0] == 200


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Any]:
    """Serves this answer in this process, for waits to be shorter; returns the address."""
    from polystill.serving import server as module

    monkeypatch.setattr(module, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(module, "LAST_SECONDS", 0.3)

    def serve(answer: bytes) -> Any:
        sock, started = module.listen("127.0.0.1", 0), threading.Event()
        arguments = (answering(answer), sock, 1, started.set, lambda: None)
        threading.Thread(target=module.run_server, args=arguments, daemon=True).start()
        assert started.wait(30)
        return sock.getsockname()

    return serve


def answering(content: bytes) -> Any:
    """An application that answers everything with this."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        length = str(len(content)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": content})

    return app


def test_a_head_that_never_ends_is_waited_for_no_longer_than_this(impatient: Callable[[bytes], Any]) -> None:
    address = impatient(b"ok")
    good = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    unfinished = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx"
    for sent in (b"", b"GET / HT", good, good + b"GET /", unfinished):
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(sent)
            answers = b""
            while received := connection.recv(1000):
                answers += received
            assert answers.count(b"200 OK") == sent.count(b"\r\n\r\n")


@pytest.mark.parametrize("size", [50_000, 5_000_000])
def test_a_client_that_does_not_read_is_waited_for_no_longer_than_this(
    size: int, impatient: Callable[[bytes], Any]
) -> None:
    """The system's buffers take the beginning. What the server writes at once it keeps beyond them, or waits with."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(impatient(b"x" * size))
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * (1 + 10_000_000 // size))
        time.sleep(3)
        read = 0
        with contextlib.suppress(ConnectionResetError):
            while received := connection.recv(1 << 20):
                read += len(received)
    assert read < 9_000_000  # it was gone, with what had not been read


def test_a_server_that_is_stopped_answers_what_it_can_and_refuses_the_rest_in_json(
    counting_ctranslate2: Path, tmp_path: Path, start_server: Any
) -> None:
    long = json.dumps({**GOOD, "q": "one two three four. " * 2900}).encode()
    short = json.dumps({**GOOD, "q": "one two. " * 5}).encode()
    half = (
        b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    )
    options = ("--beam", "64", "--threads", "1", "--max-characters", "60000", "--timeout", "600")
    with start_server(counting_ctranslate2, tmp_path / "log", *options) as server, ThreadPoolExecutor(20) as clients:
        asked = [clients.submit(server.ask, "POST", "/translate", long, JSON) for _ in range(4)]
        with raw(server, half) as unfinished:
            wait_until_accepted(server, asked)
            asked += [clients.submit(server.ask, "POST", "/translate", short, JSON) for _ in range(5)]
            wait_until_accepted(server, asked)
            log = server.stop()
            answers = [one.result() for one in asked]
            rest = unfinished.recv(1000)
    assert [status for status, _, _ in answers[4:]] == [200] * 5  # they were nearly there
    for status, headers, content in answers[:4]:
        assert status in (200, 503)
        assert headers["content-type"] == "application/json"
        assert status == 200 or (json.loads(content), headers["retry-after"]) == ({"error": STOPPED}, "1")
    assert {status for status, _, _ in answers[:4]} >= {503}
    assert rest.startswith(b"HTTP/1.1 503 ") and STOPPED.encode() in rest
    assert server.process.returncode == 143 and "Traceback" not in log


STOPPED = "the server is being stopped"


def wait_until_accepted(server: Any, asked: list[Future[Any]]) -> None:
    """Until the server works on all requests that it has not answered."""
    deadline = time.monotonic() + 60
    while True:
        answered = sum(request.done() for request in asked)
        active = server.ask("GET", "/metrics")[2].split(b"\npolystill_active_translations ")[1].split()[0]
        if answered + float(active) == len(asked):
            return
        assert time.monotonic() < deadline, f"{len(asked)} asked, {answered} answered, {active} active"
        time.sleep(0.02)


def test_texts_are_not_logged_unless_asked_for(counting_ctranslate2: Path, tmp_path: Path, start_server: Any) -> None:
    secret = "seven nine seven nine"
    for options in ((), ("--log-text",)):
        with start_server(counting_ctranslate2, tmp_path / "log", *options) as server:
            answer = server.translate(secret)["translatedText"]
            server.ask("GET", f"/{secret.replace(' ', '-')}?q={secret.replace(' ', '+')}")
            server.ask("POST", "/translate", json.dumps({"q": secret, "source": secret}).encode(), JSON)
            log = server.stop()
        assert "POST /translate 200" in log
        assert ("seven" in log) == bool(options), log
        assert (answer in log) == bool(options)
        assert server.process.returncode == 143
        assert "Traceback" not in log


def test_what_cannot_be_served_is_one_line(
    counting_ctranslate2: Path, tmp_path: Path, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["serve", *map(str, arguments)])
        assert caught.value.code == 2
        return capsys.readouterr().err

    model: tuple[str | Path, ...] = (counting_ctranslate2, "--port", "0")
    assert "no such folder" in refused(tmp_path / "nothing", "--port", "0")
    assert "cannot listen there (Address already in use)" in refused(counting_ctranslate2, "--port", server.port)
    assert "cannot listen there" in refused(*model, "--host", "203.0.113.1")
    assert "cannot listen there (no address of that name is known)" in refused(*model, "--host", "1.2.3 .4")
    assert "no Bergamot export" in refused(*model, "--bergamot-runtime", tmp_path)
    assert "only a run has students" in refused(*model, "--student", "e1d1")
    assert "cannot be read" in refused(*model, "--api-keys", tmp_path / "nothing")


def test_a_folder_is_served_without_torch(counting_ctranslate2: Path) -> None:
    code = (
        "import sys\nfrom polystill.serving.family import open_family\n"
        "from polystill.serving.app import create_app\nfrom polystill.serving.requests import Limits\n"
        "from polystill.serving.server import settings_of\n"
        "from pathlib import Path\nfolder = Path(sys.argv[1])\n"
        "with open_family(folder, None, engine=None, precision='default', beam=1, threads=1) as family:\n"
        "    rest = {'host': '127.0.0.1', 'api_keys': None, 'runtime': None, 'log_text': False}\n"
        "    create_app(family, settings_of(family, folder, Limits(), **rest))\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'sacrebleu'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, counting_ctranslate2], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr
