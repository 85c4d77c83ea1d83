"""An `init` that meets a boot's run: for as long as that one may take, and systemd knows of it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.host.paths import Paths
from agent.join import boot_or_join
from agent.report.notify import Notify
from agent.report.record import Ending, Recorder
from agent.report.status_file import StatusFile
from agent.secret import Redactor
from tests.unit.fakes import HEAD, FakeClock, FakeCommands, FakeEngine
from tests.unit.runs import run_on
from tests.unit.test_notify import supervisor

BEYOND = 150.0


class Passing(FakeClock):
    """Time in which something else happens, too: `meanwhile` is called after each sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.meanwhile()


def extension(inbox: socket.socket) -> float | None:
    """Seconds that the next message asks for; None when there is none, and also when there is no message."""
    try:
        message = inbox.recv(65536).decode()
    except BlockingIOError:
        return None
    found = re.search(r"EXTEND_TIMEOUT_USEC=(\d+)", message)
    return float(found[1]) / 1e6 if found else None


def test_systemd_gives_the_unit_the_time_of_the_run_that_it_has_joined(tmp_path: Path) -> None:
    clock, paths = Passing(), Paths(tmp_path)
    long = replace(HEAD, id="theother", pid=os.getpid(), deadline_seconds=1500.0, boot=True)
    other = Recorder(long, clock, [StatusFile(paths.status, clock, Redactor())])
    ends: list[float] = []

    def meanwhile() -> None:
        passed = sum(clock.sleeps)
        while (seconds := extension(inbox)) is not None:
            ends.append(passed + seconds)
        if passed > 1600:
            other.finish(Ending(outcome="restored", exit_code=75, text="release 1 is back"))

    with supervisor(tmp_path / "notify") as inbox:
        inbox.settimeout(0)
        head = replace(HEAD, deadline_seconds=300.0, boot=True)
        recorder = Recorder(head, clock, [Notify(str(tmp_path / "notify"), clock, Redactor())])
        run = run_on(
            tmp_path,
            clock=clock,
            commands=FakeCommands(),
            engine=FakeEngine(),
            recorder=recorder,
            environ={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        clock.meanwhile = meanwhile
        ending = boot_or_join(run)

    assert (ending.exit_code, ending.outcome) == (75, "restored")
    assert "which this one has joined: release 1 is back" in ending.text
    first, joining, *joined = ends
    assert max(first, joining) < 300 + BEYOND + 1, "what it knew of its own"
    assert len(joined) > 1000
    assert min(joined) > 1500 + BEYOND - 1, "at every moment"
