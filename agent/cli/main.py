"""The `delphi-agent` command: reads the arguments, hands over to the one module that the command needs."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence

from agent.cli.argument_parts import separated
from agent.cli.arguments import parser
from agent.cli.streams import SteadyStream, open_closed_streams, settle_streams

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import NoReturn

# Imported when it is called, as is all that commands share: `--help` loads nothing but the arguments.
MODULES = {
    "init": "agent.cli.init",
    "update": "agent.cli.update",
    "rollback": "agent.cli.rollback",
    "fetch": "agent.cli.fetch",
    "history": "agent.cli.history",
    "plan": "agent.cli.plan",
    "env": "agent.cli.env",
    "explain": "agent.cli.explain",
    "exec": "agent.cli.execute",
    "compose": "agent.cli.compose",
    "check": "agent.cli.check",
    "doctor": "agent.cli.doctor",
    "bake": "agent.cli.bake",
    "clean": "agent.cli.clean",
    "signal": "agent.cli.signal",
    "status": "agent.cli.status",
    "timeline": "agent.cli.timeline",
    "support-bundle": "agent.cli.support_bundle",
}


# Objects made before Python looks for cycles (its own figure is 700). What is imported stays, and looking through it
# again and again costs a fifth of a short run's CPU; the cycles of a run are few. It is more than a short run has.
_COLLECT_AFTER = 500_000
# 128 + SIGINT; the module `signal` takes its time to load.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    gc.set_threshold(_COLLECT_AFTER)
    open_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser(words).parse_args(separated(words))
        return _call(MODULES[arguments.command], arguments, words)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - one that is not the agent's own goes on
        return _told(error)
    finally:
        settle_streams()


def leave(code: int) -> NoReturn:
    """End the process with `code` at once, when everything that it printed is flushed.

    Taking the interpreter apart, module by module, costs a tenth of a short run's CPU, and nothing waits for that: what
    a run has to put away, it has put away before its verdict.
    """
    os._exit(code)


def _call(module: str, arguments: argparse.Namespace, words: Sequence[str]) -> int:
    from agent.cli.terminal import Surroundings  # noqa: PLC0415 - `--help` loads the arguments alone

    code: int = importlib.import_module(module).run(arguments, Surroundings.real(words))
    return code


def _told(error: Exception) -> int:
    """Tell of an error that stands in the way of the whole command; returns the exit code."""
    from agent.errors import AgentError  # noqa: PLC0415 - `--help` loads the arguments alone

    if not isinstance(error, AgentError):
        raise error
    SteadyStream(sys.stderr).write(f"error [{error.code}] {error}\n  next: {error.next_step}\n")
    return error.exit_status


def fetch_config() -> int:
    """`fetch-config`, as the scripts called it."""
    return main(["fetch", *sys.argv[1:]])


def fetch_env() -> int:
    """`fetch-env.sh --manifest M --bootstrap B --format export|file [--output P]`, as the scripts called it."""
    return main(["env", *sys.argv[1:]])
