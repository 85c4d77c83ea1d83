"""An operator's command on the agent's own streams: every signal that is to end the agent is the command's."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host import processes
from tests.unit import children

# Ends with the code of the child; `watch` is what any run has around it.
AGENT = """
    import sys
    from agent.cli import stops
    from agent.errors import Interrupted
    from agent.host import attached
    from agent.host.command import Command
    from agent.secret import Secret

    command = Command(argv=("sh", "-c", sys.argv[1]), env={"PATH": Secret("/usr/bin:/bin")})
    try:
        stops.Stops().watch()
        print("ready", flush=True)
        stops.settle()
        code = attached.run(command)
    except Interrupted as stopped:
        code = stopped.exit_status
    sys.exit(code)
"""


@contextlib.contextmanager
def start(script: str) -> Iterator[subprocess.Popen[str]]:
    """The agent, at work; whatever is left of it and of the command is killed in the end."""
    with subprocess.Popen(
        children.command(AGENT, script),
        cwd=children.PROJECT,
        env={},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "ready\n"
            yield agent
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)


def test_the_exit_code_is_the_command_s_own() -> None:
    with start("exit 7") as agent:
        assert agent.wait(20) == 7


def test_a_command_that_a_signal_ended_has_that_one_s_code() -> None:
    with start("kill -KILL $$") as agent:
        assert agent.wait(20) == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_passed_on_and_the_answer_waited_for(number: signal.Signals) -> None:
    script = f"trap 'echo heard' {number}; echo up; while :; do sleep 0.05; done"
    with start(script) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "up\n"
        for _ in range(2):
            agent.send_signal(number)
            assert agent.stdout.readline() == "heard\n"


def test_an_interrupt_is_left_to_the_terminal_and_what_comes_after_it_is_passed_on() -> None:
    with start("trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.05; done") as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "up\n"
        time.sleep(0.2)  # the agent knows of it by then
        agent.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert agent.poll() is None
        agent.send_signal(signal.SIGTERM)
        assert agent.stdout.readline() == "heard\n"
        assert agent.wait(20) == 3


@pytest.mark.slow
def test_a_signal_while_the_command_is_being_started_leaves_none_behind(tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(25):
        pid = tmp_path / str(number)
        with start(f"echo $$ >{pid}; exec sleep 30") as agent:
            time.sleep(chance.uniform(0, 0.006))
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == 143
        time.sleep(0.02)
        assert not pid.exists() or not pid.read_text() or processes.start_time(int(pid.read_text())) is None
