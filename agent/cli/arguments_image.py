"""The arguments of the commands for machine images: `bake`, `clean`."""

from __future__ import annotations

import argparse
import re

from agent.cli.argument_parts import deadline, global_options, path, seconds

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def bake(parser: argparse.ArgumentParser) -> None:
    """`bake`."""
    parser.description = (
        "Pull the images of a role's bundle, for a machine that becomes an image. Leaves nothing else behind."
    )
    parser.add_argument("--role", metavar="R", help="SERVER_ROLE")
    parser.add_argument("--config-bucket", metavar="B", help="CONFIG_BUCKET")
    parser.add_argument("--config-ref", metavar="REF", help="CONFIG_REF")
    parser.add_argument("--ecr-registry", metavar="HOST", help="ECR_REGISTRY")
    parser.add_argument("--ecr-tag", metavar="T", help="ECR_TAG")
    parser.add_argument("--region", metavar="REGION", help="AWS_REGION")
    parser.add_argument("--slug", metavar="S", help="the deployment's slug (else the only one)")
    parser.add_argument(
        "--bootstrap", type=path, metavar="FILE", help="take from this bootstrap file what is not given"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="a variable that image names are made of; again for each",
    )
    parser.add_argument("--json", action="store_true", help="print one document (schema 1)")
    deadline(parser)
    global_options(parser, first=False)


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not _NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def clean(parser: argparse.ArgumentParser) -> None:
    """`clean`."""
    parser.description = (
        "Remove what is this host's own: containers, bootstrap file, keys, ids, logs, what the agent remembers. Then"
        " look for what is left; exits with 74 when something is. Images stay."
    )
    parser.add_argument("--for-image", action="store_true", required=True, help="say that this host becomes an image")
    parser.add_argument("--keep-ssh-host-keys", action="store_true", help="leave the keys of the SSH server")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask (without a terminal nobody is asked)")
    parser.add_argument(
        "--lock-wait", type=seconds, default=0.0, metavar="SECONDS", help="wait for another run this long (0)"
    )
    deadline(parser)
    global_options(parser, first=False)
