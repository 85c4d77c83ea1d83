"""The test's side of the machine's AWS: seed it, watch it, break it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import boto3
from botocore.config import Config

from tests.lab.aws_model import CONTROL_SOCKET, HOST_NAMES, REGION, SERVER_ADDRESS, Call, Fault, Json
from tests.lab.host import CHECKOUT
from tests.lab.imds import INSTANCE_ID
from tests.lab.machine import Machine
from tests.lab.network import Forwarder, UnixConnection
from tests.lab.pki import SERVER_CERTIFICATE, SERVER_KEY
from tests.lab.process import LabError, Running, wait_until

__all__ = ["Aws", "Call", "Fault"]

Client = Any
"""A boto3 client; the services' clients have no useful type in common."""


class Aws:
    """An account at AWS that only the machine can reach under AWS's names; tests come in by another door."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._process: Running | None = None
        self._forwarder: Forwarder | None = None
        self._clients: dict[str, Client] = {}

    def start(self) -> None:
        self._machine.add_hosts(SERVER_ADDRESS, HOST_NAMES)
        argv = [sys.executable, "-m", "tests.lab.aws_server", SERVER_CERTIFICATE, SERVER_KEY]
        # moto asks for credentials of its own when it makes SDK objects; they never leave its process.
        env = {"PYTHONPATH": str(CHECKOUT), "AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab"}
        self._process = self._machine.start_process(argv, env=env, log="aws.log", network="aws", service=True)

    def wait_ready(self) -> None:
        process = self._process
        assert process is not None
        socket = self._machine.path(CONTROL_SOCKET)

        def ready() -> bool:
            if process.returncode is not None:
                raise LabError(f"the AWS server ended: {process.stdout()[-2000:]}")
            return socket.exists()

        wait_until(ready, "the AWS server", timeout=30)
        self._forwarder = Forwarder(str(socket))

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        if self._forwarder is not None:
            self._forwarder.close()

    def client(self, service: str) -> Client:
        """A boto3 client for seeding: not journaled, never refused, untouched by faults and by the environment."""
        if service not in self._clients:
            assert self._forwarder is not None, "not started"
            create: Client = boto3.Session().client
            self._clients[service] = create(
                service,
                endpoint_url=f"http://127.0.0.1:{self._forwarder.port}",
                region_name=REGION,
                aws_access_key_id="lab",
                aws_secret_access_key="lab",
                config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def reset(self) -> None:
        """An empty account: no data, no journal, no faults, no signals, everything allowed."""
        self._request("POST", "/moto-api/reset")
        for what in ("calls", "faults", "signals"):
            self._request("DELETE", f"/lab/{what}")
        self.enforce_iam(None)

    def calls(self, name: str | None = None) -> list[Call]:
        """What the machine has asked, in order of arrival; with `name` ("ssm:GetParametersByPath"), only those.

        A call is there once its answer is known, so one that hangs is not.
        """
        calls = [Call(**entry) for entry in self._request("GET", "/lab/calls")]
        return [call for call in calls if name in (None, call.name)]

    def clear_calls(self) -> None:
        self._request("DELETE", "/lab/calls")

    def add_fault(self, fault: Fault) -> None:
        """Faults are tried in the order in which they were added; the first that matches is used."""
        self._request("POST", "/lab/faults", dataclasses.asdict(fault))

    def clear_faults(self) -> None:
        """No more faults; calls that hang are dropped."""
        self._request("DELETE", "/lab/faults")

    def enforce_iam(self, policy: dict[str, Json] | None) -> None:
        """Allow the machine only what this policy document allows; None: everything."""
        self._request("POST", "/lab/policy", policy)

    def signals(self) -> list[dict[str, str]]:
        """Lifecycle actions, heartbeats and CloudFormation signals received, each with its `action` and fields."""
        signals: list[dict[str, str]] = self._request("GET", "/lab/signals")
        return signals

    def launch(
        self, state: str = "Pending:Wait", hooks: dict[str, int] | None = None, instance: str = INSTANCE_ID
    ) -> None:
        """Let the group "api" have launched the instance; `hooks` are its launch hooks with their seconds.

        One that is named "drain" is a hook for the end of an instance.
        """
        group = {"name": "api", "instance": instance, "state": state, "hooks": hooks or {"boot": 3, "drain": 60}}
        self._request("POST", "/lab/waiting", group)

    def stack(self, name: str, resource: str = "") -> None:
        """Let a stack be there, whose `resource` waits for signals."""
        self._request("POST", "/lab/waiting", {"stack": name, "resource": resource})

    def set_registry_token(self, password: str, seconds: float = 12 * 3600) -> None:
        """What ecr:GetAuthorizationToken gives, and for how long (negative: already expired)."""
        self._request("POST", "/lab/registry-token", {"password": password, "seconds": seconds})

    def _request(self, method: str, path: str, body: Json = None) -> Json:
        connection = UnixConnection(str(self._machine.path(CONTROL_SOCKET)))
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise LabError(f"{method} {path}: {response.status}")
        return json.loads(data) if path.startswith("/lab/") else None
