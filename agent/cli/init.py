"""`delphi-agent init`."""

from __future__ import annotations

import argparse

from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.join import boot_or_join
from agent.run import Options


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Run `init` to its verdict; returns the exit code."""
    if arguments.dry_run:
        from agent.cli import plan  # noqa: PLC0415 - another command, needed only here

        arguments.exit_code, arguments.json, arguments.command = False, False, "plan"
        return plan.run(arguments, surroundings)
    options = Options(
        skip_fetch=arguments.skip_fetch,
        skip_images=arguments.skip_images,
        restart_only=arguments.restart_only,
        force_recreate=arguments.force_recreate,
        slug=arguments.slug,
        lock_wait=arguments.lock_wait,
        no_rollback=arguments.no_rollback,
        retry=arguments.retry,
    )
    return conclude(arguments, surroundings, boot_or_join, options, signals=True)
