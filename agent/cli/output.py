"""`--output FILE`: what a command has made goes to where a person says, whatever is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.host import files

# Whoever opens one of these gets what a standard stream is open on, also where that is a file that others write to.
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def write(path: Path, data: bytes, mode: int, *, durable: bool = True) -> None:
    """Replace the file at `path` whole; a link is followed, and a device, a pipe or a stream is written into.

    A new file has `mode`, and so has one that is replaced. Raises `HostError` when it cannot be written.
    """
    path = path.absolute()
    if _is_stream(path):
        with files.naming(f"writing {path}"):
            # Appended: a stream that is a file has the words of others before these.
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        return
    with files.naming(f"writing {path}"):
        target = path.resolve()
    files.write(target, data, mode, durable=durable)


def _is_stream(path: Path) -> bool:
    """Whether something is there that is no regular file: a rename would put a file into its place."""
    if str(path).startswith(_STREAMS):
        return True
    with files.naming(f"writing {path}"):
        try:
            return not stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            return False
