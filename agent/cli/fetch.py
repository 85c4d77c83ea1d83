"""`delphi-agent fetch`: what the scripts' `fetch-config` did."""

from __future__ import annotations

import argparse

from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.run import Options
from agent.sync import sync


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Fetch the bundle, and nothing more; returns the exit code."""
    return conclude(arguments, surroundings, sync, Options(slug=arguments.slug, lock_wait=arguments.lock_wait))
