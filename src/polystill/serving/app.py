"""Build the server's application: the LibreTranslate API, information about the students, metrics, and the pages.

`Frame` stands around every answer. It adds headers that keep browsers careful, counts, and writes one line of log. The
log names neither texts nor paths that a user made up, and an error's traceback without its message, which could hold
text.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polystill import __version__
from polystill.serving.family import Family
from polystill.serving.languages import full_name
from polystill.serving.page import ASSETS, RUNTIME, BrowserModels, render_docs, render_page
from polystill.serving.requests import ApiKeys, Body, DetectBody, Limits, Refused, TranslateBody, read_body
from polystill.serving.service import Metrics, Service

_log = logging.getLogger(__name__)
T = TypeVar("T")

LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
MISTAKE = "the server made a mistake; its log says where"
LEFT = 499
"""The status of a request whose client has gone. It appears only in counts and the log."""
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not valid, or a language or model that is not served."},
    403: {"description": "An API key is needed, or a web page of another origin asks."},
    408: {"description": "The request did not arrive in time."},
    413: {"description": "Too many characters or texts."},
    415: {"description": "Neither JSON nor a form."},
    429: {"description": "Too many requests at a time."},
    503: {"description": "The translation took too long, or the server is being stopped."},
}


@dataclass(frozen=True)
class Settings:
    """A server's settings, beside the family that it serves."""

    limits: Limits
    keys: ApiKeys | None = None
    browser: BrowserModels = field(default_factory=BrowserModels)
    hosts: Collection[str] | None = LOCAL
    """The host names that a server for this machine alone answers to; None is any name."""
    log_text: bool = False


class Translation(BaseModel):
    """The answer to POST /translate."""

    translatedText: str | list[str]
    detectedLanguage: dict[str, Any] | list[dict[str, Any]] | None = None
    alternatives: list[str] | list[list[str]] | None = None
    model: str


def create_app(family: Family, settings: Settings) -> Frame:
    """Return the whole server without its sockets."""
    metrics = Metrics()
    service = Service(family, settings.limits, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title=f"polystill: {family.name}",
        version=__version__,
        description="The LibreTranslate API. Fields beyond it: model, latency_budget_ms.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_translation(app, service, settings)
    _add_information(app, family, settings, metrics)
    _add_page(app, family, settings)
    _add_errors(app)
    return Frame(app, metrics, wasm=bool(settings.browser), hosts=settings.hosts, stop=service.stop)


def _add_translation(app: FastAPI, service: Service, settings: Settings) -> None:
    async def read(request: Request, kind: type[Body]) -> Body:
        body = await read_body(request, kind, settings.limits)
        _check_key(settings, getattr(body, "api_key", None))
        return body

    @app.post(
        "/translate", responses=_ERRORS, openapi_extra=_body(TranslateBody), response_model=Translation, tags=["api"]
    )
    async def translate(request: Request) -> Response:
        """Translate a text, or each text of a list."""
        body = await read(request, TranslateBody)
        answer, seconds = await _unless_client_leaves(request, service.translate(body))
        request.state.model = answer["model"]
        if settings.log_text:
            _log.info("%s: %r -> %r", answer["model"], body.q, answer["translatedText"])
        return JSONResponse(answer, headers={"server-timing": f"translate;dur={1000 * seconds:.1f}"})

    @app.post("/detect", responses=_ERRORS, openapi_extra=_body(DetectBody), tags=["api"])
    async def detect(request: Request) -> list[dict[str, Any]]:
        """The language that this server translates from, with the share of the text's words that are of its script.

        It cannot tell languages of one script from each other.
        """
        body = await read(request, DetectBody)
        if len(body.q) > settings.limits.characters:
            raise Refused(413, f"at most {settings.limits.characters} characters are allowed in a request")
        return [service.detect(body.q)]

    @app.post("/translate_file", include_in_schema=False)
    @app.post("/suggest", include_in_schema=False)
    async def refused() -> Response:
        return error(403, "files and suggestions are not served here")


def _check_key(settings: Settings, key: str | None) -> None:
    if settings.keys is not None and not settings.keys.accept(key or ""):
        raise Refused(403, "a valid api_key is needed")


async def _unless_client_leaves(request: Request, work: Awaitable[T]) -> T:
    """Cancel the work if the client leaves before it is done.

    Raises:
        ClientDisconnect: the client has left.
    """

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(left())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, watching):
            task.cancel()


def _add_information(app: FastAPI, family: Family, settings: Settings, metrics: Metrics) -> None:
    source, target = (
        {"code": code, "name": full_name(code)} for code in (family.source_language, family.target_language)
    )

    @app.get("/languages", tags=["api"])
    async def languages() -> list[dict[str, Any]]:
        """Languages, and those that each is translated to."""
        return [{**source, "targets": [target["code"]]}, {**target, "targets": []}]

    @app.get("/frontend/settings", tags=["api"])
    async def frontend_settings() -> dict[str, Any]:
        """What a client's page needs to know."""
        return {
            "charLimit": settings.limits.characters,
            "frontendTimeout": 500,
            "apiKeys": settings.keys is not None,
            "keyRequired": settings.keys is not None,
            "suggestions": False,
            "filesTranslation": False,
            "supportedFilesFormat": [],
            "language": {"source": source, "target": target},
        }

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/models", tags=["server"])
    async def models() -> list[dict[str, Any]]:
        """The students, the one that answers by default first, with what was measured of them."""
        return [
            {
                "name": student.name,
                **{key: value for key, value in asdict(student.measured).items() if value is not None},
                **({"browser": True} if student.name in settings.browser.students else {}),
            }
            for student in family.students
        ]

    @app.get(
        "/metrics", tags=["server"], responses={403: {"description": "An API key is needed."}}, response_class=Response
    )
    async def prometheus(request: Request) -> Response:
        """Counters, in Prometheus' text format. Where the server asks for an API key, it is the bearer token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        _check_key(settings, token.strip() if kind.lower() == "bearer" else None)
        return Response(metrics.text(), media_type=metrics.media_type)


def _add_page(app: FastAPI, family: Family, settings: Settings) -> None:
    page = render_page(family, settings.browser, needs_key=settings.keys is not None)
    docs = ""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return Response(page, media_type="text/html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        nonlocal docs
        docs = docs or render_docs(app.openapi())
        return Response(docs, media_type="text/html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        kind, content = ASSETS[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    _add_browser_models(app, settings.browser)


def _add_browser_models(app: FastAPI, models: BrowserModels) -> None:
    contents = (*models.runtime.values(), *models.files.values())
    tags = {content: f'"{hashlib.sha256(content).hexdigest()}"' for content in contents}

    def kept(request: Request, content: bytes, kind: str, headers: dict[str, str]) -> Response:
        """Answer with a file that the browser keeps; each time it asks whether the file is still the same."""
        headers = {**headers, "cache-control": "private, no-cache", "etag": tags[content]}
        if tags[content] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    @app.get("/bergamot/runtime/{name:path}", include_in_schema=False)
    async def runtime(request: Request, name: str) -> Response:
        if name not in models.runtime:
            raise HTTPException(404)
        return kept(request, models.runtime[name], RUNTIME[name], {})

    @app.get("/bergamot/models/{student}/{name}", include_in_schema=False)
    async def model_file(request: Request, student: str, name: str) -> Response:
        if student in models.students and name == "metadata.json":
            return JSONResponse(models.students[student])
        content = models.files.get((student, name))
        if content is None:
            raise HTTPException(404)
        return kept(request, content, "application/octet-stream", {"content-encoding": "gzip"})


def _add_errors(app: FastAPI) -> None:
    """Answer every error as {"error": …}, which LibreTranslate's clients show."""

    @app.exception_handler(Refused)
    @app.exception_handler(HTTPException)
    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(Exception)
    async def answer(_: Request, exception: Exception) -> Response:
        match exception:
            case Refused():
                return error(exception.status, exception.message)
            case HTTPException():
                allowed = (exception.headers or {}).get("allow", "")
                return error(exception.status_code, exception.detail.lower() + f"; allowed: {allowed}" * bool(allowed))
            case ClientDisconnect():
                return error(LEFT, "the client is gone")
        return error(500, MISTAKE)


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    """Describe a body for OpenAPI. It is read by `read_body` and not by FastAPI, which has no limits."""
    schema = kind.model_json_schema()
    kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    media = {name: {"schema": schema} for name in kinds}
    return {"requestBody": {"required": True, "content": media}}


def error(status: int, message: str) -> JSONResponse:
    """Return an error in LibreTranslate's form."""
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": message}, status, headers)


# --- headers, counts and log ----------------------------------------------------------------------------------------

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def content_security_policy(*, wasm: bool) -> str:
    """Allow nothing from other servers, and WebAssembly and workers only where models run in the browser."""
    scripts = "script-src 'self'" + " 'wasm-unsafe-eval'" * wasm
    rules = ["default-src 'none'", scripts, "style-src 'self'"]
    rules += ["img-src 'self'", "connect-src 'self'"] + (["worker-src 'self'"] if wasm else [])
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])


def is_of_foreign_page(headers: Headers) -> bool:
    """Whether a browser sends the request for a web page that is not this server's.

    A browser sends a form for any page, without asking first. It says so: by Sec-Fetch-Site to servers that it trusts
    (TLS, or this machine), by Origin to all. Programs send neither. An extension that the user has installed has an
    origin that is no web address.
    """
    origin = headers.get("origin")
    if origin is not None and origin != "null" and not origin.startswith(("http://", "https://")):
        return False
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


class Frame:
    """An ASGI application around the server's own; see the module's docstring."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, *, wasm: bool, hosts: Collection[str] | None, stop: Callable[[], None]
    ) -> None:
        """Answer only requests for one of the host names `hosts`; None is any name. `stop` is to be called at the end.

        A server for this machine alone is reached by this machine's names. A web page that points its own name here
        (DNS rebinding) asks for that name and is refused.
        """
        self._app, self._metrics, self._hosts, self.stop = app, metrics, hosts, stop
        self._headers = {**HEADERS, "content-security-policy": content_security_policy(wasm=wasm)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, framed)
        except asyncio.CancelledError:  # the time that a stopped server gives to its last answers is over
            if status:
                raise
            await error(503, "the server is being stopped")(scope, receive, framed)
        except Exception as exception:
            frames = "".join(traceback.format_tb(exception.__traceback__))
            _log.error("%s while answering:\n%s", type(exception).__name__, frames)
            if not status:
                await error(500, MISTAKE)(scope, receive, framed)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self._hosts is not None and name.lower() not in self._hosts:
            return error(421, "this server does not answer to that host name")
        if scope["method"] == "POST" and is_of_foreign_page(headers):
            return error(403, "web pages of another origin cannot use this server")
        return None

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "(other)")
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        model = scope.get("state", {}).get("model", "")
        _log.info("%s %s %s %.0f ms %s", scope["method"], path, status or "(left)", 1000 * seconds, model)
