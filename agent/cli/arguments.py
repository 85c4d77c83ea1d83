"""The command line: every command with its arguments. Kept apart from the commands, so that `--help` loads none."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from agent import __version__
from agent.cli import arguments_deploy, arguments_image
from agent.cli.argument_parts import Help, Parser, columns, deadline, global_options, path

_EPILOG = """exit codes: 0 seen healthy, 2 usage, 65 bundle invalid, 66 variable without a value, 69 not reachable or
not in time, 70 a bug, 73 another run, 74 this host, 75 deploy failed and the release before restored, 76 deploy
failed, 77 access denied, 78 bootstrap file"""


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The whole command line; `command` names the chosen one.

    With the words that it is for, only the commands among them get their arguments: no other can be chosen. Where the
    first is a command, there is no other: a parser for each would take as long as `status` itself.
    """
    made = Parser(
        prog="delphi-agent",
        description="Takes an instance from its bootstrap file to a Docker Compose project that was seen healthy.",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=Help,
    )
    made.add_argument("--version", action="version", version=f"delphi-agent {__version__}")
    global_options(made, first=True)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    first = words[0] if words else ""
    for name, (text, fill) in COMMANDS.items():
        wanted = words is None or name in words
        if first in COMMANDS and name != first:
            continue
        command = commands.add_parser(name, help=text, allow_abbrev=False, add_help=wanted, formatter_class=Help)
        if wanted:
            fill(command)
    # Without a help text, it does not show in the list.
    _signal(commands.add_parser(SIGNAL, allow_abbrev=False, formatter_class=Help))
    return made


def _signal(parser: argparse.ArgumentParser) -> None:
    parser.description = "For delphi-agent-signal.service: tell Auto Scaling and CloudFormation that the boot failed."
    parser.add_argument("--from-unit", action="store_true", required=True, help="systemd has given the unit up")
    global_options(parser, first=False)


def _history(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show the releases that can be gone back to, and the last runs."
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="so many runs (10)")
    global_options(parser, first=False)


def _status(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show the running or the last run; exits with that run's code, 69 while there is none yet."
    parser.add_argument("--json", action="store_true", help="print the whole document (schema 1)")
    parser.add_argument("--wait", action="store_true", help="wait until the run has ended")
    global_options(parser, first=False)


def _timeline(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw the running or the last run as a waterfall: steps, AWS calls, commands, images, services. Reads what"
        " `status --json` prints; exits with 0 whatever became of the run, 69 while there is none."
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--svg", action="store_true", help="a picture that stands alone, instead of text")
    form.add_argument("--json", action="store_true", help="print one document (schema 1)")
    parser.add_argument("--output", type=path, metavar="FILE", help="write to this file (0644) instead")
    parser.add_argument("--width", type=columns, metavar="N", help="so many columns (the terminal's, else 100)")
    global_options(parser, first=False)


def _plan(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what `init` would change, and change nothing. Values are never shown."
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--exit-code", action="store_true", help="exit with 3 when anything would change")
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    deadline(parser)
    global_options(parser, first=False)


def _asking(parser: argparse.ArgumentParser) -> None:
    """What the commands have in common that resolve variables and start nothing."""
    parser.add_argument("--manifest", type=path, metavar="FILE", help="the manifest (else the one on the host)")
    parser.add_argument("--bootstrap", type=path, metavar="FILE", help="the bootstrap file (/opt/deployment/.env)")
    deadline(parser)
    global_options(parser, first=False)


def _env(parser: argparse.ArgumentParser) -> None:
    parser.description = "Resolve the variables and print the environment that Compose gets. `table` shows no value."
    parser.add_argument("--format", choices=("export", "file", "json", "table"), default="export", help="export")
    parser.add_argument("--output", type=path, metavar="FILE", help="write to this file (0600) instead")
    _asking(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say where a variable's value comes from, what it beat, why it is required. Never the value."
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    _asking(parser)


def _exec(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a command with the resolved environment, in place of the agent: exit code and signals are its own."
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    _asking(parser)


def _compose(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run `docker compose` on the role's project, with the resolved environment and the deployed tag."
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="ARGS ...")
    _asking(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.description = "Check manifest, compose file and files of a bundle, without AWS, Docker, root or a network."
    parser.add_argument("folder", nargs="?", type=path, metavar="DIR", help="the role's folder (the host's own)")
    parser.add_argument("--bootstrap", type=path, metavar="FILE", help="check this bootstrap file together with it")
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")
    parser.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="text; github: annotations of a workflow"
    )
    global_options(parser, first=False)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Look at every precondition of a run and say how to mend what is wrong, within 10 seconds. Changes nothing, and"
        " works while a run is at work. No value is shown."
    )
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--manifest", type=path, metavar="FILE", help="this manifest (else the bundle's)")
    parser.add_argument("--bootstrap", type=path, metavar="FILE", help="the bootstrap file (/opt/deployment/.env)")
    parser.add_argument(
        "--iam-policy", action="store_true", help="print the IAM policy that the role needs, from the files alone"
    )
    parser.add_argument(
        "--kms-key", action="append", default=[], metavar="ARN", help="with --iam-policy: a key of the values"
    )
    global_options(parser, first=False)


def _support_bundle(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Put what helps to see what is wrong into one archive (0600), without secrets. Works when all else does not."
    )
    parser.add_argument("--output", type=path, metavar="FILE", help="the archive (else a new one in this folder)")
    deadline(parser)
    global_options(parser, first=False)


# systemd's, not people's.
SIGNAL = "signal"
COMMANDS = {
    "init": ("boot the role: the same on first boot and every rerun", arguments_deploy.init),
    "update": ("deploy another tag or ref", arguments_deploy.update),
    "rollback": ("deploy a former release again", arguments_deploy.rollback),
    "fetch": ("put the role's bundle on the host, and nothing more", arguments_deploy.fetch),
    "history": ("the releases and the last runs", _history),
    "plan": ("what init would change", _plan),
    "env": ("print the resolved environment", _env),
    "explain": ("where a variable's value comes from", _explain),
    "exec": ("run a command with the resolved environment", _exec),
    "compose": ("run docker compose with the resolved environment", _compose),
    "check": ("what is wrong with a bundle, without AWS or Docker", _check),
    "doctor": ("what stands in the way of a run on this host", _doctor),
    "bake": ("pull a role's images, for a machine that becomes an image", arguments_image.bake),
    "clean": ("remove what is this host's own, before it becomes an image", arguments_image.clean),
    "status": ("the running or the last run", _status),
    "timeline": ("where the time of the last run went", _timeline),
    "support-bundle": ("collect what helps to find a fault, without secrets", _support_bundle),
}
