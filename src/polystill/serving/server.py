"""Serve a model over HTTP/1.1: open it, take connections, do not wait for clients for ever, and stop in order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from polystill.errors import UserError
from polystill.serving.app import LOCAL, Settings, create_app
from polystill.serving.family import Family, open_family
from polystill.serving.page import browser_models
from polystill.serving.requests import ApiKeys, Limits

_log = logging.getLogger(__name__)

IDLE_SECONDS = 10
"""A connection is closed after this if no whole request head arrives or the client does not read."""
CONNECTIONS = 8
"""Open connections for each request that may be translated at a time. Beyond them the answer is 503."""
SPARE_CONNECTIONS = 64
LAST_SECONDS = 5
"""The time that answers in progress get when the server is stopped. Then they are cancelled (`app.Frame` says so)."""


def serve(
    model: Path,
    students: Sequence[str] | None,
    limits: Limits,
    *,
    host: str,
    port: int,
    api_keys: Path | None,
    runtime: Path | None,
    engine: str | None,
    precision: str,
    beam: int | None,
    threads: int,
    log_text: bool,
    say: Callable[[str], None],
) -> None:
    """Serve a run's students, or a folder's one model, until SIGINT or SIGTERM. Raises UserError as what it calls."""
    with (
        listen(host, port) as sock,
        open_family(model, students, engine=engine, precision=precision, beam=beam, threads=threads) as family,
    ):
        settings = settings_of(family, model, limits, host=host, api_keys=api_keys, runtime=runtime, log_text=log_text)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{sock.getsockname()[1]}"
        count = f"{len(family.students)} student{'s' if len(family.students) > 1 else ''}"
        pair = f"{family.source_language} → {family.target_language}"

        def ready() -> None:
            say(f"{count} of {family.name}, {pair}: {address} (API: {address}/docs); Ctrl+C stops")

        app = create_app(family, settings)
        run_server(app, sock, limits.requests, ready, app.stop)


def settings_of(
    family: Family,
    model: Path,
    limits: Limits,
    *,
    host: str,
    api_keys: Path | None,
    runtime: Path | None,
    log_text: bool,
) -> Settings:
    """Collect a server's settings: read the keys and the browser's models.

    Raises:
        UserError: the keys or the runtime cannot be read, or there is no student that the runtime can run.
    """
    local = is_local(host)
    if not local and api_keys is None:
        _log.warning("--host %s: whoever reaches this machine can use the server; --api-keys asks for a key", host)
    return Settings(
        limits,
        keys=None if api_keys is None else ApiKeys.read(api_keys),
        browser=browser_models(family, model, runtime),
        hosts=(*LOCAL, host, f"[{host}]") if local else None,
        log_text=log_text,
    )


# --- connections --------------------------------------------------------------------------------------------------


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits at most IDLE_SECONDS for a request's head, or for a client to read.

    uvicorn alone would wait for ever. When a connection is closed, the client has LAST_SECONDS to read the rest.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_in(IDLE_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._reading_due = _cancel(self._reading_due)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_in(LAST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_due, self._reading_due = _cancel(self._head_due), _cancel(self._reading_due)
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.transport.is_closing():
            self._abort_in(LAST_SECONDS)
        elif is_answering:
            self._head_due = _cancel(self._head_due)
        elif self._head_due is None:
            self._head_due = self.loop.call_later(IDLE_SECONDS, self._close)

    def _close(self) -> None:
        self.transport.close()
        self._abort_in(LAST_SECONDS)

    def _abort_in(self, seconds: float) -> None:
        """Abort the connection then. Unlike `close`, this does not wait until the client has read everything."""
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Stop a timer and return None, the value for no timer."""
    if timer is not None:
        timer.cancel()
    return None


def is_local(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that takes connections; port 0 takes any free port.

    Raises:
        UserError: the address is not one of this machine, or the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        number = error.errno or 0  # a negative one is of the search for the name
        reason = os.strerror(number) if number > 0 else "no address of that name is known" if number else error
        raise UserError(f"--host {host} --port {port}: cannot listen there ({reason})") from None


def run_server(
    app: ASGIApp, sock: socket.socket, requests: int, ready: Callable[[], None], stop: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; calls `ready` as soon as connections are taken, and `stop` at the signal."""

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

        async def shutdown(self, sockets: Any = None) -> None:
            stop()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        access_log=False,  # it logs whole addresses, which can hold text
        log_level="critical",
        server_header=False,
        limit_concurrency=CONNECTIONS * requests + SPARE_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    Announced(config).run(sockets=[sock])
