"""Seeing the project healthy: "running" is not up, and a lucky look at a crash loop is not health.

A service is well when its containers are healthy by their own health check; without one, when they have run for a
stability window without a restart; a one-shot (no restart policy) when it has exited with 0. What cannot get well any
more fails at once, not at the deadline. The bundle may set a window and a deadline for a service (`Limit`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from agent.dataclass import dataclass
from agent.errors import AgentError, DeployFailed, UnreachableError
from agent.host.clock import Clock, Deadline
from agent.host.engine_answers import Container
from agent.steps.arrivals import Arrivals
from agent.steps.compose import Model
from agent.steps.verdict import Health, judge

# Between two looks: a tenth of what was waited, within these bounds. What is healthy soon is seen soon, and a service
# that takes minutes is not asked for all the time.
SHORTEST_SECONDS, POLL_SECONDS = 0.05, 0.25
# For so long an engine may be away, as one is that was upgraded and starts again.
AWAY_SECONDS = 20.0
LOG_LINES = 15


@dataclass(frozen=True)
class Limit:
    """What the bundle asks of one service: well `within` seconds, and up for `stable` seconds without a restart."""

    within: float | None = None
    stable: float | None = None


Limits = Mapping[str, Limit]


class Watch:
    """For how long containers have been as they are: as the kernel says of running ones, else as long as was watched.

    Not by the engine's times and the wall clock: on a first boot NTP may set that by hours, either way. The times are
    only compared with each other, to tell one start from the next.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: dict[object, float] = {}

    def seconds(self, item: Container) -> float:
        """Since when it was started, or has ended, for the last time; never more than that."""
        now = self._clock.monotonic()
        first = self._first.setdefault((item.id, item.state, item.restarts, item.started, item.finished), now)
        return max(now - first, item.up or 0.0)


class Looking(Protocol):
    """What is asked of the engine."""

    def containers(self, project: str) -> list[Container]:
        """The project's containers."""

    def log_tail(self, container: Container, lines: int) -> list[str]:
        """A container's last lines."""


def look(
    model: Model, engine: Looking, watch: Watch, restarts: Mapping[str, int] | None = None, limits: Limits | None = None
) -> list[Health]:
    """One look at every service; `restarts` and `limits` as for `judged`."""
    return judged(model, engine.containers(model.name), watch, restarts, limits)


def judged(
    model: Model,
    containers: Sequence[Container],
    watch: Watch,
    restarts: Mapping[str, int] | None = None,
    limits: Limits | None = None,
) -> list[Health]:
    """How every service is, by the project's containers.

    `restarts` has each container's restart count when the watching began, by id; without it, it begins now.
    """
    if restarts is None:
        restarts = {item.id: item.restarts for item in containers}
    asked = limits or {}
    return [
        judge(item, containers, watch.seconds, restarts, asked.get(item.name, Limit()).stable)
        for item in model.services
    ]


def restart_counts(containers: Iterable[Container]) -> dict[str, int]:
    """How often each container has been restarted so far, by id. The engine begins anew where it has to start one."""
    return {item.id: item.restarts if item.state in {"running", "restarting"} else 0 for item in containers}


def wait(
    model: Model,
    engine: Looking,
    deadline: Deadline,
    tell: Callable[[str], None],
    *,
    restarts: Mapping[str, int],
    limits: Limits | None = None,
    arrivals: Arrivals | None = None,
) -> list[Health]:
    """Return when every service is well; `DeployFailed` with evidence when one has failed or the deadline is over.

    An engine that does not answer may be about to start again: `UnreachableError` after `AWAY_SECONDS`.
    """
    asked = limits or {}
    own = {name: deadline.share(limit.within) for name, limit in asked.items() if limit.within is not None}
    watch, arrivals = Watch(deadline.clock), arrivals or Arrivals()
    began, away = deadline.clock.monotonic(), None
    while True:
        try:
            seen = [_late(item, own) for item in look(model, engine, watch, restarts, asked)]
        except UnreachableError as error:
            away = away or deadline.share(AWAY_SECONDS)
            if away.left() <= 0:
                raise
            tell(f"the Docker engine ({error.cause})")
            deadline.clock.sleep(min(POLL_SECONDS, away.left()))
            continue
        away = None
        arrivals.saw(seen)
        if all(item.verdict == "well" for item in seen):
            return seen
        waiting = [item for item in seen if item.verdict != "well"]
        tell(", ".join(f"{item.service} ({item.state})" for item in waiting))
        if any(item.verdict == "failed" for item in seen) or deadline.left() <= 0:
            raise failure(waiting, engine, deadline)
        pause = min(POLL_SECONDS, max(SHORTEST_SECONDS, (deadline.clock.monotonic() - began) / 10))
        deadline.clock.sleep(min(pause, max(deadline.left(), 0.01)))


def expect_no_loop(
    model: Model,
    engine: Looking,
    deadline: Deadline,
    restarts: Mapping[str, int],
    leaving: Collection[str],
    *,
    arrivals: Arrivals | None = None,
) -> None:
    """Raise `DeployFailed` with evidence when a container is in a restart loop; no other verdict is early enough.

    `restarts` as for `judged`; `leaving` are the ids of containers that are being replaced: theirs do not count.
    """
    staying = [item for item in engine.containers(model.name) if item.id not in leaving]
    seen = judged(model, staying, Watch(deadline.clock), restarts)
    # Nobody has given up yet on what looks failed here.
    (arrivals or Arrivals()).saw(item for item in seen if item.verdict != "failed")
    unwell = [item for item in seen if item.verdict != "well"]
    if any(item.verdict == "failed" and item.state == "restarting" for item in unwell):
        raise failure(unwell, engine, deadline)


def _late(item: Health, own: Mapping[str, Deadline]) -> Health:
    """A service that has a deadline of its own, before the run's, has failed when that is over."""
    limit = own.get(item.service)
    if item.verdict != "waiting" or limit is None or limit.left() > 0:
        return item
    return replace(item, verdict="failed", note=f"{item.note} within {limit.seconds:.0f} s")


def failure(unwell: Sequence[Health], engine: Looking, deadline: Deadline, said: Sequence[str] = ()) -> DeployFailed:
    """The error for services that are not well, with their last health and log lines; `said` is Compose's own word."""
    details = list(said)
    doing = "starting the services" if said else "waiting for the services to be healthy"
    for item in unwell:
        details += _evidence(item, engine)
    failed = [item for item in unwell if item.verdict == "failed"]
    late = "" if failed or said or not unwell else f" within {deadline.seconds:.0f} s"
    names = "; ".join(f"{item.service} {item.note}" for item in failed or ([] if said else unwell))
    cause = "; ".join(part for part in (said[-1] if said else "", names) if part) or "`docker compose up` failed"
    containers = " ".join(item.container.name for item in (failed or unwell) if item.container)
    return DeployFailed(
        doing,
        f"{cause}{late}",
        f"the containers are left as they are: `docker logs {containers or 'CONTAINER'}`; correct the bundle or the"
        " image, then run `delphi-agent init` again",
        details=details,
    )


def _evidence(item: Health, engine: Looking) -> Iterable[str]:
    yield f"{item.service}: {item.state}, {item.note}"
    if item.container is None:
        return
    try:
        lines = engine.log_tail(item.container, LOG_LINES)
    except AgentError as error:
        lines = [f"({error})"]
    if item.container.health_log:
        yield f"  last health check of {item.container.name}:"
        yield from (f"    {line}" for line in item.container.health_log.splitlines()[-5:])
    yield f"  last {len(lines)} log lines of {item.container.name}:" if lines else "  its log is empty"
    yield from (f"    {line}" for line in lines)
