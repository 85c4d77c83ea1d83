"""The published quotas of an account in one region, each with where it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tests.bench.fleet.bucket import Bucket

_GENERAL = "https://docs.aws.amazon.com/general/latest/gr"


@dataclass(frozen=True)
class Quota:
    """Calls a second of one API, or of several that share it; `calls` are those that it counts."""

    name: str
    calls: tuple[str, ...]
    rate: float
    source: str


DEFAULT = (
    Quota(
        "SSM, default throughput", ("ssm.path",), 40, f"{_GENERAL}/ssm.html (shared with GetParameter, GetParameters)"
    ),
    Quota("Secrets Manager ListSecrets", ("secrets.list",), 100, f"{_GENERAL}/asm.html"),
    Quota("Secrets Manager BatchGetSecretValue", ("secrets.batch",), 100, f"{_GENERAL}/asm.html"),
    Quota("Secrets Manager GetSecretValue", ("secrets.get",), 10_000, f"{_GENERAL}/asm.html (with DescribeSecret)"),
    Quota("ECR GetAuthorizationToken", ("ecr.token",), 500, f"{_GENERAL}/ecr.html"),
    Quota(
        "S3, one prefix",
        ("s3.list", "s3.get"),
        5_500,
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html",
    ),
)
HIGHER = (
    replace(DEFAULT[0], name="SSM, higher throughput", rate=100, source=f"{_GENERAL}/ssm.html (GetParametersByPath)"),
    *DEFAULT[1:],
)
SETS: Mapping[str, Sequence[Quota]] = {"default": DEFAULT, "higher": HIGHER}


def at_rate(quotas: Sequence[Quota], call: str, rate: float) -> list[Quota]:
    """The same with another rate for the quota that counts `call`."""
    return [replace(quota, rate=rate, source="as asked for") if call in quota.calls else quota for quota in quotas]


# AWS does not publish how much it lets through at once after a quiet time: a second's worth is assumed.
BURST_SECONDS = 1.0


class Throttle:
    """The buckets of a set of quotas."""

    def __init__(self, quotas: Sequence[Quota], burst_seconds: float = BURST_SECONDS) -> None:
        self._buckets: dict[str, Bucket] = {}
        for quota in quotas:
            bucket = Bucket(quota.rate, max(1.0, quota.rate * burst_seconds))
            self._buckets |= dict.fromkeys(quota.calls, bucket)

    def take(self, call: str, now: float) -> bool:
        """Whether this call is let through."""
        return self._buckets[call].take(now)


def bound(calls: Mapping[str, int], instances: int, quotas: Sequence[Quota]) -> tuple[float, str]:
    """Seconds in which no fleet can be served: its calls over the quota, the largest; and which quota that is.

    `calls` are those of one instance that is never throttled.
    """
    return max(
        (instances * sum(calls.get(name, 0) for name in quota.calls) / quota.rate, quota.name) for quota in quotas
    )
