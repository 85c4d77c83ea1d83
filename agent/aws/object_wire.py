"""One connection to S3 for GETs of objects: HTTP/1.1 as far as S3 speaks it to them; whatever else is said is refused.

`http.client` makes an e-mail message of every answer's headers, and copies its body through two more layers: half of
what an object costs. An answer that does not begin with its status, has no length, comes in chunks or breaks off is
`UnusualError`: the SDK's to ask for again.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from agent.aws.content import Piece
from agent.dataclass import dataclass

# One record of TLS at most.
_RECORD = 16 << 10
_PIECE = 256 << 10
# Far more than S3 sends.
_MOST_HEAD = 64 << 10
_STATUS = re.compile(r"HTTP/1\.1 ([1-5]\d\d)(?: .*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,15}")


class UnusualError(Exception):
    """The answer is not of the kind that is read here."""


@dataclass(frozen=True)
class Answer:
    """The head of an answer, header names in lower case; its body has `length` bytes, looked at with status 200 only.

    S3's errors come in chunks: nobody reads them here.
    """

    status: int
    headers: Mapping[str, str]
    length: int


class Connection:
    """A connection to `host`, whose certificate `trust` looks at.

    `connecting` are the seconds for each of its addresses, and for TLS; `waiting` those for each piece of an answer.
    One request at a time. `OSError` when it breaks, which a certificate that is not trusted is too.
    """

    def __init__(self, host: str, port: int, trust: ssl.SSLContext, *, connecting: float, waiting: float) -> None:
        self.host, self.port = host, port
        self.is_idle = False
        plain = socket.create_connection((host, port), connecting)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = trust.wrap_socket(plain, server_hostname=host)
            self._socket.settimeout(waiting)
        except BaseException:
            plain.close()
            raise
        self._begun = b""

    def close(self) -> None:
        """Let go of it; nothing happens the second time."""
        self._socket.close()

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Ask for `path` (quoted) and read the head of the answer; `headers` have `host` among them.

        `ConnectionError` when no answer begins: an idle connection may have been closed by the other side.
        """
        self.is_idle = False
        # An ETag of a listing is one: whatever it holds must not become another header.
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise UnusualError("a header that cannot be sent")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nAccept-Encoding: identity\r\n{lines}\r\n".encode("ascii"))
        received = self._socket.recv(_RECORD)
        if not received:
            raise ConnectionError("the connection was closed before an answer")
        while b"\r\n\r\n" not in received:
            piece = self._socket.recv(_RECORD)
            if not piece or len(received) > _MOST_HEAD:
                raise UnusualError("no head of an answer")
            received += piece
        head, _, self._begun = received.partition(b"\r\n\r\n")
        return _answer(head)

    def body(self, answer: Answer) -> Iterator[Piece]:
        """The pieces of the body, `OSError` when it breaks off; after the last one the connection is idle."""
        piece: Piece = self._begun[: answer.length]
        left = answer.length
        kept = len(self._begun) <= left and answer.headers.get("connection", "").lower() != "close"
        while left:
            left -= len(piece)
            if piece:
                yield piece
            piece = self._read(min(left, _PIECE))
        # What nobody asked for would be taken for the next answer.
        self.is_idle = kept and not self._socket.pending()

    def _read(self, size: int) -> bytearray:
        """So many bytes: a piece is as long as hashes and files like it, whatever the records are."""
        room = bytearray(size)
        view, filled = memoryview(room), 0
        while filled < size:
            came = self._socket.recv_into(view[filled:])
            if not came:
                raise ConnectionError("the connection was closed in the middle of the content")
            filled += came
        return room


def _answer(head: bytes) -> Answer:
    first, *fields = head.decode("latin-1").split("\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise UnusualError("no status of HTTP/1.1")
    headers: dict[str, str] = {}
    for line in fields:
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not (colon and _NAME.fullmatch(name)) or "\n" in value or "\r" in value:
            raise UnusualError("a line that is no header")
        if headers.setdefault(name.lower(), value) != value:
            raise UnusualError("two headers of one name")
    if int(status[1]) != HTTPStatus.OK:
        return Answer(int(status[1]), headers, 0)
    length = headers.get("content-length", "")
    if not _LENGTH.fullmatch(length) or "transfer-encoding" in headers:
        raise UnusualError("a body without a length")
    return Answer(int(status[1]), headers, int(length))
