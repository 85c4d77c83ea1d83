"""What Compose leaves when it is ended between making a container and letting it take the old one's place."""

from __future__ import annotations

import pytest

from tests.lab.lab import Lab
from tests.lab_tests.deploys import inspect
from tests.lab_tests.projects import init, upload

NAME = "api-telapi-1"


# Takes its whole grace time to stop, as what does not hear SIGTERM does.
STUBBORN = """services:
  a:
    <<: [*app, *well]
    init: false
    command: [sh, -c, "trap '' TERM; while :; do sleep 1; done"]
    stop_grace_period: 5s
"""
# Once stopped, it looks like a job that is done.
POLITE = """services:
  a:
    <<: [*app, *well]
    init: false
    restart: "no"
    command: [sh, -c, "trap 'sleep 4; exit 0' TERM; while :; do sleep 0.2; done"]
"""


def half_made(lab: Lab, service: str = NAME) -> tuple[str, str]:
    """The container that Compose makes first when it replaces the service's; its name, and the old one's id."""
    old = inspect(lab)[service]
    hash_and_place = {"com.docker.compose.config-hash": "another bundle's", "com.docker.compose.replace": old["Id"]}
    labels = {**old["Config"]["Labels"], **hash_and_place}
    name = f"{old['Id'][:12]}_{service}"
    arguments = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    lab.engine.docker("create", "--name", name, *arguments, old["Image"])
    return name, old["Id"]


@pytest.mark.parametrize("more", ["", "    stop_signal: SIGKILL\n"], ids=["nothing else changed", "another bundle"])
def test_beside_the_old_container_it_is_removed(instance: Lab, more: str) -> None:
    init(instance)
    name, _ = half_made(instance)
    text = instance.machine.path("/opt/services/api/docker-compose.yaml").read_text()
    assert "  telapi:\n" in text
    instance.world.put_file("api/docker-compose.yaml", text.replace("  telapi:\n", f"  telapi:\n{more}"))
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert sorted(inspect(instance)) == ["api-migrate-1", NAME]
    assert f"{name} was removed" in done.stderr
    assert instance.get(3001, "/health") == "ok\n"


def test_without_the_old_container_it_gets_the_name(instance: Lab) -> None:
    init(instance)
    name, old = half_made(instance)
    instance.engine.docker("rm", "--force", old)
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert sorted(inspect(instance)) == ["api-migrate-1", NAME]
    assert f"{name} was renamed to {NAME}" in done.stderr
    assert instance.get(3001, "/health") == "ok\n"


@pytest.mark.parametrize("project", [STUBBORN, POLITE], ids=["killed in the end", "ends with 0"])
def test_an_old_container_whose_stop_is_under_way_is_not_taken_for_one_that_runs(instance: Lab, project: str) -> None:
    upload(instance, project)
    init(instance)
    half_made(instance, "api-a-1")
    # What Compose asks next, and is ended while it waits for the answer.
    stopping = instance.machine.start_process(["docker", "stop", "api-a-1"], log="stop.log")

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    stopping.wait(20)
    assert list(inspect(instance)) == ["api-a-1"]
    assert inspect(instance)["api-a-1"]["State"]["Status"] == "running"
