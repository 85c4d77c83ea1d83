"""Connections from the test process into a lab machine: its network namespaces and its unix sockets."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import socket
import ssl
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.process import LabError

CLONE_NEWNET = 0x40000000


def connect_in_namespace(namespace: str, address: tuple[str, int], timeout: float) -> socket.socket:
    """A TCP connection made inside the network namespace at the path `namespace`."""

    def connect() -> socket.socket:
        with Path(namespace).open("rb") as handle:
            if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise LabError(f"cannot enter {namespace}: {os.strerror(ctypes.get_errno())}")
        return socket.create_connection(address, timeout)

    # The namespace belongs to the thread, a socket keeps the one it was made in: so a thread that ends at once.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(connect).result()


class NamespaceConnection(http.client.HTTPConnection):
    """An HTTP(S) connection made inside a network namespace, to an address that may differ from the host's name."""

    def __init__(
        self, namespace: str, host: str, port: int, address: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        # The default port is not written into the Host header.
        self.default_port = 80 if tls is None else 443
        super().__init__(host, port, timeout=10)
        self._namespace, self._address, self._tls = namespace, address or host, tls

    def connect(self) -> None:
        self.sock = connect_in_namespace(self._namespace, (self._address, self.port), 10)
        if self._tls is not None:
            try:
                self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
            except OSError as error:
                # Where the other side is gone before the handshake, Python leaves its socket open, and to nobody.
                for frame, _ in traceback.walk_tb(error.__traceback__):
                    if isinstance(lost := frame.f_locals.get("self"), ssl.SSLSocket):
                        lost.close()
                raise


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str, timeout: float = 30) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = unix_socket(self._path, self.timeout or 30)


def unix_socket(path: str, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


class Forwarder:
    """A loopback TCP port that leads to a unix socket, for clients that only know TCP (boto3)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and end the connections."""
        # close() alone would not wake a thread that waits in accept() or recv().
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), unix_socket(self._path, None) as server:
            self._open |= {client, server}
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
            self._open -= {client, server}


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then end the target's sending side: both directions end on their own."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
