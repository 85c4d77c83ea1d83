"""Keeps `/run/delphi-agent/status.json` current: what the run is doing or did (`agent.report.status` reads it).

It never holds the value of a variable; known secrets are taken out of every string all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent import __version__
from agent.errors import HostError
from agent.host import files, processes
from agent.host.clock import Clock
from agent.report.log import clean, describe
from agent.report.record import Costs, Ending, Level, RunHead, Step
from agent.report.spans import Spans
from agent.report.status import SCHEMA
from agent.secret import Redactor

# Progress may come a hundred times a second; the file is for people who look now and then.
_EVERY_SECONDS = 0.5


class StatusFile:
    """A sink that keeps the status file current."""

    def __init__(self, path: Path, clock: Clock, redactor: Redactor, spans: Spans | None = None) -> None:
        self._path = path
        self._spans = spans or Spans()
        self._clock = clock
        self._redactor = redactor
        self._steps: list[Step] = []
        self._warnings: list[str] = []
        self._written = float("-inf")
        self._document: dict[str, Any] = {"schema": SCHEMA, "agent": __version__}

    def began(self, head: RunHead) -> None:
        """The first write: from now on `status` shows this run."""
        files.make_folder(self._path.parent, 0o755)
        self._document |= {
            "run": {
                **asdict(head),
                "pid_started": processes.start_time(head.pid),
                "began_ticks": processes.now() - processes.ticks(self._spans.seconds()),
                "finished_at": None,
                "seconds": None,
            },
            "stage": None,
            "ready": False,
            "outcome": "running",
            "exit_code": None,
            "text": "",
            "errors": [],
            "warnings": self._warnings,
            "release": None,
            "services": [],
            "steps": [],
            "totals": asdict(Costs()),
        }
        self._write()

    def started(self, step: Step) -> None:
        """The stage is the step that began last."""
        self._steps.append(step)
        self._document["stage"] = step.name
        self._write()

    def progressed(self, step: Step) -> None:
        """Written at most twice a second."""
        if self._clock.monotonic() - self._written >= _EVERY_SECONDS:
            self._write()

    def ended(self, step: Step) -> None:
        """Written at once."""
        self._write()

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Warnings are kept."""
        if level == "warning":
            self._warnings.append(text)

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """The last write."""
        self._document |= {
            "stage": None,
            "ready": ending.exit_code == 0,
            "outcome": ending.outcome,
            "exit_code": ending.exit_code,
            "text": ending.text,
            "errors": [describe(error) for error in ending.errors],
            "release": ending.release,
            "services": [asdict(line) for line in ending.services],
            "totals": asdict(costs),
        }
        self._document["run"] |= {
            "finished_at": self._clock.now().isoformat(timespec="milliseconds"),
            "seconds": round(seconds, 3),
        }
        self._write()

    def _write(self) -> None:
        self._document["steps"] = [_step(step) for step in self._steps]
        self._written = self._clock.monotonic()
        # A full /run must not turn a verified deploy into a failure, nor hide why a step failed. And on tmpfs nothing
        # has to survive a power loss.
        with contextlib.suppress(HostError):
            files.write_json(self._path, self._cleaned(), 0o644, durable=False)

    def _cleaned(self) -> dict[str, object]:
        shown = {name: clean(value, self._redactor) for name, value in self._document.items()}
        # Spans clean themselves: hundreds of them have a few names, and this is written dozens of times in a run.
        return shown | {"spans": self._spans.document(self._redactor.clean), "spans_left_out": self._spans.left_out}


def _step(step: Step) -> dict[str, object]:
    return {
        "name": step.name,
        "state": step.state,
        "doing": step.doing,
        "started": round(step.started, 3),
        "seconds": None if step.seconds is None else round(step.seconds, 3),
        "detail": step.detail,
        "waiting_for": step.waiting_for or None,
        **vars(step.costs),
        "error": str(step.error) if step.error else None,
        "error_code": step.error.code if step.error else None,
    }
