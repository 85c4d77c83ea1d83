"""The lock: between real processes; it dies with its owner and no child keeps it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import HostError, LockHeld
from agent.host.clock import SystemClock
from agent.host.lock import Owner, held
from tests.unit import children
from tests.unit.fakes import FakeClock

OWNER = Owner(pid=4711, command="delphi-agent init --skip-fetch", user="ubuntu (sudo)", started="2026-01-02T03:04:05")
HOLD = """
    import subprocess, sys, time
    from pathlib import Path
    from agent.host.clock import SystemClock
    from agent.host.lock import Owner, held

    with held(Path(sys.argv[1]), Owner(4711, "delphi-agent init", "root", "noon"), SystemClock(), 0):
        if sys.argv[2:]:
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
            print(child.pid, flush=True)
        else:
            print("held", flush=True)
        sys.stdin.read()
"""


@contextmanager
def holder(path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds the lock until its stdin is closed, and the line that it printed."""
    process = subprocess.Popen(
        children.command(HOLD, str(path), *arguments),
        cwd=children.PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def refused(path: Path, clock: FakeClock, wait: float = 0) -> LockHeld:
    with pytest.raises(LockHeld) as caught, held(path, OWNER, clock, wait):
        pytest.fail("two runs met")
    return caught.value


def test_another_run_is_refused_with_who_holds_the_lock(tmp_path: Path) -> None:
    with held(tmp_path / "lock", OWNER, FakeClock(), 0):
        error = refused(tmp_path / "lock", FakeClock())

    assert error.exit_status == 73
    assert error.cause == (
        "another run is at work: `delphi-agent init --skip-fetch`, pid 4711, started by ubuntu (sudo) at"
        " 2026-01-02T03:04:05"
    )
    assert "--lock-wait" in error.next_step


def test_another_process_is_refused(tmp_path: Path) -> None:
    with holder(tmp_path / "lock"):
        error = refused(tmp_path / "lock", FakeClock())

    assert "pid 4711, started by root at noon" in error.cause


def test_the_lock_is_free_after_its_owner_was_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as (process, _):
        process.kill()
        process.wait()

        with held(tmp_path / "lock", OWNER, FakeClock(), 0):
            pass


def test_a_child_that_lives_on_does_not_keep_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "lock", "with-child") as (process, child):
        process.kill()
        process.wait()
        try:
            assert Path(f"/proc/{child}").exists()
            with held(tmp_path / "lock", OWNER, FakeClock(), 0):
                pass
        finally:
            subprocess.run(["kill", child], check=True)


def test_the_lock_is_free_after_the_block_also_when_it_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), held(tmp_path / "lock", OWNER, FakeClock(), 0):
        raise ValueError("mine")

    with held(tmp_path / "lock", OWNER, FakeClock(), 0):
        pass
    assert (tmp_path / "lock").read_bytes() == b""


def test_who_waits_gets_the_lock_when_it_becomes_free(tmp_path: Path) -> None:
    release = threading.Event()

    def hold() -> None:
        with held(tmp_path / "lock", OWNER, SystemClock(), 0):
            release.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    while not (tmp_path / "lock").exists() or not (tmp_path / "lock").read_bytes():
        time.sleep(0.005)
    threading.Timer(0.1, release.set).start()

    with held(tmp_path / "lock", OWNER, SystemClock(), 5):
        assert release.is_set()
    thread.join()


def test_waiting_ends_with_a_refusal_after_the_time_that_was_given(tmp_path: Path) -> None:
    clock = FakeClock()
    with held(tmp_path / "lock", OWNER, clock, 0):
        refused(tmp_path / "lock", clock, 30)

    assert sum(clock.sleeps) == pytest.approx(30, abs=0.5)


def test_who_waits_is_told_once_for_whom(tmp_path: Path) -> None:
    clock, told = FakeClock(), list[str]()
    with (
        held(tmp_path / "lock", OWNER, clock, 0),
        pytest.raises(LockHeld),
        held(tmp_path / "lock", OWNER, clock, 2, told.append),
    ):
        pytest.fail("two runs met")

    assert told == [
        "`delphi-agent init --skip-fetch`, pid 4711, started by ubuntu (sudo) at 2026-01-02T03:04:05",
    ]


def test_an_owner_that_has_not_said_who_it_is_does_not_break_the_refusal(tmp_path: Path) -> None:
    with held(tmp_path / "lock", OWNER, FakeClock(), 0):
        (tmp_path / "lock").write_bytes(b'{"pid": 1')

        error = refused(tmp_path / "lock", FakeClock())

    assert error.cause == "another run is at work: it has not said who it is yet"


def test_the_lock_has_a_folder_that_everybody_may_read(tmp_path: Path) -> None:
    with held(tmp_path / "run" / "lock", OWNER, FakeClock(), 0):
        assert (tmp_path / "run").stat().st_mode & 0o7777 == 0o755


def test_a_lock_that_cannot_be_opened_is_an_error_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    with pytest.raises(HostError, match="opening the lock"), held(tmp_path / "lock", OWNER, FakeClock(), 0):
        pytest.fail("there is no lock")
