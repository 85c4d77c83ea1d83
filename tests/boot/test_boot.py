"""First boots, reboots, power losses and clones: real systemd, real cloud-init, the package as users install it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.boot.instance import Instance
from tests.boot.site import Site
from tests.lab.world import BOOTSTRAP_FILE

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(site: Site, request: pytest.FixtureRequest) -> Iterator[Instance]:
    made = site.instance(f"i{abs(hash(request.node.name)) % 10_000}")
    yield made
    made.remove()


def user_data(site: Site, *commands: str, **changes: str) -> str:
    """What a launch template gives: the bootstrap file, and what to run."""
    lines = [f"      {name}={value}\n" for name, value in {**site.world.bootstrap_env(), **changes}.items()]
    runs = "".join(f"- {json.dumps(command.split())}\n" for command in commands)
    return (
        "#cloud-config\nwrite_files:\n"
        f"- path: {BOOTSTRAP_FILE}\n  permissions: '0600'\n  content: |\n{''.join(lines)}" + f"runcmd:\n{runs}"
    )


def bake_in(instance: Instance, env: Mapping[str, str]) -> None:
    """The bootstrap file as a part of the image."""
    file = instance.path(BOOTSTRAP_FILE)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    file.chmod(0o600)


def enable(instance: Instance) -> None:
    """`systemctl enable delphi-agent`, as an image build does it."""
    wants = instance.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "delphi-agent.service").symlink_to("/lib/systemd/system/delphi-agent.service")


def verified(instance: Instance) -> list[str]:
    """How each run that changed something ended."""
    return [run["outcome"] for run in instance.history()]


def test_a_first_boot_with_user_data_ends_in_one_verified_deploy_and_reaches_the_target(
    site: Site, instance: Instance
) -> None:
    site.imds.set("user-data", user_data(site, "delphi-agent init"))
    enable(instance)
    instance.boot()

    instance.wait_unit("delphi-agent.target", "active")

    assert verified(instance) == ["verified"]
    assert instance.wait_settled() == "running", instance.run("systemctl", "--failed").stdout
