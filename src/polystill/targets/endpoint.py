"""Let a server teach that speaks OpenAI's chat completions: vLLM, llama.cpp, or a hosted model.

A YAML file describes the endpoint (`Endpoint`). Answers are kept in FOLDER/answers.jsonl as they come, a line for each
sentence, so a generation that was stopped asks for nothing twice. Requests that fail for a while (429, 5xx, no
connection, no answer in time) are repeated by urllib3, ever later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from pydantic import Field, ValidationError, field_validator

from polystill.config.reading import explained, read_yaml
from polystill.decoding.translator import DecodingOptions
from polystill.environment.pool import ThisProcess
from polystill.errors import UserError
from polystill.schema import Strict
from polystill.storage import storage_errors
from polystill.targets.job import Compute, Job, Say, Translate, refuse_search
from polystill.targets.store import Candidate, shortened

ANSWERS = "answers.jsonl"
SOURCE = "{source}"
BACKOFF_S = 1.0
"""The second retry waits twice as long, the third four times and so on, up to two minutes; or as the server says."""
MALFORMED = 3
"""Answers in a row to one request that are no chat completion, after which the generation stops."""
_PASSING = (408, 429, 500, 502, 503, 504)
_TOO_MUCH = (400, 413, 422)
"""What servers answer where a sentence is too long for them."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class Endpoint(Strict):
    """The keys of an endpoint's file."""

    endpoint: str
    """The URL up to /v1."""
    model: str
    prompt: str
    """The message, with {source} where the sentence goes."""
    parameters: dict[str, Any] = Field({"temperature": 0.0})
    """Other fields of the request, such as temperature (0.0 where it is not given), max_tokens or seed."""
    key_variable: str | None = None
    """The environment variable that holds the key."""
    concurrency: int = Field(8, ge=1, le=1000)
    timeout: float = Field(120.0, gt=0)
    """Seconds."""
    retries: int = Field(6, ge=0, le=100)
    most_requests: int | None = Field(None, ge=1)
    most_tokens: int | None = Field(None, ge=1)
    """Of prompts and answers. Requests that are under way when they are spent are finished."""

    @field_validator("endpoint")
    @classmethod
    def _check_url(cls, value: str) -> str:
        url = urllib3.util.parse_url(value)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("expected a URL such as http://localhost:8000/v1")
        if url.auth:
            raise ValueError("a password does not belong here; put it in an environment variable, see key_variable")
        return value.rstrip("/").removesuffix("/chat/completions")

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, value: str) -> str:
        if SOURCE not in value:
            raise ValueError(f"expected {SOURCE} where the sentence goes")
        return value

    @field_validator("parameters")
    @classmethod
    def _fill_temperature(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"temperature": 0.0, **_with_numbers(values)}

    def settings(self) -> dict[str, Any]:
        """What decides the answers, and so is part of the plan. The same model may move to another server."""
        return {"model": self.model, "prompt": self.prompt, "parameters": self.parameters}


def _with_numbers(value: Any) -> Any:
    """A value of YAML in which text is a number where JSON has one, such as 0.90 and 1e-3."""
    if isinstance(value, dict):
        return {key: _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return json.loads(value)
    return value


def read_endpoint(path: Path) -> Endpoint:
    """Read an endpoint's file.

    Raises:
        UserError: it is missing or no YAML mapping, or a key is unknown, missing or out of range.
    """
    values = read_yaml(path, "endpoint", "a mapping with the keys endpoint, model, prompt")
    try:
        return Endpoint.model_validate(values)
    except ValidationError as error:
        raise explained(error, str(path), {"": Endpoint}) from None


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """Return the checksum of what decides the answers."""
    return _digest(read_endpoint(path).settings())


# --- asking -------------------------------------------------------------------------------------------------------


@dataclass
class Spending:
    """What a sentence takes."""

    count: Callable[[int], None]
    """Called before each request, with this sentence's tokens. Counts the request, or raises UserError where the
    budget is spent."""
    requests: int = 0
    tokens: int = 0

    def begin_request(self) -> None:
        self.count(self.tokens)
        self.requests += 1


class Client:
    """Asks an endpoint for the candidates of a sentence, from any thread."""

    def __init__(self, settings: Endpoint, n_best: int, say: Say) -> None:
        """Read the key.

        Raises:
            UserError: the environment variable is not set.
        """
        self._settings, self._n_best, self._say = settings, n_best, say
        self._key = os.environ.get(settings.key_variable or "", "")
        if settings.key_variable and not self._key:
            raise UserError(f"key_variable: the environment variable {settings.key_variable} is not set")
        retries = urllib3.Retry(
            settings.retries,
            redirect=0,
            allowed_methods=None,
            status_forcelist=_PASSING,
            backoff_factor=BACKOFF_S,
            backoff_jitter=BACKOFF_S,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        self._http = urllib3.PoolManager(maxsize=settings.concurrency, retries=retries, timeout=settings.timeout)
        self._url = f"{settings.endpoint}/chat/completions"
        self.has_answered = self._has_refused = False
        """Whether a request has succeeded, here or before: then the server refuses sentences, and not the settings."""

    def ask(self, source: str, spending: Spending) -> list[Candidate]:
        """Return `n_best` candidates, in as many requests as the server needs for them; no text where it refuses.

        Raises:
            UserError: the budget is spent, or the server does not answer, refuses the key, the model or the first
                sentence, or answers something that is no chat completion.
        """
        candidates: list[Candidate] = []
        while len(candidates) < self._n_best:
            more = self._request(source, self._n_best - len(candidates), spending)
            if not more:
                return [Candidate("", cut=True)]
            candidates += more
        return candidates[: self._n_best]

    def _request(self, source: str, n: int, spending: Spending) -> list[Candidate]:
        """Candidates, none where the server refuses."""
        body = {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": self._settings.prompt.replace(SOURCE, source)}],
            **self._settings.parameters,
            **({"n": n} if n > 1 else {}),
        }
        for _ in range(MALFORMED):
            spending.begin_request()
            response = self._send(body)
            if response.status in _TOO_MUCH and self.has_answered:
                self._say_once(f"the server refuses {shortened(source)} ({self._message(response)}); counted as cut")
                return []
            if response.status != 200:
                raise UserError(f"{self._url}: {response.status} {self._message(response)}")
            try:
                candidates, tokens = _read(response.json(), self._settings.most_tokens is not None)
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
            self.has_answered = True
            spending.tokens += tokens
            return candidates
        raise UserError(f"{self._url}: expected a chat completion, got {self._message(response)}")

    def _send(self, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            return self._http.request("POST", self._url, json=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise UserError(
                f"{self._url}: no answer after {self._settings.retries + 1} tries ({type(cause).__name__}); the same "
                "command goes on when the server does"
            ) from None

    def _message(self, response: urllib3.BaseHTTPResponse) -> str:
        text = response.data[:2000].decode("utf-8", "replace")
        return shortened(" ".join(text.replace(self._key, "[key]").split() if self._key else text.split()))

    def _say_once(self, message: str) -> None:
        if not self._has_refused:
            self._has_refused = True
            self._say(message)


def _read(completion: dict[str, Any], needs_usage: bool) -> tuple[list[Candidate], int]:
    """The choices of a chat completion, and its tokens. Any other value raises one of Python's usual errors."""
    candidates = []
    for choice in completion["choices"]:
        content = choice["message"]["content"] or ""
        text = _THOUGHTS.sub("", content).strip()
        text = text.encode("utf-8", "ignore").decode("utf-8")  # without half surrogate pairs
        candidates.append(Candidate(text, cut=choice.get("finish_reason") == "length"))
    if not candidates:
        raise ValueError("no choices")
    usage = completion.get("usage") or {}
    if needs_usage and "total_tokens" not in usage:
        raise UserError("most_tokens: the server does not say how many tokens an answer took; use most_requests")
    return candidates, int(usage.get("total_tokens", 0))


# --- answers on disk, and the budget ------------------------------------------------------------------------------


class Answers:
    """The answers so far, in a file that grows by a line for each sentence, and what they took."""

    def __init__(self, path: Path, settings: Endpoint, n_best: int) -> None:
        self._path, self._settings, self._n_best = path, settings, n_best
        self._lock = threading.Lock()
        self._known: dict[str, list[Candidate]] = {}
        self.requests = self.tokens = 0
        with storage_errors(path):
            self._load()

    def _load(self) -> None:
        if not self._path.exists():
            return
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # killed while it wrote a line
            os.truncate(self._path, len(whole))
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                key, texts, requests, tokens = json.loads(line)
                candidates = [Candidate(text, cut=cut) for text, cut in texts]
                if key is not None:  # none where requests gave no answer
                    self._known[key] = candidates
                self.requests, self.tokens = self.requests + requests, self.tokens + tokens
            except (ValueError, TypeError):
                raise UserError(f"{self._path}: line {number} is damaged; delete the line or the file") from None

    @property
    def has_translation(self) -> bool:
        """Whether the server has answered a sentence."""
        return any(candidate.text for candidates in self._known.values() for candidate in candidates)

    def get(self, source: str, ask: Callable[[str, Spending], list[Candidate]]) -> list[Candidate]:
        """Return a sentence's candidates as they are known, or ask for them and keep the answer.

        Raises:
            UserError: the budget is spent, or `ask` fails; what was spent counts.
        """
        key = _digest(self._settings.settings(), self._n_best, source)
        if key in self._known:
            return self._known[key]
        spending = Spending(self._count_request)
        try:
            candidates = ask(source, spending)
        except BaseException:
            if spending.requests:
                self._keep(None, [], spending)
            raise
        self._keep(key, candidates, spending)
        return candidates

    def _count_request(self, tokens: int) -> None:
        with self._lock:
            for name, spent in (("most_requests", self.requests), ("most_tokens", self.tokens + tokens)):
                most = getattr(self._settings, name)
                if most is not None and spent >= most:
                    raise UserError(
                        f"{name} {most:,}: used up; with a larger value, the same command goes on from here"
                    )
            self.requests += 1

    def _keep(self, key: str | None, candidates: Sequence[Candidate], spending: Spending) -> None:
        texts = [[candidate.text, candidate.cut] for candidate in candidates]
        line = json.dumps([key, texts, spending.requests, spending.tokens], ensure_ascii=False)
        with self._lock, storage_errors(self._path):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            self.tokens += spending.tokens
            if key is not None:
                self._known[key] = list(candidates)


# --- the teacher --------------------------------------------------------------------------------------------------


def job(teachers: Sequence[Path], path: Path, options: DecodingOptions, compute: Compute, say: Say) -> Job:
    """Translate by the endpoint that the file `path`, one of `teachers`, describes.

    Raises:
        UserError: the file is no endpoint's, it is not the only teacher, or settings of a search are given.
    """
    settings = read_endpoint(path)
    if len(teachers) > 1:
        raise UserError(f"{path}: an endpoint cannot be part of an ensemble; give it alone")
    refuse_search(path, "the server searches as `parameters` say, with `concurrency`", options, compute)
    if options.n_best > 1 and settings.parameters.get("temperature") == 0:
        raise UserError(f"{path}: --n-best {options.n_best} with temperature 0 gives one translation many times")
    client = Client(settings, options.n_best, say)
    opened: list[Answers] = []

    def ready(scratch: Path) -> Callable[[], Translate]:
        opened.append(answers := Answers(scratch.parent / ANSWERS, settings, options.n_best))
        client.has_answered = answers.has_translation

        def translate(lines: Sequence[str]) -> list[list[Candidate]]:
            with ThreadPoolExecutor(settings.concurrency) as threads:
                return list(threads.map(lambda line: opened[0].get(line, client.ask), lines))

        return lambda: translate

    plan = {"engine": "endpoint", **settings.settings(), "beam": None, "n_best": options.n_best}
    return Job(
        plan,
        ready,
        ThisProcess(),
        lambda: {"requests": opened[0].requests, "tokens": opened[0].tokens} if opened else {},
    )
