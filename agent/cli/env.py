"""`delphi-agent env`: the resolved environment on standard output or in a file; diagnostics go to standard error."""

from __future__ import annotations

import argparse
import sys

from agent import inquiry
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.errors import combine
from agent.host import files
from agent.report.record import Ending
from agent.run import Options, Run
from agent.variables import formats


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print or write the environment; returns the exit code."""

    def work(made: Run) -> Ending:
        asked = inquiry.ask(made, arguments.bootstrap, arguments.manifest)
        if asked.errors:
            raise combine(asked.errors)
        made.warn("resolve.warning", *asked.manifest.warnings, *asked.resolution.warnings)
        text = formats.render(asked.resolution, arguments.format)
        if arguments.output is None:
            surroundings.out.flush()
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        else:
            files.write(arguments.output.absolute(), text, 0o600)
        return Ending(outcome="done", exit_code=0, text="resolved")

    return conclude(arguments, surroundings, work, Options())
