"""Images on a real engine, from a registry that refuses, lacks, asks for patience or breaks; kept, pruned, put back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.host.clock import Deadline, SystemClock
from agent.host.engine import Engine
from agent.steps import images as steps
from agent.steps.compose import Model
from agent.steps.service import Service
from tests.lab import images
from tests.lab.aws import Fault
from tests.lab.aws_model import REGISTRY
from tests.lab.engine import SOCKET
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.registry import PASSWORD
from tests.lab.registry_door import RegistryFault
from tests.lab.world import TAG
from tests.lab_tests import reports

APP, SIDE = f"{REGISTRY}/app", f"{REGISTRY}/side"
_SERVICE = """
    init: true
    restart: unless-stopped
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "true"], interval: 200ms}
"""
COMPOSE = f"""services:
  telapi:
    image: ${{ECR_REGISTRY}}/app:${{ECR_TAG}}{_SERVICE}
  side:
    image: ${{ECR_REGISTRY}}/side:${{ECR_TAG}}{_SERVICE}
  side-too:
    image: ${{ECR_REGISTRY}}/side:${{ECR_TAG}}{_SERVICE}
"""
ONE = f"services:\n  telapi:\n    image: ${{ECR_REGISTRY}}/app:${{ECR_TAG}}{_SERVICE}"


def bundle(compose: str) -> dict[str, str | None]:
    return {"api/docker-compose.yaml": compose, "api/vars.yaml": "service: api\nvariables: []\n"}


@pytest.fixture
def two(instance: Lab) -> Lab:
    """An instance whose role has two images, none of them on the host."""
    instance.registry.push(TAG, images.build({"/side": "1"}), "side")
    instance.world.upload_bundle(changes=bundle(COMPOSE))
    instance.engine.forget_images()
    return instance


def pull_step(lab: Lab) -> dict[str, Any]:
    """The step `pull` of the status file."""
    document = json.loads(lab.machine.path("/run/delphi-agent/status.json").read_text())
    found: dict[str, Any] = next(step for step in document["steps"] if step["name"] == "pull")
    return found


def is_here(lab: Lab, name: str) -> bool:
    return lab.engine.docker("image", "inspect", name, check=False).returncode == 0


def nothing_changed(lab: Lab) -> bool:
    return not lab.machine.path("/opt/services/api").exists() and lab.engine.containers() == []


def test_a_token_that_has_expired_by_the_time_of_the_pull_is_renewed_once(two: Lab) -> None:
    # The bundle takes its time, so that the first token is there, and void, before the pull.
    two.aws.add_fault(Fault("s3:GetObject .*/Caddyfile", kind="delay", delay=1.5))
    running = two.machine.start_process([*two.agent_command(), "init"], env=two.agent_env())
    wait_until(lambda: two.aws.calls("ecr:GetAuthorizationToken"), "the first login")
    two.registry.set_password("the-second-token")
    two.aws.set_registry_token("the-second-token")

    assert running.wait() == 0, running.stderr()
    assert len(two.aws.calls("ecr:GetAuthorizationToken")) == 2
    assert (pull_step(two)["retries"], pull_step(two)["throttled"]) == (1, 0)
    assert "the-second-token" not in running.stderr()


def test_a_registry_that_refuses_the_new_token_too_ends_the_run_before_anything_changes(two: Lab) -> None:
    two.registry.set_password("nobody-has-this")

    done = two.agent("init")

    assert done.returncode == 77, done.stderr
    assert len(two.aws.calls("ecr:GetAuthorizationToken")) == 2
    assert nothing_changed(two)


def test_a_missing_tag_is_the_only_one_named_and_the_other_images_are_there(two: Lab) -> None:
    two.registry.delete(TAG, "side")

    done = two.agent("init")

    assert done.returncode == 65, done.stderr
    [error] = reports.errors(done.stderr)
    assert f"{SIDE}:{TAG}" in error["cause"]
    assert "/app" not in reports.whole(error)
    assert is_here(two, f"{APP}:{TAG}")
    assert nothing_changed(two)


def test_a_quota_is_waited_for_and_shows_in_the_status(two: Lab) -> None:
    # The engine asks twice in one pull: HEAD, then GET.
    fault = RegistryFault(f"(HEAD|GET) /v2/side/manifests/{TAG}", 429, "TOOMANYREQUESTS", "Rate exceeded", times=4)
    two.registry.add_fault(fault)

    done = two.agent("init")

    assert done.returncode == 0, done.stderr
    assert (pull_step(two)["retries"], pull_step(two)["throttled"]) == (2, 2)
    assert len(two.registry.requests(f"HEAD /v2/app/manifests/{TAG}")) == 1


def test_a_connection_that_breaks_is_tried_again_for_its_image_alone(two: Lab) -> None:
    two.registry.add_fault(RegistryFault(f"HEAD /v2/side/manifests/{TAG}"))

    done = two.agent("init")

    assert done.returncode == 0, done.stderr
    assert len(two.registry.requests(f"HEAD /v2/side/manifests/{TAG}")) == 2
    assert len(two.registry.requests(f"HEAD /v2/app/manifests/{TAG}")) == 1
    assert (pull_step(two)["retries"], pull_step(two)["throttled"]) == (1, 0)


def test_layers_that_the_registry_has_lost_are_told_although_compose_is_silent(two: Lab) -> None:
    two.registry.add_fault(RegistryFault("GET /v2/side/blobs", 404, "BLOB_UNKNOWN", times=None))

    done = two.agent("init")

    assert done.returncode == 65, done.stderr
    [error] = reports.errors(done.stderr)
    assert f"{SIDE}:{TAG}: " in error["cause"]
    assert "unknown blob" in error["cause"]
    assert "/app" not in reports.whole(error)


def test_a_pull_that_does_not_end_is_told_by_what_is_outstanding(two: Lab) -> None:
    # The engine itself tries layers again and again, for over a minute.
    two.registry.add_fault(RegistryFault("GET /v2/side/blobs", times=None))

    done = two.agent("init", "--deadline", "6")

    assert done.returncode == 69, done.stderr
    [error] = reports.errors(done.stderr)
    assert "docker compose pull" in error["doing"]
    assert f"still outstanding: side, side-too ({SIDE}:{TAG})" in error["cause"]
    assert "staging" not in reports.whole(error)
    assert nothing_changed(two)


@pytest.mark.parametrize("flag", ["--skip-images", "--restart-only"])
def test_a_missing_image_that_is_not_to_be_pulled_is_told_before_anything_changes(two: Lab, flag: str) -> None:
    done = two.agent("init", flag)

    assert done.returncode == 65, done.stderr
    [error] = reports.errors(done.stderr)
    for service, image in (("telapi", APP), ("side", SIDE), ("side-too", SIDE)):
        assert f"{service} needs {image}:{TAG}, which is not on this host" in reports.whole(error)
    assert "run it without --skip-images" in error["next_step"]
    assert "up" not in reports.steps(done.stderr)
    assert nothing_changed(two)


def test_the_images_of_two_releases_stay_also_when_their_tag_has_moved_and_older_ones_go(instance: Lab) -> None:
    instance.world.upload_bundle(changes=bundle(ONE))
    instance.engine.forget_images()
    bystander = f"{REGISTRY}/bystander:1"
    instance.registry.push("1", images.build({"/x": "bystander"}), "bystander")
    login(instance)
    instance.engine.docker("pull", "--quiet", bystander)
    digests = [deploy(instance, tag, text) for tag, text in (("1", "a"), ("2", "b"), ("2", "c"))]
    here = [is_here(instance, f"{APP}@{digest}") for digest in digests]

    assert here == [False, True, True]
    digests.append(deploy(instance, "2", "d"))
    assert [is_here(instance, f"{APP}@{digest}") for digest in digests] == [False, False, True, True]
    assert is_here(instance, bystander)


def deploy(lab: Lab, tag: str, text: str) -> str:
    """Let the role's image be another one, and deploy it; returns the digest in the registry."""
    digest = lab.registry.push(tag, images.build({"/x": text}))
    lab.world.write_bootstrap(lab.world.bootstrap_env(ECR_TAG=tag))
    done = lab.agent("init")
    assert done.returncode == 0, done.stderr
    return digest


def login(lab: Lab) -> None:
    argv = ["docker", "login", "--username", "AWS", "--password-stdin", REGISTRY]
    lab.machine.run(argv, input=PASSWORD, env={"HOME": "/root"}, check=True)


def test_a_name_that_moved_and_lost_its_image_is_put_back_from_the_registry(instance: Lab) -> None:
    deadline = Deadline.after(SystemClock(), 60)
    engine = Engine(f"unix://{instance.machine.path(SOCKET)}", deadline)
    instance.engine.forget_images()
    login(instance)

    def pull(name: str) -> None:
        instance.machine.run(["docker", "pull", "--quiet", name], env={"HOME": "/root"}, check=True)

    name = f"{APP}:moving"
    digest = instance.registry.push("moving", images.build({"/x": "then"}))
    pull(name)
    references, digests = steps.identities(engine, model_of(name))
    assert (list(references), digests) == ([name], {name: f"{APP}@{digest}"})

    instance.registry.push("moving", images.build({"/x": "now"}))
    pull(name)
    assert engine.image_id(name) != references[name]
    assert steps.put_back(engine, references, digests, _no_pull) == [name]
    assert engine.image_id(name) == references[name]

    instance.engine.forget_images()
    assert steps.put_back(engine, references, digests, pull) == [name]
    assert engine.image_id(name) == references[name]
    assert steps.put_back(engine, references, digests, _no_pull) == []


def _no_pull(name: str) -> None:
    raise AssertionError(f"{name} is on the host")


def model_of(name: str) -> Model:
    return Model(name="api", services=(Service(name="api", image=name, replicas=1, mounts=()),), warnings=())
