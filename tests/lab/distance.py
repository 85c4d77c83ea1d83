"""How far a lab machine's AWS and registry are away; the metadata service stays where it is.

The wire before them (`tests.lab.wire`), and the rule of the firewall that leads connections there.
"""

from __future__ import annotations

import sys

from tests.lab import wire
from tests.lab.host import CHECKOUT
from tests.lab.machine import Machine
from tests.lab.process import Running, wait_until


class Distance:
    """None, until it is set."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._wire: Running | None = None

    def set(self, milliseconds: float) -> None:
        """From now on a round trip takes so long; 0 takes the wire away."""
        if self._wire is not None:
            self._wire.kill()
            self._firewall("-F", "PREROUTING")
            self._wire = None
        if milliseconds:
            argv = [sys.executable, "-m", "tests.lab.wire", str(wire.PORT), str(milliseconds)]
            env = {"PYTHONPATH": str(CHECKOUT)}
            self._wire = self._machine.start_process(argv, env=env, log="wire.log", network="aws", service=True)
            self._firewall(
                *f"-A PREROUTING -d 10.99.0.0/24 -p tcp --dport 443 -j REDIRECT --to-ports {wire.PORT}".split()
            )
            wait_until(self._is_up, "the wire")

    def _firewall(self, *rule: str) -> None:
        self._machine.run(["iptables", "-w", "-t", "nat", *rule], network="aws", check=True)

    def _is_up(self) -> bool:
        sockets = self._machine.run(["ss", "-Hltn", f"sport = :{wire.PORT}"], network="aws", check=True)
        return bool(sockets.stdout)
