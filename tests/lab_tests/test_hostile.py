"""Faults that once made a boot hang, lie or leave something behind: each is a named test."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.lab.aws import Fault
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab_tests import reports
from tests.lab_tests.test_first_boot import container_environment, container_ids


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance after its first boot."""
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def test_an_answer_that_is_cut_off_is_not_taken_for_an_empty_one(deployed: Lab) -> None:
    before = container_ids(deployed)
    deployed.aws.add_fault(Fault("ssm:", kind="truncate", times=None))

    done = deployed.agent("init", "--deadline", "60")

    assert done.returncode == 69, done.stderr
    assert "/delphi/prod/api/" in reports.whole(reports.errors(done.stderr)[0])
    assert container_ids(deployed) == before
    assert container_environment(deployed, "api-telapi-1")["LOG_LEVEL"] == "debug"


@pytest.mark.parametrize("service", ["ssm:", "secretsmanager:", "ecr:"])
def test_an_answer_that_is_cut_off_once_is_asked_for_again(instance: Lab, service: str) -> None:
    instance.aws.add_fault(Fault(service, kind="truncate", times=2))

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["truncate", "short", "corrupt"])
def test_an_object_that_breaks_on_its_way_is_fetched_again(instance: Lab, kind: str) -> None:
    for name in ("Caddyfile", "vars.yaml"):
        instance.aws.add_fault(Fault(f"s3:GetObject .*{name}", kind=kind, times=1))  # type: ignore[arg-type]  # one of FaultKind

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call", ["s3:ListObjectsV2", "s3:GetObject .*vars", "ssm:", "secretsmanager:", "ecr:"])
def test_a_call_that_never_answers_ends_with_the_deadline(instance: Lab, call: str) -> None:
    instance.aws.add_fault(Fault(call, kind="hang", times=None))
    began = time.monotonic()

    done = instance.agent("init", "--deadline", "5", timeout=40)

    assert done.returncode == 69, done.stderr
    assert time.monotonic() - began < 10
    assert not instance.machine.path("/opt/services/api").exists()


@pytest.mark.parametrize("step", ["values", "pull", "verify"])
def test_ctrl_c_again_and_again_is_one_interruption_and_leaves_nothing(instance: Lab, step: str) -> None:
    if step == "values":
        instance.aws.add_fault(Fault("ssm:", kind="hang", times=None))
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: f'"step": "{step}"' in running.stderr(), f"the step {step}")

    for _ in range(6):
        try:
            running.signal(signal.SIGINT)
        except ProcessLookupError:
            break
        time.sleep(0.005)

    # After the apply point it is a deploy that was not seen healthy, and a first boot has nothing to go back to.
    code, outcome = (76, "failed") if step == "verify" else (130, "interrupted")
    assert running.wait(15) == code
    assert "Traceback" not in running.stderr()
    assert reports.finished(running.stderr())["outcome"] == outcome
    assert json.loads(instance.machine.path("/run/delphi-agent/status.json").read_text())["outcome"] == outcome
    assert not instance.machine.path("/run/delphi-agent/docker").exists()
    assert not instance.machine.path("/opt/services/.delphi-agent-staging").exists()
    instance.aws.clear_faults()
    assert instance.agent("init").returncode == 0


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_standard_streams_that_take_nothing_change_neither_the_boot_nor_its_code(instance: Lab, how: str) -> None:
    command = " ".join(instance.agent_command())

    done = instance.machine.run(["sh", "-c", f"{command} init {how}"], env=instance.agent_env())

    assert done.returncode == 0
    assert instance.get(3001, "/health") == "ok\n"


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_boot(instance: Lab) -> None:
    command = " ".join(instance.agent_command())
    script = (
        f"({command} --log-level debug init; echo $? >/run/code) 2>&1 | (while [ ! -s /run/code ]; do sleep 0.1; done)"
    )

    instance.machine.run(["sh", "-c", script], env=instance.agent_env(), timeout=60)

    assert instance.machine.path("/run/code").read_text() == "0\n"


def test_an_engine_that_stops_answering_ends_with_the_deadline_and_is_a_failed_deploy(instance: Lab) -> None:
    running = instance.machine.start_process(
        [*instance.agent_command(), "init", "--deadline", "10"], env=instance.agent_env()
    )
    wait_until(lambda: '"step": "verify"' in running.stderr(), "the wait for health")
    instance.engine.freeze()
    began = time.monotonic()

    try:
        code = running.wait(40)
    finally:
        instance.engine.thaw()

    assert code == 76, running.stderr()
    assert time.monotonic() - began < 15


def test_what_compose_cannot_start_is_known_before_a_live_file_changes(deployed: Lab) -> None:
    live = deployed.machine.path("/opt/services/api/Caddyfile")
    before = live.read_text()
    compose = deployed.machine.path("/opt/services/api/docker-compose.yaml").read_text()
    network = "networks: {default: {name: nowhere, external: true}}\n"
    deployed.world.put_file("api/docker-compose.yaml", compose + network)
    deployed.world.put_file("api/Caddyfile", "new")

    done = deployed.agent("init")

    assert done.returncode == 65, done.stderr
    assert "nowhere" in reports.whole(reports.errors(done.stderr)[0])
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    assert live.read_text() == before


def test_another_role_leaves_the_files_under_the_former_one_s_containers(deployed: Lab) -> None:
    for name in ("docker-compose.yaml", "vars.yaml", "Caddyfile"):
        text = deployed.machine.path(f"/opt/services/api/{name}").read_text()
        deployed.world.put_file(f"web/{name}", text.replace("3001:3001", "3002:3001"))
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(SERVER_ROLE="web"))

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert deployed.machine.path("/opt/services/api/Caddyfile").is_file()
    warnings = [event["text"] for event in reports.events(done.stderr) if event["event"] == "role.changed"]
    assert len(warnings) == 1
    assert "docker compose --project-name api down" in warnings[0]


def test_a_host_without_the_compose_plugin_is_told_what_to_install(instance: Lab) -> None:
    plugin = "/usr/local/lib/docker/cli-plugins/docker-compose"
    instance.machine.run(["mount", "--bind", "/dev/null", plugin], check=True)
    try:
        done = instance.agent("init")
    finally:
        instance.machine.run(["umount", plugin], check=True)

    assert done.returncode == 74, done.stderr
    assert "install the Compose plugin" in reports.errors(done.stderr)[0]["next_step"]


def test_credentials_that_have_expired_are_told_with_both_times(instance: Lab) -> None:
    path = "meta-data/iam/security-credentials/lab-role"
    instance.imds.set(
        path,
        {
            "Code": "Success",
            "AccessKeyId": "ASIAX",
            "SecretAccessKey": "x",
            "Token": "y",
            "Expiration": "2001-01-01T00:00:00Z",
        },
    )

    done = instance.agent("init")

    assert done.returncode == 69
    assert "2001-01-01T00:00:00Z" in reports.errors(done.stderr)[0]["cause"]
