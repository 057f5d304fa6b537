"""The server's process: sockets, connections that must not wait for ever, and an end in order."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from polystill.errors import UserError

IDLE_SECONDS = 10
"""A connection on which no whole request head arrives, or whose client does not read, is closed after this."""
CONNECTIONS = 8
"""Open connections for each request that may be translated at a time; beyond, the answer is 503."""
SPARE_CONNECTIONS = 64
LAST_SECONDS = 5
"""What is being answered when the server is stopped has as long."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for a request's head, and for a client that does not read, no longer than IDLE_SECONDS;
    uvicorn itself would wait for ever. What a connection is closed with may take LAST_SECONDS to be read."""

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
        """`close` waits until the client has read what was written; this does not."""
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Stop it; returns what stands for no timer."""
    if timer is not None:
        timer.cancel()
    return None


def is_local(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections there; port 0 takes any that is free.

    Raises:
        UserError: the address is not one of this machine, or the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise UserError(f"--host {host} --port {port}: cannot listen there ({reason})") from None


def run_server(app: ASGIApp, sock: socket.socket, requests: int, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called when connections are taken."""

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

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
