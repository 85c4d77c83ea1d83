"""The command line: every command with its arguments. Kept apart from the commands, so that `--help` loads none."""

from __future__ import annotations

import argparse
from pathlib import Path

from agent import __version__

_EPILOG = """exit codes: 0 seen healthy, 2 usage, 65 bundle invalid, 66 variable without a value, 69 not reachable or
not in time, 70 a bug, 73 another run, 74 this host, 75 deploy failed and the release before restored, 76 deploy
failed, 77 access denied, 78 bootstrap file"""


def parser() -> argparse.ArgumentParser:
    """The whole command line; `command` names the chosen one."""
    made = argparse.ArgumentParser(
        prog="delphi-agent",
        description="Takes an instance from its bootstrap file to a Docker Compose project that was seen healthy.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"delphi-agent {__version__}")
    _global_options(made, first=True)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, fill) in COMMANDS.items():
        fill(commands.add_parser(name, help=text, allow_abbrev=False))
    return made


def _global_options(parser: argparse.ArgumentParser, *, first: bool) -> None:
    """Accepted before and after the command; what comes after wins."""

    def default(value: object) -> object:
        return value if first else argparse.SUPPRESS

    group = parser.add_argument_group("global options")
    group.add_argument(
        "--root", type=Path, default=default(Path("/")), metavar="DIR", help="prefix of every path of the host (/)"
    )
    group.add_argument(
        "--log-format",
        choices=("auto", "console", "json"),
        default=default("auto"),
        help="auto: drawn on a terminal, JSON lines elsewhere",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=default(None),
        help="info; warning for commands that print data",
    )


def _init(parser: argparse.ArgumentParser) -> None:
    parser.description = "Boot the role. Exit code 0 means that every service was seen healthy."
    parser.add_argument("--skip-fetch", action="store_true", help="use the bundle that is on the host")
    parser.add_argument("--skip-images", action="store_true", help="do not log in to the registry, do not pull")
    parser.add_argument("--restart-only", action="store_true", help="resolve again and recreate; implies --skip-images")
    parser.add_argument("--force-recreate", action="store_true", help="recreate every container, changed or not")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--dry-run", action="store_true", help="the same as `plan`")
    parser.add_argument("--retry", action="store_true", help="try a release again that failed and was taken back")
    _deploying(parser)


def _deploying(parser: argparse.ArgumentParser) -> None:
    """What every command has that deploys."""
    parser.add_argument("--no-rollback", action="store_true", help="leave a deploy that fails as it is, for a look")
    _deadline(parser)
    parser.add_argument(
        "--lock-wait", type=seconds, default=0.0, metavar="SECONDS", help="wait for another run this long (0)"
    )
    _global_options(parser, first=False)


def _update(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Deploy another tag or ref. The bootstrap file gets it once every service was seen healthy; a deploy that fails"
        " is taken back."
    )
    parser.add_argument("--ecr-tag", metavar="T", help="the images' tag")
    parser.add_argument("--config-ref", metavar="R", help="the bundle's ref")
    parser.add_argument(
        "--restart-only", action="store_true", help="resolve again and recreate; fetches and pulls nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    _yes(parser)
    _deploying(parser)


def _rollback(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Deploy a former release again: its files and images, with today's values. The bootstrap file gets its tag and"
        " ref once every service was seen healthy."
    )
    parser.add_argument("--to", type=int, metavar="N", help="the release's number (else the one before)")
    parser.add_argument("--force", action="store_true", help="also leave a release that says `irreversible: true`")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    _yes(parser)
    _deploying(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask (without a terminal nobody is asked)")


def _history(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show the releases that can be gone back to, and the last runs."
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="so many runs (10)")
    _global_options(parser, first=False)


def _status(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show the running or the last run; exits with that run's code, 69 while there is none yet."
    parser.add_argument("--json", action="store_true", help="print the whole document (schema 1)")
    parser.add_argument("--wait", action="store_true", help="wait until the run has ended")
    _global_options(parser, first=False)


def seconds(text: str) -> float:
    """A command line's number of seconds, from 0 to a day."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 <= number <= 86400:  # noqa: PLR2004 - a day; also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 86400 seconds")
    return number


def _plan(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what `init` would change, and change nothing. Values are never shown."
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--exit-code", action="store_true", help="exit with 3 when anything would change")
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    _deadline(parser)
    _global_options(parser, first=False)


def _asking(parser: argparse.ArgumentParser) -> None:
    """What the commands have in common that resolve variables and start nothing."""
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="the manifest (else the one on the host)")
    parser.add_argument("--bootstrap", type=Path, metavar="FILE", help="the bootstrap file (/opt/deployment/.env)")
    _deadline(parser)
    _global_options(parser, first=False)


def _env(parser: argparse.ArgumentParser) -> None:
    parser.description = "Resolve the variables and print the environment that Compose gets. `table` shows no value."
    parser.add_argument("--format", choices=("export", "file", "json", "table"), default="export", help="export")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file (0600) instead")
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
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the role's folder (the host's own)")
    parser.add_argument("--bootstrap", type=Path, metavar="FILE", help="check this bootstrap file together with it")
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")
    parser.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="text; github: annotations of a workflow"
    )
    _global_options(parser, first=False)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Look at every precondition of a run and say how to mend what is wrong, within 10 seconds. Changes nothing, and"
        " works while a run is at work. No value is shown."
    )
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="this manifest (else the bundle's)")
    parser.add_argument("--bootstrap", type=Path, metavar="FILE", help="the bootstrap file (/opt/deployment/.env)")
    parser.add_argument(
        "--iam-policy", action="store_true", help="print the IAM policy that the role needs, from the files alone"
    )
    parser.add_argument(
        "--kms-key", action="append", default=[], metavar="ARN", help="with --iam-policy: a key of the values"
    )
    _global_options(parser, first=False)


def _support_bundle(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Put what helps to see what is wrong into one archive (0600), without secrets. Works when all else does not."
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the archive (else a new one in this folder)")
    _deadline(parser)
    _global_options(parser, first=False)


def _deadline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deadline", type=seconds, default=300.0, metavar="SECONDS", help="for the whole run (300)")


COMMANDS = {
    "init": ("boot the role: the same on first boot and every rerun", _init),
    "update": ("deploy another tag or ref", _update),
    "rollback": ("deploy a former release again", _rollback),
    "history": ("the releases and the last runs", _history),
    "plan": ("what init would change", _plan),
    "env": ("print the resolved environment", _env),
    "explain": ("where a variable's value comes from", _explain),
    "exec": ("run a command with the resolved environment", _exec),
    "compose": ("run docker compose with the resolved environment", _compose),
    "check": ("what is wrong with a bundle, without AWS or Docker", _check),
    "doctor": ("what stands in the way of a run on this host", _doctor),
    "status": ("the running or the last run", _status),
    "support-bundle": ("collect what helps to find a fault, without secrets", _support_bundle),
}
