"""`doctor` on broken worlds: the first fault that it tells is the one that was planted, and nothing is changed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.aws import Fault
from tests.lab.lab import Lab
from tests.lab.world import BUNDLE, PARAMETERS, canaries
from tests.lab_tests.test_resolution_denied import NOT_AUTHORIZED, SECRETS_ARN, without, without_resource

STATIC_KEYS = {"AWS_ACCESS_KEY_ID": "AKIALABLABLABLABLAB2", "AWS_SECRET_ACCESS_KEY": "CANARYstaticKey"}
PLUGIN = "/usr/local/lib/docker/cli-plugins/docker-compose"
SECONDS = 10.0


def examine(lab: Lab, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    began = time.monotonic()
    done = lab.agent("doctor", *words, env=env, timeout=40)
    assert time.monotonic() - began < SECONDS
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown
    assert [name for name, value in {**canaries(), **STATIC_KEYS}.items() if value in shown] == []
    return done


def findings(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    document = json.loads(done.stdout)
    assert (document["schema"], document["exit_code"]) == (1, done.returncode)
    found: list[dict[str, Any]] = document["findings"]
    return found


def states(lab: Lab) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in findings(examine(lab, "--json")):
        found.setdefault(item["check"], []).append(item["state"])
    return found


@contextmanager
def mounted(lab: Lab, what: str, *options: str) -> Iterator[None]:
    lab.machine.run(["mount", *options, what], check=True)
    try:
        yield
    finally:
        lab.machine.run(["umount", what], check=True)


@dataclasses.dataclass(frozen=True)
class World:
    """What is broken, and what the first fault must say."""

    name: str
    plant: Callable[[Lab], None]
    code: int
    check: str
    says: tuple[str, ...]


def _bootstrap(**changes: str | None) -> Callable[[Lab], None]:
    return lambda lab: lab.world.write_bootstrap(lab.world.bootstrap_env(**changes))


def _without(*actions: str) -> Callable[[Lab], None]:
    return lambda lab: lab.aws.enforce_iam(without(lab.world.role_policy(), *actions))


def _fault(match: str, code: str, message: str = "made up") -> Callable[[Lab], None]:
    return lambda lab: lab.aws.add_fault(Fault(match, code=code, message=message, times=None))


def _static_keys_that_nobody_knows(lab: Lab) -> None:
    _bootstrap(**STATIC_KEYS)(lab)
    _fault("sts:|s3:|ssm:|secretsmanager:|ecr:", "InvalidClientTokenId")(lab)


def _no_role(lab: Lab) -> None:
    lab.imds.remove("meta-data/iam/security-credentials/lab-role")
    lab.imds.remove("meta-data/iam/info")


def _unseeded(lab: Lab) -> None:
    for name in PARAMETERS:
        lab.world.delete_parameter(name)


def _secret_denied(lab: Lab) -> None:
    lab.aws.enforce_iam(without_resource(lab.world.role_policy(), SECRETS_ARN.replace(":*:", ":123456789012:")))


def _external_denied(lab: Lab) -> None:
    lab.aws.enforce_iam(without_resource(lab.world.role_policy(), lab.world.database_secret_arn))


def _no_names(lab: Lab) -> None:
    lab.machine.path("/etc/hosts").write_text("127.0.0.1 localhost\n")


def _broken_daemon_json(lab: Lab) -> None:
    lab.machine.path("/etc/docker").mkdir(exist_ok=True)
    lab.machine.path("/etc/docker/daemon.json").write_text('{"log-driver": }')


def _broken_manifest(lab: Lab) -> None:
    lab.world.put_file("api/vars.yaml", "service: api\nvariables:\n- {required: true}\n")


def _refused_compose_file(lab: Lab) -> None:
    lab.world.put_file("api/docker-compose.override.yaml", "services: {telapi: {image: 'x:${'}}\n")


def _missing_in_an_include(lab: Lab) -> None:
    text = (BUNDLE / "api/docker-compose.yaml").read_text()
    lab.world.put_file("api/docker-compose.yaml", f"include: [../common/otel.yaml]\n{text}")
    lab.world.put_file("common/otel.yaml", "services: {otel: {image: '${ECR_REGISTRY}/otel:${OTEL_TAG:-7}'}}\n")


def _unmounted(lab: Lab) -> None:
    text = (BUNDLE / "api/vars.yaml").read_text()
    lab.world.put_file("api/vars.yaml", text + "\nmounts: [{path: /mnt/data}]\n")


WORLDS = [
    World(
        "no-bootstrap-file",
        lambda lab: lab.machine.path("/opt/deployment/.env").unlink(),
        78,
        "bootstrap file",
        ("no such file",),
    ),
    World(
        "namespace-missing",
        _bootstrap(NAMESPACE=None),
        78,
        "bootstrap file",
        ("NAMESPACE is not set", "cloud-init did not write it"),
    ),
    World("imds-disabled", lambda lab: lab.imds.mode("forbidden"), 69, "metadata", ("403", "disabled")),
    World("no-role", _no_role, 69, "identity", ("no role",)),
    World(
        "unknown-static-keys",
        _static_keys_that_nobody_knows,
        77,
        "credentials",
        ("InvalidClientTokenId", "does not know"),
    ),
    World("list-denied", _without("s3:ListBucket"), 77, "bundle", ("s3:ListBucket",)),
    World("get-denied", _without("s3:GetObject"), 77, "bundle", ("s3:GetObject",)),
    World("wrong-bucket", _bootstrap(CONFIG_BUCKET="no-such-bucket"), 69, "bundle", ("no-such-bucket",)),
    World("wrong-ref", _bootstrap(CONFIG_REF="v9"), 65, "bundle", ("0 objects", "delphi/v9/api/")),
    World("wrong-slug", _bootstrap(CONFIG_SLUG="dolphin"), 65, "bundle", ("0 objects", "dolphin/v1/api/")),
    World("broken-manifest", _broken_manifest, 65, "manifest", ("vars.yaml",)),
    World("unmounted", _unmounted, 74, "mounts", ("Data directory does not exist: /mnt/data",)),
    World("parameters-denied", _without("ssm:GetParametersByPath"), 77, "parameters", ("ssm:GetParametersByPath",)),
    World("key-denied", _fault("ssm:", "AccessDeniedException", NOT_AUTHORIZED), 77, "parameters", ("kms:Decrypt",)),
    World("unseeded", _unseeded, 66, "variables", ("0 parameters under /delphi/prod/api/", "NAMESPACE")),
    World(
        "other-namespace", _bootstrap(NAMESPACE="delphi/prd"), 66, "variables", ("0 parameters under /delphi/prd/api/",)
    ),
    World("one-unset", lambda lab: lab.world.delete_parameter("REDIS_HOST"), 66, "variables", ("REDIS_HOST",)),
    World("secret-denied", _secret_denied, 77, "secrets", ("secretsmanager:GetSecretValue",)),
    World("external-denied", _external_denied, 77, "secrets", ("secretsmanager:GetSecretValue", "rds!cluster")),
    World("token-denied", _without("ecr:GetAuthorizationToken"), 77, "registry", ("ecr:GetAuthorizationToken",)),
    World("image-missing", _bootstrap(ECR_TAG="9.9.9"), 65, "images", ("app:9.9.9", "no such image")),
    World("image-missing-in-an-include", _missing_in_an_include, 65, "images", ("otel:7", "no such image")),
    World("refused-compose-file", _refused_compose_file, 65, "compose files", ("api/docker-compose.override.yaml:1:",)),
    World("token-refused", lambda lab: lab.registry.set_password("another"), 77, "images", ("401",)),
    World("registry-down", lambda lab: lab.registry.stop(), 69, "images", ("refused",)),
    World("engine-down", lambda lab: lab.engine.stop(), 69, "engine", ("docker.sock",)),
    World("broken-daemon-json", _broken_daemon_json, 74, "daemon.json", ("invalid JSON",)),
    World("no-names", _no_names, 69, "DNS", ("s3.eu-west-1.amazonaws.com",)),
    World("proxy-down", _bootstrap(HTTPS_PROXY="http://10.77.0.1:3128"), 69, "proxy", ("10.77.0.1:3128", "refused")),
]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_first_fault_names_what_is_broken(instance: Lab, world: World) -> None:
    world.plant(instance)

    done = examine(instance)

    first = next((line for line in done.stdout.splitlines() if line.startswith("FAIL")), "")
    assert done.returncode == world.code, done.stdout
    assert first[6:].startswith(world.check), done.stdout
    told = done.stdout[done.stdout.index(first) :]
    told = told[: told.find("\nok") if "\nok" in told else None]
    assert [words for words in world.says if words not in told] == [], done.stdout


def test_a_missing_compose_plugin_is_told(instance: Lab) -> None:
    with mounted(instance, PLUGIN, "--bind", "/dev/null"):
        done = examine(instance, "--json")

    [fault] = [item for item in findings(done) if item["state"] == "fail"]
    assert (done.returncode, fault["check"]) == (74, "compose plugin")
    assert "docker-compose-plugin" in fault["fix"]


@pytest.mark.parametrize(("options", "words"), [("ro", "read-only"), ("size=64k", "free"), ("nr_inodes=3", "inode")])
def test_a_file_system_that_takes_nothing_is_told(instance: Lab, options: str, words: str) -> None:
    instance.machine.path("/opt/services").mkdir(exist_ok=True)
    with mounted(instance, "/opt/services", "-t", "tmpfs", "-o", options, "tmpfs"):
        done = examine(instance, "--json")

    [fault] = [item for item in findings(done) if item["state"] == "fail"]
    assert (done.returncode, fault["check"]) == (74, "file systems")
    assert "/opt/services" in fault["why"]
    assert words in fault["why"]


def test_a_clock_that_is_wrong_is_the_first_fault(instance: Lab) -> None:
    folder = instance.machine.path("/run/skew")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import datetime as dt\n"
        "import agent.host.clock as clock\n"
        "now = clock.SystemClock.now\n"
        "clock.SystemClock.now = lambda self: now(self) - dt.timedelta(minutes=20, seconds=30)\n"
    )
    path = ":".join(filter(None, ["/run/skew", instance.agent_env().get("PYTHONPATH", "")]))
    _fault("s3:", "RequestTimeTooSkewed")(instance)

    done = examine(instance, PYTHONPATH=path)

    first = next(line for line in done.stdout.splitlines() if line.startswith("FAIL"))
    assert first[6:].startswith("clock"), done.stdout
    assert "20 min" in first
    assert "behind" in first


def test_a_healthy_instance_has_no_fault_before_and_after_its_first_boot(instance: Lab) -> None:
    before = examine(instance, "--json")
    assert instance.agent("init").returncode == 0

    after = examine(instance, "--json")

    assert before.returncode == after.returncode == 0
    assert {item["state"] for item in findings(after)} <= {"ok", "warn", "skip"}
    checks = [item["check"] for item in findings(after)]
    assert list(dict.fromkeys(checks)) == list(dict.fromkeys(item["check"] for item in findings(before)))
    [containers] = [item["why"] for item in findings(after) if item["check"] == "containers"]
    assert "2 containers well" in containers


def test_the_containers_are_those_of_the_project_that_was_deployed_whatever_the_bundle_calls_it(instance: Lab) -> None:
    compose = (BUNDLE / "api/docker-compose.yaml").read_text()
    instance.world.put_file("api/docker-compose.yaml", f"name: shop\n{compose}")
    assert instance.agent("init").returncode == 0

    done = examine(instance, "--json")

    [containers] = [item["why"] for item in findings(done) if item["check"] == "containers"]
    assert containers == "project shop: 2 containers well"


def test_static_keys_that_shadow_a_role_are_a_warning(instance: Lab) -> None:
    _bootstrap(**STATIC_KEYS)(instance)

    done = examine(instance, "--json")

    assert done.returncode == 0, done.stdout
    [shadow] = [item for item in findings(done) if item["check"] == "metadata"]
    assert shadow["state"] == "warn"
    assert "lab-role" in shadow["why"]
    assert "CredentialsProviderError" in shadow["why"]


def test_without_list_secrets_it_goes_on_as_a_run_does(instance: Lab) -> None:
    _without("secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue")(instance)

    assert states(instance)["secrets"] == ["warn", "ok"]


def test_containers_that_were_started_by_hand_have_blank_values(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    env = {name: value for name, value in instance.world.bootstrap_env().items() if name.startswith("ECR_")}
    by_hand = ["docker", "compose", "--project-directory", "/opt/services/api", "up", "-d", "--no-deps", "telapi"]
    instance.machine.run(by_hand, env=env, check=True)

    done = examine(instance, "--json")

    [blank] = [item for item in findings(done) if item["check"] == "blank values"]
    assert blank["state"] == "warn"
    assert "DATABASE_PASSWORD" in blank["why"]
    assert "delphi-agent compose" in blank["fix"]


def test_old_scripts_in_the_bundle_and_an_unreachable_collector_are_warnings(instance: Lab) -> None:
    instance.world.put_file("api/init.sh", "#!/bin/sh\n")

    done = examine(instance, "--json")

    warned = {item["check"]: item["why"] for item in findings(done) if item["state"] == "warn"}
    assert done.returncode == 0
    assert "init.sh" in warned["leftovers"]
    assert "OTEL_BACKEND_HOST" in warned["telemetry"]


def test_it_looks_while_a_run_is_at_work_and_says_who_it_is(instance: Lab) -> None:
    instance.aws.add_fault(Fault("ssm:", kind="hang", times=1))
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    deadline = time.monotonic() + 20
    while '"step": "values"' not in running.stderr() and time.monotonic() < deadline:
        time.sleep(0.05)

    done = examine(instance, "--json")

    [lock] = [item for item in findings(done) if item["check"] == "lock"]
    assert lock["state"] == "warn"
    assert "delphi-agent init" in lock["why"]
    assert running.returncode is None


def test_it_changes_nothing(instance: Lab) -> None:
    def written() -> dict[str, tuple[int, int]]:
        found = {file.path: file.outside.stat() for file in instance.machine.written()}
        kept = {path: stat for path, stat in found.items() if not path.startswith(("/var/lib/docker", "/run/docker"))}
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in kept.items() if "__pycache__" not in path}

    before = written()

    examine(instance)

    assert written() == before
    assert not instance.machine.path("/run/delphi-agent").exists()


def test_without_root_it_says_what_it_could_not_see(instance: Lab) -> None:
    words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        *instance.agent_command(),
        "doctor",
        "--json",
    ]

    done = instance.machine.run(words, env=instance.agent_env())

    assert done.returncode == 0, done.stderr
    skipped = {item["check"]: item["why"] for item in findings(done) if item["state"] == "skip"}
    assert skipped["bootstrap file"] == skipped["engine"] == "needs root"
    assert skipped["bundle"] == "needs bootstrap file"


@pytest.mark.parametrize("dropped", ["everything", "AWS", "names"])
def test_on_a_network_where_nothing_answers_it_ends_in_time(instance: Lab, dropped: str) -> None:
    rule = ["OUTPUT", "!", "-o", "lo", "-j", "DROP"]
    if dropped == "AWS":
        rule = ["OUTPUT", "-d", "10.99.0.0/16", "-j", "DROP"]
    if dropped == "names":
        _no_names(instance)
        instance.machine.path("/etc/resolv.conf").write_text("nameserver 10.77.0.1\n")
        rule = ["OUTPUT", "-p", "udp", "-j", "DROP"]
    instance.machine.run(["iptables", "-I", *rule], check=True)
    instance.engine.freeze()
    try:
        done = examine(instance)
    finally:
        instance.engine.thaw()
        instance.machine.run(["iptables", "-D", *rule], check=True)

    assert done.returncode == 69, done.stdout


def test_calls_that_never_answer_do_not_hold_it_up(instance: Lab) -> None:
    instance.aws.add_fault(Fault("", kind="hang", times=None))

    done = examine(instance)

    assert done.returncode == 69, done.stdout
    # On a slow host the examination's own end comes before that of the call.
    assert "FAIL  bundle" in done.stdout
