"""`delphi-agent update`: another tag or ref, kept in the bootstrap file once it was seen healthy."""

from __future__ import annotations

import argparse
import signal

from agent.boot import boot
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.errors import HostError, UsageError
from agent.host.paths import Paths
from agent.run import Options
from agent.steps import bootstrap, state
from agent.steps.release import deployed_tag
from agent.steps.state import State
from agent.target import changed

DECLINED = 128 + signal.SIGINT


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Deploy and persist, or show the plan; returns the exit code."""
    given = {"CONFIG_REF": arguments.config_ref, "ECR_TAG": arguments.ecr_tag}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes and not arguments.restart_only:
        raise UsageError(
            "reading the command line",
            "nothing to update is named",
            "name --ecr-tag T, --config-ref R or --restart-only; to deploy what the bootstrap file says: `init`",
        )
    if changes and arguments.restart_only:
        raise UsageError(
            "reading the command line",
            "--restart-only fetches and pulls nothing, so tag and ref cannot change with it",
            "leave one of them out",
        )
    aim = changed(changes)
    if arguments.dry_run:
        from agent.cli import plan  # noqa: PLC0415 - another command, needed only here

        return plan.show(arguments, surroundings, aim)
    if not arguments.yes and not surroundings.confirmed(_question(arguments, changes)):
        print("nothing was changed", file=surroundings.err)
        return DECLINED
    options = Options(
        restart_only=arguments.restart_only,
        slug=arguments.slug,
        lock_wait=arguments.lock_wait,
        no_rollback=arguments.no_rollback,
    )
    return conclude(arguments, surroundings, lambda made: boot(made, aim), options)


def _question(arguments: argparse.Namespace, changes: dict[str, str]) -> str:
    """What is going to happen, on which host."""
    paths = Paths.below(arguments.root)
    loaded = bootstrap.load(paths.bootstrap, str(paths.bootstrap))
    words = [f"{name} {_deployed(paths, loaded, name)} -> {value}" for name, value in changes.items()]
    what = ", ".join(words) or "resolve the values again and recreate every container"
    return f"{loaded.hostname} ({loaded.role}, {loaded.environment}): {what}. Go on?"


def _deployed(paths: Paths, loaded: bootstrap.Bootstrap, name: str) -> str:
    """What is deployed now, as far as anybody knows; else what the bootstrap file says."""
    try:
        kept = state.load(paths.state, None)[0]
    except HostError:
        kept = State(instance_id="")
    tag, ref = deployed_tag(kept, paths.role(loaded.role) / ".ecr-tag"), kept.current.ref if kept.current else None
    return (tag if name == "ECR_TAG" else ref) or loaded.variables[name]
