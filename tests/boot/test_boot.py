"""First boots, reboots, power losses and clones: real systemd, real cloud-init, the package as users install it."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.report.journal import MESSAGE_IDS
from tests.boot.image import bake_in, call_from_cloud_init, enable, user_data, verified
from tests.boot.instance import Instance
from tests.boot.site import Site
from tests.lab.aws import Fault
from tests.lab.aws_model import REGISTRY
from tests.lab.imds import INSTANCE_ID
from tests.lab.process import wait_until
from tests.lab.squid import ADDRESS, Squid
from tests.lab.world import BOOTSTRAP_FILE, BUNDLE

pytestmark = pytest.mark.slow

PROXY_PASSWORD = "CANARYproxyPassword9K2"
LONG = bool(os.environ.get("DELPHI_LONG"))


@pytest.fixture(scope="module")
def deployed(site: Site) -> Iterator[Instance]:
    """One instance for all that begins with a verified deploy; the tests come in an order in which that holds."""
    made = site.instance("settled")
    bake_in(made, site.world.bootstrap_env())
    enable(made)
    yield made
    made.remove()


@pytest.fixture
def settled(deployed: Instance) -> Instance:
    """The same, booted and at its target: which tests came before it depends on the day."""
    if not deployed.on:
        deployed.boot()
        deployed.wait_unit("delphi-agent.target", "active")
    return deployed


@pytest.mark.parametrize("round_trip", [0, 30], ids=["AWS is near", "30 ms to AWS"])
def test_a_first_boot_with_user_data_ends_in_one_verified_deploy_and_reaches_the_target(
    site: Site, instance: Instance, round_trip: int, record_property: Callable[[str, object], None]
) -> None:
    site.imds.set("user-data", user_data(site, "delphi-agent init"))
    enable(instance)
    site.distance.set(round_trip)
    try:
        instance.boot()
        instance.wait_unit("delphi-agent.target", "active")
    finally:
        site.distance.set(0)
    in_all, own = time.monotonic() - instance.began, instance.status()["run"]["seconds"]
    took = f"{in_all:.1f} s from power on to delphi-agent.target, {own:.1f} s of them the agent's run"
    record_property("figure", f"first boot, {round_trip} ms to AWS: {took}")

    # The unit, which finds the bootstrap file, may be done when the user data's `init` comes: that has nothing to do.
    first, *others = verified(instance)
    assert (first, set(others)) in [("verified", set()), ("verified", {"unchanged"})]
    assert instance.wait_settled() == "running", instance.run("systemctl", "--failed").stdout


def test_a_boot_that_makes_its_bootstrap_file_from_user_data_reaches_the_target(site: Site, instance: Instance) -> None:
    site.imds.set("user-data", json.dumps({"delphi": site.world.bootstrap_env()}))
    # The firmware of a container does not say EC2.
    there = "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254"
    call_from_cloud_init(instance, "env", there, "delphi-agent", "init")
    enable(instance)
    instance.boot()

    instance.wait_unit("delphi-agent.target", "active")

    assert verified(instance) == ["verified"]
    assert "which this one has joined" in instance.unit("delphi-agent", "StatusText"), instance.journal()
    assert instance.wait_settled() == "running", instance.run("systemctl", "--failed").stdout


def test_a_baked_bootstrap_file_boots_the_unit_alone(site: Site, instance: Instance) -> None:
    bake_in(instance, site.world.bootstrap_env())
    enable(instance)
    instance.boot()

    instance.wait_unit("delphi-agent.target", "active")

    assert verified(instance) == ["verified"]
    assert instance.unit("delphi-agent", "StatusText").startswith("verified: ")
    verdicts = instance.run("journalctl", "--unit", "delphi-agent", "--output", "json", "MESSAGE_ID=" + MESSAGE_IDS[0])
    (entry,) = [json.loads(line) for line in verdicts.stdout.splitlines()]
    assert entry["DELPHI_OUTCOME"] == "verified"
    assert "was seen healthy" in instance.run("journalctl", "--catalog", "--unit", "delphi-agent").stdout


def test_without_a_bootstrap_file_the_unit_is_skipped_at_once_and_holds_nothing_up(instance: Instance) -> None:
    enable(instance)
    instance.boot()

    assert instance.wait_settled() == "running", instance.run("systemctl", "--failed").stdout
    assert instance.unit("delphi-agent", "ConditionResult") == "no"
    assert instance.unit("delphi-agent.target") == "inactive"


def test_reboots_recreate_nothing_and_reach_the_target(settled: Instance) -> None:
    before = settled.containers()
    for turn in range(20 if LONG else 2):
        runs = len(settled.history())

        settled.reboot()

        settled.wait_unit("delphi-agent.target", "active")
        assert settled.containers() == before, f"reboot {turn}"
        assert verified(settled)[runs:] == ["unchanged"], f"reboot {turn}\n{settled.journal()}"


def test_a_process_1_that_is_busy_for_seconds_hears_of_the_verdict_all_the_same(settled: Instance) -> None:
    runs = len(settled.history())
    settled.reboot()
    settled.wait_unit("delphi-agent", "activating")
    settled.stall(5)

    settled.wait_unit("delphi-agent.target", "active")

    assert verified(settled)[runs:] == ["unchanged"], settled.journal()
    assert settled.unit("delphi-agent", "NRestarts") == "0"


@pytest.mark.parametrize("turn", range(20 if LONG else 2))
def test_after_a_power_loss_the_next_boot_is_verified(site: Site, settled: Instance, turn: int) -> None:
    site.world.put_file("api/Caddyfile", f"{time.monotonic_ns()} of turn {turn}\n")
    settled.reboot()
    # Anywhere in the boot: from before the agent begins to after its verdict.
    time.sleep(random.Random(turn).uniform(0.5, 8))

    settled.power_loss()
    settled.boot()

    settled.wait_unit("delphi-agent.target", "active")
    assert settled.status()["exit_code"] == 0
    live = settled.path("/opt/services/api/Caddyfile").read_text()
    assert live.endswith(f"of turn {turn}\n")


def test_when_aws_is_down_after_a_reboot_what_is_healthy_stays_and_the_run_says_69(
    site: Site, settled: Instance
) -> None:
    before = settled.containers()
    site.aws.add_fault(Fault(".*", status=500, code="InternalError", times=None))
    try:
        settled.reboot()
        settled.wait_status(69)

        assert settled.containers() == before
        states = settled.run("docker", "ps", "--format", "{{.Names}} {{.Status}}").stdout
        assert "api-telapi-1 Up" in states
        assert settled.unit("delphi-agent.target") == "inactive"
        told = settled.status()["errors"][0]
        assert told["cause"]
    finally:
        site.aws.clear_faults()
    # The unit tries it again by itself, and then the target is reached after all.
    settled.wait_unit("delphi-agent.target", "active")
    assert settled.containers() == before


def test_two_instances_of_one_image_boot_at_once(site: Site) -> None:
    # Not the lab machine's own network, where the settled one has its port.
    first = site.instance("a", network=site.network("a", "10.77.2.10"))
    second = site.instance("b", network=site.network("b", "10.77.1.10"))
    for one in (first, second):
        bake_in(one, site.world.bootstrap_env())
        enable(one)
        one.boot()

    for one in (first, second):
        one.wait_unit("delphi-agent.target", "active")
        assert verified(one) == ["verified"]
        one.remove()


def test_an_image_of_a_booted_instance_boots_as_another_one(site: Site, settled: Instance) -> None:
    settled.power_off()
    clone = site.instance("clone", of=settled)
    site.imds.be("i-0fedcba9876543210")
    try:
        clone.boot()
        clone.wait_unit("delphi-agent.target", "active")

        assert verified(clone)[-1] in {"verified", "unchanged"}
        assert any("its verdicts are dropped" in text for text in clone.status()["warnings"])
    finally:
        site.imds.be(INSTANCE_ID)
        clone.remove()
    settled.boot()
    settled.wait_unit("delphi-agent.target", "active")


def test_a_cleaned_instance_is_an_image_that_knows_nothing_of_it(site: Site, settled: Instance) -> None:
    secret = "canary/of/the/host/kept/nowhere"
    with settled.path(BOOTSTRAP_FILE).open("a") as file:
        file.write(f"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7CANARY1\nAWS_SECRET_ACCESS_KEY={secret}\n")
    settled.path("/root/notes.txt").write_text(f"the key is {secret}")

    left = settled.run("delphi-agent", "clean", "--for-image", timeout=120)

    assert left.returncode == 74, left.stderr
    assert "/root/notes.txt: a secret of the bootstrap file (2)" in left.stderr
    assert secret not in left.stderr + left.stdout
    assert settled.containers() == {}
    settled.path("/root/notes.txt").unlink()
    again = settled.run("delphi-agent", "clean", "--for-image", timeout=120)
    assert again.returncode == 0, again.stderr
    settled.power_off()

    site.imds.be("i-0fedcba9876543210")
    image = site.instance("fresh", of=settled)
    try:
        bake_in(image, site.world.bootstrap_env())
        image.boot()
        image.wait_unit("delphi-agent.target", "active")

        assert verified(image) == ["verified"]
        assert image.path("/etc/machine-id").read_text().strip()
    finally:
        site.imds.be(INSTANCE_ID)
        image.remove()


def test_the_engine_of_a_booting_machine_gets_the_proxy_and_no_password_that_others_can_read(
    site: Site, instance: Instance
) -> None:
    squid = Squid(site.machine)
    squid.start(user="delphi", password=PROXY_PASSWORD)
    proxy = f"http://delphi:{PROXY_PASSWORD}@{ADDRESS}"
    env = site.world.bootstrap_env(HTTP_PROXY=proxy, HTTPS_PROXY=proxy, NO_PROXY="localhost,127.0.0.1")
    bake_in(instance, env)
    enable(instance)
    try:
        instance.boot()
        instance.wait_unit("delphi-agent.target", "active")

        info = instance.run("docker", "info", "--format", "{{.HTTPSProxy}}").stdout.strip()
        assert info == f"http://xxxxx:xxxxx@{ADDRESS}"
        assert instance.path("/etc/delphi-agent/docker-proxy.env").stat().st_mode & 0o777 == 0o600
        assert PROXY_PASSWORD not in instance.run("systemctl", "show", "docker").stdout
        assert PROXY_PASSWORD not in instance.journal() + instance.console
        assert squid.log(REGISTRY), "the engine pulled through it"
        before = instance.unit("docker", "MainPID")
        instance.run("systemctl", "restart", "delphi-agent", timeout=120, check=True)
        assert instance.unit("docker", "MainPID") == before, "the engine has it: no restart"
    finally:
        squid.stop()


def test_a_package_lives_through_upgrade_reboot_removal_and_purge(site: Site, instance: Instance, newer: Path) -> None:
    bake_in(instance, site.world.bootstrap_env())
    enable(instance)
    instance.boot()
    instance.wait_unit("delphi-agent.target", "active")
    containers = instance.containers()
    shutil.copy(newer, instance.path("/newer.deb"))

    instance.run("dpkg", "--install", "/newer.deb", timeout=120, check=True)
    assert instance.run("delphi-agent", "--version").stdout.strip().endswith("99.0")
    assert instance.unit("delphi-agent.target") == "active", "an upgrade stops nothing"
    instance.reboot()
    instance.wait_unit("delphi-agent.target", "active")
    assert instance.containers() == containers

    instance.run("dpkg", "--remove", "delphi-agent", timeout=120, check=True)
    assert instance.path("/var/lib/delphi-agent/state.json").exists()
    instance.run("dpkg", "--purge", "delphi-agent", timeout=120, check=True)
    left = instance.run("sh", "-c", "find / -xdev -path /proc -prune -o -name '*delphi-agent*' -print").stdout.split()
    assert [path for path in left if not path.startswith(("/var/log/journal", "/run/systemd", "/var/lib/docker"))] == []
    assert instance.containers() == containers
    assert instance.path(BOOTSTRAP_FILE).exists()
    assert instance.path("/opt/services/api/docker-compose.yaml").exists()


def test_a_volume_that_is_attached_late_is_waited_for_and_the_sandbox_makes_no_mount_points(
    site: Site, instance: Instance
) -> None:
    vars_yaml = (BUNDLE / "api/vars.yaml").read_text()
    bake_in(instance, site.world.bootstrap_env())
    enable(instance)
    instance.path("/data").mkdir()
    instance.path("/etc/fstab").write_text("UUID=0b6c8a8e-0000-4000-8000-000000000000 /data ext4 nofail 0 2\n")
    try:
        # Outside the folders that the unit may write to, where its own view of the host is read-only.
        site.world.put_file("api/vars.yaml", f"{vars_yaml}\nmounts: [{{path: /data, writable: true}}]\n")
        instance.boot()
        wait_until(
            lambda: "waiting for /data, which /etc/fstab has" in instance.unit("delphi-agent", "StatusText"),
            "the unit to wait for the volume",
            timeout=60,
        )
        instance.run("mount", "-t", "tmpfs", "tmpfs", "/data", check=True)
        instance.wait_unit("delphi-agent.target", "active")

        # Among the folders that it may write to, each of which is a mount point in its own view.
        site.world.put_file("api/vars.yaml", f"{vars_yaml}\nmounts: [/srv]\n")
        assert instance.run("systemctl", "restart", "delphi-agent", timeout=120).returncode != 0
        told = instance.status()
        assert (told["exit_code"], told["errors"][0]["cause"]) == (74, "Data directory is not a mount point: /srv")
    finally:
        site.world.put_file("api/vars.yaml", vars_yaml)
