"""`exec`: the command gets the process as any other program would be given it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit import children
from tests.unit.test_bootstrap import GOOD

MANIFEST = "service: api\nvariables: [{name: LOG_LEVEL, source: local}]\n"
# What `exec` does when the command cannot be run, and then what the agent ignores.
FAILED = """
    import signal, sys
    from agent.cli.main import main
    code = main(sys.argv[1:])
    print(code, [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGPIPE, signal.SIGXFSZ)])
"""


def options(root: Path) -> list[str]:
    """For a host whose bootstrap file and manifest need no AWS."""
    (root / "opt/deployment").mkdir(parents=True)
    bootstrap, manifest = root / "opt/deployment/.env", root / "vars.yaml"
    bootstrap.write_text("".join(f"{name}={value}\n" for name, value in {**GOOD, "LOG_LEVEL": "info"}.items()))
    bootstrap.chmod(0o600)
    manifest.write_text(MANIFEST)
    return ["exec", "--root", str(root), "--manifest", str(manifest)]


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-B", "-m", "agent", *options(root), "--", *command]
    env = {"PATH": os.defpath}
    return subprocess.run(argv, cwd=children.PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_ignores_no_signal_that_only_python_ignores(tmp_path: Path) -> None:
    done = run(tmp_path, "grep", "SigIgn", "/proc/self/status")

    assert done.returncode == 0, done.stderr
    ignored = int(done.stdout.split()[1], 16)
    assert [number.name for number in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (number - 1) & 1] == []


def test_a_pipeline_of_the_command_ends_as_it_would_without_the_agent(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "yes | head -1")

    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


def test_a_command_that_cannot_be_run_leaves_the_agent_s_own_signals_as_they_were(tmp_path: Path) -> None:
    done = children.python(FAILED, arguments=[*options(tmp_path), "--", "no-such-command"], env={"PATH": os.defpath})

    assert done.out == "127 [True, True]\n"
    assert "no-such-command" in done.err


# As a signal that came where the run may not be stopped, right before the command takes the process.
PUT_OFF = """
    import os, signal
    from agent.cli import execute
    from agent.cli.stops import Stops
    from agent.errors import Interrupted

    class Ends:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    Stops().watch()
    try:
        Ends()
        execute._become(["echo", "it has begun"], dict(PATH=os.defpath))
    except Interrupted as stopped:
        print(stopped.signal.name)
"""
LIMITED = """
    import os, signal, sys, time
    from agent.cli import execute
    from agent.cli.stops import Stops
    from agent.errors import Interrupted

    signal.alarm(1)
    Stops().watch()
    try:
        time.sleep(float(sys.argv[1]))
        execute._become(["sleep", "20"], dict(PATH=os.defpath))
    except Interrupted as stopped:
        print(stopped.signal.name)
"""


def test_a_signal_that_was_put_off_is_raised_before_the_command_begins() -> None:
    assert children.python(PUT_OFF).out == "SIGTERM\n"


@pytest.mark.slow
def test_an_alarm_that_the_caller_has_set_limits_the_command_and_the_agent_before_it() -> None:
    began = time.monotonic()

    command, before = children.python(LIMITED, arguments=["0"]), children.python(LIMITED, arguments=["20"])

    assert (command.status, before.out) == (-signal.SIGALRM, "SIGALRM\n")
    assert time.monotonic() - began < 15
