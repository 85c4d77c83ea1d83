"""The arguments of the commands that change the host: `init`, `fetch`, `update`, `rollback`."""

from __future__ import annotations

import argparse

from agent.cli.argument_parts import deadline, global_options, seconds


def init(parser: argparse.ArgumentParser) -> None:
    """`init`."""
    parser.description = "Boot the role. Exit code 0 means that every service was seen healthy."
    parser.add_argument("--skip-fetch", action="store_true", help="use the bundle that is on the host")
    parser.add_argument("--skip-images", action="store_true", help="do not log in to the registry, do not pull")
    parser.add_argument("--restart-only", action="store_true", help="resolve again and recreate; implies --skip-images")
    parser.add_argument("--force-recreate", action="store_true", help="recreate every container, changed or not")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    parser.add_argument("--dry-run", action="store_true", help="the same as `plan`")
    parser.add_argument("--retry", action="store_true", help="try a release again that failed and was taken back")
    _deploying(parser)


def fetch(parser: argparse.ArgumentParser) -> None:
    """`fetch`."""
    parser.description = "Put the role's bundle on the host. No container is touched; `init` deploys it."
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else CONFIG_SLUG, else the only one)")
    _locking(parser)


def _deploying(parser: argparse.ArgumentParser) -> None:
    """What every command has that deploys."""
    parser.add_argument("--no-rollback", action="store_true", help="leave a deploy that fails as it is, for a look")
    _locking(parser)


def _locking(parser: argparse.ArgumentParser) -> None:
    """What every command has that takes the lock and waits for AWS."""
    deadline(parser)
    parser.add_argument(
        "--lock-wait", type=seconds, default=0.0, metavar="SECONDS", help="wait for another run this long (0)"
    )
    global_options(parser, first=False)


def update(parser: argparse.ArgumentParser) -> None:
    """`update`."""
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


def rollback(parser: argparse.ArgumentParser) -> None:
    """`rollback`."""
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
