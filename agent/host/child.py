"""One child process: heard while it talks, and gone with its whole session when it ends."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from agent.host import processes
from agent.host.clock import Deadline
from agent.host.leftovers import KILL_SECONDS, TERM_SECONDS, Session
from agent.host.side_by_side import WAKE_SECONDS

# The most that is kept of each stream: a compose model of 1,000 services is under 4 MiB.
KEEP_BYTES = 32 << 20
# So often somebody who watches beside a child may look.
WATCH_SECONDS = 1.0
# Of a line that never ends, only so much of its end is told.
LONGEST_LINE = 64 << 10


class Child:
    """A child in a session of its own, that nobody reaps before `reap`: until then its pid is no other's."""

    def __init__(self, process: subprocess.Popen[bytes], words: str) -> None:
        found = processes.look(process.pid)
        self.session = Session(process.pid, found.started if found else 0, words)
        self._process = process
        self._ending = threading.Lock()

    def exited(self, seconds: float) -> bool:
        """Whether it has ended, or does within so many seconds."""
        end, pause = time.monotonic() + seconds, 0.0005
        while not self._has_exited():
            if time.monotonic() >= end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return True

    def _has_exited(self) -> bool:
        with contextlib.suppress(ChildProcessError):  # reaped
            return os.waitid(os.P_PID, self.session.leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def end(self) -> bool:
        """End it with its session; false when it outlived even SIGKILL. Any thread may call this, any number."""
        with self._ending:
            if self._process.returncode is not None:
                return True
            if not self.exited(0):
                self._signal_session(signal.SIGTERM)
                if not self.exited(TERM_SECONDS):
                    self._signal_session(signal.SIGKILL)
                    if not self.exited(KILL_SECONDS):
                        return False
                self._signal_session(signal.SIGKILL)
            # A grandchild may have stayed behind in the group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.session.leader, signal.SIGKILL)
            return True

    def _signal_session(self, number: signal.Signals) -> None:
        for one in processes.in_sessions({self.session.leader}):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, number)

    def reap(self) -> None:
        """Let the kernel forget a child that has ended."""
        with self._ending:
            self._process.wait()

    @property
    def status(self) -> int:
        """The exit status of one that was reaped; negative when a signal ended it."""
        return self._process.wait()

    def close(self) -> None:
        """Close its streams; only the thread that listens may do that."""
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def listen(self, listener: Listener, deadline: Deadline) -> tuple[bytes, bytes]:
        """Both streams, whole, of a child that has exited; `TimeoutError` when it has not at the deadline."""
        kept = {"out": bytearray(), "err": bytearray()}
        with selectors.DefaultSelector() as selector:
            for name, stream in (("out", self._process.stdout), ("err", self._process.stderr)):
                if stream is not None:
                    selector.register(stream.fileno(), selectors.EVENT_READ, name)
            while selector.get_map():
                ready = selector.select(min(deadline.left(), listener.pause(), WAKE_SECONDS))
                # A child that talks faster than it is heard is always ready.
                if deadline.left() <= 0:
                    raise TimeoutError
                listener.look()
                for key, _ in ready:
                    piece = os.read(key.fd, 65536)
                    if not piece:
                        selector.unregister(key.fd)
                    kept[key.data] += piece
                    del kept[key.data][:-KEEP_BYTES]
                    listener.hear(key.data, piece)
        if not self.exited(max(0.1, deadline.left())):
            raise TimeoutError
        return bytes(kept["out"]), bytes(kept["err"])


class Listener:
    """Makes lines of what a child says on stderr, and says when the child is heard for the first time.

    `watch` has a look at the rest of the world now and then.
    """

    def __init__(
        self, tell: Callable[[str], None] | None, first: Callable[[], None], watch: Callable[[], None] | None = None
    ) -> None:
        self._tell = tell
        self._first: Callable[[], None] | None = first
        self._watch = watch
        self._next_look = time.monotonic() + WATCH_SECONDS
        self._rest = b""
        self.last = ""

    def pause(self) -> float:
        """Seconds until the next look is due; without end when nobody watches."""
        return math.inf if self._watch is None else max(0.0, self._next_look - time.monotonic())

    def look(self) -> None:
        """Have the look that is due, if one is."""
        if self._watch is not None and self.pause() <= 0:
            self._watch()
            self._next_look = time.monotonic() + WATCH_SECONDS

    def hear(self, stream: str, piece: bytes) -> None:
        """A piece of a stream (`out` or `err`) as it came; an empty one is its end."""
        if piece and self._first is not None:
            self._first()
            self._first = None
        if stream == "err":
            self._hear_lines(piece or b"\n")

    def _hear_lines(self, piece: bytes) -> None:
        *whole, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        for line in whole:
            if line.strip():
                self.last = line.decode("utf-8", "replace").strip()
                if self._tell is not None:
                    self._tell(self.last)
