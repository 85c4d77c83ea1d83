"""Hashing a large object while it is read: both take as long, and a hash lets other threads work."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

from agent.aws.content import Piece

# A thread and its queue cost more than they save below.
LARGE = 8 << 20
# Pieces that may wait; more would only be memory.
_WAITING = 8


@contextlib.contextmanager
def behind(work: Callable[[Piece], None], size: int) -> Iterator[Callable[[Piece], None]]:
    """What is to be called with each piece of a content of `size` bytes in the place of `work`.

    For a large one `work` is called in a thread of its own, in the same order; at the end of the block it is done
    with all pieces. `work` must not raise.
    """
    if size < LARGE:
        yield work
        return
    pieces: queue.Queue[Piece | None] = queue.Queue(_WAITING)

    def take() -> None:
        while (piece := pieces.get()) is not None:
            work(piece)

    thread = threading.Thread(target=take, name="hashing", daemon=True)
    thread.start()
    try:
        yield pieces.put
    finally:
        pieces.put(None)
        thread.join()
