"""The test's side of the registry's door: what was asked, and what is to go wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys

from tests.lab.aws_model import REGISTRY_ADDRESS
from tests.lab.host import CHECKOUT
from tests.lab.machine import Machine
from tests.lab.pki import SERVER_CERTIFICATE, SERVER_KEY
from tests.lab.process import Running
from tests.lab.registry_door import BACK_PORT, RegistryFault

_FAULTS, _LOG = "/.lab/registry/faults.json", "/.lab/registry/requests.log"


class RegistryWatch:
    """Runs the door (see registry_door.py) and tells it what to break."""

    def __init__(self, machine: Machine) -> None:
        self.process: Running | None = None
        self._machine = machine
        self._faults: list[RegistryFault] = []
        self._numbers = itertools.count(1)

    @property
    def running(self) -> bool:
        return self.process is not None

    @property
    def port(self) -> int:
        """Where the registry itself listens: behind the door when there is one."""
        return BACK_PORT if self.running else 443

    def start(self) -> None:
        """With an empty log and no fault."""
        self._faults = []
        self._machine.path(_LOG).write_text("")
        self._write()
        argv = [sys.executable, "-m", "tests.lab.registry_door", SERVER_CERTIFICATE, SERVER_KEY, REGISTRY_ADDRESS]
        self.process = self._machine.start_process(
            [*argv, _FAULTS, _LOG],
            env={"PYTHONPATH": str(CHECKOUT)},
            log="registry-door.log",
            network="aws",
            service=True,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None

    def add_fault(self, fault: RegistryFault) -> None:
        self._faults.append(dataclasses.replace(fault, number=next(self._numbers)))
        self._write()

    def clear_faults(self) -> None:
        if self.running:
            self._faults = []
            self._write()

    def requests(self, match: str) -> list[str]:
        return [line for line in self._machine.path(_LOG).read_text().splitlines() if match in line]

    def _write(self) -> None:
        # Replaced, never rewritten: the door must not read half a file.
        file = self._machine.path(_FAULTS)
        part = file.with_suffix(".part")
        part.write_text(json.dumps([dataclasses.asdict(fault) for fault in self._faults]))
        part.replace(file)
