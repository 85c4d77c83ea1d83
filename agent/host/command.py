"""Child processes: what to run is data (`Command`), running it happens in one place (`SystemCommands`)."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.errors import HostError, Interrupted
from agent.host.clock import Deadline
from agent.secret import Secret

# Between SIGTERM and SIGKILL for a child that has to go.
TERM_SECONDS = 2.0
# The most that is kept of each stream: a compose model of 1,000 services is under 4 MiB.
KEEP_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program with its arguments, the whole environment that it gets (nothing is inherited), and its folder."""

    argv: tuple[str, ...]
    env: Mapping[str, Secret] = field(repr=False)
    cwd: Path | None = None

    def __str__(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True)
class Finished:
    """How a child ended and what it said. The output may hold secrets: clean it before anybody reads it."""

    command: Command
    status: int
    out: bytes = field(repr=False)
    err: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """True for exit status 0."""
        return self.status == 0

    def tail(self, lines: int = 20) -> list[str]:
        """The last non-empty lines of what it said on stderr, or on stdout when that is empty."""
        text = (self.err.strip() or self.out).decode("utf-8", "replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


class Commands(Protocol):
    """The way to run a child. Tests pass one that knows what it expects."""

    def run(self, command: Command, deadline: Deadline, *, on_line: Callable[[str], None] | None = None) -> Finished:
        """Run to the end, or end it at the deadline; `on_line` hears every line of stderr as it comes."""


class SystemCommands:
    """Runs children for real, each in a process group of its own that ends with it."""

    def __init__(self) -> None:
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: Command, deadline: Deadline, *, on_line: Callable[[str], None] | None = None) -> Finished:
        """Run to the end; `DeadlineExceeded` when it had to be ended; `HostError` when it cannot be started."""
        deadline.check(f"running `{command}`")
        listener = _Listener(on_line)
        child = self._start(command)
        try:
            out, err = listener.listen(child, deadline)
            status = child.wait(max(0.1, deadline.left()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise deadline.exceeded(f"running `{command}`", listener.last) from None
        finally:
            _end(child)
            with self._lock:
                self._alive.discard(child)
        return Finished(command, status, out, err)

    def end_all(self) -> None:
        """End every child that is still running, whichever thread waits for it."""
        with self._lock:
            alive = list(self._alive)
        for child in alive:
            _end(child)

    def attach(self, command: Command) -> int:
        """Run a child on the agent's own streams until it ends; returns its exit code, 128 + n when signal n ended it.

        A signal that ends the agent is passed on, and the child's answer to it is waited for. SIGINT is not: a
        terminal has sent it to both already.
        """
        child = self._start(command, attached=True)
        while True:
            try:
                status = child.wait()
            except Interrupted as interrupted:
                if interrupted.signal != signal.SIGINT:
                    child.send_signal(interrupted.signal)
            else:
                with self._lock:
                    self._alive.discard(child)
                return status if status >= 0 else 128 - status

    def _start(self, command: Command, *, attached: bool = False) -> subprocess.Popen[bytes]:
        own = None if attached else subprocess.PIPE
        env = {name: value.reveal() for name, value in command.env.items()}
        try:
            child = subprocess.Popen(  # noqa: S603 - an argument vector, no shell
                command.argv,
                env=env,
                cwd=command.cwd,
                stdin=None if attached else subprocess.DEVNULL,
                stdout=own,
                stderr=own,
                start_new_session=not attached,
            )
        except OSError as error:
            raise HostError(
                f"starting `{command.argv[0]}`",
                error.strerror or str(error),
                f"install it, or see that it is on PATH ({env.get('PATH', 'which is empty')})",
            ) from error
        with self._lock:
            self._alive.add(child)
        return child


class _Listener:
    """Reads both streams of a child as they come, and tells the lines of stderr."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._rest = b""
        self.last = ""

    def listen(self, child: subprocess.Popen[bytes], deadline: Deadline) -> tuple[bytes, bytes]:
        """Both streams, whole; `TimeoutError` when they are still open at the deadline."""
        kept = {"out": bytearray(), "err": bytearray()}
        with selectors.DefaultSelector() as selector:
            for name, stream in (("out", child.stdout), ("err", child.stderr)):
                if stream is not None:
                    selector.register(stream.fileno(), selectors.EVENT_READ, name)
            while selector.get_map():
                ready = selector.select(deadline.left())
                # A child that talks faster than it is heard is always ready.
                if not ready or deadline.left() <= 0:
                    raise TimeoutError
                for key, _ in ready:
                    piece = os.read(key.fd, 65536)
                    if not piece:
                        selector.unregister(key.fd)
                    kept[key.data] += piece
                    del kept[key.data][:-KEEP_BYTES]
                    if key.data == "err":
                        self._hear(piece or b"\n")
        return bytes(kept["out"]), bytes(kept["err"])

    def _hear(self, piece: bytes) -> None:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                self.last = line.decode("utf-8", "replace").strip()
                if self._tell is not None:
                    self._tell(self.last)


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and its whole group are gone when this returns; its pipes are closed."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        try:
            child.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait()
    # A grandchild may have stayed behind in the group.
    _signal(child, signal.SIGKILL)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
