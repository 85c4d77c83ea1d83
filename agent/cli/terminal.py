"""The agent's surroundings, read once: environment, streams, who started it. Nothing else looks at them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from agent.cli.streams import SteadyStream

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import TextIO

    from agent.host.clock import Clock
    from agent.report.record import RunHead, Sink
    from agent.secret import Redactor


class Surroundings:
    """What the process was started with. What only a run needs is loaded when that asks for it."""

    # No dataclass, which takes 6 ms to load: every command has one of these.
    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        out: TextIO,
        err: TextIO,
        argv: Sequence[str],
        inp: TextIO | None = None,
    ) -> None:
        self.environ, self.argv = environ, argv
        self.out, self.err, self.inp = out, err, inp

    @classmethod
    def real(cls, argv: Sequence[str]) -> Surroundings:
        """Those of this process."""
        return cls(environ=dict(os.environ), out=sys.stdout, err=sys.stderr, inp=sys.stdin, argv=argv)

    def head(self, clock: Clock, deadline_seconds: float, *, boot: bool = False) -> RunHead:
        """The run's head: an id that no other run has, the command, who started it."""
        from agent.report.record import RunHead  # noqa: PLC0415 - `status` is no run

        return RunHead(
            id=os.urandom(6).hex(),
            command=" ".join(["delphi-agent", *self.argv]),
            pid=os.getpid(),
            user=self._user(),
            started_at=clock.now().isoformat(timespec="milliseconds"),
            deadline_seconds=deadline_seconds,
            boot=boot,
        )

    def _user(self) -> str:
        """Who is behind it: `ubuntu (sudo) from 203.0.113.7`."""
        import getpass  # noqa: PLC0415 - commands that read need not pay for it

        try:
            name = self.environ.get("SUDO_USER", "") or getpass.getuser()
        except (KeyError, OSError):
            name = str(os.getuid())
        sudo = " (sudo)" if self.environ.get("SUDO_USER") else ""
        client = self.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        return f"{name}{sudo} from {client}" if client else f"{name}{sudo} on {os.uname().nodename}"

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
