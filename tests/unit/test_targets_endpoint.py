"""An endpoint as a teacher: a real server that speaks OpenAI's protocol, and fails in all the ways that servers do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.targets import endpoint, teachers
from polystill.targets.generate import generate_targets
from polystill.targets.job import Compute, default_beam
from polystill.targets.sources import Text
from polystill.targets.store import TargetSet

KEY = "sk-secret-0123456789"


def completion(*texts: str | None, finish: str = "stop") -> dict[str, Any]:
    choices = [{"message": {"role": "assistant", "content": text}, "finish_reason": finish} for text in texts]
    return {"object": "chat.completion", "choices": choices, "usage": {"total_tokens": 10 * len(texts)}}


@dataclass
class Server:
    """Answers `translated SENTENCE`, unless `special` has another answer for the sentence's first word."""

    special: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    """From the number of the request for this sentence, from 1, to a completion, an (int) status, bytes, or seconds."""
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message["body"]
            if not message.get("more_body"):
                break
        body = json.loads(content)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0.005)
        status, answer = await self._answer(scope, body)
        self.running -= 1
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: Any, body: dict[str, Any]) -> tuple[int, bytes]:
        self.bodies.append(body)
        self.headers.append(dict(scope["headers"]))
        assert scope["path"] == "/v1/chat/completions"
        source = body["messages"][0]["content"].removeprefix("Say in German: ")
        self.asked[source] += 1
        usual = completion(*[f"übersetzt {source} {i}" for i in range(body.get("n", 1))])
        special = self.special.get(source.split()[0], lambda _: usual)
        answer = special(self.asked[source])
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = usual
        if isinstance(answer, int):
            return answer, json.dumps({"error": {"message": f"no {source} for {KEY}"}}).encode()
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "BACKOFF_S", 0.001)
    app = Server()
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        threading.Event().wait(0.01)
    app.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/v1"
    yield app
    running.should_exit = True
    thread.join()


@pytest.fixture
def generate(server: Server, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Translate lines by the server; keys change the endpoint's file."""

    def run(lines: list[str], out: str = "out", n_best: int = 1, said: list[str] | None = None, **keys: Any) -> Any:
        values = {"endpoint": server.url, "model": "m", "prompt": "Say in German: {source}", **keys}
        (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(values))
        (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
        return generate_targets(
            [tmp_path / "teacher.yaml"],
            Text(source=tmp_path / "lines", languages=("en", "de")),
            tmp_path / out,
            options=DecodingOptions(default_beam(n_best), n_best),
            compute=Compute(),
            shard_size=4,
            say=(said if said is not None else []).append,
        )

    return run


def texts(folder: Path) -> dict[str, list[str]]:
    return {entry.source: [h.text for h in entry.hypotheses] for entry in TargetSet.open(folder).entries()}


def test_each_sentence_gets_its_answer(generate: Any, server: Server, tmp_path: Path) -> None:
    lines = [f"sentence number {i}" for i in range(30)]
    manifest = generate(lines, concurrency=3, parameters={"temperature": 0.0, "max_tokens": 50})
    assert texts(tmp_path / "out") == {line: [f"übersetzt {line} 0"] for line in lines}
    assert 1 < server.most_running <= 3
    assert server.bodies[0].keys() == {"model", "messages", "temperature", "max_tokens"}
    assert manifest["cost"]["requests"] == 30 and manifest["cost"]["tokens"] == 300
    assert manifest["plan"]["engine"] == "endpoint" and manifest["plan"]["parameters"]["max_tokens"] == 50


def test_what_passes_is_repeated(generate: Any, server: Server, tmp_path: Path) -> None:
    first: dict[str, Any] = {"limited": 429, "broken": 500, "away": 503, "garbled": b"<html>", "no": {}}
    usual = {word: completion(f"{word} übersetzt") for word in first}
    server.special = {
        word: lambda time, word=word: first[word] if time < 3 else usual[word]  # type: ignore[misc]
        for word in first
    }
    lines = ["a first sentence", *(f"{word} sentence" for word in first)]
    manifest = generate(lines)
    assert manifest["cost"]["requests"] == 4 + 2 * endpoint.MALFORMED  # answers that say nothing are paid for as well
    assert texts(tmp_path / "out") == {lines[0]: [f"übersetzt {lines[0]} 0"]} | {
        f"{word} sentence": [f"{word} übersetzt"] for word in first
    }
    assert server.asked["limited sentence"] == server.asked["garbled sentence"] == 3


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(generate: Any, server: Server, tmp_path: Path) -> None:
    server.special["slow"] = lambda time: 3.0 if time == 1 else completion("ein langsamer Satz")
    generate(["slow sentence"], timeout=1.0, retries=50)
    assert texts(tmp_path / "out") == {"slow sentence": ["ein langsamer Satz"]} and server.asked["slow sentence"] > 1


def test_answers_that_are_no_translation_are_counted(generate: Any, server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    server.special = {
        "chatty": lambda _: completion("Gern! Hier ist sie:\n\nein Satz"),
        "thinking": lambda _: completion("<think>Hm.\nWell.</think>\n\nein gedachter Satz"),
        "blocked": lambda _: completion(None, finish="content_filter"),
        "endless": lambda _: completion("und so weiter und", finish="length"),
        "huge": lambda _: 400,
        "verbose": lambda _: completion(
            "Der Satz auf Deutsch lautet wie folgt, wenn ich mich nicht sehr irre: ein Satz"
        ),
        "torn": lambda _: b'{"choices": [{"message": {"content": "ein \\ud83d Satz"}}]}',
    }
    words = list(server.special)
    manifest = generate(["a first sentence", *(f"{word} one" for word in words)], concurrency=1, said=said)
    dropped = {reason: count for reason, count in manifest["filter"]["dropped"].items() if count}
    assert dropped == {"cut": 2, "several_lines": 1, "empty": 1, "ratio": 1}
    found = texts(tmp_path / "out")
    assert found["thinking one"] == ["ein gedachter Satz"] and found["torn one"] == ["ein  Satz"]
    assert sum("refuses 'huge one'" in line for line in said) == 1


def test_a_budget_stops_and_goes_on_without_asking_twice(generate: Any, server: Server, tmp_path: Path) -> None:
    lines = [f"sentence number {i}" for i in range(10)]
    with pytest.raises(UserError, match="most_requests 6: used up; with a larger value, the same command goes on"):
        generate(lines, most_requests=6)
    assert sum(server.asked.values()) == 6
    with pytest.raises(UserError, match="not finished"):
        TargetSet.open(tmp_path / "out")
    with pytest.raises(UserError, match="most_tokens 70: used up"):
        generate(lines, most_tokens=70, concurrency=1)
    assert sum(server.asked.values()) == 7
    answers = tmp_path / "out" / endpoint.ANSWERS
    answers.write_bytes(answers.read_bytes()[:-5])  # as if killed while it wrote
    manifest = generate(lines, most_requests=100)
    assert manifest["finished"] and len(texts(tmp_path / "out")) == 10
    assert sum(server.asked.values()) == 11 and max(server.asked.values()) == 2  # the one that was torn
    assert manifest["cost"]["requests"] == 10
    with pytest.raises(UserError, match=r"was begun with teachers .*prompt Say in German: .*give another folder"):
        generate(lines, prompt="Translate: {source}")


def test_refused_sentences_are_counted_after_an_interruption_as_well(generate: Any, server: Server) -> None:
    server.special = {"long": lambda time: 400}
    lines = ["sentence one", "sentence two", "long one", "sentence four"]
    with pytest.raises(UserError, match="most_requests 2: used up"):
        generate(lines, most_requests=2, concurrency=1)
    manifest = generate(lines, most_requests=9, concurrency=1)
    assert manifest["filter"]["dropped"]["cut"] == 1 and manifest["finished"]


def test_a_sentence_of_many_requests_stays_within_the_budget(generate: Any, server: Server, tmp_path: Path) -> None:
    server.special["one"] = lambda time: completion(f"Antwort Nummer {time}")  # one candidate a request
    keys = {"n_best": 3, "parameters": {"temperature": 0.7}, "concurrency": 1}
    with pytest.raises(UserError, match="most_requests 5: used up"):
        generate(["one two", "one three"], most_requests=5, **keys)
    assert sum(server.asked.values()) == 5
    manifest = generate(["one two", "one three"], most_requests=8, **keys)  # two were for half a sentence
    assert server.asked == {"one two": 3, "one three": 5} and manifest["cost"]["requests"] == 8
    assert {len(found) for found in texts(tmp_path / "out").values()} == {3}


def test_requests_that_give_no_answer_count(generate: Any, server: Server) -> None:
    server.special["garbled"] = lambda time: b"[]" if time <= endpoint.MALFORMED else completion("ein Satz")
    with pytest.raises(UserError, match="expected a chat completion"):
        generate(["garbled one"])
    with pytest.raises(UserError, match="most_requests 3: used up"):
        generate(["garbled one"], most_requests=3)
    assert generate(["garbled one"], most_requests=4)["cost"]["requests"] == 4


def test_answers_of_other_settings_are_not_taken(generate: Any, server: Server) -> None:
    lines = [f"sentence number {i}" for i in range(8)]
    with pytest.raises(UserError, match="most_requests 2"):  # before the first shard, so the folder is still free
        generate(lines, most_requests=2, concurrency=1)
    generate(lines, prompt="Say in German:  {source}")
    assert sum(server.asked.values()) == 2 + 8


@pytest.mark.parametrize("line", ["5", "null", '["key", [["a"]], 1, 2]', "{", '["key", "text", 1, 2]'])
def test_a_damaged_line_of_answers_is_named(generate: Any, tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match="most_requests 1"):
        generate(["one two", "three four"], most_requests=1, concurrency=1)
    with (tmp_path / "out" / endpoint.ANSWERS).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=r"answers\.jsonl: line 2 is damaged; delete the line or the file"):
        generate(["one two", "three four"])


def test_temperature_is_0_beside_other_parameters(generate: Any, server: Server) -> None:
    generate(["a b c"], parameters={"max_tokens": 50})
    generate(["a b c"], out="warm", parameters={"max_tokens": 50, "temperature": 0.7})
    assert [body["temperature"] for body in server.bodies] == [0.0, 0.7]


def test_numbers_are_sent_as_numbers_however_they_are_written(tmp_path: Path) -> None:
    values = "endpoint: http://localhost:8000/v1\nmodel: m\nprompt: 'Say: {source}'\nparameters:\n"
    (tmp_path / "written.yaml").write_text(f"{values}  top_p: 0.90\n  seed: 1e3\n  stop: [a, 007]\n")
    assert endpoint.read_endpoint(tmp_path / "written.yaml").parameters == {
        "temperature": 0.0, "top_p": 0.9, "seed": 1000.0, "stop": ["a", "007"]
    }  # fmt: skip
    (tmp_path / "written.yaml").write_text(f"{values}  temperature: 0.00\n")
    assert endpoint.read_endpoint(tmp_path / "written.yaml").parameters["temperature"] == 0.0


def test_several_candidates_in_one_request_or_more(generate: Any, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--n-best 3 with temperature 0"):
        generate(["a b c"], n_best=3)
    generate(["a b c"], n_best=3, parameters={"temperature": 0.7})
    assert texts(tmp_path / "out") == {"a b c": [f"übersetzt a b c {i}" for i in range(3)]}
    assert [body["n"] for body in server.bodies] == [3]
    server.special["one"] = lambda time: completion(f"Antwort Nummer {time}")  # a server that does not know `n`
    generate(["one two three"], out="single", n_best=3, parameters={"temperature": 0.7})
    assert texts(tmp_path / "single") == {"one two three": [f"Antwort Nummer {i}" for i in (1, 2, 3)]}


def test_the_key_goes_to_the_server_and_nowhere_else(
    generate: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="the environment variable SOME_KEY is not set"):
        generate(["a b"], key_variable="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", KEY)
    generate(["a b", "c d"], key_variable="SOME_KEY")
    assert {headers[b"authorization"] for headers in server.headers} == {f"Bearer {KEY}".encode()}
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    server.special["refused"] = lambda _: 401
    with pytest.raises(UserError, match=r"/chat/completions: 401 .*no refused one for \[key\]") as caught:
        generate(["refused one"], out="other", key_variable="SOME_KEY")
    assert KEY not in str(caught.value)
    generate(["e f"], out="without")
    assert b"authorization" not in server.headers[-1]


def test_a_server_that_does_not_work_stops_it(generate: Any, server: Server, tmp_path: Path) -> None:
    server.special = {"bad": lambda _: 400, "garbled": lambda _: b"[]", "down": lambda _: 503, "poor": lambda _: poor}
    poor = {"choices": completion("ein armer Satz")["choices"]}
    for line, message, keys in (
        ("bad request", "400 .*no bad request", {}),  # the very first one: the settings are wrong, not the sentence
        ("garbled one", r"expected a chat completion, got '\[\]'", {}),
        ("down again", "503 .*no down again", {"retries": 1}),
        ("poor one", "most_tokens: the server does not say how many", {"most_tokens": 100}),
    ):
        with pytest.raises(UserError, match=message):
            generate([line], out=line.split()[0], **keys)
    assert server.asked["down again"] == 2
    with pytest.raises(UserError, match=r"no answer after 2 tries \(NewConnectionError\); the same command goes on"):
        generate(["a b"], out="nowhere", endpoint="http://127.0.0.1:9/v1", retries=1)


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "teacher.yaml"
    good = {"endpoint": "http://localhost/v1", "model": "m", "prompt": "{source}"}

    def error(**changes: Any) -> str:
        path.write_text(yaml.safe_dump({**good, **changes}))
        with pytest.raises(UserError) as caught:
            endpoint.read_endpoint(path)
        return str(caught.value)

    assert "unknown key 'modle' (did you mean 'model'?)" in error(modle="x")
    assert KEY not in error(key=KEY)
    assert "prompt: expected {source} where the sentence goes" in error(prompt="Translate")
    assert "endpoint: expected a URL such as http://localhost:8000/v1" in error(endpoint="localhost:8000")
    assert "a password does not belong here" in error(endpoint="http://me:secret@localhost/v1")
    assert "concurrency: Input should be greater than or equal to 1 (got 0)" in error(concurrency=0)


def test_its_fingerprint_is_of_what_decides_the_answers(tmp_path: Path) -> None:
    seen = set()
    for change in ({}, {"endpoint": "http://other/v1/chat/completions", "most_requests": 3}, {"model": "n"}):
        path = tmp_path / "teacher.yaml"
        path.write_text(yaml.safe_dump({"endpoint": "http://one/v1", "model": "m", "prompt": "{source}", **change}))
        seen.add(teachers.fingerprint(path))
    assert len(seen) == 2
    assert endpoint.read_endpoint(path).endpoint == "http://one/v1"


def test_it_teaches_alone_and_without_a_search(tmp_path: Path) -> None:
    path = tmp_path / "teacher.yaml"
    path.write_text("{endpoint: 'http://localhost/v1', model: m, prompt: '{source}'}")
    with pytest.raises(UserError, match="an endpoint cannot be part of an ensemble"):
        endpoint.job([path, path], path, DecodingOptions(), Compute(), print)
    with pytest.raises(
        UserError, match=r"the server searches as `parameters` say.* leave out --engine, --precision, --w"
    ):
        endpoint.job([path], path, DecodingOptions(), Compute(workers=2), print)
