"""What `init` costs, in counts: a change that asks, connects, starts or waits for more has to say so here."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.lab import images
from tests.lab.aws import Fault
from tests.lab.aws_model import REGISTRY
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.registry import PASSWORD
from tests.lab.registry_door import RegistryFault
from tests.lab.world import TAG
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
# Needs no value.
ALONE = "services: {telapi: {image: '${ECR_REGISTRY}/app:${ECR_TAG}', init: true, command: [sleep, '1000']}}\n"
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
    instance.engine.forget_images()

    calls, opened, asked, children = cost(instance)

    # The manifest first, by itself: what it names is asked for while the whole bundle is fetched.
    assert calls.pop("s3:GetObject") == 1 + OBJECTS
    assert calls == ALWAYS
    # One for each service, and for the objects as many as are fetched at once.
    assert opened <= 4 + OBJECTS
    assert asked <= IMDS_REQUESTS
    # What Compose would start is asked once: where no container is, the rehearsal has said it.
    assert children == [CONFIG, PULL, DRY_RUN, CONFIG, UP]


def test_a_rerun_with_nothing_changed_reads_no_object_and_starts_nothing(instance: Lab) -> None:
    init(instance)

    calls, opened, asked, children = cost(instance)

    assert calls == ALWAYS
    assert opened <= len({name.partition(":")[0] for name in calls})
    assert asked <= IMDS_REQUESTS
    # What the tags name was asked of the registry: nothing has to be pulled.
    assert children == [CONFIG, DRY_RUN]


def test_the_calls_of_a_rerun_wait_for_each_other_no_more_than_they_must(instance: Lab) -> None:
    init(instance)
    instance.aws.clear_calls()
    instance.aws.add_fault(Fault("", kind="delay", delay=0.25, times=None))

    init(instance)

    # The two listings; the list of secrets and their values: beside each other.
    assert longest_chain(instance.aws.calls()) <= 2


def test_values_are_asked_for_again_when_the_bundle_is_another_one(instance: Lab) -> None:
    """Else a value that was put before the bundle that needs it was uploaded could be missed."""
    init(instance)

    instance.world.put_file("api/Caddyfile", "# another\n")
    changed, *_ = cost(instance)
    unchanged, *_ = cost(instance)

    assert changed["ssm:GetParametersByPath"] == 2 * ALWAYS["ssm:GetParametersByPath"]
    assert unchanged == ALWAYS


def test_a_value_that_was_put_before_its_bundle_is_never_missed(instance: Lab) -> None:
    init(instance)
    # The values are asked for, the bucket is slow, and meanwhile somebody puts a value and uploads what needs it.
    instance.aws.add_fault(Fault("s3:ListObjectsV2 .*/api/", kind="delay", delay=2.0))
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: instance.aws.calls("ssm:GetParametersByPath"), "the early question")
    instance.world.put_parameter("ADDED", "seeded")
    manifest = instance.machine.path("/opt/services/api/vars.yaml").read_text()
    instance.world.put_file("api/vars.yaml", f"{manifest}  - {{name: ADDED, required: true}}\n")

    assert running.wait() == 0, running.stderr()


def test_a_slow_question_that_was_asked_in_vain_is_not_waited_for(instance: Lab) -> None:
    init(instance)
    instance.world.put_file("api/vars.yaml", "service: api\nvariables: []\n")
    instance.world.put_file("api/docker-compose.yaml", ALONE)
    instance.aws.add_fault(Fault("ssm:GetParametersByPath", kind="hang", times=None))

    done = instance.agent("init", "--deadline", "15")

    assert done.returncode == 0, done.stderr


def test_what_was_asked_for_in_vain_cannot_fail_a_run(instance: Lab) -> None:
    init(instance)
    instance.world.put_file("api/vars.yaml", "service: api\nvariables: []\n")
    instance.world.put_file("api/docker-compose.yaml", ALONE)
    instance.aws.add_fault(Fault("ssm:GetParametersByPath", code="InvalidFilterKey", status=400, times=None))

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert instance.aws.calls("ssm:GetParametersByPath")


def test_a_registry_that_does_not_say_what_a_tag_names_is_asked_by_a_pull(instance: Lab) -> None:
    init(instance)
    instance.registry.add_fault(RegistryFault(f"HEAD /v2/app/manifests/{TAG}", 500, times=1))

    *_, children = cost(instance)

    # The last two side by side.
    assert (children[0], sorted(children[1:])) == (CONFIG, [PULL, DRY_RUN])


def test_a_tag_that_was_moved_on_the_host_is_seen_and_pulled_again(instance: Lab) -> None:
    init(instance)
    app = f"{REGISTRY}/app:{TAG}"
    before = instance.engine.docker("image", "inspect", "--format", "{{.Id}}", app).stdout
    other = instance.registry.push("other", images.build({"/x": "other"}))
    login = ["docker", "login", "--username", "AWS", "--password-stdin", REGISTRY]
    instance.machine.run(login, input=PASSWORD, env={"HOME": "/root"}, check=True)
    instance.engine.docker("pull", "--quiet", f"{REGISTRY}/app@{other}")
    instance.engine.docker("tag", f"{REGISTRY}/app@{other}", app)

    *_, children = cost(instance)

    assert PULL in children
    assert instance.engine.docker("image", "inspect", "--format", "{{.Id}}", app).stdout == before
