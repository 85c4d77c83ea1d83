"""The policy that `doctor --iam-policy` prints is enough for a first boot, and nothing in it can be left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.doctor.rights import RIGHTS, Right
from tests.lab.lab import Lab
from tests.lab.world import BUNDLE
from tests.lab_tests import reports

Policy = dict[str, Any]

MANIFEST = "/opt/bundle/api/vars.yaml"
# The registry of the lab asks nobody for these two; they are the engine's, not the agent's.
BY_THE_ENGINE = {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}


def printed(lab: Lab, *words: str) -> Policy:
    """The policy, from a bundle that is on the host and not deployed."""
    folder = lab.machine.path(MANIFEST).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vars.yaml", "docker-compose.yaml"):
        (folder / name).write_text((BUNDLE / "api" / name).read_text())
    lab.aws.clear_calls()
    done = lab.agent("doctor", "--iam-policy", "--manifest", MANIFEST, *words)
    assert done.returncode == 0, done.stderr
    assert lab.aws.calls() == []
    policy: Policy = json.loads(done.stdout)
    return policy


def test_it_is_enough_for_a_first_boot_and_a_rerun(instance: Lab) -> None:
    instance.aws.enforce_iam(printed(instance))

    first, again = instance.agent("init"), instance.agent("init", "--force-recreate")

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert [call for call in instance.aws.calls() if call.status in (400, 403)] == []


def test_the_table_has_every_call_of_a_boot_and_a_boot_makes_every_call_of_the_table(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    # A rerun has the bundle already; and `printed` begins to count anew.
    made = {call.name for call in instance.aws.calls()}
    fallback = printed(instance)
    fallback["Statement"] = [item for item in fallback["Statement"] if "BatchGet" not in item["Action"]]
    instance.aws.enforce_iam(fallback)

    assert instance.agent("init").returncode == 0

    made |= {call.name for call in instance.aws.calls()}
    assert made == {call for right in RIGHTS for call in right.calls}


@pytest.mark.parametrize(
    "right", [right for right in RIGHTS if right.action not in BY_THE_ENGINE], ids=lambda it: it.sid
)
def test_without_one_statement_the_boot_names_its_action_or_knows_another_way(instance: Lab, right: Right) -> None:
    policy = printed(instance)
    policy["Statement"] = [item for item in policy["Statement"] if item["Sid"] != right.sid]
    instance.aws.enforce_iam(policy)

    done = instance.agent("init")

    if right.optional:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 77, done.stderr
        assert right.action in "".join(reports.whole(error) for error in reports.errors(done.stderr))


def test_without_a_slug_it_allows_to_look_for_it(instance: Lab) -> None:
    instance.world.write_bootstrap(instance.world.bootstrap_env(CONFIG_SLUG=None))
    instance.aws.enforce_iam(printed(instance))

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
