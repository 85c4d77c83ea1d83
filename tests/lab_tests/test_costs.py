"""What `init` costs, in counts: a change that asks, connects, starts or waits for more has to say so here."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.lab.aws import Fault
from tests.lab.lab import Lab
from tests.lab_tests.projects import init
from tests.lab_tests.test_resolution_calls import longest_chain

# Of the lab's bundle.
OBJECTS = 4
# Nothing of these is asked twice, and nothing for nothing.
ALWAYS = {
    "ecr:GetAuthorizationToken": 1,
    "s3:ListObjectsV2": 2,
    "ssm:GetParametersByPath": 1,
    "secretsmanager:ListSecrets": 1,
    "secretsmanager:BatchGetSecretValue": 1,
}
# Token, role, its keys, the identity document, what is put into variables.
IMDS_REQUESTS = 6
CONFIG, PULL, DRY_RUN, UP = (
    "docker compose config",
    "docker compose pull",
    "docker compose up --dry-run",
    "docker compose up",
)


def cost(lab: Lab) -> tuple[Counter[str], int, int, list[str]]:
    """Of one `init`: the calls of AWS, their connections, the requests to IMDS, the children in their order."""
    lab.aws.clear_calls()
    before = len(lab.imds.requests())
    init(lab)
    calls = lab.aws.calls()
    status: dict[str, Any] = json.loads(lab.machine.path("/run/delphi-agent/status.json").read_text())
    children = [span["name"] for span in status["spans"] if span["kind"] == "command"]
    assert status["totals"]["children"] == len(children)
    opened = len({call.connection for call in calls})
    return Counter(call.name for call in calls), opened, len(lab.imds.requests()) - before, children


def test_a_first_boot_fetches_the_manifest_then_each_object_and_asks_for_everything_else_once(instance: Lab) -> None:
    calls, opened, asked, children = cost(instance)

    # The manifest first, by itself: what it names is asked for while the whole bundle is fetched.
    assert calls.pop("s3:GetObject") == 1 + OBJECTS
    assert calls == ALWAYS
    # One for each service, and for the objects as many as are fetched at once.
    assert opened <= 4 + OBJECTS
    assert asked <= IMDS_REQUESTS
    assert children == [CONFIG, PULL, DRY_RUN, CONFIG, DRY_RUN, UP]


def test_a_rerun_with_nothing_changed_reads_no_object_and_starts_nothing(instance: Lab) -> None:
    init(instance)

    calls, opened, asked, children = cost(instance)

    assert calls == ALWAYS
    assert opened <= len({name.partition(":")[0] for name in calls})
    assert asked <= IMDS_REQUESTS
    # The last two side by side.
    assert (children[0], sorted(children[1:])) == (CONFIG, [PULL, DRY_RUN])


def test_the_calls_of_a_rerun_wait_for_each_other_no_more_than_they_must(instance: Lab) -> None:
    init(instance)
    instance.aws.clear_calls()
    instance.aws.add_fault(Fault("", kind="delay", delay=0.25, times=None))

    init(instance)

    # The two listings, the list of secrets, their values: each needs the answer before it, but the second listing.
    assert longest_chain(instance.aws.calls()) <= 4
