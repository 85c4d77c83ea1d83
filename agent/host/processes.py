"""What the kernel says of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from agent.host import plain


class Process:
    """One process. `started` is in clock ticks since boot.

    With the pid it names a process for good: pids are used again, the pair is not. A process that has ended and only
    waits for its parent to notice (a zombie) does not run.
    """

    # No dataclass, which takes 6 ms to load: `status` comes here.
    def __init__(self, *, pid: int, name: str, session: int, started: int, running: bool) -> None:
        self.pid, self.name, self.session = pid, name, session
        self.started, self.running = started, running

    def __str__(self) -> str:
        return f"{self.name}, pid {self.pid}"


def look(pid: int) -> Process | None:
    """The process as it is now (proc(5), stat); None when there is none."""
    try:
        stat = plain.read(f"/proc/{pid}/stat").decode("utf-8", "replace")
    except OSError:
        return None
    # The second field, the command in parentheses, may hold anything: count from its end.
    before, _, after = stat.rpartition(")")
    state, *rest = after.split()
    return Process(
        pid=pid,
        name=before.partition("(")[2],
        session=int(rest[2]),
        started=int(rest[18]),
        running=state not in {"Z", "X"},
    )


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it does not run."""
    found = look(pid)
    return found.started if found is not None and found.running else None


def age(pid: int) -> float | None:
    """For how many seconds the process has run, by a clock that nobody can set; None when it does not run."""
    started = start_time(pid)
    return None if started is None else max(0.0, since(started))


def in_sessions(sessions: Collection[int]) -> list[Process]:
    """Every process of these sessions, zombies too."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return [found for pid in pids if (found := look(pid)) is not None and found.session in sessions]


def now() -> int:
    """This moment, in the clock ticks in which the kernel says when a process started."""
    return ticks(time.clock_gettime(time.CLOCK_BOOTTIME))


def ticks(seconds: float) -> int:
    """A time in the kernel's clock ticks."""
    return int(seconds * os.sysconf("SC_CLK_TCK"))


def since(moment: int) -> float:
    """Seconds since a moment that is given in clock ticks since boot."""
    return (now() - moment) / os.sysconf("SC_CLK_TCK")


def boot() -> str:
    """What tells this boot of the kernel from every other: ticks count from zero in each."""
    return plain.read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
