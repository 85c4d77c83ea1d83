"""The engine's client against servers on loopback that answer badly: every call ends, and says what it was."""

from __future__ import annotations

import time

import pytest

from agent.errors import EngineError
from agent.host.clock import Deadline, SystemClock
from agent.host.engine import Engine
from tests.unit.fakes import trickling_server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.1 200 OK\r\nX-Endless: "], ids=["body", "header"])
def test_an_answer_that_trickles_ends_with_the_deadline(head: bytes) -> None:
    began = time.monotonic()
    with trickling_server(head) as url:
        engine = Engine(url.replace("http:", "tcp:"), Deadline.after(SystemClock(), 0.5))
        with pytest.raises(EngineError) as caught:
            engine.running()

    assert time.monotonic() - began < 2
    assert caught.value.cause == "no whole answer within 1 s"
    assert "journalctl -u docker" in caught.value.next_step
