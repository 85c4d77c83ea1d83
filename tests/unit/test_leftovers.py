"""What killed runs leave running is written down, recognised without doubt, ended and told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import leftovers, processes
from agent.host.clock import SystemClock
from agent.host.leftovers import Roster, Session
from tests.unit.fakes import FakeClock

DEAD = 2**22 + 5  # above every pid that the kernel gives out


@contextlib.contextmanager
def session(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process at the head of a session; whatever it started is ended too."""
    process = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        for one in processes.in_sessions({process.pid}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def page(folder: Path, *sessions: Session, owner: int = DEAD, started: int = 1, **changes: object) -> Path:
    """What an agent wrote down."""
    folder.mkdir(exist_ok=True)
    path = folder / str(owner)
    known = {"boot": processes.boot(), "owner": owner, "owner_started": started, "seen": processes.now()}
    content = [{"leader": one.leader, "started": one.started, "words": one.words} for one in sessions]
    path.write_text(json.dumps({**known, "sessions": content, **changes}))
    return path


def of(pid: int, words: str = "docker compose up") -> Session:
    return Session(pid, processes.start_time(pid) or 0, words)


def end(folder: Path) -> list[str]:
    return leftovers.end(folder, SystemClock(), lambda _: None)


def reaped_in_time(process: subprocess.Popen[bytes]) -> int:
    return process.wait(3)


def test_a_child_that_a_killed_run_left_is_ended_and_named(tmp_path: Path) -> None:
    with session("sleep", "60") as child:
        path = page(tmp_path, of(child.pid))

        told = end(tmp_path)

        assert reaped_in_time(child) == -signal.SIGTERM
    assert told == [f"ended what a run that was killed had left running: `docker compose up` (sleep, pid {child.pid})"]
    assert not path.exists()


@pytest.mark.slow
def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with session("sh", "-c", "trap '' TERM; echo; sleep 60; sleep 60") as child:
        assert child.stdout is not None
        child.stdout.readline()
        page(tmp_path, of(child.pid))
        began = time.monotonic()

        end(tmp_path)

        assert reaped_in_time(child) == -signal.SIGKILL
        assert leftovers.TERM_SECONDS <= time.monotonic() - began < leftovers.TERM_SECONDS + 1


def test_a_whole_session_is_ended_also_what_has_a_group_of_its_own(tmp_path: Path) -> None:
    script = "import os, time; os.fork() or os.setpgid(0, 0); print(flush=True); time.sleep(60)"
    with session("python3", "-c", script) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.readline()
        page(tmp_path, of(child.pid))

        told = end(tmp_path)

        assert told[0].count("pid ") == 2
        assert [one for one in processes.in_sessions({child.pid}) if one.running] == []


def test_a_number_that_another_session_got_since_is_left_alone(tmp_path: Path) -> None:
    with session("sleep", "60") as stranger:
        path = page(tmp_path, Session(stranger.pid, of(stranger.pid).started - 1, "docker compose up"))

        assert end(tmp_path) == []
        assert stranger.poll() is None
    assert not path.exists()


@contextlib.contextmanager
def orphan() -> Iterator[tuple[int, int]]:
    """A session whose leader is gone: its number, and the process that is left."""
    with session("sh", "-c", "sleep 60 & echo $!") as leader:
        assert leader.stdout is not None
        left = int(leader.stdout.readline())
        leader.wait()
        yield leader.pid, left


def test_a_plugin_whose_leader_is_dead_is_ended_when_it_was_there_at_the_time_of_writing(tmp_path: Path) -> None:
    with orphan() as (number, left):
        page(tmp_path, Session(number, 1, "docker compose up"))

        assert f"pid {left}" in end(tmp_path)[0]
        assert processes.start_time(left) is None


def test_a_process_without_its_leader_that_is_younger_than_the_writing_may_be_anybody_s(tmp_path: Path) -> None:
    with orphan() as (number, left):
        started = processes.start_time(left)
        assert started is not None
        page(tmp_path, Session(number, 1, "docker compose up"), seen=started - 1)

        assert end(tmp_path) == []
        assert processes.start_time(left) is not None


def test_a_page_of_another_boot_tells_nothing(tmp_path: Path) -> None:
    with session("sleep", "60") as stranger:
        path = page(tmp_path, of(stranger.pid), boot="another")

        assert end(tmp_path) == []
        assert stranger.poll() is None
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"owner": 1}'])
def test_a_page_that_nobody_can_read_is_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "4711").write_text(content)

    assert end(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_children_of_an_agent_that_lives_are_its_own_and_it_gets_the_time_to_end_them(tmp_path: Path) -> None:
    with session("sleep", "60") as owner, session("sleep", "60") as child:
        started = processes.start_time(owner.pid)
        assert started is not None
        path = page(tmp_path, of(child.pid), owner=owner.pid, started=started)
        clock, waits = FakeClock(), list[str]()

        told = leftovers.end(tmp_path, clock, waits.append)

        assert told == []
        assert child.poll() is None
        assert path.exists()
        assert sum(clock.sleeps) == pytest.approx(leftovers.OWN_SECONDS, abs=0.1)
        assert waits[0] == f"the children of another run, pid {owner.pid}"


def test_a_process_that_outlives_sigkill_stops_the_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session("sleep", "60") as child:
        page(tmp_path, of(child.pid))
        # What the kernel does with one that hangs in it cannot be had on demand.
        monkeypatch.setattr(leftovers, "_signal", lambda *_: None)

        with pytest.raises(HostError, match=f"still there after SIGKILL: sleep, pid {child.pid}") as caught:
            leftovers.end(tmp_path, FakeClock(), lambda _: None)
    assert caught.value.exit_status == 74


def test_a_host_where_nothing_was_left_needs_no_folder(tmp_path: Path) -> None:
    assert end(tmp_path / "children") == []


def test_the_roster_is_private_and_goes_with_the_last_child(tmp_path: Path) -> None:
    roster, path = Roster(tmp_path / "run" / "children"), tmp_path / "run" / "children" / str(os.getpid())
    roster.write([of(os.getpid(), "docker compose pull")])
    written = json.loads(path.read_text())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert written["sessions"] == [
        {"leader": os.getpid(), "started": processes.start_time(os.getpid()), "words": "docker compose pull"}
    ]
    assert written["owner_started"] <= written["seen"] <= processes.now()
    roster.write([])
    assert not path.exists()


def test_an_agent_does_not_end_its_own_children(tmp_path: Path) -> None:
    with session("sleep", "60") as child:
        Roster(tmp_path).write([of(child.pid)])

        assert end(tmp_path) == []
        assert child.poll() is None


def test_a_roster_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "children").write_text("a file")

    Roster(tmp_path / "children").write([of(os.getpid())])
