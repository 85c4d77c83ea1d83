"""Who the instance is: static keys before the role, and an id of its own also without IMDS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.aws.imds import Imds
from agent.host.paths import Paths
from agent.steps import identity
from agent.steps.bootstrap import Bootstrap
from agent.steps.identity import Identity, addresses, establish, local_instance_id
from tests.unit import children
from tests.unit.fakes import FakeClock, Loopback, refusing_address
from tests.unit.test_imds import ROLE, TREE, Service

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "c4naryV4lue"}


def bootstrap(**variables: str) -> Bootstrap:
    return Bootstrap(path=Path("/opt/deployment/.env"), variables=variables, warnings=())


def client(url: str) -> Imds:
    return Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})


def planted(root: Path, **contents: str) -> Paths:
    paths = Paths(root)
    places = {
        "asset": paths.dmi / "board_asset_tag",
        "cloud_init": paths.at("/var/lib/cloud/data/instance-id"),
        "machine": paths.at("/etc/machine-id"),
    }
    for name, content in contents.items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        places[name].write_text(content)
    return paths


def from_imds(url: str, tmp_path: Path) -> Identity:
    return establish(bootstrap(), client(url), Paths(tmp_path), FakeClock().deadline())


def test_static_keys_are_used_and_imds_is_not_asked(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        who = establish(
            bootstrap(**KEYS), client(server.url), planted(tmp_path, machine="abc\n"), FakeClock().deadline()
        )

    assert server.requests == []
    assert not who.from_imds
    assert who.text == "static keys of the bootstrap file"
    assert who.instance_id == "abc"
    assert who.credentials.fetch().secret_access_key.reveal() == "c4naryV4lue"
    assert who.credentials.fetch().expires is None


def test_a_session_token_goes_with_static_keys(tmp_path: Path) -> None:
    loaded = bootstrap(**KEYS, AWS_SESSION_TOKEN="t")
    who = establish(loaded, client(refusing_address()), Paths(tmp_path), FakeClock().deadline())
    token = who.credentials.fetch().session_token

    assert token is not None
    assert token.reveal() == "t"


def test_without_static_keys_the_role_of_the_instance_is_used(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        who = from_imds(server.url, tmp_path)

    assert who.from_imds
    assert (who.text, who.instance_id) == ("role api-role of i-0123456789abcdef0", "i-0123456789abcdef0")
    assert who.credentials.fetch().access_key_id.reveal() == "ASIAEXAMPLE"


def test_the_first_keys_are_used_once_and_later_ones_are_asked_for_again(tmp_path: Path) -> None:
    service = Service()
    with Loopback(service) as server:
        who = from_imds(server.url, tmp_path)
        who.credentials.fetch()
        service.tree[f"{ROLE}api-role"] = TREE[f"{ROLE}api-role"].replace("ASIAEXAMPLE", "ASIALATER")

        assert who.credentials.fetch().access_key_id.reveal() == "ASIALATER"


@pytest.mark.parametrize(
    ("planted_files", "expected"),
    [
        ({"asset": "i-0abc\n", "cloud_init": "i-0def", "machine": "m"}, "i-0abc"),
        ({"asset": "Not Specified\n", "cloud_init": "hetzner-4711\n", "machine": "m"}, "hetzner-4711"),
        ({"asset": "i-0abc; rm", "machine": "m\nmore\n"}, "m"),
        ({"cloud_init": "\n", "machine": "m"}, "m"),
        ({}, "unknown"),
    ],
)
def test_without_imds_the_id_is_that_of_the_firmware_then_of_cloud_init_then_of_the_machine(
    tmp_path: Path, planted_files: dict[str, str], expected: str
) -> None:
    assert expected == local_instance_id(planted(tmp_path, **planted_files))


def static(tmp_path: Path) -> Identity:
    return establish(bootstrap(**KEYS), client(refusing_address()), Paths(tmp_path), FakeClock().deadline())


def test_addresses_come_from_imds_when_the_identity_does(tmp_path: Path) -> None:
    service = Service()
    service.tree |= {"meta-data/local-ipv4": "10.0.1.7\n", "meta-data/public-ipv4": "203.0.113.7"}
    with Loopback(service) as server:
        imds, who = client(server.url), from_imds(server.url, tmp_path)
        found = addresses({"PRIVATE_IP", "PUBLIC_IP", "OTHER"}, who, imds, FakeClock().deadline())

    assert found == {"PRIVATE_IP": "10.0.1.7", "PUBLIC_IP": "203.0.113.7"}


def test_an_instance_without_a_public_address_has_none(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        imds, who = client(server.url), from_imds(server.url, tmp_path)

        assert addresses({"PUBLIC_IP"}, who, imds, FakeClock().deadline()) == {}


def test_nothing_is_asked_for_that_is_not_wanted(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        imds, who = client(server.url), from_imds(server.url, tmp_path)
        before = len(server.requests)

        assert addresses(set(), who, imds, FakeClock().deadline()) == {}
        assert before == len(server.requests)


def test_without_imds_no_public_address_is_guessed(tmp_path: Path) -> None:
    assert addresses({"PUBLIC_IP"}, static(tmp_path), client(refusing_address()), FakeClock().deadline()) == {}


def test_a_host_without_a_route_has_no_private_address() -> None:
    # In a network of its own that has no address at all: nothing can leave it.
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this host does not let tests have a network of their own")
    code = "from agent.steps import identity; print(identity._route_address())"
    ended = subprocess.run(
        [*alone, *children.command(code)],
        cwd=children.PROJECT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )

    assert ended.stdout == b"None\n"


def test_the_address_that_the_route_is_asked_for_belongs_to_nobody() -> None:
    assert identity._NOWHERE[0].startswith("192.0.2.")
