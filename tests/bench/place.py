"""A machine with everything around it, as the lab's, but with the suite's own AWS in it.

Two of them never share anything. While one is measured the other's engine is frozen: its health checks would take
part in the measurement.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from types import TracebackType
from typing import Any, Self

from tests.bench.worlds import Changes, Spec
from tests.lab.aws_model import HOST_NAMES, SERVER_ADDRESS
from tests.lab.distance import Distance
from tests.lab.engine import Engine
from tests.lab.host import CHECKOUT
from tests.lab.imds import Imds
from tests.lab.machine import Machine
from tests.lab.pki import SERVER_CERTIFICATE, SERVER_KEY, Pki
from tests.lab.process import Running, wait_until
from tests.lab.registry import Registry

_CONTROL = "/.lab/standin.sock"


class Place:
    """Start it (it is a context manager), then give it a world with `enter`."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.pki = Pki(self.machine)
        self.imds = Imds(self.machine)
        self.registry = Registry(self.machine, self.pki)
        self.engine = Engine(self.machine)
        self.spec = Spec()
        self.changes = Changes()
        self._standin: Running | None = None
        self._distance = Distance(self.machine)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, frozen or not; nothing is left."""
        self.machine.stop()

    def start(self) -> None:
        self.machine.start()
        self.pki.install()
        self.engine.start()
        self.registry.start()
        self.imds.prepare()
        self.imds.start()
        self._start_standin()
        self.registry.wait_ready()
        self.imds.wait_ready()
        self.engine.wait_ready()
        wait_until(self.machine.path(_CONTROL).exists, "the stand-in", timeout=30)

    def _start_standin(self) -> None:
        self.machine.add_hosts(SERVER_ADDRESS, HOST_NAMES)
        argv = [sys.executable, "-m", "tests.bench.standin", SERVER_CERTIFICATE, SERVER_KEY]
        argv += [SERVER_ADDRESS, "443", _CONTROL]
        env = {"PYTHONPATH": str(CHECKOUT)}
        self._standin = self.machine.start_process(argv, env=env, log="standin.log", network="aws", service=True)

    def enter(self, spec: Spec, changes: Changes = Changes()) -> None:  # noqa: B008 - frozen
        """Let this be in AWS."""
        self.spec, self.changes = spec, changes
        self.order("world", spec=dataclasses.asdict(spec), changes=dataclasses.asdict(changes))

    def delay(self, milliseconds: float) -> None:
        """The round-trip time to AWS and the registry."""
        self._distance.set(milliseconds)

    def freeze(self) -> None:
        self.engine.freeze()

    def thaw(self) -> None:
        self.engine.thaw()

    def order(self, what: str, **more: Any) -> Any:  # noqa: ANN401 - JSON both ways
        """Tell the stand-in something (see `standin.Control`); what it says to that."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(120)
            door.connect(str(self.machine.path(_CONTROL)))
            with door.makefile("rw") as lines:
                lines.write(json.dumps({"do": what, **more}) + "\n")
                lines.flush()
                return json.loads(lines.readline())
