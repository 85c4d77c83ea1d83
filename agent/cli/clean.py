"""`delphi-agent clean --for-image`: nothing of this host is left for the instances that are made of its image."""

from __future__ import annotations

import argparse

from agent.clean import clean
from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.cli.update import DECLINED
from agent.report.record import Ending
from agent.run import Options, Run


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print what was removed; returns the exit code."""
    question = (
        "This removes every container of this host, its bootstrap file, its machine id, its SSH host keys, its logs and"
        " all that the agent knows. Go on?"
    )
    if not arguments.yes and not surroundings.confirmed(question):
        print("nothing was changed", file=surroundings.err)
        return DECLINED

    def work(made: Run) -> Ending:
        removed = clean(made, ssh_keys=not arguments.keep_ssh_host_keys)
        code = put(surroundings.out, "".join(f"removed {item.path}  ({item.what})\n" for item in removed))
        return Ending(outcome="done", exit_code=code, text="nothing of this host is left: it can become an image")

    return conclude(arguments, surroundings, work, Options(lock_wait=arguments.lock_wait))
