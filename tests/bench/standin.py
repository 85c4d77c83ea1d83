"""AWS for measurements: one process that answers over TLS 1.3 with keep-alive, from answers that are made once.

The lab's own AWS is moto, which gives a few hundred answers a second and would hide every difference. This one is a
single epoll loop; what it manages is measured by the suite and printed (`speed.py`).

    python -m tests.bench.standin CERTIFICATE KEY ADDRESS PORT CONTROL

CONTROL is a unix socket that takes a line of JSON and gives one: see `Control`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from tests.bench.answers import Answers
from tests.bench.asked import Answer, Asked, operation_of
from tests.bench.exchange import Exchange
from tests.bench.worlds import Changes, Spec, build
from tests.lab.aws_model import Json

Hook = Callable[[Asked, str], Answer | None]
"""Called with every request and its operation; its answer, when there is one, is given instead."""

# So many pieces in a row for one connection, before the others have their turn.
_TURN = 4
_SEND_BUFFER = 4 << 20


class Standin:
    """Serves one listening socket; make it, then call `serve`, which returns when `stop` was called.

    `calls` counts by operation, `connections` those that were opened, `sent` the bytes of the bodies.
    """

    def __init__(
        self, answers: Answers, listener: socket.socket, context: ssl.SSLContext, hook: Hook | None = None
    ) -> None:
        self.answers = answers
        self.calls: Counter[str] = Counter()
        self.connections = 0
        self.sent = 0
        self._listener, self._context, self._hook = listener, context, hook
        self._poll = select.epoll()
        self._open: dict[int, Exchange] = {}
        self._others: dict[int, Callable[[], None]] = {}
        self._date = (0, b"")
        self._running = True
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def watch(self, number: int, ready: Callable[[], None]) -> None:
        """Call `ready` in the loop whenever the file descriptor `number` can be read."""
        self._others[number] = ready
        self._poll.register(number, select.EPOLLIN)

    def unwatch(self, number: int) -> None:
        del self._others[number]
        self._poll.unregister(number)

    def stop(self) -> None:
        """Let `serve` return; from the loop itself (a hook, a watched descriptor) or before it begins."""
        self._running = False

    def serve(self) -> None:
        try:
            while self._running:
                for number, _ in self._poll.poll():
                    if number == self._listener.fileno():
                        self._accept()
                    elif number in self._others:
                        self._others[number]()
                    else:
                        self._go_on(self._open[number])
        finally:
            for exchange in self._open.values():
                exchange.sock.close()
            self._poll.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._open[secure.fileno()] = Exchange(secure)
        self._poll.register(secure.fileno(), select.EPOLLIN)
        self.connections += 1

    def _go_on(self, exchange: Exchange) -> None:
        number = exchange.sock.fileno()
        try:
            while (asked := exchange.next_request(_TURN)) is not None:
                operation = operation_of(asked)
                answer = (self._hook and self._hook(asked, operation)) or self.answers.answer(asked)
                self.calls[answer.operation] += 1
                self.sent += len(answer.body)
                if answer.operation == "refused":
                    print(bytes(answer.body).decode(), file=sys.stderr, flush=True)
                exchange.answer(answer, self._now())
        except (ssl.SSLError, OSError, EOFError, ValueError):
            # The other side has gone, or talks something else.
            self._poll.unregister(number)
            del self._open[number]
            exchange.sock.close()
            return
        self._poll.modify(number, select.EPOLLOUT if exchange.wants_to_write else select.EPOLLIN)

    def _now(self) -> bytes:
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]


class Control:
    """The suite's door: `{"do": "world", "spec": {...}, "changes": {...}}`, `{"do": "counts"}`, `{"do": "clear"}`."""

    def __init__(self, standin: Standin, listener: socket.socket) -> None:
        self._standin, self._listener = standin, listener
        standin.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        # One order at a time, from the suite alone: it may be waited for.
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rw") as lines:
            order = json.loads(lines.readline())
            lines.write(json.dumps(self._obey(order)) + "\n")

    def _obey(self, order: Json) -> Json:
        standin = self._standin
        match order["do"]:
            case "world":
                standin.answers = Answers(build(Spec(**order["spec"]), Changes(**order["changes"])))
            case "clear":
                standin.calls.clear()
                standin.connections = standin.sent = 0
            case "counts":
                return {"calls": standin.calls, "connections": standin.connections, "sent": standin.sent}
            case other:
                raise ValueError(other)
        return None


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.3 alone, as AWS speaks it with every present SDK."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


def main() -> None:
    certificate, key, address, port, control = sys.argv[1:]
    listener = socket.create_server((address, int(port)), backlog=1024)
    standin = Standin(Answers(build(Spec())), listener, server_context(certificate, key))
    door = socket.socket(socket.AF_UNIX)
    # Renamed when it listens: the suite waits for the name.
    door.bind(f"{control}.part")
    door.listen()
    Control(standin, door)
    Path(f"{control}.part").rename(control)
    # It must be there when the contender's processes want both cores.
    os.nice(-5)
    standin.serve()


if __name__ == "__main__":
    main()
