"""The agent's surroundings, read once: environment, streams, who started it. Nothing else looks at them."""

from __future__ import annotations

import contextlib
import getpass
import os
import select
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from agent.host.clock import Clock
from agent.report.record import RunHead, Sink
from agent.secret import Redactor


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


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the process was started with."""

    environ: Mapping[str, str] = field(repr=False)
    out: TextIO
    err: TextIO
    argv: Sequence[str]
    inp: TextIO | None = None

    @classmethod
    def real(cls, argv: Sequence[str]) -> Surroundings:
        """Those of this process."""
        return cls(environ=dict(os.environ), out=sys.stdout, err=sys.stderr, inp=sys.stdin, argv=argv)

    def head(self, clock: Clock, deadline_seconds: float, *, boot: bool = False) -> RunHead:
        """The run's head: an id that no other run has, the command, who started it."""
        return RunHead(
            id=uuid.uuid4().hex[:12],
            command=" ".join(["delphi-agent", *self.argv]),
            pid=os.getpid(),
            user=self._user(),
            started_at=clock.now().isoformat(timespec="milliseconds"),
            deadline_seconds=deadline_seconds,
            boot=boot,
        )

    def _user(self) -> str:
        """Who is behind it: `ubuntu (sudo) from 203.0.113.7`."""
        try:
            name = self.environ.get("SUDO_USER", "") or getpass.getuser()
        except (KeyError, OSError):
            name = str(os.getuid())
        sudo = " (sudo)" if self.environ.get("SUDO_USER") else ""
        client = self.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        return f"{name}{sudo} from {client}" if client else f"{name}{sudo} on {socket.gethostname()}"

    @property
    def unattended(self) -> bool:
        """Whether nobody looks: started by systemd or cloud-init, and not by a person on a terminal or through ssh.

        systemd sets the two names for everything below a unit, cloud-init's commands included; in a person's session
        they may be set, too.
        """
        a_unit = any(self.environ.get(name) for name in ("INVOCATION_ID", "JOURNAL_STREAM"))
        a_person = any(self.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SUDO_USER"))
        on_terminal = self.err.isatty() or (self.inp is not None and self.inp.isatty())
        return a_unit and not a_person and not on_terminal

    @property
    def in_the_journal(self) -> bool:
        """Whether what is written to standard error goes to the journal: JOURNAL_STREAM is its `DEVICE:INODE`."""
        try:
            found = os.fstat(self.err.fileno())
        except (OSError, ValueError):
            return False
        return self.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"

    def confirmed(self, question: str) -> bool:
        """Ask on a terminal; where nobody can be asked, the command itself is the answer."""
        if self.inp is None or not self.inp.isatty() or not self.err.isatty():
            return True
        print(f"{question} [y/N] ", end="", file=self.err, flush=True)
        return self.inp.readline().strip().lower() in {"y", "yes"}

    def sinks(self, log_format: str, log_level: str, clock: Clock, redactor: Redactor) -> list[Sink]:
        """Where a run is shown: drawn on a terminal, as JSON lines elsewhere, or as asked for."""
        stream: TextIO = SteadyStream(self.err)  # type: ignore[assignment]  # it has the part of TextIO that sinks use
        terminal = self.err.isatty()
        if log_format == "json" or (log_format == "auto" and not terminal):
            from agent.report.log import JsonLog  # noqa: PLC0415 - structlog is not needed on a terminal

            return [JsonLog(stream, clock, redactor, log_level)]
        from agent.report.console import Console  # noqa: PLC0415 - not needed off a terminal

        smart = terminal and self.environ.get("TERM", "dumb") != "dumb"
        colour = smart and not self.environ.get("NO_COLOR")
        return [Console(stream, clock, redactor, log_level, live=smart, colour=colour)]
