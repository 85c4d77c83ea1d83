"""What the test process and the AWS server tell each other."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

ACCOUNT = "123456789012"
REGION = "eu-west-1"
OTHER_REGION = "eu-central-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
BUCKET = "delphi-config"

SERVER_ADDRESS = "10.99.0.1"
REGISTRY_ADDRESS = "10.99.0.2"
CONTROL_SOCKET = "/.lab/aws.sock"

_SERVICES = [
    "s3",
    "ssm",
    "secretsmanager",
    "sts",
    "api.ecr",
    "kms",
    "autoscaling",
    "cloudformation",
    "ec2",
    "iam",
    "logs",
]
HOST_NAMES = (
    *(f"{service}.{REGION}.amazonaws.com" for service in _SERVICES),
    f"{BUCKET}.s3.{REGION}.amazonaws.com",
    f"{BUCKET}.s3.{OTHER_REGION}.amazonaws.com",
    "sts.amazonaws.com",
    "iam.amazonaws.com",
)

Json = Any
"""What json.loads() gives."""

FaultKind = Literal["error", "delay", "reset", "hang", "truncate", "short", "corrupt", "trickle", "moved"]


@dataclasses.dataclass
class Fault:
    """Something that goes wrong with the next calls that match.

    Kinds: `error` answers with `status` and `code` in the service's own format; `delay` only delays; `reset` drops the
    connection without an answer; `hang` never answers (until the faults are cleared); `truncate` cuts the connection
    in the middle of the body; `short` sends half of the body as if it were all; `corrupt` changes a byte of the body;
    `trickle` sends a byte of it every half second; `moved` sends what is signed for another region than OTHER_REGION
    there, as S3 does for a bucket that was made in it.
    """

    match: str
    """A regular expression, searched for in "service:Action resource", e.g. "s3:GetObject .*/vars.yaml"."""
    kind: FaultKind = "error"
    status: int = 400
    code: str = ""
    message: str = "made up by the lab"
    delay: float = 0.0
    """Seconds to wait first, whatever the kind."""
    times: int | None = 1
    """How many calls it hits; None: all of them."""
    skip: int = 0
    """How many matching calls it lets pass before."""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    """What an `error` has for headers, beside its own."""


@dataclasses.dataclass(frozen=True)
class Call:
    """One call that the machine made, in the order of arrival."""

    service: str
    """The name in the credential scope: s3, ssm, secretsmanager, sts, ecr, ..."""
    action: str
    """The API name: GetObject, ListObjectsV2, GetParametersByPath, ..."""
    status: int
    """What was answered; 0 when nothing was (reset, hang)."""
    resource: str
    """s3: bucket/key (or bucket/prefix of a listing); ssm: path or names; secretsmanager: ids."""
    start: float
    """time.time() at arrival."""
    ms: float
    bytes: int
    """Length of the answer's body."""
    fault: str = ""
    """The kind of the fault that hit it."""
    connection: int = 0
    """A number per connection, to see whether connections are reused."""

    @property
    def name(self) -> str:
        return f"{self.service}:{self.action}"
