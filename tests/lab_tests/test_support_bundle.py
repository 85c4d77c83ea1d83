"""What is left of a failure: the support bundle of a real host, full of canaries, and the console of a failed boot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import world
from tests.lab.aws import Fault
from tests.lab.lab import Lab
from tests.lab_tests.deploys import CRASHES
from tests.lab_tests.leaks import Traced, _forms, leaks, traced_agent

OUTPUT = "/root/bundle.tar.gz"


@pytest.fixture
def talkative(instance: Lab) -> Lab:
    """A deployed instance with a container that prints its secrets."""
    text = (world.BUNDLE / "api/docker-compose.yaml").read_text()
    loud = text.replace("echo migrated", "env | sort; echo $$JWT_SIGNING_KEY | base64; echo migrated")
    # The environment of `migrate` is the end of the file.
    loud += "      - JWT_SIGNING_KEY\n      - UNDECLARED=CANARYinTheComposeFile9\n"
    instance.world.put_file("api/docker-compose.yaml", loud)
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def bundle(lab: Lab) -> dict[str, str]:
    data = lab.machine.path(OUTPUT).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {entry.name.partition("/")[2]: tar.extractfile(entry) for entry in tar.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file}


def held(texts: dict[str, str]) -> list[str]:
    """The canaries that are in the bundle, with the member."""
    return [
        f"{name} in {member}"
        for member, text in texts.items()
        for name, value in world.canaries().items()
        if any(form in text.encode() for form in _forms(value))
    ]


def test_nothing_of_what_containers_were_given_and_print_is_in_the_bundle(talkative: Lab) -> None:
    said = talkative.engine.docker("logs", "api-migrate-1").stdout
    assert world.DATABASE_SECRET["password"] in said, "the canary is planted"
    assert "CANARYinTheComposeFile9" in said

    run = traced_agent(talkative, "support-bundle", "--output", OUTPUT)

    assert run.code == 0, run.stderr
    assert run.stdout == f"{OUTPUT}\n"
    texts = bundle(talkative)
    assert held(texts) == []
    assert "CANARYinTheComposeFile9" not in texts["logs/api-migrate-1.txt"]
    assert "[redacted]" in texts["logs/api-migrate-1.txt"]
    assert "migrated" in texts["logs/api-migrate-1.txt"]
    assert leaks(talkative, {**world.canaries()}, Traced(0, run.stdout, run.stderr, run.execs)) == _of_docker_logs(
        talkative
    )
    states = {item["service"]: item["state"] for item in json.loads(texts["containers.json"])}
    assert states == {"telapi": "running", "migrate": "exited"}
    assert "ECR_TAG=1.4.2" in texts["bootstrap.txt"]
    assert "AWS: asked" in texts["proof.txt"]
    assert "logs/api-migrate-1.txt" in texts["proof.txt"].split("taken out of: ")[1].splitlines()[0]
    assert json.loads(texts["status.json"])["outcome"] == "verified"
    assert "LOG_LEVEL" in texts["role/vars.yaml"]
    assert talkative.machine.path(OUTPUT).stat().st_mode & 0o7777 == 0o600


def _of_docker_logs(lab: Lab) -> list[str]:
    """What the containers themselves have written to their logs, which is their own matter."""
    found = leaks(lab, world.canaries(), Traced(0, "", "", ()))
    assert all("-json.log" in line for line in found), found
    return found


def test_without_aws_what_the_containers_were_given_is_known_all_the_same(talkative: Lab) -> None:
    # Given as a word of the command, and nowhere else.
    text = (world.BUNDLE / "api/docker-compose.yaml").read_text().replace("      - JWT_SIGNING_KEY\n", "")
    argued = "services:\n  argued:\n    image: ${ECR_REGISTRY}/app:${ECR_TAG}\n    init: true\n"
    argued += '    command: ["sh", "-c", "sleep 1000", "--password", "${JWT_SIGNING_KEY}"]\n'
    talkative.world.put_file("api/docker-compose.yaml", text.replace("services:\n", argued, 1))
    assert talkative.agent("init").returncode == 0
    command = talkative.engine.docker("inspect", "--format", "{{json .Config.Cmd}}", "api-argued-1").stdout
    assert world.canaries()["JWT_SIGNING_KEY"] in json.loads(command), "the canary is planted"
    for service in ("ssm:", "secretsmanager:", "sts:"):
        talkative.aws.add_fault(Fault(service, kind="hang", times=None))

    run = talkative.agent("support-bundle", "--output", OUTPUT)

    assert run.returncode == 0, run.stderr
    texts = bundle(talkative)
    assert held(texts) == []
    assert "AWS: not all is known" in texts["proof.txt"]
    assert "api-argued-1" in texts["docker-ps.txt"]


@pytest.fixture
def without_engine(talkative: Lab) -> Iterator[Lab]:
    talkative.engine.freeze()
    yield talkative
    talkative.engine.thaw()


def test_an_engine_that_does_not_answer_is_in_the_bundle_as_such(without_engine: Lab) -> None:
    run = without_engine.agent("support-bundle", "--output", OUTPUT, timeout=200)

    assert run.returncode == 0, run.stderr
    texts = bundle(without_engine)
    assert texts["containers.json"].startswith("not known: ")
    assert "not done within" in texts["docker-ps.txt"]
    assert held(texts) == []
    assert json.loads(texts["state.json"])["releases"]


@pytest.fixture
def console(instance: Lab) -> Iterator[Path]:
    """The instance's console; what is written to it can be read."""
    file = instance.machine.path("/run/console")
    file.touch()
    instance.machine.run(["mount", "--bind", "/run/console", "/dev/console"], check=True)
    yield file
    instance.machine.run(["umount", "/dev/console"], check=True)


def test_a_boot_that_fails_leaves_its_last_words_on_the_console(instance: Lab, console: Path) -> None:
    instance.registry.push("2.0", CRASHES)
    instance.world.write_bootstrap(instance.world.bootstrap_env(ECR_TAG="2.0"))

    done = instance.agent("init", env={"INVOCATION_ID": "0123456789abcdef"})

    assert done.returncode == 76, done.stderr
    said = console.read_text()
    assert "delphi-agent: failed, exit 76" in said
    assert "CRASHED on purpose" in said
    assert "next: " in said
    assert len(said.splitlines()) <= 31
    console.write_text("")
    assert instance.agent("init").returncode != 0
    assert console.read_text() == "", "an operator's run has its own terminal"
