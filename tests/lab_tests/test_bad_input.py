"""What can be wrong on a first boot: each its exit code, one clear message, and no secret anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.lab import images
from tests.lab.lab import Lab
from tests.lab.world import BOOTSTRAP_FILE, PARAMETERS, canaries
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong, how the run must end, and words that its message must have."""

    name: str
    arrange: Callable[[Lab], None]
    code: int
    says: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    changed: bool = False
    """Whether the host may have been changed: only when the services were started."""


def _no_bootstrap(lab: Lab) -> None:
    lab.machine.path(BOOTSTRAP_FILE).unlink()


def _folder_as_bootstrap(lab: Lab) -> None:
    _no_bootstrap(lab)
    lab.machine.path(BOOTSTRAP_FILE).mkdir()


def _missing_variables(lab: Lab) -> None:
    changes = {"NAMESPACE": None, "CONFIG_BUCKET": None, "AWS_REGION": None}
    lab.world.write_bootstrap({**lab.world.bootstrap_env(**changes), "NAMESPCE": "delphi/prod"})


def _unknown_role(lab: Lab) -> None:
    lab.world.write_bootstrap(lab.world.bootstrap_env(SERVER_ROLE="nosuch"))


def _empty_parameters(lab: Lab) -> None:
    for name in PARAMETERS:
        lab.world.delete_parameter(name)


def _invalid_yaml(lab: Lab) -> None:
    lab.world.put_file("api/vars.yaml", "service: api\nvariables:\n  - {name: A\n  - {name: B}\n")


def _no_compose_file(lab: Lab) -> None:
    lab.world.delete_file("api/docker-compose.yaml")


def _invalid_compose_file(lab: Lab) -> None:
    lab.world.put_file("api/docker-compose.yaml", "services:\n  telapi:\n    imaeg: x\n")


def _no_engine(lab: Lab) -> None:
    lab.engine.stop()


def _wrong_password(lab: Lab) -> None:
    lab.engine.forget_images()
    lab.registry.set_password("another-password")


def _missing_tag(lab: Lab) -> None:
    lab.world.write_bootstrap(lab.world.bootstrap_env(ECR_TAG="9.9.9"))


def _unhealthy(lab: Lab) -> None:
    broken = images.build(
        {"/www/health": "#!/bin/sh\n"}, command=["sh", "-c", "echo boom; echo no database >&2; sleep 100"]
    )
    lab.registry.push("broken", broken)
    lab.world.write_bootstrap(lab.world.bootstrap_env(ECR_TAG="broken"))


def _silent_imds(lab: Lab) -> None:
    lab.imds.mode("hang")


def _no_imds(lab: Lab) -> None:
    lab.imds.stop()


def _no_role(lab: Lab) -> None:
    lab.imds.remove("meta-data/iam")


def _denied(lab: Lab) -> None:
    policy = lab.world.role_policy()
    policy["Statement"] = [item for item in policy["Statement"] if "s3:GetObject" not in item["Action"]]
    lab.aws.enforce_iam(policy)


def _invalid_daemon_json(lab: Lab) -> None:
    path = lab.machine.path("/etc/docker/daemon.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"log-opts": {"max-size": "1m",}}')


FAULTS = [
    Fault("no bootstrap file", _no_bootstrap, 78, (BOOTSTRAP_FILE, "cloud-init")),
    Fault("unreadable bootstrap file", _folder_as_bootstrap, 78, (BOOTSTRAP_FILE, "directory")),
    Fault(
        "missing variables",
        _missing_variables,
        78,
        ("NAMESPACE is not set", "NAMESPCE", "CONFIG_BUCKET is not set", "AWS_REGION is not set"),
    ),
    Fault("unknown role", _unknown_role, 65, ("0 objects under s3://delphi-config/deployments/delphi/v1/nosuch/",)),
    Fault(
        "empty SSM path",
        _empty_parameters,
        66,
        ("0 parameters under /delphi/prod/api/", "REDIS_HOST", "DATABASE_HOST"),
    ),
    Fault("invalid YAML", _invalid_yaml, 65, ("vars.yaml:4:5",)),
    Fault("no compose file", _no_compose_file, 65, ("docker-compose.yaml", "/opt/services/api")),
    Fault("invalid compose file", _invalid_compose_file, 65, ("imaeg",)),
    Fault("no Docker engine", _no_engine, 69, ("Docker engine", "systemctl start docker"), ("--deadline", "6")),
    Fault("wrong registry password", _wrong_password, 77, ("pulling the images", "ecr:BatchGetImage")),
    Fault("missing image tag", _missing_tag, 65, ("9.9.9", "ECR_TAG")),
    Fault(
        "unhealthy service", _unhealthy, 76, ("telapi is unhealthy", "boom", "no database", "docker logs"), changed=True
    ),
    Fault("silent IMDS", _silent_imds, 69, ("169.254.169.254", "no token within"), ("--deadline", "5")),
    Fault("no IMDS", _no_imds, 69, ("169.254.169.254", "AWS_ACCESS_KEY_ID"), ("--deadline", "5")),
    Fault("no role", _no_role, 69, ("no role is attached", "instance profile"), ("--deadline", "5")),
    Fault("access denied", _denied, 77, ("s3:GetObject", "IAM statement:")),
    Fault("invalid daemon.json", _invalid_daemon_json, 74, ("/etc/docker/daemon.json", "invalid JSON")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_bad_input_ends_with_its_code_one_clear_message_and_no_secret(instance: Lab, fault: Fault) -> None:
    fault.arrange(instance)

    done = traced_agent(instance, "--log-level", "debug", "init", *fault.arguments)

    assert done.code == fault.code, done.stderr
    assert "Traceback" not in done.stderr
    [error] = reports.errors(done.stderr)
    assert error["exit_code"] == fault.code
    assert error["next_step"]
    missing = [words for words in fault.says if words not in reports.whole(error)]
    assert missing == [], reports.whole(error)
    assert leaks(instance, canaries(), done) == []
    if not fault.changed:
        assert not instance.machine.path("/opt/services/api").exists()
        assert not instance.machine.path("/opt/services/.delphi-agent-staging").exists()
    assert not instance.machine.path("/run/delphi-agent/docker").exists()
    status = instance.agent("status")
    assert status.returncode == fault.code
    assert error["cause"] in status.stdout
