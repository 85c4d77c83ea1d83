"""What one instance asks AWS for in the small world: 26 objects, 40 parameters, 4 secrets, one registry.

A plan is done item by item: a name is a call, a number a time that passes without one, a tuple holds plans that are
done side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from agent.aws.session import CONNECTIONS

Plan: TypeAlias = "Sequence[str | float | tuple[Plan, ...]]"

OBJECTS, PAGES, SECRETS = 26, 4, 4
# Until the first call: interpreter, imports, bootstrap file, identity. And what the AWS CLI takes to start.
AGENT_START_SECONDS, CLI_START_SECONDS = 0.4, 0.5


def _lanes(calls: int, lanes: int) -> tuple[Plan, ...]:
    return tuple(["s3.get"] * len(range(lane, calls, lanes)) for lane in range(min(lanes, calls)))


def agent(pages: int = PAGES) -> Plan:
    """What `init` asks for (agent/boot.py): the token beside the bundle, and its values beside its objects."""
    values: tuple[Plan, ...] = (["ssm.path"] * max(1, pages), ["secrets.list", "secrets.batch"])
    bundle: Plan = ["s3.list", "s3.list", "s3.get", (*values, *_lanes(OBJECTS - 1, CONNECTIONS))]
    return [AGENT_START_SECONDS, (["ecr.token"], bundle)]


def scripts(pages: int = PAGES) -> Plan:
    """What the scripts ask for, one AWS CLI after the other; `aws s3 sync` gets ten objects at a time."""
    sync: Plan = [CLI_START_SECONDS, "s3.list", _lanes(OBJECTS, 10)]
    secrets = [part for _ in range(SECRETS) for part in (CLI_START_SECONDS, "secrets.get")]
    listing: Plan = [CLI_START_SECONDS, "secrets.list"]
    return [
        *sync,
        CLI_START_SECONDS,
        *["ssm.path"] * max(1, pages),
        *listing,
        *secrets,
        CLI_START_SECONDS,
        "ecr.token",
    ]


def calls(plan: Plan) -> Counter[str]:
    """How often each call is in the plan."""
    counted: Counter[str] = Counter()
    for item in plan:
        if isinstance(item, str):
            counted[item] += 1
        elif isinstance(item, tuple):
            for part in item:
                counted += calls(part)
    return counted
