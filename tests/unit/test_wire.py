"""The lab's wire to AWS: as long as it says, for every question and for the handshake before the first."""

from __future__ import annotations

import asyncio
import socket
import time

from tests.lab import wire

RTT = 0.06
BIG = b"x" * (3 << 20)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(BIG + b"\n" if line == b"big\n" else line)
        await writer.drain()
    writer.close()


async def times() -> tuple[list[float], bytes, bytes]:
    """How long the first question, the second and the end took; the answer to a third, and what came after the end."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0, limit=8 << 20)
    port = server.sockets[0].getsockname()[1]
    listener = socket.create_server(("127.0.0.1", 0))
    passing = asyncio.create_task(wire.carry(listener, RTT, lambda _: ("127.0.0.1", port)))
    began = [time.monotonic()]
    reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=8 << 20)
    for question in (b"one\n", b"two\n"):
        writer.write(question)
        assert await reader.readline() == question
        began.append(time.monotonic())
    writer.write(b"big\n")
    big = await reader.readline()
    before_end = time.monotonic()
    writer.write_eof()
    rest = await reader.read()
    began += [before_end, time.monotonic()]
    writer.close()
    await writer.wait_closed()
    passing.cancel()
    await asyncio.wait([passing])
    listener.close()
    server.close()
    await server.wait_closed()
    # The wire's own two connections end with what they carry.
    await asyncio.sleep(RTT)
    return [began[1] - began[0], began[2] - began[1], began[4] - began[3]], big, rest


def test_a_question_takes_a_round_trip_and_the_first_one_more_for_the_handshake() -> None:
    (first, second, end), big, rest = asyncio.run(times())

    assert 2 * RTT <= first < 3 * RTT
    assert RTT <= second < 2 * RTT
    assert RTT <= end < 2 * RTT, "an end is under way as long as anything else"
    assert big == BIG + b"\n"
    assert rest == b""
