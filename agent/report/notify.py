"""systemd is told how a boot is getting on: sd_notify(3), for a unit of `Type=notify`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from agent.host.clock import Clock
from agent.report.record import Costs, Ending, Level, RunHead, Step
from agent.secret import Redactor

# What a restore may take beyond the deadline (design section 1), and what ending children and telling takes.
_BEYOND_SECONDS = 150.0
_EVERY_SECONDS = 1.0
_LONGEST = 200
_PATIENCE_SECONDS = 1.0


class Notify:
    """A sink that keeps `systemctl status` current: a STATUS= per step, READY=1 once the services were seen healthy.

    With each step it says how long the run may still take (EXTEND_TIMEOUT_USEC), so that the run's own deadline ends
    it, with words, and not the unit's timeout. A socket that is gone or full is left alone.
    """

    def __init__(self, address: str, clock: Clock, redactor: Redactor) -> None:
        # `@name` is a socket without a file (abstract).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._clock = clock
        self._redactor = redactor
        self._end = 0.0
        self._told = float("-inf")

    def began(self, head: RunHead) -> None:
        """How long it may take in all."""
        self._end = self._clock.monotonic() + head.deadline_seconds + _BEYOND_SECONDS
        self._send(f"STATUS={head.command}", self._extension())

    def started(self, step: Step) -> None:
        """What it is doing now."""
        self._status(step.doing, self._extension())

    def progressed(self, step: Step) -> None:
        """What it waits for, or how far it is; at most once a second."""
        if self._clock.monotonic() - self._told >= _EVERY_SECONDS:
            waits = f"waiting for {step.waiting_for}" if step.waiting_for else ""
            self._status(", ".join(filter(None, [step.doing, step.detail, waits])))

    def ended(self, step: Step) -> None:
        """Nothing: the next step says more."""

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Nothing: that is for the journal."""

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """READY=1 for a run that ended well; the words of the verdict in any case."""
        self._status(f"{ending.outcome}: {ending.text}", *(["READY=1"] if ending.exit_code == 0 else []))

    def _extension(self) -> str:
        return f"EXTEND_TIMEOUT_USEC={int(max(1.0, self._end - self._clock.monotonic()) * 1e6)}"

    def _status(self, text: str, *more: str) -> None:
        self._told = self._clock.monotonic()
        self._send(f"STATUS={self._redactor.clean(' '.join(text.split()))[:_LONGEST]}", *more)

    def _send(self, *lines: str) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_PATIENCE_SECONDS)
            channel.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
