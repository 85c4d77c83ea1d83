"""One run at a time: a kernel lock that dies with its process and is never inherited by a child."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import LockHeld
from agent.host import files, json_input
from agent.host.clock import Clock

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Owner:
    """Who holds the lock, for the message of whoever is refused."""

    pid: int
    command: str
    user: str
    started: str


@contextlib.contextmanager
def held(
    path: Path, owner: Owner, clock: Clock, wait: float, tell: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Hold the lock at `path` inside the block; wait up to `wait` seconds for another run, then raise `LockHeld`.

    `tell` hears who is waited for, and again when that is another.
    """
    files.make_folder(path.parent, 0o755)
    with files.naming(f"opening the lock {path}"):
        # Python opens with O_CLOEXEC: a child that lives on cannot keep the lock.
        # For root alone: to lock it, others would need no more than to open it for reading.
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(fd, 0o600)
    try:
        _take(fd, clock, wait, tell)
        # Who holds it is a nicety; the kernel's lock holds also on a full file system.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(asdict(owner)).encode(), 0)
        yield
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _take(fd: int, clock: Clock, wait: float, tell: Callable[[str], None]) -> None:
    end, told = clock.monotonic() + wait, ""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if clock.monotonic() >= end:
                raise LockHeld(
                    "taking the lock",
                    f"another run is at work: {_describe(fd)}",
                    "wait for it (`delphi-agent status --wait`), or let this one wait: `--lock-wait SECONDS`",
                ) from error
            if told != (told := _describe(fd)):
                tell(told)
            clock.sleep(_POLL_SECONDS)
        else:
            return


def _describe(fd: int) -> str:
    try:
        owner = Owner(**json_input.loads(os.pread(fd, 4096, 0)))
    except (ValueError, TypeError):
        return "it has not said who it is yet"
    return f"`{owner.command}`, pid {owner.pid}, started by {owner.user} at {owner.started}"
