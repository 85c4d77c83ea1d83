"""What an image build, or a launch template, puts on a disk before its first boot."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.boot.instance import Instance
from tests.boot.site import Site
from tests.lab.world import BOOTSTRAP_FILE


def user_data(site: Site, *commands: str, **changes: str) -> str:
    """What a launch template gives: the bootstrap file, and what to run."""
    lines = [f"      {name}={value}\n" for name, value in {**site.world.bootstrap_env(), **changes}.items()]
    runs = "".join(f"- {json.dumps(command.split())}\n" for command in commands)
    return (
        "#cloud-config\nwrite_files:\n"
        f"- path: {BOOTSTRAP_FILE}\n  permissions: '0600'\n  content: |\n{''.join(lines)}" + f"runcmd:\n{runs}"
    )


def call_from_cloud_init(instance: Instance, *command: str) -> None:
    """A `runcmd` of the image itself, for user data that is the agent's own JSON."""
    file = instance.path("/etc/cloud/cloud.cfg.d/99_agent.cfg")
    file.write_text(f"runcmd:\n- {json.dumps(command)}\n")


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
