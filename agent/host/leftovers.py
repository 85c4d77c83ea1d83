"""Children of runs that were killed: written down while they are at work, and ended by the next run that has the lock.

The guardian ends the children of a killed agent within seconds. The lock is free at once: the next run may be there
before they are gone, or the guardian may have been killed too. So that two runs never act at once, whoever takes the
lock looks at what the runs before it had written down, and ends what still lives.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host import files, json_input, processes
from agent.host.clock import Clock
from agent.host.processes import Process

TERM_SECONDS = 2.0
KILL_SECONDS = 5.0
# An agent that is ending, and has given up the lock, ends its own children in less.
OWN_SECONDS = TERM_SECONDS + KILL_SECONDS
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Session:
    """A child's session: its number is the child's pid. `words` is the command, for people."""

    leader: int
    started: int
    words: str


@dataclass(frozen=True)
class _Page:
    """What one agent has written down: its sessions at work, as they were `seen` (in ticks)."""

    path: Path
    owner: int
    owner_started: int
    seen: int
    sessions: tuple[Session, ...]


class Roster:
    """The sessions of this agent's children, in a file of its own below `folder` while there are any (0600)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / str(os.getpid())

    def write(self, sessions: Sequence[Session]) -> None:
        """Write down what is at work now.

        A file system that takes nothing does not end the run: the guardian needs none.
        """
        with contextlib.suppress(HostError, OSError):
            if not sessions:
                self._path.unlink(missing_ok=True)
                return
            files.make_folder(self._path.parent, 0o700)
            page = {
                "boot": processes.boot(),
                "owner": os.getpid(),
                "owner_started": processes.start_time(os.getpid()),
                "seen": processes.now(),
                "sessions": [asdict(session) for session in sessions],
            }
            files.write_json(self._path, page, 0o600, durable=False)


def end(folder: Path, clock: Clock, tell: Callable[[str], None]) -> list[str]:
    """End what killed agents have left running, for the holder of the lock; a line for each child that was ended.

    `tell` hears what is waited for. `HostError` when a process cannot be ended: two runs must not act at once.
    """
    ended: list[str] = []
    for path in sorted(folder.glob("[0-9]*")):
        page = _read(path)
        if page is not None and page.owner == os.getpid():
            continue
        if page is not None and processes.start_time(page.owner) == page.owner_started:
            _wait_for_owner(page, clock, tell)
            continue
        if page is not None:
            ended += _end_all(page, clock, tell)
        with files.naming(f"removing {path}"):
            path.unlink(missing_ok=True)
    return ended


def _read(path: Path) -> _Page | None:
    """None for one that is gone, that is of another boot, or that nobody can read."""
    with files.naming(f"reading {path}"):
        try:
            page = json_input.loads(path.read_bytes())
            sessions = tuple(Session(**item) for item in page["sessions"])
            known = _Page(path, int(page["owner"]), int(page["owner_started"]), int(page["seen"]), sessions)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return known if page.get("boot") == processes.boot() else None


def _wait_for_owner(page: _Page, clock: Clock, tell: Callable[[str], None]) -> None:
    """An agent that lives ends its own children. One that needs no lock (`compose`) may go on beside this run."""
    end = clock.monotonic() + OWN_SECONDS
    while page.path.exists() and clock.monotonic() < end:
        tell(f"the children of another run, pid {page.owner}")
        clock.sleep(_POLL_SECONDS)


def _end_all(page: _Page, clock: Clock, tell: Callable[[str], None]) -> list[str]:
    found = processes.in_sessions({session.leader for session in page.sessions})
    ours = {
        session: alive
        for session in page.sessions
        if _same(session, page.seen, members := [one for one in found if one.session == session.leader])
        and (alive := [one for one in members if one.running])
    }
    if not ours:
        return []
    leaders = {session.leader for session in ours}
    tell("processes that a killed run has left to end")
    _signal(leaders, signal.SIGTERM)
    if not _gone(leaders, clock, TERM_SECONDS):
        _signal(leaders, signal.SIGKILL)
        if not _gone(leaders, clock, KILL_SECONDS):
            still = "; ".join(str(one) for one in processes.in_sessions(leaders) if one.running)
            raise HostError(
                "ending what a killed run had left running",
                f"still there after SIGKILL: {still}",
                "see what they hang on (`ps -o pid,stat,wchan,args`), reboot if they stay, then run it again",
            )
    return [
        f"ended what a run that was killed had left running: `{session.words}` ({'; '.join(map(str, alive))})"
        for session, alive in ours.items()
    ]


def _same(session: Session, seen: int, members: Sequence[Process]) -> bool:
    """Whether these processes are what was written down, and not another session that got its number later.

    The kernel gives a number to nobody else while a session has it. So the leader tells, as long as it is there; and
    without it, a member that is as old as the writing: the number was the session's then. One such member vouches for
    all, also for those that started later.
    """
    for one in members:
        if one.pid == session.leader:
            return one.started == session.started
    return any(one.started <= seen for one in members)


def _signal(sessions: set[int], number: signal.Signals) -> None:
    for one in processes.in_sessions(sessions):
        # One that may not be signalled is still there in the end, and is told then.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one.pid, number)


def _gone(sessions: set[int], clock: Clock, seconds: float) -> bool:
    end = clock.monotonic() + seconds
    while any(one.running for one in processes.in_sessions(sessions)):
        if clock.monotonic() >= end:
            return False
        clock.sleep(_POLL_SECONDS)
    return True
