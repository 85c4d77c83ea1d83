"""The way to AWS and back, as long as is asked for: a proxy in front of it that holds back what passes.

The kernels that the lab runs on have no netem, so this models it: every piece is held back for half a round trip in
its direction, and the first of a connection a whole one more, for the TCP handshake. Clients connect to AWS's own
addresses; a rule of the firewall leads them here. Without a round-trip time there is neither rule nor proxy. Not
modelled: slow start and loss; at most 16 MiB of a direction are under way.

    python -m tests.lab.wire PORT MILLISECONDS
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable

PORT = 7443
_ORIGINAL_DESTINATION = 80  # SO_ORIGINAL_DST
_WINDOW = 16 << 20


class Half(asyncio.Protocol):
    """One of the two connections of a passage; what it receives goes out of the other one, later."""

    def __init__(self, seconds: float, opened: float) -> None:
        self._seconds, self._opened = seconds, opened
        self._transport: asyncio.Transport | None = None
        self._other: Half | None = None
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._ended = False

    def join(self, other: Half) -> None:
        """From now on the two belong together."""
        self._other, other._other = other, self
        if self._under_way:
            self._deliver_later()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._put(data)

    def eof_received(self) -> bool:
        self._put(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and self._other is not None and self._other._transport is not None:
            self._other._transport.abort()

    def _put(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        was_empty = not self._under_way
        self._under_way.append((max(now, self._opened) + self._seconds / 2, data))
        self._size += len(data)
        if self._size > _WINDOW and self._transport is not None:
            self._transport.pause_reading()
        if was_empty and self._other is not None:
            self._deliver_later()

    def _deliver_later(self) -> None:
        asyncio.get_running_loop().call_at(self._under_way[0][0], self._deliver)

    def _deliver(self) -> None:
        assert self._other is not None
        target, now = self._other._transport, asyncio.get_running_loop().time()
        if target is None or target.is_closing():
            self._under_way.clear()
            if self._transport is not None:
                self._transport.abort()
            return
        # The clock of the loop is a little coarser than what it promises.
        while self._under_way and self._under_way[0][0] <= now + 0.0001:
            _, data = self._under_way.popleft()
            self._size -= len(data)
            if data:
                target.write(data)
                continue
            # It may have been closed from the other end meanwhile.
            with contextlib.suppress(OSError):
                target.write_eof()
            self._ended = True
            if self._other._ended and self._transport is not None:
                target.close()
                self._transport.close()
        if self._size <= _WINDOW and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._under_way:
            self._deliver_later()


def original_destination(sock: socket.socket) -> tuple[str, int]:
    """Where the client wanted to go, before the firewall's rule led it here."""
    raw = sock.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16)
    port, address = struct.unpack_from("!2xH4s", raw)
    return socket.inet_ntoa(address), port


async def carry(
    listener: socket.socket, seconds: float, where: Callable[[socket.socket], tuple[str, int]] = original_destination
) -> None:
    """Take connections for ever; each goes to where it wanted to go."""
    loop = asyncio.get_running_loop()
    listener.settimeout(0)
    passages: set[asyncio.Task[None]] = set()
    while True:
        client, _ = await loop.sock_accept(listener)
        passage = asyncio.create_task(_open(client, seconds, where(client)))
        passages.add(passage)
        passage.add_done_callback(passages.discard)


async def _open(client: socket.socket, seconds: float, target: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Client's first bytes leave it when its handshake is over, which takes a round trip.
    opened = loop.time() + seconds
    _, near = await loop.connect_accepted_socket(lambda: Half(seconds, opened), client)
    _, far = await loop.create_connection(lambda: Half(seconds, 0), *target)
    near.join(far)


def main() -> None:
    port, milliseconds = sys.argv[1:]
    with socket.create_server(("0.0.0.0", int(port)), backlog=512) as listener:
        asyncio.run(carry(listener, float(milliseconds) / 1000))


if __name__ == "__main__":
    main()
