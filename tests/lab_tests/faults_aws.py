"""Fault cells: the calls of AWS, and the hosts that answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.lab.aws import Fault
from tests.lab.aws_model import BUCKET, REGION
from tests.lab.lab import Lab
from tests.lab.pki import BAD
from tests.lab_tests.fault_cell import DENIED, FINE, INVALID, LATE, Cell, points_at

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


def calls() -> Iterator[Cell]:
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
            yield _aws_cell(call, "wrong byte always", INVALID, kind="corrupt", times=None)
            yield _aws_cell(call, "shorter always", INVALID, kind="short", times=None)


def _aws_cell(call: str, fault: str, codes: frozenset[int], **fields: object) -> Cell:
    def plant(lab: Lab) -> None:
        if call == "secretsmanager:GetSecretValue":
            # It is asked for only where the batch is denied.
            batch = "secretsmanager:BatchGetSecretValue"
            lab.aws.add_fault(Fault(batch, status=400, code="AccessDeniedException", times=None))
        lab.aws.add_fault(Fault(call, **{"times": 1, **fields}))  # type: ignore[arg-type]  # fields of Fault

    return Cell(call, fault, codes, plant)


_HOSTS = {
    "s3": f"{BUCKET}.s3.{REGION}.amazonaws.com",
    "ssm": f"ssm.{REGION}.amazonaws.com",
    "secretsmanager": f"secretsmanager.{REGION}.amazonaws.com",
    "ecr": f"api.ecr.{REGION}.amazonaws.com",
}


def hosts() -> Iterator[Cell]:
    for service, name in _HOSTS.items():
        yield Cell(f"host of {service}", "refused", LATE, points_at(name, "127.0.0.9"))
        yield Cell(f"host of {service}", "no route", LATE, points_at(name, "10.255.255.9"))
        yield Cell(f"host of {service}", "no such name", LATE, points_at(name, None))
        for kind in BAD:
            yield Cell(f"host of {service}", f"certificate: {kind}", LATE, _spoils(name, kind))


def _spoils(name: str, kind: str) -> Callable[[Lab], None]:
    return lambda lab: lab.pki.spoil(name, kind)
