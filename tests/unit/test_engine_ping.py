"""Whether the engine answers, told without its SDK; whatever is not a plain yes is left to the SDK to look into."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.host import engine_link

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def answering(path: Path, reply: bytes) -> Callable[[], None]:
    """One listener that gives this reply to one question; returns what ends it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4096).startswith(b"GET /_ping HTTP/1.1\r\n")
            connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def end() -> None:
        thread.join(5)
        listener.close()

    return end


@pytest.mark.parametrize(
    ("reply", "well"),
    [
        (WELL, True),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno", False),
        (WELL.replace(b"\r\n\r\nOK", b"\r\n\r\nno"), False),
        (b"220 mail.example.com ESMTP\r\n", False),
        (b"", False),
    ],
    ids=["well", "in trouble", "something else", "no HTTP", "hung up"],
)
def test_only_a_plain_yes_is_one(tmp_path: Path, reply: bytes, *, well: bool) -> None:
    end = answering(tmp_path / "docker.sock", reply)

    assert engine_link.answers(f"unix://{tmp_path}/docker.sock") is well
    end()


def test_an_engine_that_is_not_there_or_says_nothing_does_not_answer(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.bind(str(tmp_path / "silent.sock"))
    silent.listen(1)

    assert not engine_link.answers(f"unix://{tmp_path}/absent.sock")
    assert not engine_link.answers(f"unix://{tmp_path}/silent.sock", 0.05)
    assert not engine_link.answers("tcp://127.0.0.1:1")
    silent.close()
