"""The engine's client against servers on loopback that answer badly: every call ends, and says what it was."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from agent.errors import EngineError
from agent.host.clock import Deadline, SystemClock
from agent.host.engine import Engine
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import trickling_server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.1 200 OK\r\nX-Endless: "], ids=["body", "header"])
@pytest.mark.slow
def test_an_answer_that_trickles_ends_with_the_deadline(head: bytes) -> None:
    began = time.monotonic()
    with trickling_server(head) as url:
        engine = Engine(url.replace("http:", "tcp:"), Deadline.after(SystemClock(), 0.5))
        with pytest.raises(EngineError) as caught:
            engine.running()

    assert time.monotonic() - began < 2
    assert caught.value.cause == "no whole answer within 1 s"
    assert "journalctl -u docker" in caught.value.next_step


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "No such image: app:1"),
        (404, "image with reference app:1 was found but does not provide the specified platform (linux/amd64)"),
        (400, "invalid reference format"),
    ],
)
def test_an_image_that_cannot_be_there_is_not_there(status: int, said: str) -> None:
    """And a pull tells why, in its own words."""
    with engine_answering(Reply(status, json.dumps({"message": said}).encode())) as engine:
        assert engine.image("app:1") is None


def test_an_engine_in_trouble_is_told() -> None:
    reply = Reply(500, b'{"message": "layer does not exist"}')
    with engine_answering(reply) as engine, pytest.raises(EngineError, match="layer does not exist"):
        engine.image("app:1")


@contextlib.contextmanager
def engine_answering(reply: Reply) -> Iterator[Engine]:
    """An engine that answers so whatever image it is asked for."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/version"):
            return Reply(200, b'{"ApiVersion": "1.41"}', {"Content-Type": "application/json"})
        assert "/images/" in request.path
        return reply

    with Loopback(answer) as server:
        yield Engine(server.url.replace("http:", "tcp:"), Deadline.after(SystemClock(), 5))
