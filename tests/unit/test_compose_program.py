"""The Compose plugin is called itself only where `docker compose` would surely run the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.steps.compose_program import BY_DOCKER, find

PROGRAM = b"\x7fELF and so on"


class Place:
    """A docker command, two folders for plugins, and a docker configuration."""

    def __init__(self, root: Path) -> None:
        self.bin, self.config = root / "bin", root / "config"
        self.folders = (root / "first", root / "second")
        for folder in (self.bin, self.config, *self.folders):
            folder.mkdir()
        self.put(self.bin / "docker")

    def put(self, path: Path, content: bytes = PROGRAM, mode: int = 0o755) -> Path:
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def found(self) -> tuple[str, ...]:
        return find(self.config, str(self.bin), [str(folder) for folder in self.folders])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_plugin_is_called_itself(place: Place) -> None:
    second = place.put(place.folders[1] / "docker-compose")
    assert place.found() == (str(second),)

    first = place.put(place.folders[0] / "docker-compose")
    assert place.found() == (str(first),)


def test_without_a_plugin_docker_says_what_is_missing(place: Place) -> None:
    assert place.found() == BY_DOCKER


def test_a_docker_command_that_is_a_script_is_not_passed_by(place: Place) -> None:
    place.put(place.folders[0] / "docker-compose")
    place.put(place.bin / "docker", b"#!/bin/sh\nexec podman")

    assert place.found() == BY_DOCKER


def test_without_a_docker_command_nothing_is_guessed(place: Place) -> None:
    place.put(place.folders[0] / "docker-compose")
    (place.bin / "docker").unlink()

    assert place.found() == BY_DOCKER


@pytest.mark.parametrize(("content", "mode"), [(PROGRAM, 0o644), (b"#!/bin/sh\n", 0o755), (b"", 0o755)])
def test_a_first_plugin_that_is_no_program_is_dockers_to_judge(place: Place, content: bytes, mode: int) -> None:
    place.put(place.folders[0] / "docker-compose", content, mode)
    place.put(place.folders[1] / "docker-compose")

    assert place.found() == BY_DOCKER


@pytest.mark.parametrize("config", [{"cliPluginsExtraDirs": ["/home/op/.docker/cli-plugins"]}, []])
def test_plugins_of_the_users_own_come_first(place: Place, config: object) -> None:
    place.put(place.folders[0] / "docker-compose")
    (place.config / "config.json").write_text(json.dumps(config))

    assert place.found() == BY_DOCKER


def test_a_configuration_with_a_login_alone_changes_nothing(place: Place) -> None:
    plugin = place.put(place.folders[0] / "docker-compose")
    (place.config / "config.json").write_text(json.dumps({"auths": {"host": {"auth": "eDp5"}}}))

    assert place.found() == (str(plugin),)
