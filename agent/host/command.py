"""Child processes: what to run is data (`Command`), running it happens in one place (`SystemCommands`)."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host.child import Child, Listener
from agent.host.clock import Deadline
from agent.host.guardian import Guardian
from agent.host.leftovers import Roster
from agent.host.side_by_side import GRACE_SECONDS, within
from agent.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program with its arguments, the whole environment that it gets (nothing is inherited), and its folder."""

    argv: tuple[str, ...]
    env: Mapping[str, Secret] = field(repr=False)
    cwd: Path | None = None

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def words(self) -> list[str]:
        """What is said of it: of Compose's plugin, however it is called, as people call it."""
        plugin = ["docker", "compose"]
        return [word for part in self.argv for word in (plugin if part.endswith("/docker-compose") else [part])]


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

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        """Run to the end, or end it at the deadline; `on_line` hears every line of stderr as it comes.

        `watch` is called about once a second while the child is at work; what it raises ends the child and is raised.
        """


class _Start:
    """A child that one thread starts for another, which may have been called away by then."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.is_over = threading.Event()
        self.is_unwanted = False


class SystemCommands:
    """Runs children for real, each in a session of its own.

    None outlives the agent: `run` ends its child, `end_all` what another thread still waits for, the guardian what is
    left when the agent is killed; and `roster` is where the next run looks for what even that has missed.
    """

    def __init__(self, roster: Roster | None = None) -> None:
        self._alive: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._guardian = Guardian()
        self._roster = roster
        self._over = False

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        """Run to the end; `DeadlineExceeded` when it had to be ended; `HostError` when it cannot be started."""
        deadline.check(f"running `{command}`")
        # What talks is there: from then on the roster vouches for the plugin too, not only for its parent.
        start, listener = _Start(), Listener(on_line, self._write, watch)
        try:
            # In a thread: a signal raises in the main one, and must not come between a child's start and its
            # registration.
            child = within(deadline, f"starting `{command}`", lambda: self._start(command, start))
            out, err = child.listen(listener, deadline)
        except TimeoutError:
            raise deadline.exceeded(f"running `{command}`", listener.last) from None
        finally:
            self._finish(start)
        return Finished(command, child.status, out, err)

    def end_all(self) -> None:
        """End every child that is still running, whichever thread waits for it; no other starts after that."""
        with self._lock:
            self._over = True
            alive = list(self._alive.values())
        for child in alive:
            self._end(child)
        self._guardian.close()

    def _start(self, command: Command, start: _Start) -> Child:
        try:
            child = self._register(command, start)
        finally:
            start.is_over.set()
        if start.is_unwanted:
            self._end(child)
        return child

    def _finish(self, start: _Start) -> None:
        """End the child, also one that is just being started: what comes next must not find it at work."""
        start.is_unwanted = True
        start.is_over.wait(GRACE_SECONDS)
        if start.child is not None:
            self._end(start.child)
            start.child.close()

    def _register(self, command: Command, start: _Start) -> Child:
        with self._lock:
            if self._over or start.is_unwanted:
                raise HostError(f"starting `{command}`", "the run is over", "run it again")
            try:
                self._guardian.start()
            except OSError as error:
                raise HostError(
                    "starting the guardian (/bin/sh), which ends the children of an agent that is killed",
                    error.strerror or str(error),
                    "see what takes all processes or memory (`ps aux`), then run it again",
                ) from error
            start.child = child = Child(open_process(command), str(command))
            self._alive[child.session.leader] = child
            self._tell()
            return child

    def _end(self, child: Child) -> None:
        """The child is gone, and nobody is told of it any more, before its pid can be another's."""
        if not child.end():
            return  # it is left to the guardian and to the next run
        with self._lock:
            if self._alive.pop(child.session.leader, None) is not None:
                self._tell()
            child.reap()

    def _tell(self) -> None:
        self._guardian.watch(self._alive)
        if self._roster is not None:
            self._roster.write([child.session for child in self._alive.values()])

    def _write(self) -> None:
        with self._lock:
            if self._roster is not None:
                self._roster.write([child.session for child in self._alive.values()])


def open_process(command: Command, *, attached: bool = False) -> subprocess.Popen[bytes]:
    """The child, just started; `attached` to the agent's own streams and process group. `HostError` when it cannot."""
    own = None if attached else subprocess.PIPE
    env = {name: value.reveal() for name, value in command.env.items()}
    try:
        return subprocess.Popen(  # noqa: S603 - an argument vector, no shell
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
            next_step_for(error, f"install it, or see that it is on PATH ({env.get('PATH', 'which is empty')})"),
        ) from error


def next_step_for(error: OSError, usual: str) -> str:
    """What to do about a program that cannot be started: the `usual`, unless what it is given is at fault."""
    if error.errno != errno.E2BIG:
        return usual
    return (
        "the environment or the arguments are too large in all: Linux takes about 2 MiB of both at a start; shorten the"
        " largest values in the bootstrap file, SSM and Secrets Manager"
    )
