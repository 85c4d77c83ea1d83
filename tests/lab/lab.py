"""The whole lab: a machine, and around it AWS, the metadata service, the registry; a Docker engine in it."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import images
from tests.lab.aws import Aws
from tests.lab.engine import Engine
from tests.lab.host import CHECKOUT
from tests.lab.imds import Imds
from tests.lab.machine import Machine
from tests.lab.pki import Pki
from tests.lab.registry import Registry
from tests.lab.snapshot import Snapshot
from tests.lab.world import TAG, World


class Lab:
    """Everything that an instance has around it. start() takes about three seconds, reset() a fraction of one."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.pki = Pki(self.machine)
        self.aws = Aws(self.machine)
        self.imds = Imds(self.machine)
        self.registry = Registry(self.machine, self.pki)
        self.engine = Engine(self.machine)
        self.world = World(self.machine, self.aws)
        self._snapshot = Snapshot(self.machine)
        self._tags: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and seed the example; stop() is not needed when it fails."""
        try:
            self.machine.start()
            self._start_servers()
            self.world.seed()
            self.world.write_bootstrap()
        except BaseException:
            self.stop()
            raise

    def _start_servers(self) -> None:
        self.pki.install()
        # All are started before any is waited for; the slowest (AWS) first.
        self.aws.start()
        self.engine.start()
        self.registry.start()
        self.imds.prepare()
        self.imds.start()
        # The machine sees the checkout read-only, so it could not keep the byte code that it makes.
        compileall.compile_dir(CHECKOUT / "agent", quiet=2)
        self.registry.wait_ready()
        self.registry.push(TAG, images.build())
        self._tags = self.registry.tags()
        self.imds.wait_ready()
        self.engine.wait_ready()
        self.aws.wait_ready()
        self._snapshot.take()

    def stop(self) -> None:
        """End it all at once; nothing is left."""
        self.aws.stop()
        self.machine.stop()

    def reset(self) -> None:
        """As after start(): an instance that never ran the agent, in the seeded world. The engine keeps its images."""
        self.machine.end_strays()
        without_containers = self.engine.remove_containers()
        self._snapshot.restore()
        self.engine.reset()
        if not without_containers:
            self._snapshot.restore()
        self.pki.mend()
        self.registry.reset()
        self.registry.restore(self._tags)
        self.imds.reset()
        self.imds.start()
        self.imds.wait_ready()
        self.aws.reset()
        self.world.seed()
        self.world.write_bootstrap()

    def agent_command(self) -> list[str]:
        """The installed console script of this Python environment, else the package itself."""
        script = Path(sys.executable).parent / "delphi-agent"
        return [str(script)] if script.exists() else [sys.executable, "-m", "agent"]

    def agent_env(self) -> dict[str, str]:
        """What the agent needs beside PATH: nothing, unless it is not installed."""
        return {} if len(self.agent_command()) == 1 else {"PYTHONPATH": str(CHECKOUT)}

    def agent(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 (as subprocess.run calls it)
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run `delphi-agent ARGS` as systemd would: PATH is all its environment, unless `env` adds to it."""
        argv = [*self.agent_command(), *args]
        return self.machine.run(argv, env={**self.agent_env(), **(env or {})}, input=input, timeout=timeout)

    def get(self, port: int, path: str) -> str:
        """The body of an HTTP GET from 127.0.0.1:`port` of the instance."""
        connection = self.machine.http(port)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()
