"""The process's standard streams: there from the start, flushed at the end, never in the way of a run.

A command's data is another thing: whether it was written is part of what the command promises (`put`).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import TextIO

# 128 + SIGPIPE, as a shell reports it of other tools; the module `signal` takes its time to load.
UNREAD = 141


def put(out: TextIO, data: str | bytes) -> int:
    """Write all of a command's data now; returns 0, or the exit code of a command that nobody reads any more.

    Raises `HostError` when it cannot be written. Nothing is left in a buffer, whose loss nobody could be told of.
    """
    try:
        _write_whole(out, data)
    except BrokenPipeError:
        return UNREAD
    except OSError as error:
        from agent.errors import HostError  # noqa: PLC0415 - `--help` loads the arguments alone

        raise HostError(
            "writing standard output",
            error.strerror or str(error),
            "see where it leads (`df -h` when to a file), or lead it elsewhere, then run it again",
        ) from error
    return 0


def _write_whole(out: TextIO, data: str | bytes) -> None:
    try:
        number = out.fileno()
    except (OSError, ValueError):  # no file of the system's, but a test's
        out.write(data if isinstance(data, str) else data.decode())
        return
    out.flush()
    rest = data if isinstance(data, bytes) else data.encode(out.encoding, "backslashreplace")
    # Not by the stream: unbuffered, it takes a part of the data for all of it.
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:
            select.select((), (number,), ())


class SteadyStream:
    """A text stream that never fails and never blocks for long: neither may end or hold up a deploy half way.

    What a closed terminal or a pipe that nobody reads does not take is dropped.
    """

    PATIENCE_SECONDS = 1.0
    # In UTF-8 at most 4096 bytes, which a pipe takes whole when it takes any (pipe(7), PIPE_BUF).
    PIECE = 1024

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self.encoding = inner.encoding
        self.broken = False
        self._patience = self.PATIENCE_SECONDS

    def write(self, text: str) -> int:
        """Write, or do nothing once that has failed."""
        for start in range(0, len(text), self.PIECE):
            self._write(text[start : start + self.PIECE])
        return len(text)

    def _write(self, piece: str) -> None:
        if self.broken or not self._takes_more():
            return
        try:
            self._inner.write(piece)
            self._inner.flush()
        except UnicodeEncodeError:
            self._write(piece.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError):
            self.broken = True

    def _takes_more(self) -> bool:
        """False when the reader does not read; waited for once, later ones find out at once."""
        try:
            ready = bool(select.select((), (self._inner.fileno(),), (), self._patience)[1])
        except (OSError, ValueError):
            return True  # no file of the system's: a test's, or one that is closed, and write says so
        self._patience = self.PATIENCE_SECONDS if ready else 0.0
        return ready

    def flush(self) -> None:
        """Nothing: every write is flushed."""


def open_closed_streams() -> None:
    """Give the process the three standard files that it was started without, so that no other file becomes one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life


def settle_streams() -> None:
    """Flush what was printed, so that the interpreter does not fail to at its end, with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
