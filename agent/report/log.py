"""One JSON line per event, for journald and log shippers. The only module that uses structlog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from agent.errors import AgentError
from agent.host.clock import Clock
from agent.report.record import Costs, Ending, Level, RunHead, Step
from agent.secret import Redactor

if TYPE_CHECKING:
    import structlog.typing

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class JsonLog:
    """A sink that writes events as JSON lines; known secrets are taken out of every string."""

    def __init__(self, stream: TextIO, clock: Clock, redactor: Redactor, level: str) -> None:
        import structlog

        def stamp(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
            return {"time": clock.now().isoformat(timespec="milliseconds"), **event}

        def redact(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
            return {key: clean(value, redactor) for key, value in event.items()}

        self._log: Any = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[
                structlog.processors.add_log_level,
                stamp,
                redact,
                structlog.processors.JSONRenderer(default=str),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        )

    def began(self, head: RunHead) -> None:
        """Bind the run's id to every line."""
        self._log = self._log.bind(run=head.id)
        self._log.info(
            "run.started", command=head.command, pid=head.pid, user=head.user, deadline_seconds=head.deadline_seconds
        )

    def started(self, step: Step) -> None:
        """`step.started`."""
        self._log.info("step.started", step=step.name, doing=step.doing)

    def progressed(self, step: Step) -> None:
        """`step.progress`, at debug level: it may come often."""
        waiting = {"waiting_for": step.waiting_for} if step.waiting_for else {}
        self._log.debug("step.progress", step=step.name, detail=step.detail, **waiting)

    def ended(self, step: Step) -> None:
        """`step.finished` or `step.failed`, with the duration in seconds and what it cost."""
        fields: dict[str, object] = {"step": step.name, "seconds": round(step.seconds or 0.0, 3)}
        if step.detail:
            fields["detail"] = step.detail
        fields |= {name: value for name, value in vars(step.costs).items() if value}
        if step.state == "done":
            self._log.info("step.finished", **fields)
        else:
            self._log.error(f"step.{step.state}", **fields, error=str(step.error) if step.error else None)

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """The event as it was told."""
        getattr(self._log, level)(event, text=text, **fields)

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """One line per error, then `run.finished`."""
        for error in ending.errors:
            self._log.error("run.error", **describe(error))
        fields: dict[str, object] = {"outcome": ending.outcome, "exit_code": ending.exit_code, "text": ending.text}
        if ending.services:
            fields["services"] = {line.name: line.state for line in ending.services}
        if ending.release:
            fields["release"] = ending.release
        level = "info" if ending.exit_code == 0 or ending.outcome == "done" else "error"
        getattr(self._log, level)("run.finished", **fields, seconds=round(seconds, 3), **vars(costs))


def describe(error: AgentError) -> dict[str, object]:
    """An error as a record with fields of their own for people and programs."""
    return {
        "code": error.code,
        "exit_code": error.exit_code,
        "doing": error.doing,
        "cause": error.cause,
        "next_step": error.next_step,
        "details": list(error.details),
    }


def clean(value: object, redactor: Redactor) -> object:
    """`value` with known secrets taken out of every string in it, however deep."""
    if isinstance(value, str):
        return redactor.clean(value)
    if isinstance(value, Mapping):
        return {key: clean(item, redactor) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item, redactor) for item in value]
    return value
