"""The metadata service at its real addresses: what stands in the way is told by its cause, and within its bound."""

from __future__ import annotations

import time

import pytest

from tests.lab.aws_model import REGISTRY
from tests.lab.imds import INSTANCE_ID, ROLE, role_credentials
from tests.lab.lab import Lab
from tests.lab.process import SYSTEM_PATH, wait_until
from tests.lab.world import TAG
from tests.lab_tests import reports

KEYS = f"meta-data/iam/security-credentials/{ROLE}"


def cause(lab: Lab, *options: str) -> str:
    """Why `init` ended, in whole; it must be 69 and nothing may have changed."""
    done = lab.agent("init", *options)
    assert done.returncode == 69, done.stderr
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    [error] = reports.errors(done.stderr)
    return reports.whole(error)


def status(lab: Lab) -> str:
    """What the run shows of itself while it is at work."""
    file = lab.machine.path("/run/delphi-agent/status.json")
    return file.read_text() if file.exists() else ""


def in_container(lab: Lab, *words: str) -> list[str]:
    """The command line of an agent that a container on the engine's own bridge runs in the instance's file system."""
    run = ["docker", "run", "--rm", "--volume=/:/host", f"{REGISTRY}/app:{TAG}", "chroot", "/host"]
    environment = [f"PATH={SYSTEM_PATH}", *(f"{name}={value}" for name, value in lab.agent_env().items())]
    return [*run, "/usr/bin/env", "-i", *environment, *lab.agent_command(), *words]


def test_with_a_hop_limit_of_1_the_host_is_answered_and_a_container_is_told_of_the_hop_limit(instance: Lab) -> None:
    instance.imds.hop_limit(1)
    on_the_host = instance.agent("init")
    assert on_the_host.returncode == 0, on_the_host.stderr

    kept_out = instance.machine.run(in_container(instance, "init", "--deadline", "4"))

    assert kept_out.returncode == 69, kept_out.stderr
    said = reports.whole(reports.errors(kept_out.stderr)[0])
    assert "it accepts connections, so in a container the hop limit is too low" in said
    assert "--http-put-response-hop-limit 2" in said
    instance.imds.hop_limit(2)
    allowed = instance.machine.run(in_container(instance, "init"))
    assert allowed.returncode == 0, allowed.stderr
    assert f"role {ROLE} of {INSTANCE_ID}" in reports.steps(allowed.stderr)["identity"]


def test_lesson_3_a_service_that_is_absent_at_first_is_waited_for(instance: Lab) -> None:
    instance.imds.stop()
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: "IMDS (Connection refused)" in status(instance), "the wait for IMDS")
    time.sleep(3)
    instance.imds.start()

    assert running.wait(60) == 0, running.stderr()


def test_lesson_4_one_slow_answer_is_not_the_end_of_it(instance: Lab) -> None:
    instance.imds.mode("hang")
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: "IMDS (no answer within 2 s" in status(instance), "the first try to end")
    instance.imds.mode("ok")

    assert running.wait(60) == 0, running.stderr()


def test_lesson_5_a_proxy_is_never_asked_for_metadata(instance: Lab) -> None:
    world = instance.world
    # The sample of the contract: Python reads its NO_PROXY as one that does not cover the metadata service.
    proxies = {"HTTP_PROXY": "http://10.0.1.5:3128", "NO_PROXY": "localhost,127.0.0.1,10.0.0.0/8"}
    world.write_bootstrap(world.bootstrap_env(**proxies))

    done = instance.agent("init", env={"http_proxy": "http://10.0.1.5:3128", **proxies})

    assert done.returncode == 0, done.stderr
    assert instance.imds.requests() != []
    assert all("via" not in request.headers for request in instance.imds.requests())


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("forbidden", "HTTP 403: the service is disabled for this instance"),
        ("hang", "no answer within 2 s; it accepts connections"),
        ("trickle", "no answer within 2 s; it accepts connections"),
        ("unavailable:9999", "HTTP 503 to the token request"),
    ],
)
def test_lesson_6_a_service_that_does_not_serve_is_told_with_the_cause(instance: Lab, mode: str, said: str) -> None:
    instance.imds.mode(mode)
    began = time.monotonic()

    assert said in cause(instance, "--deadline", "6")
    assert time.monotonic() - began < 12


def test_lesson_6_a_service_that_nobody_serves_is_told_as_refused(instance: Lab) -> None:
    instance.imds.stop()

    assert "Connection refused" in cause(instance, "--deadline", "4")


def test_lesson_6_packets_that_are_dropped_are_told_as_that(instance: Lab) -> None:
    rules = [["iptables", "OUTPUT", "-d", "169.254.169.254"], ["ip6tables", "OUTPUT", "-d", "fd00:ec2::254"]]
    for tool, *rule in rules:
        instance.machine.run([tool, "-I", *rule, "-j", "DROP"], check=True)
    try:
        assert "no connection within 2 s" in cause(instance, "--deadline", "4")
    finally:
        for tool, *rule in rules:
            instance.machine.run([tool, "-D", *rule, "-j", "DROP"], check=True)


def test_tokens_that_expire_in_the_middle_are_renewed(instance: Lab) -> None:
    instance.imds.set(KEYS, role_credentials(300))
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: any(KEYS in request.path for request in instance.imds.requests()), "the first keys")
    instance.imds.expire_tokens()

    assert running.wait(60) == 0, running.stderr()
    assert 401 in [request.status for request in instance.imds.requests()]


def test_a_service_on_ipv6_only_is_used(instance: Lab) -> None:
    instance.machine.run(["ip", "route", "del", "169.254.169.254"], check=True)
    instance.machine.run(["ip", "route", "add", "unreachable", "169.254.169.254"], check=True)
    try:
        done = instance.agent("init")
    finally:
        instance.machine.run(["ip", "route", "del", "169.254.169.254"], check=True)
        instance.machine.run(["ip", "route", "add", "169.254.169.254", "dev", "eth0"], check=True)

    assert done.returncode == 0, done.stderr
    assert {request.ipv6 for request in instance.imds.requests()} == {True}


def test_no_role_is_told_and_so_is_a_profile_that_has_none(instance: Lab) -> None:
    instance.imds.remove("meta-data/iam/security-credentials")
    assert "instance-profile/lab is attached, and it gives no role" in cause(instance, "--deadline", "4")

    instance.imds.remove("meta-data/iam")
    assert "no role is attached to this instance" in cause(instance, "--deadline", "4")


def test_a_role_that_cannot_be_assumed_is_told_with_the_code(instance: Lab) -> None:
    instance.imds.set(KEYS, {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"})

    assert "'AssumeRoleUnauthorizedAccess'" in cause(instance)


def test_a_clock_that_is_wrong_is_told_by_how_much(instance: Lab) -> None:
    instance.imds.clock(3 * 3600)
    instance.imds.set(KEYS, role_credentials(-60))

    said = cause(instance)

    assert "it is 3 h 0 min behind the metadata service's" in said


def test_an_endpoint_that_cannot_be_one_is_a_fault_of_the_configuration(instance: Lab) -> None:
    world = instance.world
    world.write_bootstrap(world.bootstrap_env(AWS_EC2_METADATA_SERVICE_ENDPOINT="http://169.254.169.254:99999"))

    done = instance.agent("init")

    assert done.returncode == 78, done.stderr
    assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" in reports.errors(done.stderr)[0]["doing"]


def test_a_run_asks_the_metadata_service_five_times(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0

    asked = [request.path.partition("/meta-data/")[2] or request.path for request in instance.imds.requests()]
    # Both addresses are asked for a token, and either may be late; the example's manifest wants its private address.
    assert [path for path in asked if path != "/latest/api/token"] == [
        "iam/security-credentials/",
        "/2021-07-15/dynamic/instance-identity/document",
        f"iam/security-credentials/{ROLE}",
        "local-ipv4",
    ]
