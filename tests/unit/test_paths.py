"""Where things lie on the host, what the kernel says of a process, and what every child is given."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from agent.host import processes
from agent.host.host import Host
from agent.host.paths import Paths
from tests.unit.fakes import FakeClock, FakeCommands

# Documented by the platform (or by the design); a test writes them out so that none moves by accident.
DOCUMENTED = {
    "bootstrap": "/opt/deployment/.env",
    "services": "/opt/services",
    "common": "/opt/services/common",
    "daemon_json": "/etc/docker/daemon.json",
    "run": "/run/delphi-agent",
    "lock": "/run/delphi-agent/lock",
    "status": "/run/delphi-agent/status.json",
    "docker_config": "/run/delphi-agent/docker",
    "overrides": "/run/delphi-agent/compose",
    "state": "/var/lib/delphi-agent",
    "docker_socket": "/var/run/docker.sock",
}


@pytest.mark.parametrize(("name", "path"), DOCUMENTED.items())
def test_every_path_is_where_the_platform_documents_it(name: str, path: str) -> None:
    assert Path(path) == getattr(Paths(), name)


@pytest.mark.parametrize("name", [name for name, kind in vars(Paths).items() if isinstance(kind, property)])
def test_no_path_leaves_the_root(tmp_path: Path, name: str) -> None:
    assert getattr(Paths(tmp_path), name).is_relative_to(tmp_path)


def test_a_role_has_its_folder_below_services() -> None:
    assert Path("/opt/services/api") == Paths().role("api")


def test_a_path_is_shown_as_the_host_knows_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path)

    assert paths.shown(paths.bootstrap) == "/opt/deployment/.env"
    assert paths.shown(Path("/elsewhere")) == "/elsewhere"
    assert Paths().shown(Path("/opt")) == "/opt"


def test_a_process_and_its_start_are_known_while_it_lives() -> None:
    own = processes.start_time(os.getpid())
    child = subprocess.Popen(["sleep", "60"])
    try:
        started = processes.start_time(child.pid)
    finally:
        child.kill()
        child.wait()

    assert own is not None
    assert started is not None
    assert started >= own
    assert processes.start_time(child.pid) is None


def test_a_process_whose_name_looks_like_a_field_is_read_right(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([odd, "60"])
    try:
        started = processes.start_time(child.pid)
    finally:
        child.kill()
        child.wait()

    assert started is not None
    assert started >= (processes.start_time(os.getpid()) or 0)


def host(**environ: str) -> Host:
    return Host(paths=Paths(Path("/r")), clock=FakeClock(), commands=FakeCommands(), environ=environ, uid=0)


def test_children_get_a_path_a_home_and_the_engine_and_nothing_else() -> None:
    given = {
        name: value.reveal() for name, value in host(PATH="/evil", HOME="/evil", X="y").child_environment().items()
    }

    assert {"PATH", "HOME", "DOCKER_HOST"} == set(given)
    assert "/usr/bin" in given["PATH"]
    assert pwd.getpwuid(0).pw_dir == given["HOME"]
    assert given["DOCKER_HOST"] == "unix:///r/var/run/docker.sock"


def test_another_engine_of_the_own_environment_is_used() -> None:
    assert host(DOCKER_HOST="tcp://127.0.0.1:2375").docker_host == "tcp://127.0.0.1:2375"


def test_a_user_without_an_entry_has_the_root_as_home() -> None:
    nobody = Host(paths=Paths(), clock=FakeClock(), commands=FakeCommands(), environ={}, uid=4_000_000)

    assert nobody.home == "/"


def test_the_environment_of_the_agent_is_not_shown() -> None:
    assert "hunter2" not in repr(host(PASSWORD="hunter2"))
