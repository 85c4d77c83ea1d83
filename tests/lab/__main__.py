"""The lab by hand.

    python -m tests.lab shell             a shell on a fresh example instance; it ends with the shell
    python -m tests.lab up                the same in the foreground, until Ctrl-C, for other terminals to enter
    python -m tests.lab enter [CMD ...]   a shell, or a command, on the instance that is up
    python -m tests.lab down              end it

One lab at a time is known by name, in ${DELPHI_LAB_STATE:-/run/delphi-agent-lab.json}; tests have labs of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.process import SYSTEM_PATH, LabError, enter_command, wait_until

STATE = Path(os.environ.get("DELPHI_LAB_STATE", "/run/delphi-agent-lab.json"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=["up", "enter", "down", "shell"])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        match options.action:
            case "up":
                return up()
            case "down":
                return down()
            case "shell":
                return shell()
            case _:
                return enter(options.command)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def up() -> int:
    """Keep a lab running in the foreground; Ctrl-C or TERM ends it."""
    from tests.lab.lab import Lab  # noqa: PLC0415 (the other actions need not wait for boto3)

    if _running() is not None:
        raise LabError(f"one is up already ({STATE})")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    try:
        with Lab() as lab:
            STATE.write_text(json.dumps({"owner": os.getpid(), "machine": lab.machine.pid, "env": lab.agent_env()}))
            print(f"lab: up in {time.monotonic() - began:.1f} s; Ctrl-C ends it. In another terminal:", flush=True)
            print(f"  {sys.executable} -m tests.lab enter                  # a shell on the instance")
            print(f"  {sys.executable} -m tests.lab enter {' '.join(lab.agent_command())} init", flush=True)
            try:
                signal.pause()
            finally:
                STATE.unlink(missing_ok=True)
    except KeyboardInterrupt:
        print("lab: down", flush=True)
    return 0


def shell() -> int:
    """A lab for one shell."""
    from tests.lab.lab import Lab  # noqa: PLC0415 - loads the whole lab, which `--help` does not need

    with Lab() as lab:
        return subprocess.run(_entry(lab.machine.pid, []), env=_environment(lab.agent_env()), check=False).returncode


def enter(command: Sequence[str]) -> int:
    """Become a command (a shell) on the instance that is up."""
    state = _running()
    if state is None:
        raise LabError("none is up; start one with: python -m tests.lab up")
    argv = _entry(int(str(state["machine"])), command)
    env = state["env"] if isinstance(state["env"], dict) else {}
    os.execve(argv[0], argv, _environment(env))


def down() -> int:
    """End the lab that is up, and wait until it is gone."""
    state = _running()
    if state is None:
        return 0
    os.kill(int(str(state["owner"])), signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{state['machine']}").exists(), "the lab to end")
    return 0


def _running() -> dict[str, object] | None:
    """What the state file says, if the lab that wrote it still lives."""
    try:
        state: dict[str, object] = json.loads(STATE.read_text())
        init = Path(f"/proc/{state['machine']}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    # The PID may be another process's by now.
    return state if b"machine_init.py" in init else None


def _entry(machine: int, command: Sequence[str]) -> list[str]:
    return [*enter_command(machine), *(command or ["bash", "--norc"])]


def _environment(extra: dict[str, str]) -> dict[str, str]:
    """What a login on the instance would have."""
    term = os.environ.get("TERM", "dumb")
    return {"PATH": SYSTEM_PATH, "HOME": "/root", "TERM": term, "PS1": "[lab] \\w # ", **extra}


if __name__ == "__main__":
    sys.exit(main())
