"""`delphi-agent rollback`: a former release again, kept in the bootstrap file once it was seen healthy."""

from __future__ import annotations

import argparse

from agent.boot import boot
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.cli.update import DECLINED
from agent.host.paths import Paths
from agent.run import Options
from agent.steps import state
from agent.target import back, choose


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Deploy the former release and persist it, or show the plan; returns the exit code."""
    kept, _ = state.load(Paths.below(arguments.root).state, None)
    release = choose(kept, arguments.to)
    aim = back(release.number, force=arguments.force)
    if arguments.dry_run:
        from agent.cli import plan  # noqa: PLC0415 - another command, needed only here

        return plan.show(arguments, surroundings, aim)
    now = (
        f"release {kept.current.number} ({kept.current.ref}, tag {kept.current.tag})" if kept.current else "no release"
    )
    then = f"release {release.number} ({release.ref}, tag {release.tag}), verified at {release.verified_at}"
    question = f"{now} -> {then}. Go on?"
    if not arguments.yes and not surroundings.confirmed(question):
        print("nothing was changed", file=surroundings.err)
        return DECLINED
    options = Options(lock_wait=arguments.lock_wait, no_rollback=arguments.no_rollback)
    return conclude(arguments, surroundings, lambda made: boot(made, aim), options)
