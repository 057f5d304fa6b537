"""What stands around every answer: headers that keep browsers careful, counts, one line of log, and no surprises.

The log names neither texts nor paths that a user made up, and an error's traceback without its message, which could
hold text.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polystill.serving.metrics import Metrics

_log = logging.getLogger(__name__)

MISTAKE = "the server made a mistake; its log says where"
LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
_WASM = " 'wasm-unsafe-eval'"

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
    """Everything from this server alone; WebAssembly and workers only where models run in the browser."""
    rules = ["default-src 'none'", f"script-src 'self'{_WASM if wasm else ''}", "style-src 'self'"]
    rules += ["img-src 'self'", "connect-src 'self'"] + (["worker-src 'self'"] if wasm else [])
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])


class Frame:
    """An ASGI application around the server's own."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, wasm: bool, hosts: Collection[str] | None) -> None:
        """`hosts` are the names that the server answers to; None is any.

        A server on this machine alone is asked by names of this machine. A web page that has its own name point here
        (DNS rebinding) asks by that name.
        """
        self._app, self._metrics, self._hosts = app, metrics, hosts
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
            if self._is_known(scope):
                await self._app(scope, receive, framed)
            else:
                await error(421, "this server does not answer to that host name")(scope, receive, framed)
        except Exception as exception:
            frames = "".join(traceback.format_tb(exception.__traceback__))
            _log.error("%s while answering:\n%s", type(exception).__name__, frames)
            if not status:
                await error(500, MISTAKE)(scope, receive, framed)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _is_known(self, scope: Scope) -> bool:
        host = Headers(scope=scope).get("host", "")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        return self._hosts is None or name.lower() in self._hosts

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "(other)")
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        model = scope.get("state", {}).get("model", "")
        _log.info("%s %s %s %.0f ms %s", scope["method"], path, status or "(left)", 1000 * seconds, model)


def error(status: int, message: str) -> JSONResponse:
    """LibreTranslate's form of an error."""
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": message}, status, headers)
