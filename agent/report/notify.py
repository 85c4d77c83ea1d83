"""systemd is told how a boot is getting on: sd_notify(3), for a unit of `Type=notify`."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from agent.host.clock import Clock
from agent.report.record import Costs, Ending, Level, RunHead, Step
from agent.secret import Redactor

# What a restore may take beyond the deadline (design section 1), and what ending children and telling takes.
_BEYOND_SECONDS = 150.0
# The extension is there to end an agent that hangs. One that still says something works, however late it is.
_LEAST_SECONDS = 30.0
_EVERY_SECONDS = 1.0
_LONGEST = 200
# What is said on the way is said again with the next step; it may not hold a run up.
_PATIENCE_SECONDS = 1.0
# READY=1 is said once: without it a boot that was seen healthy is a failed unit, and systemd starts another run of it.
# Process 1 of a machine that has much else to start may not read for seconds, and its queue can be ten messages short.
_READY_PATIENCE_SECONDS = 30.0


class Notify:
    """A sink that keeps `systemctl status` current: a STATUS= per step, READY=1 once the services were seen healthy.

    With each it says how long the run may still take (EXTEND_TIMEOUT_USEC), so that the run's own deadline (while it
    waits for another run, that one's) ends it, with words, and not the unit's timeout. A socket that is gone is left
    alone, one that is full is waited for: for READY=1 up to half a minute, for the rest a second, and not again until
    it takes something.
    """

    def __init__(self, address: str, clock: Clock, redactor: Redactor) -> None:
        # `@name` is a socket without a file (abstract).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._clock = clock
        self._redactor = redactor
        self._began, self._end = 0.0, 0.0
        self._told = float("-inf")
        self._patience = _PATIENCE_SECONDS

    def began(self, head: RunHead) -> None:
        """How long it may take in all."""
        self._began = self._clock.monotonic()
        self._end = self._began + head.deadline_seconds + _BEYOND_SECONDS
        self._status(head.command, self._end)

    def started(self, step: Step) -> None:
        """What it is doing now."""
        self._status(step.doing, self._end_within(step))

    def progressed(self, step: Step) -> None:
        """What it waits for, or how far it is; at most once a second."""
        if self._clock.monotonic() - self._told >= _EVERY_SECONDS:
            waits = f"waiting for {step.waiting_for}" if step.waiting_for else ""
            text = ", ".join(filter(None, [step.doing, step.detail, waits]))
            self._status(text, self._end_within(step))

    def ended(self, step: Step) -> None:
        """Nothing: the next step says more."""

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Nothing: that is for the journal."""

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """READY=1 for a run that ended well; the words of the verdict in any case."""
        words = self._words(f"{ending.outcome}: {ending.text}")
        if ending.exit_code == 0:
            self._send([words, "READY=1"], _READY_PATIENCE_SECONDS)
        else:
            self._send([words], _PATIENCE_SECONDS)

    def _end_within(self, step: Step) -> float:
        return max(self._end, self._began + step.started + step.may_take)

    def _status(self, text: str, end: float) -> None:
        self._told = self._clock.monotonic()
        left = max(_LEAST_SECONDS, end - self._told)
        taken = self._send([self._words(text), f"EXTEND_TIMEOUT_USEC={int(left * 1e6)}"], self._patience)
        self._patience = _PATIENCE_SECONDS if taken else 0.0

    def _words(self, text: str) -> str:
        return f"STATUS={self._redactor.clean(' '.join(text.split()))[:_LONGEST]}"

    def _send(self, lines: Sequence[str], patience: float) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(patience)
                # Only for a connected one the kernel knows when there is room: else Python would ask all the time.
                channel.connect(self._address)
                channel.send("\n".join(lines).encode("utf-8", "replace"))
        except OSError:
            return False
        return True
