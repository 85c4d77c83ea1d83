"""The test's side of the machine's metadata service: change what it says, watch what is asked, break it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import sys
from typing import Any, Literal

from tests.lab.aws_model import ACCOUNT, REGION
from tests.lab.host import CHECKOUT
from tests.lab.machine import Machine
from tests.lab.process import LabError, Running, wait_until

INSTANCE_ID = "i-0123456789abcdef0"
PRIVATE_IP = "10.77.0.10"
ROLE = "lab-role"
ROLE_SECRET_KEY = "CANARYroleSecretAccessKey4xQ7"
ROLE_SESSION_TOKEN = "CANARYroleSessionToken9vT2"

FaultKind = Literal["status", "reset", "hang", "trickle", "truncate"]

_STATE = "/.lab/imds/state.json"
_LOG = "/.lab/imds/requests.jsonl"


@dataclasses.dataclass(frozen=True)
class MetadataRequest:
    """One request that the metadata service received (those that hang appear when they are let go, with status 0)."""

    time: float
    method: str
    path: str
    status: int
    headers: dict[str, str]
    """Lower-case names."""
    ipv6: bool


class Imds:
    """The metadata service; `set`, `remove` and `mode` hold from the next request on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._process: Running | None = None
        self._state: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    def prepare(self) -> None:
        self._machine.path("/.lab/imds").mkdir()
        self.reset()

    def reset(self) -> None:
        """The default world, no faults, an empty log; tokens given before are void. Running or not stays as it is."""
        generation = self._state.get("generation", 0) + 1
        state = {"mode": "ok", "hop_limit": 1, "generation": generation, "token_epoch": generation}
        self._write(state | {"world": default_world(), "faults": []})
        self._machine.path(_LOG).write_text("")

    def start(self) -> None:
        if self._process is None or self._process.returncode is not None:
            argv = [sys.executable, "-m", "tests.lab.imds_server", _STATE, _LOG]
            env = {"PYTHONPATH": str(CHECKOUT)}
            self._process = self._machine.start_process(argv, env=env, log="imds.log", network="aws", service=True)

    def wait_ready(self) -> None:
        process = self._process
        assert process is not None

        def ready() -> bool:
            if process.returncode is not None:
                raise LabError(f"the metadata service ended: {process.stdout()[-2000:]}")
            with contextlib.suppress(OSError):
                connection = self._machine.http(80, "169.254.169.254")
                connection.connect()
                connection.close()
                return True
            return False

        wait_until(ready, "the metadata service")

    def stop(self) -> None:
        """Connections are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def set(self, path: str, value: str | dict[str, Any]) -> None:
        """Let GET /latest/`path` answer `value`, e.g. set("meta-data/placement/region", "eu-west-1")."""
        self._write({**self._state, "world": {**self._state["world"], path: value}})

    def be(self, instance_id: str) -> None:
        """Say that the instance is this one."""
        document = "dynamic/instance-identity/document"
        self.set("meta-data/instance-id", instance_id)
        self.set(document, {**self._state["world"][document], "instanceId": instance_id})

    def remove(self, path: str) -> None:
        """Take away an entry, or a folder with all that is in it; 404 from now on."""
        world = self._state["world"]
        kept = {name: value for name, value in world.items() if name != path and not name.startswith(f"{path}/")}
        self._write({**self._state, "world": kept})

    def mode(self, mode: str) -> None:
        """ok; hang (never answers); trickle (a byte of the body now and then); forbidden (403: disabled);
        unavailable:N (503 for the next N requests)."""
        if mode.partition(":")[0] not in ("ok", "hang", "trickle", "forbidden", "unavailable"):
            raise ValueError(mode)
        self._write({**self._state, "mode": mode, "generation": self._state["generation"] + 1})

    def add_fault(self, match: str, kind: FaultKind = "status", *, status: int = 500, times: int | None = 1) -> None:
        """Something goes wrong with the next requests that match, all else is well; the first that matches is used.

        `match` is a regular expression, searched for in "GET /latest/meta-data/instance-id". Kinds: `status` answers
        with that one; `reset`; `hang` and `trickle` as the modes; `truncate` cuts the answer in the middle of its body.
        `times` None: all of them, until the next reset().
        """
        fault = {"match": match, "kind": kind, "status": status, "times": times, "number": next(self._numbers)}
        self._write({**self._state, "faults": [*self._state["faults"], fault]})

    def clock(self, ahead: float) -> None:
        """How many seconds the service's clock is ahead of the machine's."""
        self._write({**self._state, "clock": ahead})

    def hop_limit(self, hops: int) -> None:
        """1 keeps containers on a bridge out, 2 lets them in."""
        self._write({**self._state, "hop_limit": hops})

    def allow_without_token(self, *agents: str) -> None:
        """Answer clients whose User-Agent begins so as IMDSv1 does; all others need a token as ever."""
        self._write({**self._state, "without_token": list(agents)})

    def expire_tokens(self) -> None:
        """All tokens given until now are void."""
        self._write({**self._state, "token_epoch": self._state["token_epoch"] + 1})

    def requests(self) -> list[MetadataRequest]:
        """What was asked since the last reset, in order."""
        lines = self._machine.path(_LOG).read_text().splitlines()
        return [MetadataRequest(**json.loads(line)) for line in lines]

    def _write(self, state: dict[str, Any]) -> None:
        # Replaced, never rewritten: the server must not read half a file.
        self._state = state
        file = self._machine.path(_STATE)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(state))
        part.replace(file)


def role_credentials(seconds: float = 6 * 3600) -> dict[str, Any]:
    """What IMDS says about the role's credentials, valid for so long."""
    now = dt.datetime.now(dt.UTC)
    expires = now + dt.timedelta(seconds=seconds)
    return {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "AccessKeyId": "ASIALABLABLABLABLAB1",
        "SecretAccessKey": ROLE_SECRET_KEY,
        "Token": ROLE_SESSION_TOKEN,
    }


def default_world() -> dict[str, Any]:
    """An instance with a role and no user data."""
    zone, name = f"{REGION}a", f"ip-10-77-0-10.{REGION}.compute.internal"
    mac = "02:00:00:00:77:10"
    document = {
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": zone,
        "imageId": "ami-0abcdef1234567890",
        "instanceId": INSTANCE_ID,
        "instanceType": "m6i.large",
        "pendingTime": "2026-01-01T00:00:00Z",
        "privateIp": PRIVATE_IP,
        "region": REGION,
        "version": "2017-09-30",
    }
    profile = {"Code": "Success", "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/lab"}
    return {
        "meta-data/ami-id": document["imageId"],
        "meta-data/hostname": name,
        "meta-data/instance-id": INSTANCE_ID,
        "meta-data/instance-life-cycle": "on-demand",
        "meta-data/instance-type": document["instanceType"],
        "meta-data/local-hostname": name,
        "meta-data/local-ipv4": PRIVATE_IP,
        "meta-data/mac": mac,
        f"meta-data/network/interfaces/macs/{mac}/local-ipv4s": PRIVATE_IP,
        "meta-data/placement/availability-zone": zone,
        "meta-data/placement/region": REGION,
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/services/partition": "aws",
        "meta-data/tags/instance/Name": "api-1",
        "meta-data/autoscaling/target-lifecycle-state": "InService",
        "meta-data/iam/info": {**profile, "LastUpdated": "2026-01-01T00:00:00Z"},
        f"meta-data/iam/security-credentials/{ROLE}": role_credentials(),
        "dynamic/instance-identity/document": document,
    }
