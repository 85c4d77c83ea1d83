"""One connection to S3: what it reads, what it refuses, and when it may be used again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agent.aws.object_wire import Connection, UnusualError
from tests.unit.identity import make_identity

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\n\r\n'


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_identity(tmp_path_factory.mktemp("tls"))


class Server:
    """Answers each request of one connection with the next of `answers`, piece by piece, then closes it."""

    def __init__(self, identity: Path, answers: Sequence[Sequence[bytes]]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity)
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        # The client may go away at any time.
        with (
            self._listener,
            contextlib.suppress(OSError),
            self._context.wrap_socket(self._listener.accept()[0], server_side=True) as connection,
        ):
            for answer in self._answers:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    piece = connection.recv(1 << 16)
                    if not piece:
                        return
                    request += piece
                self.requests.append(request)
                for piece in answer:
                    connection.sendall(piece)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


Connect = Callable[..., tuple[Connection, Server]]


@pytest.fixture
def connect(identity: Path) -> Iterator[Connect]:
    made: list[tuple[Connection, Server]] = []

    def start(*answers: Sequence[bytes]) -> tuple[Connection, Server]:
        server = Server(identity, answers)
        connection = Connection(
            "localhost", server.port, ssl.create_default_context(cafile=identity), connecting=5, waiting=5
        )
        made.append((connection, server))
        return made[-1]

    yield start
    for connection, server in made:
        connection.close()
        server.join()


def content(connection: Connection) -> bytes:
    return b"".join(connection.body(connection.get("/key", {"host": "localhost"})))


def test_it_asks_as_http_wants_it_and_takes_nothing_packed(connect: Connect) -> None:
    connection, server = connect([OK, b"hello"])

    assert content(connection) == b"hello"
    assert server.requests == [b"GET /key HTTP/1.1\r\nAccept-Encoding: identity\r\nhost: localhost\r\n\r\n"]


@pytest.mark.parametrize(
    "pieces",
    [[OK + b"hello"], [OK, b"hello"], [OK[:9], OK[9:-3], OK[-3:-1], OK[-1:] + b"h", b"el", b"lo"]],
    ids=["one record", "head and body", "small records"],
)
def test_an_answer_is_read_however_it_is_cut(connect: Connect, pieces: list[bytes]) -> None:
    connection, _ = connect(pieces)
    answer = connection.get("/key", {})

    assert (answer.status, answer.headers, answer.length) == (200, {"content-length": "5", "etag": '"e"'}, 5)
    assert b"".join(connection.body(answer)) == b"hello"


def test_a_large_body_comes_in_large_pieces(connect: Connect) -> None:
    whole = bytes(range(256)) * 4096
    connection, _ = connect([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(whole) + whole])
    pieces = list(connection.body(connection.get("/key", {})))

    assert b"".join(pieces) == whole
    assert len(pieces) == 5


def test_an_idle_connection_is_used_again_also_after_an_empty_object(connect: Connect) -> None:
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    connection, server = connect([OK + b"hello"], [empty], [OK, b"again"])

    assert [content(connection) for _ in range(3)] == [b"hello", b"", b"again"]
    assert connection.is_idle
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "said",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\nhello"],
        [OK + b"hello, and something that nobody asked for"],
        [OK, b"hello, and something that nobody asked for"],
    ],
    ids=["closed", "closed, in capitals", "more than its length", "more than its length, in a record of the body"],
)
def test_a_connection_is_not_used_again_when_its_server_says_so_or_says_too_much(
    connect: Connect, said: list[bytes]
) -> None:
    connection, _ = connect(said)

    assert content(connection) == b"hello"
    assert not connection.is_idle


def test_a_body_that_is_left_unread_leaves_no_idle_connection(connect: Connect) -> None:
    connection, _ = connect([OK + b"he"])
    body = connection.body(connection.get("/key", {}))

    assert next(body) == b"he"
    body.close()  # type: ignore[attr-defined] # it is a generator
    assert not connection.is_idle


def test_a_body_that_breaks_off_is_an_error_of_the_connection(connect: Connect) -> None:
    connection, _ = connect([OK + b"hel"])

    with pytest.raises(OSError, match="closed in the middle"):
        content(connection)
    assert not connection.is_idle


def test_an_answer_of_another_status_is_told(connect: Connect) -> None:
    # As S3 sends its errors.
    connection, _ = connect([b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<Err>\r\n0\r\n\r\n"])

    assert connection.get("/key", {}).status == 503


def test_no_answer_at_all_is_an_error_of_the_connection(connect: Connect) -> None:
    connection, _ = connect([b""])

    with pytest.raises(ConnectionError, match="closed before an answer"):
        connection.get("/key", {})


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"<html>captive portal</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"0" * 5000 + b"5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\rb\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX:" + b" " * 60_000 + b"\n\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: \u00b5\r\n\r\nhello".encode("latin-1"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n folded: x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=lambda said: repr(said[:50]),
)
def test_what_is_no_plain_answer_is_refused(connect: Connect, said: bytes) -> None:
    connection, _ = connect([said])

    with pytest.raises(UnusualError):
        connection.get("/key", {})
    assert not connection.is_idle


@pytest.mark.parametrize("value", ['"a"\r\nx-amz-acl: public-read', "\u00e4", "a\0"])
def test_a_header_that_would_be_more_than_one_is_not_sent(connect: Connect, value: str) -> None:
    connection, server = connect([OK + b"hello"])

    with pytest.raises(UnusualError):
        connection.get("/key", {"if-match": value})
    connection.close()
    server.join()
    assert server.requests == []


def test_a_certificate_of_nobody_that_is_trusted_is_an_error_of_the_connection(identity: Path) -> None:
    server = Server(identity, [])

    with pytest.raises(ssl.SSLCertVerificationError):
        Connection("localhost", server.port, ssl.create_default_context(), connecting=5, waiting=5)
    server.join()
