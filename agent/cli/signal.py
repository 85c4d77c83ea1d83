"""`delphi-agent signal --from-unit`, which systemd calls (delphi-agent-signal.service): no command for people."""

from __future__ import annotations

import argparse
import os

from agent.cli.terminal import Surroundings
from agent.host.clock import SystemClock
from agent.host.command import SystemCommands
from agent.host.host import Host
from agent.host.paths import Paths
from agent.secret import Redactor
from agent.signalling import watch


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Tell who waits for this instance that its boot has failed; returns 0 once that is done or needless."""
    redactor = Redactor()
    host = Host(
        paths=Paths.below(arguments.root),
        clock=SystemClock(),
        commands=SystemCommands(),
        environ=surroundings.environ,
        uid=os.geteuid(),
    )

    def say(text: str) -> None:
        print(redactor.clean(text), file=surroundings.err, flush=True)

    return watch.given_up(host, redactor, say)
