"""Read what a request asks for: JSON, a form or a query string, within the server's limits and checked as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, StrictStr, ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from polystill.errors import UserError

MOST_ALTERNATIVES = 10
Body = TypeVar("Body", bound=BaseModel)


class Refused(Exception):
    """Raised to answer with an error: a status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class TranslateBody(BaseModel):
    """The body of POST /translate. Other fields are ignored."""

    q: StrictStr | list[StrictStr] = Field(description="Text, or a list of texts.", examples=["A dog runs."])
    source: StrictStr = Field(description="Language code of the text, or auto.", examples=["en"])
    target: StrictStr = Field(description="Language code of the translation.", examples=["de"])
    format: Literal["text", "html"] | None = Field(None, description="html: tags are kept. By default text.")
    alternatives: int = Field(0, ge=0, le=MOST_ALTERNATIVES, description="Further translations wanted of each text.")
    model: StrictStr | None = Field(None, description="The student that answers, such as e4d2.")
    latency_budget_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="The best student whose measured latency is at most this. Not together with model."
    )
    api_key: StrictStr | None = Field(None, description="Where the server asks for one.")

    @property
    def texts(self) -> list[str]:
        return [self.q] if isinstance(self.q, str) else self.q


class DetectBody(BaseModel):
    """The body of POST /detect."""

    q: StrictStr = Field(description="Text.", examples=["A dog runs."])
    api_key: StrictStr | None = None


async def read_body(request: Request, kind: type[Body], limits: Limits) -> Body:
    """Read and check a request's fields: those of a JSON object, or those of a form and of the address's query.

    Where the query and the form name the same field, the query's counts. An optional field that is null or blank is as
    good as missing.

    Raises:
        Refused: 400 not valid; 408 it did not arrive in time; 413 too large; 415 neither JSON nor a form.
    """
    content = await _read(request, limits)
    try:
        values = await _values(request, content, limits)
        body = kind.model_validate({name: v for name, v in values.items() if name == "q" or v not in (None, "")})
    except UnicodeDecodeError as error:
        raise Refused(400, f"the request is not UTF-8 (byte {error.start + 1})") from None
    except ValidationError as error:
        raise Refused(400, _first_error(error)) from None
    _check_text(body)
    return body


async def _read(request: Request, limits: Limits) -> bytes:
    too_large = Refused(413, f"the request is larger than {limits.body_bytes} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {limits.seconds:g} seconds") from None
    return bytes(content)


async def _values(request: Request, content: bytes, limits: Limits) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "a content-encoding is not supported: send the request as it is")
    text = content.decode("utf-8")
    if kind.endswith(("/json", "+json")):
        return _json(text)
    if kind == "multipart/form-data":
        pairs = await _parts(request, content, limits)
    elif kind == "application/x-www-form-urlencoded":
        pairs = _pairs(text, limits)
    elif content:
        raise Refused(415, "expected application/json, application/x-www-form-urlencoded or multipart/form-data")
    else:
        pairs = []
    query = request.scope["query_string"].decode("utf-8")
    return {**_fields(pairs), **_fields(_pairs(query, limits))}


def _json(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(400, "the request is not valid JSON") from None
    if not isinstance(values, dict):
        raise Refused(400, 'expected a JSON object, such as {"q": "…", "source": "…", "target": "…"}')
    return values


def _pairs(text: str, limits: Limits) -> list[tuple[str, str]]:
    """The fields of a form or a query string, in order."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_most_fields(limits))
    except UnicodeDecodeError:
        raise
    except ValueError:
        raise Refused(400, "the form has too many fields") from None


async def _parts(request: Request, content: bytes, limits: Limits) -> list[tuple[str, str]]:
    """The fields of a multipart form, in order."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield content

    most: dict[str, int] = {"max_files": 0, "max_fields": _most_fields(limits), "max_part_size": limits.body_bytes}
    try:
        form = await MultiPartParser(request.headers, whole(), **most).parse()
    except (MultiPartException, ValueError):  # ValueError: of a charset that is none for text, such as idna
        raise Refused(
            400, f"the form is not valid multipart/form-data, has a file or more than {_most_fields(limits)} fields"
        ) from None
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _fields(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The first value of each field; several values of q are a list of texts."""
    values: dict[str, Any] = dict(reversed(pairs))
    texts = [value for name, value in pairs if name == "q"]
    return {**values, "q": texts} if len(texts) > 1 else values


def _most_fields(limits: Limits) -> int:
    return limits.batch + 100


def _first_error(error: ValidationError) -> str:
    """Name the field and what is wrong with it, but not its value, which is the user's text."""
    details = error.errors(include_input=False, include_url=False)[0]
    name = str(details["loc"][0])
    if details["type"] == "missing":
        return f"{name} is missing"
    if name == "q" and len(details["loc"]) > 1:
        return "q: expected a string or a list of strings"
    if details["type"] == "string_type":
        return f"{name}: expected a string"
    return f"{name}: {details['msg'][0].lower()}{details['msg'][1:]}"


def _check_text(body: BaseModel) -> None:
    """Refuse halves of characters (\\ud800), which JSON can hold and no tokenizer takes."""
    for name, value in body:
        if re.search("[\ud800-\udfff]", "".join(value) if isinstance(value, list) else str(value)):
            raise Refused(400, f"{name}: not valid Unicode (half of a character)")


# --- limits and keys ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """The most that a request may ask of the server. An answer names the limit that was passed."""

    characters: int = 5000
    """Characters of all texts of a request (status 413)."""
    batch: int = 100
    """Texts of a request (413)."""
    requests: int = 32
    """Requests translated at a time (429)."""
    seconds: float = 30.0
    """Seconds for reading a request's body (408), and again for translating it (503)."""

    @property
    def body_bytes(self) -> int:
        """The largest body. A character takes at most 12 bytes, in JSON (two \\u escapes) and in a form (4 × %XX)."""
        return 12 * self.characters + 16 * self.batch + 4096


class ApiKeys:
    """The API keys that a server accepts. Only their hashes are kept."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file with one key a line. Empty lines and lines that begin with # are skipped.

        Raises:
            UserError: the file cannot be read, is not UTF-8, or has no key.
        """
        try:
            lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: not UTF-8; expected one API key a line") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UserError(f"{path}: no API key in it; expected one a line")
        return cls(keys)

    def accept(self, key: str) -> bool:
        """Whether it is one of the keys. Takes equally long for every key, right or wrong."""
        digest = _digest(key)
        return any([hmac.compare_digest(known, digest) for known in self._digests])  # a list: compare with all of them


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
