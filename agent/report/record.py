"""What a run does, told once: steps with their times and costs, messages, and the end; sinks make it visible."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal, Protocol

from agent.dataclass import dataclass
from agent.errors import AgentError, Interrupted
from agent.host.clock import Clock
from agent.report.spans import Doing, Kind, Spans

StepState = Literal["running", "done", "failed", "interrupted"]
Level = Literal["debug", "info", "warning", "error"]


@dataclass
class Costs:
    """What something cost outside the process."""

    calls: int = 0
    retries: int = 0
    throttled: int = 0
    received: int = 0
    children: int = 0


@dataclass
class Step:
    """One step of the run. Times are seconds since the run began.

    `may_take` is set where the step waits for another run: for so many seconds, whatever this run's own deadline is.
    """

    name: str
    doing: str
    started: float
    state: StepState = "running"
    seconds: float | None = None
    detail: str = ""
    waiting_for: str = ""
    waiting_since: float = 0.0
    may_take: float = 0.0
    costs: Costs = field(default_factory=Costs)
    error: AgentError | None = None


@dataclass(frozen=True)
class RunHead:
    """What is known of a run before it does anything. `boot`: systemd or cloud-init began it, and nobody looks."""

    id: str
    command: str
    pid: int
    user: str
    started_at: str
    deadline_seconds: float
    boot: bool = False


@dataclass(frozen=True)
class ServiceLine:
    """One service of the project at the end of the run: what is said of it in the summary and in the status."""

    name: str
    state: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the run ended."""

    outcome: Literal["verified", "unchanged", "restored", "done", "failed", "interrupted"]
    exit_code: int
    text: str
    errors: Sequence[AgentError] = ()
    release: Mapping[str, object] | None = None
    services: Sequence[ServiceLine] = ()


class Sink(Protocol):
    """Somebody who is told. Calls come one at a time, from any thread."""

    def began(self, head: RunHead) -> None:
        """The run begins."""

    def started(self, step: Step) -> None:
        """A step begins."""

    def progressed(self, step: Step) -> None:
        """A step's detail, wait or costs changed."""

    def ended(self, step: Step) -> None:
        """A step is done or has failed."""

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Something worth knowing happened."""

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """The run is over."""


_current: contextvars.ContextVar[tuple[Recorder, Step] | None] = contextvars.ContextVar("step", default=None)


class Recorder:
    """Keeps the run's steps and tells every sink. Safe across threads."""

    def __init__(self, head: RunHead, clock: Clock, sinks: Sequence[Sink]) -> None:
        self.head = head
        self.steps: list[Step] = []
        self.warnings: list[str] = []
        self._clock = clock
        self._began = clock.monotonic()
        self.spans = Spans(self.seconds)
        self._sinks = list(sinks)
        self._lock = threading.RLock()
        for sink in sinks:
            sink.began(head)

    def attach(self, sink: Sink) -> None:
        """Tell one more sink from now on; it first hears what was told so far of the run and its steps."""
        with self._lock:
            sink.began(self.head)
            for step in self.steps:
                sink.started(step)
                if step.state != "running":
                    sink.ended(step)
            self._sinks.append(sink)

    def seconds(self) -> float:
        """Seconds since the run began."""
        return self._clock.monotonic() - self._began

    @contextlib.contextmanager
    def step(self, name: str, doing: str) -> Iterator[Step]:
        """Run the block as the step `name`: its beginning, end, failure, duration and costs are told from here."""
        step = Step(name, doing, self.seconds())
        with self._lock:
            self.steps.append(step)
            for sink in self._sinks:
                sink.started(step)
        token = _current.set((self, step))
        try:
            yield step
        except AgentError as error:
            self._end(step, "failed", error)
            raise
        except (Interrupted, KeyboardInterrupt):
            self._end(step, "interrupted")
            raise
        except BaseException:
            self._end(step, "failed")
            raise
        else:
            self._end(step, "done")
        finally:
            _current.reset(token)

    def _end(self, step: Step, state: StepState, error: AgentError | None = None) -> None:
        with self._lock:
            step.state, step.error, step.waiting_for = state, error, ""
            step.seconds = self.seconds() - step.started
            for sink in self._sinks:
                sink.ended(step)

    def progress(self, step: Step, *, detail: str | None = None, waiting_for: str | None = None) -> None:
        """Set what the step is at (`12 of 26 objects`), or what it waits for (`IMDS: connection refused`)."""
        with self._lock:
            if detail is not None:
                step.detail = detail
            if waiting_for is not None:
                if not step.waiting_for:
                    step.waiting_since = self.seconds()
                step.waiting_for = waiting_for
            for sink in self._sinks:
                sink.progressed(step)

    def count(self, step: Step, costs: Costs) -> None:
        """Add to what the step has cost."""
        with self._lock:
            step.costs = _sum([step.costs, costs])

    def say(self, level: Level, event: str, text: str, **fields: object) -> None:
        """Tell something; a warning is also kept for the status."""
        with self._lock:
            if level == "warning":
                self.warnings.append(text)
            for sink in self._sinks:
                sink.said(level, event, text, fields)

    def finish(self, ending: Ending) -> None:
        """Tell how the run ended: first those who keep it (they came last), so that they have it when others hear."""
        self.spans.close()
        with self._lock:
            costs = _sum([step.costs for step in self.steps])
            for sink in reversed(self._sinks):
                sink.finished(ending, self.seconds(), costs)


def _sum(parts: Sequence[Costs]) -> Costs:
    return Costs(
        calls=sum(part.calls for part in parts),
        retries=sum(part.retries for part in parts),
        throttled=sum(part.throttled for part in parts),
        received=sum(part.received for part in parts),
        children=sum(part.children for part in parts),
    )


def count(costs: Costs) -> None:
    """Add to the costs of the step that this thread works for; outside any step nothing is counted."""
    current = _current.get()
    if current is not None:
        current[0].count(current[1], costs)


def progress(*, detail: str | None = None, waiting_for: str | None = None) -> None:
    """Say where the step stands that this thread works for."""
    current = _current.get()
    if current is not None:
        current[0].progress(current[1], detail=detail, waiting_for=waiting_for)


def say(level: Level, event: str, text: str, **fields: object) -> None:
    """Tell something from within a step; outside any step nothing is told."""
    current = _current.get()
    if current is not None:
        current[0].say(level, event, text, step=current[1].name, **fields)


def doing(kind: Kind, name: str, *, ago: float = 0.0) -> Doing:
    """Keep what begins now (or began `ago` seconds before) for the timeline; outside any step nothing is kept."""
    current = _current.get()
    if current is None:
        return Spans().begin(kind, name, "", ago)
    return current[0].spans.begin(kind, name, current[1].name, ago)
