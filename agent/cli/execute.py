"""`delphi-agent exec -- CMD ...`: the command takes the agent's place, with the resolved environment."""

from __future__ import annotations

import argparse
import os
import sys

from agent import inquiry
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.errors import HostError, UsageError, combine
from agent.report.record import Ending
from agent.run import Options, Run


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Become the command. Returns only when it cannot be run: 127 when there is none, 126 when it may not be run."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise UsageError("running a command", "none is given", "write it behind `--`: delphi-agent exec -- env")

    def work(made: Run) -> Ending:
        asked = inquiry.ask(made, arguments.bootstrap, arguments.manifest)
        if asked.errors:
            raise combine(asked.errors)
        values = {name: value.reveal() for name, value in asked.resolution.environment.items()}
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execvpe(words[0], words, {**surroundings.environ, **values})  # noqa: S606 - that is the command's purpose
        except OSError as error:
            failed = HostError(f"running `{words[0]}`", error.strerror or str(error), "see that it is on PATH")
            code = 127 if isinstance(error, FileNotFoundError) else 126
            return Ending(outcome="failed", exit_code=code, text="not run", errors=(failed,))

    return conclude(arguments, surroundings, work, Options())
