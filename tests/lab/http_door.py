"""A small threaded HTTP/1.1 server that keeps connections alive, for the servers of the lab.

werkzeug's server closes every connection and waits 10 ms before it does, which would hide what connection reuse is
worth, and would leave no way to break a connection in the middle of an answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import socket
import socketserver
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from http.client import responses
from http.server import BaseHTTPRequestHandler


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    target: str
    """Path and query, as sent."""
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes
    connection: socket.socket
    connection_number: int
    """Different for every connection that the server has accepted."""
    scheme: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Iterable[tuple[str, str]] = ()
    close: bool = False
    """Close the connection after this answer."""
    stop_after: int | None = None
    """Send only so many bytes of the body, then cut the connection."""
    reset: bool = False
    """Send nothing at all: reset the connection."""
    pause: float = 0.0
    """Seconds between two bytes of the body: a trickle."""
    pausing: Callable[[], bool] = lambda: True
    """Asked between two bytes; once it says no, the connection is cut."""


def cut_short(reply: Reply) -> Reply:
    """The same answer, broken off in the middle of its body."""
    return dataclasses.replace(reply, stop_after=len(reply.body) // 2)


def corrupted(reply: Reply) -> Reply:
    """The same answer with another byte in the middle of its body."""
    half = len(reply.body) // 2
    changed = bytes(byte ^ 1 for byte in reply.body[half : half + 1])
    return dataclasses.replace(reply, body=reply.body[:half] + changed + reply.body[half + 1 :])


Respond = Callable[[Request], Reply]

_connections = itertools.count(1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    server: _Server

    def setup(self) -> None:
        # The handshake is done here, in the connection's own thread: a slow client must not hold up accept().
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        if self.request.family != socket.AF_UNIX:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = next(_connections)
        super().setup()

    def handle(self) -> None:
        # A client that goes away, or a fault that cut the connection, is no news.
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def answer(self) -> None:
        # One that is there several times (the engine's Accept) is a list.
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        scheme = "https" if self.server.tls is not None else "http"
        request = Request(self.command, self.path, headers, self._body(), self.connection, self._number, scheme)
        self._send(self.server.respond(request))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 (the names that the base class looks for)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _send(self, reply: Reply) -> None:
        if reply.reset:
            # With a linger time of zero, close() answers the client with RST instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            self.close_connection = True
            return
        names = {name.lower() for name, _ in reply.headers}
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if "content-length" not in names and reply.status not in (204, 304):
            lines.append(f"Content-Length: {len(reply.body)}")
        if reply.close:
            lines.append("Connection: close")
            self.close_connection = True
        body = b"" if self.command == "HEAD" else reply.body[: reply.stop_after]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if reply.pause:
            self._trickle(head, body, reply)
        else:
            self.wfile.write(head + body)
        if reply.stop_after is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _trickle(self, head: bytes, body: bytes, reply: Reply) -> None:
        self.wfile.write(head)
        for place in range(len(body)):
            time.sleep(reply.pause)
            if not reply.pausing():
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.wfile.write(body[place : place + 1])

    def log_message(self, *_: object) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, respond: Respond, tls: ssl.SSLContext | None) -> None:
        super().__init__(("", 0), _Handler)
        self.listener, self.respond, self.tls = listener, respond, tls

    def fileno(self) -> int:
        return self.listener.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, _ = self.listener.accept()
        return connection, ("", 0)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # a door has sockets only, no datagrams
        # The handler has closed it (or what TLS made of it) already.
        request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that breaks off the TLS handshake (it does not trust us, say) is part of some tests.
        pass


def serve(listener: socket.socket, respond: Respond, tls: ssl.SSLContext | None = None) -> None:
    """Answer every request on `listener` with `respond`, each connection in a thread of its own, for ever."""
    _Server(listener, respond, tls).serve_forever(poll_interval=3600)


def listen(address: str, port: int) -> socket.socket:
    """A listening TCP socket at an IPv4 or IPv6 address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=128)
