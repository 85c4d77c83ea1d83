"""What makes a host this host is removed before it becomes an image, and what is left is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.host import files
from agent.host.paths import Paths
from agent.secret import Secret
from agent.steps import proof, traces
from agent.steps.daemon_proxy import DROP_IN, ENVIRONMENT
from agent.steps.foreign_proxy import MARK
from agent.steps.records import BundleFile
from agent.steps.state import State

SECRET = "canary/of/the/host/kept/nowhere"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"

# Everything of which nothing may be left, and what the host goes on with.
TRACES = {
    "/etc/machine-id": "0123456789abcdef0123456789abcdef",
    "/var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef",
    "/var/lib/systemd/random-seed": "seed",
    "/var/lib/systemd/credential.secret": "key",
    "/etc/docker/key.json": "{}",
    "/var/lib/docker/engine-id": "an-engine",
    "/var/lib/cloud/instances/i-1/user-data.txt": SECRET,
    "/var/lib/cloud/data/instance-id": "i-1",
    "/var/lib/cloud/sem/config_scripts": "",
    "/var/log/cloud-init-output.log": "ran",
    "/var/log/journal/0123/system.journal": "entries",
    "/etc/ssh/ssh_host_ed25519_key": "key",
    "/opt/deployment/.env": f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "/opt/services/api/.ecr-tag": "1.4.2",
    "/opt/services/api/docker-compose.yaml": "services: {}",
    "/opt/services/api/tls/privkey.pem": "a key that was made from a variable",
    "/var/lib/delphi-agent/fingerprint.key": "key",
    "/var/lib/delphi-agent/state.json": "{}",
    "/var/lib/delphi-agent/releases/1/replaced/api/x": "x",
    "/run/delphi-agent/status.json": "{}",
    ENVIRONMENT: f"HTTP_PROXY=http://u:{SECRET}@proxy:3128",
    DROP_IN: MARK,
}
KEPT = {
    "/opt/services/api/data/rows": "an operator's",
    "/etc/docker/daemon.json": "{}",
    "/etc/ssh/sshd_config": "Port 22",
    "/var/lib/cloud/seed/nocloud/user-data": "the image's own",
    "/run/delphi-agent/lock": "",
}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    for name, text in {**TRACES, **KEPT}.items():
        put(made, name, text)
    auths = {ECR: {"auth": "QVdTOg=="}, "registry.example": {"auth": "aWs6"}}
    put(made, "/root/.docker/config.json", json.dumps({"auths": auths}))
    return made


def put(paths: Paths, name: str, text: str) -> None:
    paths.at(name).parent.mkdir(parents=True, exist_ok=True)
    paths.at(name).write_text(text)


def state_of(paths: Paths) -> State:
    path = "api/docker-compose.yaml"
    brought = BundleFile(path, "etag", 1, files.sha256(paths.services / path), 0o644)
    made = {"api/tls/privkey.pem": "0a1b", "api/tls/gone.pem": ""}
    return State(instance_id="i-1", applied={path: brought}, folders=frozenset({"api/tls"}), made=made)


def remains(paths: Paths) -> set[str]:
    return {f"/{path.relative_to(paths.root)}" for path in paths.root.rglob("*") if path.is_file()}


def test_nothing_of_the_host_is_left_and_nothing_else_is_taken(paths: Paths) -> None:
    removed = list(traces.remove(paths, state_of(paths), ssh_keys=True))

    assert remains(paths) == {*KEPT, "/etc/machine-id", "/root/.docker/config.json"}
    assert paths.at("/etc/machine-id").read_text() == ""
    assert json.loads(paths.at("/root/.docker/config.json").read_text())["auths"].keys() == {"registry.example"}
    assert not [item for item in removed if SECRET in item.path + item.what]
    assert [item.path for item in removed if item.what == "made from a variable"] == [
        "/opt/services/api/tls/privkey.pem"
    ]
    assert not (paths.services / "api/tls").exists()
    assert list(proof.findings(paths, {"the key": Secret(SECRET)})) == []


def test_nothing_is_erased_through_a_folder_that_is_a_link(paths: Paths) -> None:
    folder = paths.services / "api/tls"
    put(paths, "/etc/ssl/private/privkey.pem", "a key of the host's own")
    (folder / "privkey.pem").unlink()
    folder.rmdir()
    folder.symlink_to(paths.at("/etc/ssl/private"))

    list(traces.remove(paths, state_of(paths), ssh_keys=True))

    assert paths.at("/etc/ssl/private/privkey.pem").read_text() == "a key of the host's own"


def test_there_is_nothing_to_remove_a_second_time(paths: Paths) -> None:
    list(traces.remove(paths, state_of(paths), ssh_keys=True))

    assert list(traces.remove(paths, State(instance_id=""), ssh_keys=True)) == []


def test_the_keys_of_the_ssh_server_stay_where_that_is_asked_for(paths: Paths) -> None:
    list(traces.remove(paths, state_of(paths), ssh_keys=False))

    assert paths.at("/etc/ssh/ssh_host_ed25519_key").exists()


@pytest.mark.parametrize(
    "name",
    [
        "/opt/deployment/.env",
        "/opt/services/web/.env",
        "/opt/services/web/.ecr-tag",
        "/var/lib/delphi-agent/state.json",
        "/var/lib/docker/containers/0123/config.v2.json",
        "/etc/docker/key.json",
        "/var/lib/cloud/instances/i-1/user-data.txt",
        "/home/admin/.aws/credentials",
        "/etc/machine-id",
    ],
)
def test_what_must_not_be_there_is_found_whatever_it_holds(tmp_path: Path, name: str) -> None:
    paths = Paths(tmp_path)
    put(paths, name, "something")

    (finding,) = proof.findings(paths, {})

    assert finding.startswith(str(Path(name)).removesuffix("/config.v2.json").removesuffix("/user-data.txt"))


@pytest.mark.parametrize("name", ["/root/notes.txt", "/usr/local/etc/app.conf", "/var/lib/app/dump", "/srv/x/y/z"])
def test_a_known_secret_is_found_wherever_it_lies_and_not_shown(tmp_path: Path, name: str) -> None:
    paths = Paths(tmp_path)
    put(paths, name, f"the key is {SECRET}, they said")

    assert list(proof.findings(paths, {"the key": Secret(SECRET)})) == [f"{name}: the key"]


@pytest.mark.parametrize("name", ["/usr/lib/x", "/var/lib/docker/overlay2/1/diff/x", "/proc/1/environ", "/run/x"])
def test_what_no_host_writes_is_not_searched(tmp_path: Path, name: str) -> None:
    paths = Paths(tmp_path)
    put(paths, name, SECRET)

    assert list(proof.findings(paths, {"the key": Secret(SECRET)})) == []


def test_a_link_is_not_followed_out_of_the_image(tmp_path: Path) -> None:
    outside, paths = tmp_path / "outside", Paths(tmp_path / "root")
    outside.mkdir()
    (outside / "key").write_text(SECRET)
    put(paths, "/etc/hostname", "api-1")
    paths.at("/srv").symlink_to(outside)

    assert list(proof.findings(paths, {"the key": Secret(SECRET)})) == []
