"""Who the instance is: static keys before the role, and an id of its own also without IMDS."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from agent.aws import imds_machine
from agent.aws import key_id as key_id_of
from agent.aws.imds import SCHEMA, Imds
from agent.errors import BootstrapError, ImdsError
from agent.host.clock import Deadline, SystemClock
from agent.host.paths import Paths
from agent.steps import addresses
from agent.steps.bootstrap import Bootstrap
from agent.steps.identity import Identity, establish, local_instance_id
from tests.lab.loopback import Loopback
from tests.unit import children
from tests.unit.fakes import FakeClock, refusing_address, silent_server
from tests.unit.test_imds import ROLE, TREE, Service

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "c4naryV4lue"}


def bootstrap(**variables: str) -> Bootstrap:
    return Bootstrap(path=Path("/opt/deployment/.env"), variables={"AWS_REGION": "eu-west-1", **variables}, warnings=())


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
        found = addresses.detect({"PRIVATE_IP", "PUBLIC_IP", "OTHER"}, who, imds, FakeClock().deadline())

    assert found == {"PRIVATE_IP": "10.0.1.7", "PUBLIC_IP": "203.0.113.7"}


def test_an_instance_without_a_public_address_has_none(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        imds, who = client(server.url), from_imds(server.url, tmp_path)

        assert addresses.detect({"PUBLIC_IP"}, who, imds, FakeClock().deadline()) == {}


def test_nothing_is_asked_for_that_is_not_wanted(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        imds, who = client(server.url), from_imds(server.url, tmp_path)
        before = len(server.requests)

        assert addresses.detect(set(), who, imds, FakeClock().deadline()) == {}
        assert before == len(server.requests)


def test_without_imds_no_public_address_is_guessed(tmp_path: Path) -> None:
    assert addresses.detect({"PUBLIC_IP"}, static(tmp_path), client(refusing_address()), FakeClock().deadline()) == {}


def test_a_host_without_a_route_has_no_private_address() -> None:
    # In a network of its own that has no address at all: nothing can leave it.
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this host does not let tests have a network of their own")
    code = "from agent.steps import addresses; print(addresses._route_address())"
    ended = subprocess.run(
        [*alone, *children.command(code)],
        cwd=children.PROJECT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )

    assert ended.stdout == b"None\n"


def test_the_address_that_the_route_is_asked_for_belongs_to_nobody() -> None:
    assert addresses._NOWHERE[0].startswith("192.0.2.")


# --- what the firmware says, and which account


NITRO = {"vendor": "Amazon EC2\n", "asset": "i-0123456789abcdef0\n"}
HETZNER = {"vendor": "Hetzner\n"}
# The id and the account of a public write-up of the format.
ENCODED = {"AWS_ACCESS_KEY_ID": "AKIAQNZGKIQY56JQ7WML", "AWS_SECRET_ACCESS_KEY": "c4naryV4lue"}
DOCUMENT = {"dynamic/instance-identity/document": json.dumps({"accountId": "123456789012", "region": "eu-west-1"})}


def machine(root: Path, **contents: str) -> Paths:
    paths = Paths(root)
    names = {
        "vendor": "/sys/class/dmi/id/sys_vendor",
        "asset": "/sys/class/dmi/id/board_asset_tag",
        "uuid": "/sys/class/dmi/id/product_uuid",
        "bios": "/sys/class/dmi/id/bios_version",
        "hypervisor": "/sys/hypervisor/uuid",
    }
    for name, content in contents.items():
        place = paths.at(names[name])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return paths


@pytest.mark.parametrize(
    ("contents", "ec2"),
    [
        (NITRO, True),
        ({"vendor": "Amazon EC2"}, True),
        ({"vendor": "Xen", "uuid": "ec2e1916-9099-7caf-fd21-012345abcdef"}, True),
        ({"vendor": "Xen", "uuid": "45E12AEC-DCD1-B213-94ED-012345ABCDEF"}, True),
        ({"vendor": "Xen", "bios": "4.11.amazon"}, True),
        ({"hypervisor": "ec2e1916-9099-7caf-fd21-012345abcdef\n"}, True),
        (HETZNER, False),
        ({"vendor": "QEMU", "uuid": "9f0c2e1a-0000-4000-8000-000000000000"}, False),
        ({"vendor": "Xen"}, False),
        ({"vendor": "\n"}, None),
        ({}, None),
    ],
)
def test_the_firmware_says_whether_this_is_ec2(tmp_path: Path, contents: dict[str, str], ec2: bool | None) -> None:  # noqa: FBT001 - what is expected
    assert imds_machine.look(machine(tmp_path, **contents)).ec2 is ec2


def test_static_keys_off_ec2_send_not_one_packet_to_the_metadata_service(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        paths = machine(tmp_path, **HETZNER)
        who = establish(bootstrap(**KEYS), client(server.url), paths, FakeClock().deadline())
        addresses.detect({"PUBLIC_IP"}, who, client(server.url), FakeClock().deadline())

    assert server.requests == []
    assert who.warnings == ()


def test_static_keys_that_hide_a_role_are_named_with_it(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        who = establish(bootstrap(**KEYS), client(server.url), machine(tmp_path, **NITRO), FakeClock().deadline())

    assert [warning.partition(";")[0] for warning in who.warnings] == [
        "static keys of the bootstrap file hide the role api-role of this instance"
    ]
    assert who.instance_id == "i-0123456789abcdef0"
    assert len(server.requests) == 2


@pytest.mark.slow
def test_looking_for_a_hidden_role_never_fails_and_does_not_take_long(tmp_path: Path) -> None:
    paths, began = machine(tmp_path, **NITRO), time.monotonic()
    with silent_server() as silent, Loopback(Service(token_status=403)) as disabled, Loopback(Service({})) as none:
        for url in (silent, refusing_address(), disabled.url, none.url):
            deadline = Deadline.after(SystemClock(), 60)
            assert establish(bootstrap(**KEYS), client(url), paths, deadline).warnings == ()

    assert time.monotonic() - began < 5


def test_a_metadata_service_that_is_turned_off_is_not_asked_for_a_hidden_role(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_EC2_METADATA_DISABLED": "TRUE"}
        establish(bootstrap(**KEYS), Imds(variables), machine(tmp_path, **NITRO), FakeClock().deadline())

    assert server.requests == []


def test_off_ec2_without_keys_it_is_said_at_once_that_they_are_missing(tmp_path: Path) -> None:
    clock = FakeClock()
    with pytest.raises(BootstrapError, match=r"no EC2 instance \(the firmware says 'Hetzner'\)") as caught:
        establish(bootstrap(), Imds({}), machine(tmp_path, **HETZNER), clock.deadline())

    assert clock.sleeps == []
    assert "AWS_ACCESS_KEY_ID" in caught.value.next_step


def test_an_endpoint_that_somebody_configured_is_asked_whatever_the_firmware_says(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        who = establish(bootstrap(), client(server.url), machine(tmp_path, **HETZNER), FakeClock().deadline())

    assert who.from_imds


def test_a_metadata_service_that_is_turned_off_leaves_only_static_keys(tmp_path: Path) -> None:
    imds = Imds({"AWS_EC2_METADATA_DISABLED": "true"})
    with pytest.raises(BootstrapError, match="AWS_EC2_METADATA_DISABLED is true"):
        establish(bootstrap(), imds, machine(tmp_path, **NITRO), FakeClock().deadline())


def test_a_run_asks_for_a_token_the_role_the_document_and_the_keys(tmp_path: Path) -> None:
    with Loopback(Service({**TREE, **DOCUMENT})) as server:
        who = establish(bootstrap(AWS_REGION="eu-west-1"), client(server.url), Paths(tmp_path), now())

    assert [request.path.removeprefix(f"/{SCHEMA}/") for request in server.requests] == [
        "/latest/api/token",
        ROLE,
        "dynamic/instance-identity/document",
        # The document of this test does not say it.
        "meta-data/instance-id",
        f"{ROLE}api-role",
    ]
    assert who.text == "role api-role of i-0123456789abcdef0 (account 123456789012)"
    assert who.warnings == ()


def now() -> Deadline:
    return Deadline.after(SystemClock(), 10)


def test_another_region_than_the_bootstrap_file_says_is_a_warning(tmp_path: Path) -> None:
    with Loopback(Service({**TREE, **DOCUMENT})) as server:
        who = establish(bootstrap(AWS_REGION="eu-central-1"), client(server.url), Paths(tmp_path), now())

    assert who.warnings == ("this instance is in eu-west-1, and AWS_REGION says eu-central-1",)


def test_a_clock_that_is_wrong_is_a_warning(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        # The fake clock is far from the time that the server writes on its answers.
        who = establish(bootstrap(), client(server.url), Paths(tmp_path), FakeClock().deadline())

    assert "behind the metadata service's" in who.warnings[0]
    assert "more than 5 min" in who.warnings[0]


@pytest.mark.parametrize(
    ("key_id", "account"),
    [
        ("ASIAQNZGKIQY56JQ7WML", "029608264753"),
        ("AKIAQNZGKIQY56JQ7WML", "029608264753"),
        ("AKIAIOSFODNN7EXAMPLE", None),
        ("AKIAJ234567ABCDEFGHI", None),
        ("AKIALABSTATIC0000001", None),
        ("ASIAEXAMPLE", None),
        ("", None),
    ],
)
def test_the_account_is_in_the_id_of_a_key_that_is_new_enough(key_id: str, account: str | None) -> None:
    assert key_id_of.account_of(key_id) == account


def test_the_account_of_static_keys_is_shown_without_a_call(tmp_path: Path) -> None:
    who = establish(bootstrap(**ENCODED), client(refusing_address()), Paths(tmp_path), FakeClock().deadline())

    assert (who.text, who.account) == ("static keys of the bootstrap file (account 029608264753)", "029608264753")


def test_keys_of_another_account_than_expected_are_refused_with_both(tmp_path: Path) -> None:
    loaded = bootstrap(**ENCODED, AWS_ACCOUNT_ID="123456789012")
    with pytest.raises(BootstrapError, match=r"account 029608264753, and AWS_ACCOUNT_ID says 123456789012"):
        establish(loaded, client(refusing_address()), Paths(tmp_path), FakeClock().deadline())


def test_a_role_of_the_expected_account_is_used_and_one_of_another_is_not(tmp_path: Path) -> None:
    with Loopback(Service({**TREE, **DOCUMENT})) as server:
        right = bootstrap(AWS_ACCOUNT_ID="123456789012", AWS_REGION="eu-west-1")
        assert establish(right, client(server.url), Paths(tmp_path), now()).account == "123456789012"
        with pytest.raises(BootstrapError, match="000000000001"):
            establish(
                bootstrap(AWS_ACCOUNT_ID="000000000001", AWS_REGION="x"), client(server.url), Paths(tmp_path), now()
            )


def test_an_account_that_nothing_tells_is_a_warning(tmp_path: Path) -> None:
    loaded = bootstrap(**KEYS, AWS_ACCOUNT_ID="123456789012")
    who = establish(loaded, client(refusing_address()), Paths(tmp_path), FakeClock().deadline())

    assert who.text == "static keys of the bootstrap file"
    assert "AWS_ACCOUNT_ID could not be checked" in who.warnings[0]


def test_with_static_keys_on_ec2_the_public_address_comes_from_the_metadata_service(tmp_path: Path) -> None:
    service = Service()
    service.tree["meta-data/public-ipv4"] = "203.0.113.7"
    with Loopback(service) as server:
        imds = client(server.url)
        who = establish(bootstrap(**KEYS), imds, machine(tmp_path, **NITRO), FakeClock().deadline())

        assert addresses.detect({"PUBLIC_IP"}, who, imds, FakeClock().deadline()) == {"PUBLIC_IP": "203.0.113.7"}
    assert addresses.detect({"PUBLIC_IP"}, who, client(refusing_address()), now()) == {}


def test_keys_that_cannot_be_renewed_are_told_as_that_in_the_middle_of_a_run(tmp_path: Path) -> None:
    service = Service()
    with Loopback(service) as server:
        who = from_imds(server.url, tmp_path)
        who.credentials.fetch()
    with pytest.raises(ImdsError) as caught:
        who.credentials.fetch()

    assert "iam/security-credentials/api-role" in caught.value.doing
    assert "Connection refused" in caught.value.cause
