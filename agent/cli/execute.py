"""`delphi-agent exec -- CMD ...`: the command takes the agent's place, with the resolved environment."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from agent import inquiry
from agent.cli import stops
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.errors import HostError, UsageError, combine
from agent.host.command import next_step_for
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
            _become(words, {**surroundings.environ, **values})
        except OSError as error:
            next_step = next_step_for(error, "see that it is on PATH")
            failed = HostError(f"running `{words[0]}`", error.strerror or str(error), next_step)
            code = 127 if isinstance(error, FileNotFoundError) else 126
            return Ending(outcome="failed", exit_code=code, text="not run", errors=(failed,))

    return conclude(arguments, surroundings, work, Options())


def _become(words: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Give the process to the command, with the signals that Python ignores as any other program would have them.

    Raises `OSError` when it cannot be run.
    """
    stops.settle()  # else it came to the command, as an alarm that ends it
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    try:
        os.execvpe(words[0], words, environ)  # noqa: S606 - that is the command's purpose
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
