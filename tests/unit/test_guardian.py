"""The guardian: what an agent that was killed has started ends with it, and the guardian itself is never in the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host import processes
from agent.host.guardian import Guardian
from tests.unit import children

# An agent that runs the shell script of its first argument, and hears `pid PID` for every process that it should know.
AGENT = """
    import os, sys
    from pathlib import Path
    from agent.host.clock import Deadline, SystemClock
    from agent.host.command import Command, SystemCommands
    from agent.secret import Secret

    lock = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
    commands = SystemCommands()
    env = {"PATH": Secret("/usr/bin:/bin")}
    try:
        commands.run(
            Command(argv=("sh", "-c", sys.argv[1]), env=env), Deadline.after(SystemClock(), 60),
            on_line=lambda line: print(line, commands._guardian._process.pid, flush=True),
        )
    finally:
        if sys.argv[3:] != ["crash"]:
            commands.end_all()
"""


@contextlib.contextmanager
def agent(tmp_path: Path, script: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """An agent whose child has said its pid; with that pid and the guardian's."""
    process = subprocess.Popen(
        children.command(AGENT, script, str(tmp_path / "lock"), *arguments),
        cwd=children.PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        child, guardian = process.stdout.readline().split()
        yield process, int(child), int(guardian)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def gone_within(seconds: float, *pids: int) -> bool:
    end = time.monotonic() + seconds
    while any(processes.start_time(pid) is not None for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_the_child_of_a_killed_agent_ends_and_so_does_the_guardian(tmp_path: Path) -> None:
    with agent(tmp_path, "echo $$ >&2; exec sleep 60") as (process, child, guardian):
        process.kill()

        assert gone_within(1.5, child, guardian)


@pytest.mark.slow
def test_a_child_that_ignores_sigterm_is_killed_after_two_seconds(tmp_path: Path) -> None:
    with agent(tmp_path, "trap '' TERM; echo $$ >&2; sleep 60; sleep 60") as (process, child, guardian):
        process.kill()

        assert not gone_within(1, child)
        assert gone_within(3, child, guardian)


def test_a_child_may_end_well_after_sigterm(tmp_path: Path) -> None:
    script = f"trap 'echo cleaned >{tmp_path}/said; exit' TERM; echo $$ >&2; sleep 60 & wait"
    with agent(tmp_path, script) as (process, child, guardian):
        process.kill()

        assert gone_within(3, child, guardian)
        assert (tmp_path / "said").read_text() == "cleaned\n"


def test_a_plugin_whose_parent_is_dead_too_ends(tmp_path: Path) -> None:
    with agent(tmp_path, f"sleep 60 & echo $! >{tmp_path}/plugin; echo $$ >&2; wait") as (process, child, guardian):
        process.kill()
        os.kill(child, signal.SIGKILL)

        assert gone_within(3, int((tmp_path / "plugin").read_text()), guardian)


def test_an_agent_that_crashes_leaves_no_child(tmp_path: Path) -> None:
    script = "echo $$ >&2; exec >/dev/null 2>&1; exec sleep 60"
    with agent(tmp_path, script, "crash") as (process, child, guardian):
        process.send_signal(signal.SIGINT)
        process.wait()

        assert process.returncode == -signal.SIGINT
        assert gone_within(3, child, guardian)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_guardian_ignores_the_signals_that_ask_an_agent_to_end(tmp_path: Path, number: signal.Signals) -> None:
    with agent(tmp_path, "echo $$ >&2; exec sleep 60") as (process, child, guardian):
        os.kill(guardian, number)
        time.sleep(0.05)

        assert processes.start_time(guardian) is not None
        process.kill()
        assert gone_within(3, child, guardian)


def test_the_guardian_has_a_session_of_its_own_and_none_of_the_agent_s_files(tmp_path: Path) -> None:
    with agent(tmp_path, "echo $$ >&2; exec sleep 60") as (_, _, guardian):
        found = processes.look(guardian)
        files = {entry.name: os.readlink(entry) for entry in Path(f"/proc/{guardian}/fd").iterdir()}  # noqa: PTH115 - a pipe is no path

        assert found is not None
        assert found.session == guardian
        assert files.pop("0").startswith("pipe:")
        assert files == {"1": "/dev/null", "2": "/dev/null"}


def test_the_output_of_a_killed_agent_ends_at_once_for_who_reads_it(tmp_path: Path) -> None:
    with agent(tmp_path, "trap '' TERM; echo $$ >&2; exec >/dev/null 2>&1; sleep 60; sleep 60") as (process, _, _):
        process.kill()
        began = time.monotonic()
        assert process.stdout is not None
        process.stdout.read()

        assert time.monotonic() - began < 0.5


def test_a_guardian_that_was_killed_is_replaced() -> None:
    guardian = Guardian()
    guardian.start()
    assert guardian._process is not None
    first = guardian._process
    first.kill()
    first.wait()
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        guardian.watch([child.pid])
        assert guardian._process is not first
        os.close(guardian._pipe)

        assert child.wait(5) == -signal.SIGTERM
        guardian._process.wait(5)
    finally:
        child.kill()
        child.wait()


def test_a_guardian_that_was_stopped_does_not_hold_up_the_run() -> None:
    guardian = Guardian()
    guardian.start()
    assert guardian._process is not None
    os.kill(guardian._process.pid, signal.SIGSTOP)
    try:
        for _ in range(200):
            guardian.watch(range(1_000_000, 1_000_200))
    finally:
        guardian._process.kill()
        guardian.close()


def test_a_run_without_children_has_no_guardian_and_one_that_ends_leaves_none() -> None:
    idle, used = Guardian(), Guardian()
    idle.close()
    used.start()
    assert used._process is not None
    process = used._process
    used.watch([])
    used.close()
    used.close()

    assert idle._process is None
    assert process.returncode == 0


def test_sessions_that_are_no_longer_told_are_left_alone() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    guardian = Guardian()
    try:
        guardian.start()
        guardian.watch([child.pid])
        guardian.watch([])
        guardian.close()
        time.sleep(0.1)

        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
