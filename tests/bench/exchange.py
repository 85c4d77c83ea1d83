"""One client's connection to the stand-in: requests in, answers out, never blocking."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from tests.bench.asked import Answer, Asked

_READ = 65536
_AT_ONCE = 256 << 10
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Exchange:
    """HTTP/1.1 with keep-alive over a non-blocking TLS socket. Only bodies with a Content-Length are understood."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self._greeted = False
        self._received = bytearray()
        self._waiting: list[memoryview] = []
        self.wants_to_write = False

    def next_request(self, turn: int) -> Asked | None:
        """The next whole request, when the last answer is out; None when there is nothing to do until epoll says so.

        `turn` is how many pieces of an answer are written at most. Raises EOFError when the client has ended.
        """
        try:
            if not self._greeted:
                self.sock.do_handshake()
                self._greeted = True
            if not self._write(turn):
                return None
            while (asked := self._parse()) is None:
                data = self.sock.recv(_READ)
                if not data:
                    raise EOFError
                self._received += data
        except ssl.SSLWantReadError:
            self.wants_to_write = False
            return None
        except ssl.SSLWantWriteError:
            self.wants_to_write = True
            return None
        return asked

    def answer(self, answer: Answer, date: bytes) -> None:
        """Have this sent; the next `next_request` begins with it."""
        length = len(answer.body) if answer.length is None else answer.length
        lines = [f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}", *map(": ".join, answer.headers)]
        lines.append(f"Content-Length: {length}\r\nDate: ")
        head = "\r\n".join(lines).encode() + date + b"\r\n\r\n"
        if len(answer.body) < _READ:
            self._waiting = [memoryview(head + answer.body)]
        else:
            self._waiting = [memoryview(head), memoryview(answer.body)]

    def _write(self, turn: int) -> bool:
        """True when all is out."""
        while self._waiting:
            if not turn:
                self.wants_to_write = True
                return False
            turn -= 1
            part = self._waiting[0]
            # Not all of a large object: as long as the client keeps up, that would be one call for all of it.
            sent = self.sock.send(part[:_AT_ONCE])
            if sent == len(part):
                del self._waiting[0]
            else:
                self._waiting[0] = part[sent:]
        self.wants_to_write = False
        return True

    def _parse(self) -> Asked | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + 4 + int(headers.get("content-length", 0))
        if len(self._received) < whole:
            return None
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        method, target, _ = first.split(" ")
        return Asked(
            method,
            headers.get("host", "").partition(":")[0],
            target,
            body,
            headers.get("x-amz-target", ""),
            headers.get("range", ""),
            headers.get("if-match", ""),
            headers.get("x-amz-checksum-mode", ""),
        )
