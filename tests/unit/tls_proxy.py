"""A proxy that is spoken to in TLS, on loopback: it keeps what it was sent before and inside of that."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

_ANSWERED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TlsProxy:
    """Takes every CONNECT to `target`, a port of 127.0.0.1, whatever name is asked for.

    `first` has the first bytes of each connection, `asked` what was asked for inside of TLS.
    """

    def __init__(self, identity: Path, target: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.first: list[bytes] = []
        self.asked: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        # The client may go away at any time, as one does that does not trust this certificate.
        with plain, contextlib.suppress(OSError):
            plain.settimeout(10)
            self.first.append(plain.recv(3, socket.MSG_PEEK))
            with self._context.wrap_socket(plain, server_side=True) as inner:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += inner.recv(1) or b"\r\n\r\n"
                self.asked.append(request)
                inner.sendall(_ANSWERED)
                with socket.create_connection(("127.0.0.1", self._target), 10) as far:
                    _relay(inner, far)


def _relay(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Pass on in both directions until one end is over; a TLS socket is for one thread at a time."""
    near.settimeout(0.01)
    far.settimeout(0.01)
    pairs: tuple[tuple[Callable[[int], bytes], Callable[[bytes], None]], ...] = (
        (near.recv, far.sendall),
        (far.recv, near.sendall),
    )
    while True:
        for read, write in pairs:
            with contextlib.suppress(TimeoutError):
                data = read(1 << 14)
                if not data:
                    return
                write(data)
