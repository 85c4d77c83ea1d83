"""What Compose leaves when it is ended between making a container and letting it take the old one's place."""

from __future__ import annotations

import pytest

from tests.lab.lab import Lab
from tests.lab_tests.deploys import inspect
from tests.lab_tests.projects import init

NAME = "api-telapi-1"


def half_made(lab: Lab) -> tuple[str, str]:
    """The container that Compose makes first when it replaces the service's; its name, and the old one's id."""
    old = inspect(lab)[NAME]
    hash_and_place = {"com.docker.compose.config-hash": "another bundle's", "com.docker.compose.replace": old["Id"]}
    labels = {**old["Config"]["Labels"], **hash_and_place}
    name = f"{old['Id'][:12]}_{NAME}"
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
