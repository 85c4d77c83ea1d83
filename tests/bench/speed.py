"""How fast the stand-in itself is: it must not be what the suite measures.

Clients and stand-in share the machine's cores here, as they do in the suite.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.bench.answers import Answers
from tests.bench.standin import Standin, server_context
from tests.bench.worlds import Spec, build, changing_file
from tests.lab.aws_model import BUCKET, REGION
from tests.lab.machine import Machine
from tests.lab.pki import Pki
from tests.lab.world import PREFIX, REF, ROLE

_SMALL, _CLIENTS = 3000, 2
_BIG, _TIMES = 256 << 20, 4


def measure() -> str:
    """`5,400 small GETs/s; 1.1 GB/s ...`, in words for the report."""
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki(Machine())
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        certificate.write_text(pki._server)
        key.write_text(pki._key)
        context = server_context(str(certificate), str(key))
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    child = os.fork()
    if child == 0:
        _serve(listener, context)
    port = listener.getsockname()[1]
    listener.close()
    try:
        small = f"{PREFIX}/{REF}/{changing_file()}"
        _get(port, small, 1)
        before = _cpu(child)
        seconds = _timed(lambda: _side_by_side(port, small, _SMALL))
        per_second, cost = _CLIENTS * _SMALL / seconds, (_cpu(child) - before) / (_CLIENTS * _SMALL)
        before = _cpu(child)
        big = _timed(lambda: _get(port, f"{PREFIX}/{REF}/{ROLE}/data/big.bin", _TIMES))
        busy = _cpu(child) - before
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    small_ones = f"{per_second:,.0f} GETs of 8 KB/s, {1e6 * cost:.0f} us of CPU each"
    sent = _TIMES * _BIG / 1e9
    large_ones = f"{sent / big:.2f} GB/s of one object, {sent / busy:.2f} GB per second of its CPU"
    return f"{small_ones}; {large_ones} (its clients, in Python, on the same cores)"


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    try:
        Standin(Answers(build(Spec(big=_BIG))), listener, context).serve()
    finally:
        os._exit(1)


def _side_by_side(port: int, key: str, times: int) -> None:
    with ProcessPoolExecutor(_CLIENTS, mp_context=get_context("fork")) as pool:
        for done in [pool.submit(_get, port, key, times) for _ in range(_CLIENTS)]:
            done.result()


def _get(port: int, key: str, times: int) -> None:
    """GET it so often over one connection, and throw it away."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"GET /{key} HTTP/1.1\r\nHost: {BUCKET}.s3.{REGION}.amazonaws.com\r\n\r\n".encode()
    room = bytearray(1 << 20)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as sock:
        for _ in range(times):
            sock.sendall(request)
            head, _, body = sock.recv(1 << 16).partition(b"\r\n\r\n")
            left = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) - len(body)
            while left > 0:
                left -= sock.recv_into(room, min(left, len(room)))


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
