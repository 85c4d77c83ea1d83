"""The fault matrix: what can go wrong with each call of a run, and how the run has to end then.

A cell is one call and one fault, and the exit codes that are right for it. Its key is its name in the table.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.lab.aws import Fault
from tests.lab.aws_model import BUCKET, REGION
from tests.lab.host import CHECKOUT
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.registry_door import RegistryFault

FINE = frozenset({0})
LATE = frozenset({69})
DENIED = frozenset({77})
# A deploy that had reached `up` and could not be seen healthy: taken back where the host let it.
FAILED = frozenset({75, 76})

DOOR, DOOR_STATE = "/.lab/engine-door.sock", "/.lab/engine-door.json"
WRAPPER = "/usr/local/sbin/docker"


@dataclass(frozen=True)
class Cell:
    """One call, one fault: `plant` puts it into the world; `codes` are the ends that are right."""

    call: str
    fault: str
    codes: frozenset[int]
    plant: Callable[[Lab], None]

    @property
    def name(self) -> str:
        return f"{self.call} | {self.fault}"


def cells() -> list[Cell]:
    """All cells, in the order of the table."""
    return [*_aws(), *_hosts(), *_imds(), *_registry(), *_engine(), *_children()]


# --- calls of AWS

_OBJECTS = ("s3:GetObject .*vars.yaml", "s3:GetObject .*Caddyfile")
_AWS = (
    "s3:ListObjectsV2 .*/api/",
    "s3:ListObjectsV2 .*/common/",
    *_OBJECTS,
    "ssm:GetParametersByPath",
    "secretsmanager:ListSecrets",
    "secretsmanager:BatchGetSecretValue",
    "secretsmanager:GetSecretValue",
    "ecr:GetAuthorizationToken",
)
_THROTTLED = {"s3": (503, "SlowDown")}
# The run has another way to the same values (contract section 1).
_FALLBACK = ("secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue")


def _aws() -> Iterator[Cell]:
    for call in _AWS:
        throttled = _THROTTLED.get(call.partition(":")[0], (400, "ThrottlingException"))
        denied = FINE if call in _FALLBACK else DENIED
        yield _aws_cell(call, "reset once", FINE, kind="reset")
        yield _aws_cell(call, "reset always", LATE, kind="reset", times=None)
        yield _aws_cell(call, "hang", LATE, kind="hang", times=None)
        yield _aws_cell(call, "slow", FINE, kind="delay", delay=1.0)
        yield _aws_cell(call, "trickle", LATE, kind="trickle", times=None)
        yield _aws_cell(call, "500 x2 then ok", FINE, status=500, code="InternalError", times=2)
        yield _aws_cell(call, "500 always", LATE, status=500, code="InternalError", times=None)
        yield _aws_cell(call, "throttle x3 then ok", FINE, status=throttled[0], code=throttled[1], times=3)
        yield _aws_cell(call, "throttle always", LATE, status=throttled[0], code=throttled[1], times=None)
        code = "AccessDenied" if call.startswith("s3:") else "AccessDeniedException"
        yield _aws_cell(call, "denied", denied, status=403 if call.startswith("s3:") else 400, code=code, times=None)
        yield _aws_cell(call, "truncated once", FINE, kind="truncate")
        yield _aws_cell(call, "truncated always", LATE, kind="truncate", times=None)
        if call in _OBJECTS:
            yield _aws_cell(call, "wrong byte once", FINE, kind="corrupt")
            yield _aws_cell(call, "wrong byte always", frozenset({65}), kind="corrupt", times=None)
            yield _aws_cell(call, "shorter always", frozenset({65}), kind="short", times=None)


def _aws_cell(call: str, fault: str, codes: frozenset[int], **fields: object) -> Cell:
    def plant(lab: Lab) -> None:
        if call == "secretsmanager:GetSecretValue":
            # It is asked for only where the batch is denied.
            batch = "secretsmanager:BatchGetSecretValue"
            lab.aws.add_fault(Fault(batch, status=400, code="AccessDeniedException", times=None))
        lab.aws.add_fault(Fault(call, **{"times": 1, **fields}))  # type: ignore[arg-type]  # fields of Fault

    return Cell(call, fault, codes, plant)


# --- the hosts of AWS

_HOSTS = {
    "s3": f"{BUCKET}.s3.{REGION}.amazonaws.com",
    "ssm": f"ssm.{REGION}.amazonaws.com",
    "secretsmanager": f"secretsmanager.{REGION}.amazonaws.com",
    "ecr": f"api.ecr.{REGION}.amazonaws.com",
}


def _hosts() -> Iterator[Cell]:
    for service, name in _HOSTS.items():
        yield Cell(f"host of {service}", "refused", LATE, _points_at(name, "127.0.0.9"))
        yield Cell(f"host of {service}", "no route", LATE, _points_at(name, "10.255.255.9"))
        yield Cell(f"host of {service}", "no such name", LATE, _points_at(name, None))


def _points_at(name: str, address: str | None) -> Callable[[Lab], None]:
    def plant(lab: Lab) -> None:
        hosts = lab.machine.path("/etc/hosts")
        lines = [line.replace(f" {name}", " ") for line in hosts.read_text().splitlines()]
        hosts.write_text("\n".join([*lines, *([f"{address} {name}"] if address else []), ""]))

    return plant


# --- the metadata service

_CREDENTIALS = "meta-data/iam/security-credentials/lab-role"


def _imds() -> Iterator[Cell]:
    yield Cell("IMDS", "refused", LATE, lambda lab: lab.imds.stop())
    yield Cell("IMDS", "hang", LATE, lambda lab: lab.imds.mode("hang"))
    yield Cell("IMDS", "403", LATE, lambda lab: lab.imds.mode("forbidden"))
    yield Cell("IMDS", "503 x2 then ok", FINE, lambda lab: lab.imds.mode("unavailable:2"))
    yield Cell("IMDS", "503 always", LATE, lambda lab: lab.imds.mode("unavailable:9999"))
    yield Cell("IMDS role", "none attached", LATE, lambda lab: lab.imds.remove("meta-data/iam/security-credentials"))
    yield Cell("IMDS credentials", "code Failed", LATE, lambda lab: lab.imds.set(_CREDENTIALS, {"Code": "Failed"}))
    yield Cell("IMDS credentials", "no JSON", LATE, lambda lab: lab.imds.set(_CREDENTIALS, "<html>"))
    yield Cell("IMDS credentials", "fields missing", LATE, lambda lab: lab.imds.set(_CREDENTIALS, {"Code": "Success"}))
    yield Cell("IMDS instance-id", "absent", FINE, lambda lab: lab.imds.remove("meta-data/instance-id"))
    yield Cell("IMDS address", "absent", frozenset({66}), lambda lab: lab.imds.remove("meta-data/local-ipv4"))


# --- the registry


def _registry() -> Iterator[Cell]:
    for call, match in (("registry manifest", "(GET|HEAD) .*/manifests/"), ("registry blob", "GET .*/blobs/")):
        refused = DENIED if "manifest" in call else frozenset({69, 77})
        yield _registry_cell(call, "reset once", FINE, RegistryFault(match))
        yield _registry_cell(call, "reset always", LATE, RegistryFault(match, times=None))
        yield _registry_cell(call, "500 once", FINE, RegistryFault(match, status=500))
        yield _registry_cell(call, "500 always", LATE, RegistryFault(match, status=500, times=None))
        quota = RegistryFault(match, status=429, code="TOOMANYREQUESTS", message="Rate exceeded", times=2)
        yield _registry_cell(call, "429 x2 then ok", FINE, quota)
        for code, status, codes in (("UNAUTHORIZED", 401, refused), ("DENIED", 403, refused)):
            fault = RegistryFault(match, status=status, code=code, times=None)
            yield _registry_cell(call, f"{status} always", codes, fault)
    unknown = RegistryFault("/manifests/", status=404, code="MANIFEST_UNKNOWN", message="manifest unknown", times=None)
    yield _registry_cell("registry manifest", "404", frozenset({65}), unknown)


def _registry_cell(call: str, fault: str, codes: frozenset[int], what: RegistryFault) -> Cell:
    return Cell(call, fault, codes, lambda lab: lab.registry.add_fault(what))


# --- the Docker engine

_ENGINE = {
    "engine ping": "(GET|HEAD) .*/_ping",
    "engine version": "GET .*/version",
    "engine containers": "GET .*/containers/json",
    "engine inspect": r"GET .*/containers/\w+/json",
    "engine images": "GET .*/images/json",
    "engine image": r"GET .*/images/.+/json",
}


def _engine() -> Iterator[Cell]:
    for call, match in _ENGINE.items():
        early = call == "engine version"
        late = LATE if early else FAILED | {0, 69}
        yield _engine_cell(call, match, "reset once", FINE if early else FAILED | {0, 69}, kind="reset", times=1)
        yield _engine_cell(call, match, "reset always", late, kind="reset", times=None)
        yield _engine_cell(call, match, "hang", late, kind="hang", times=None)
        yield _engine_cell(call, match, "500 once", FINE if early else FAILED | {0, 69}, kind="error", times=1)
        yield _engine_cell(call, match, "500 always", late, kind="error", times=None)
        yield _engine_cell(call, match, "truncated always", late, kind="truncate", times=None)


def _engine_cell(call: str, match: str, fault: str, codes: frozenset[int], *, kind: str, times: int | None) -> Cell:
    def plant(lab: Lab) -> None:
        state = {"match": match, "kind": kind, "times": times, "id": uuid.uuid4().hex}
        lab.machine.path(DOOR_STATE).write_text(json.dumps(state))

    return Cell(call, fault, codes, plant)


def open_engine_door(lab: Lab) -> dict[str, str]:
    """Put the door up; the environment in which the agent uses it."""
    lab.machine.path(DOOR_STATE).write_text("{}")
    argv = [sys.executable, "-m", "tests.lab.engine_door", DOOR, DOOR_STATE]
    lab.machine.start_process(argv, env={"PYTHONPATH": str(CHECKOUT)}, log="engine-door.log", service=True)
    wait_until(lambda: lab.machine.path(DOOR).exists(), "the engine's door")
    return {"DOCKER_HOST": f"unix://{DOOR}"}


# --- child processes

_CHILDREN = {
    "compose config": "config --format",
    "compose pull": " pull ",
    "compose dry run": "--dry-run",
    "compose up": " up --detach",
}
_WAYS = {
    "fails": "echo made up by the lab >&2; exit 1",
    "hangs": "exec sleep 600",
    "is killed": "kill -KILL $$",
    "says nothing": "exit 0",
    "says nonsense": "echo '{\"'; echo '\\033[31m' >&2; exit 0",
}


def _children() -> Iterator[Cell]:
    for call, match in _CHILDREN.items():
        for way, script in _WAYS.items():
            if call == "compose pull" and way.startswith("says"):
                continue  # its status is all that there is to go by
            yield Cell(call, way, _child_codes(call, way), _wrapped(match, script))


def _child_codes(call: str, way: str) -> frozenset[int]:
    if call == "compose up":
        # Whether it did anything is seen at the containers, not believed.
        return FAILED | {0}
    if way == "hangs":
        return LATE
    if call == "compose pull":
        return LATE
    return frozenset({65, 69, 74}) | ({0} if way.startswith("says") and call == "compose dry run" else set())


def _wrapped(match: str, script: str) -> Callable[[Lab], None]:
    def plant(lab: Lab) -> None:
        text = f'#!/bin/sh\ncase " $* " in *\'{match}\'*) {script} ;; esac\nexec /usr/bin/docker "$@"\n'
        real = lab.machine.run(["sh", "-c", "PATH=/usr/local/bin:/usr/bin:/bin command -v docker"]).stdout.strip()
        file = lab.machine.path(WRAPPER)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("/usr/bin/docker", real))
        file.chmod(0o755)

    return plant


def mend(lab: Lab, hosts: str) -> None:
    """Take every fault out of the world again; `hosts` is the machine's /etc/hosts as it was."""
    lab.aws.clear_faults()
    lab.registry.clear_faults()
    lab.machine.path("/etc/hosts").write_text(hosts)
    lab.imds.reset()
    lab.imds.start()
    lab.imds.wait_ready()
    lab.machine.path(WRAPPER).unlink(missing_ok=True)
    if lab.machine.path(DOOR_STATE).exists():
        lab.machine.path(DOOR_STATE).write_text("{}")
