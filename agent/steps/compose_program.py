"""Which program is Compose: the plugin itself where that is surely what `docker compose` would run.

The docker command asks every plugin that it finds who it is, and then starts the one: 40 ms of CPU for each call, on
a machine where a second of CPU may be twenty of boot.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from agent.host import json_input

BY_DOCKER = ("docker", "compose")
# In the order in which the docker command looks, after the folders of the user's own.
# Source: https://github.com/docker/cli, cli-plugins/manager/manager_unix.go
FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_ELF = b"\x7fELF"


def find(docker_config: Path, path: str, folders: Sequence[str] = FOLDERS) -> tuple[str, ...]:
    """The words that call Compose with DOCKER_CONFIG=`docker_config` and PATH=`path`.

    `docker compose` where `docker` is somebody's script, or where the configuration has plugins of its own.
    """
    docker = shutil.which("docker", path=path)
    if docker is None or not _is_program(Path(docker)) or _has_own_plugins(docker_config):
        return BY_DOCKER
    found = next((item for item in (Path(folder, "docker-compose") for folder in folders) if item.exists()), None)
    if found is None or not os.access(found, os.X_OK) or not _is_program(found):
        return BY_DOCKER
    return (str(found),)


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _has_own_plugins(docker_config: Path) -> bool:
    if (docker_config / "cli-plugins").exists():
        return True
    try:
        config = json_input.loads((docker_config / "config.json").read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return not isinstance(config, dict) or bool(config.get("cliPluginsExtraDirs"))
