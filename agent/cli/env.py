"""`delphi-agent env`: the resolved environment on standard output or in a file; diagnostics go to standard error."""

from __future__ import annotations

import argparse

from agent import inquiry
from agent.cli import output
from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.errors import combine
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
        code = 0
        if arguments.output is None:
            code = put(surroundings.out, text)
        else:
            output.write(arguments.output, text, 0o600)
        return Ending(outcome="done", exit_code=code, text="resolved")

    return conclude(arguments, surroundings, work, Options())
