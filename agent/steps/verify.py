"""Seeing the project healthy: "running" is not up, and a lucky look at a crash loop is not health.

A service is well when its containers are healthy by their own health check; without one, when they have run for a
stability window without a restart; a one-shot (no restart policy) when it has exited with 0. What cannot get well any
more fails at once, not at the deadline.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.errors import AgentError, DeployFailed
from agent.host.clock import Clock, Deadline
from agent.host.engine import Container
from agent.steps.compose import Model, Service

POLL_SECONDS = 0.25
# A container without a health check has to run this long without a restart.
STABLE_SECONDS = 5.0
# A service may restart once while what it needs comes up; the second time is a crash loop.
RESTARTS = 2
LOG_LINES = 15

Verdict = Literal["well", "waiting", "failed"]


@dataclass(frozen=True)
class Health:
    """What is seen of one service: `state` in one word, `note` for people."""

    service: str
    verdict: Verdict
    state: str
    note: str
    container: Container | None = None


class Looking(Protocol):
    """What is asked of the engine."""

    def containers(self, project: str) -> list[Container]:
        """The project's containers."""

    def log_tail(self, container: Container, lines: int) -> list[str]:
        """A container's last lines."""


def look(model: Model, engine: Looking, clock: Clock, restarts: Mapping[str, int] | None = None) -> list[Health]:
    """One look at every service.

    `restarts` has each container's restart count when the watching began, by id; without it, it begins now.
    """
    containers = engine.containers(model.name)
    if restarts is None:
        restarts = {item.id: item.restarts for item in containers}
    return [_judge(service, containers, clock.now(), restarts) for service in model.services]


def restart_counts(model: Model, engine: Looking) -> dict[str, int]:
    """How often each container of the project has been restarted so far, by id."""
    return {item.id: item.restarts for item in engine.containers(model.name)}


def wait(
    model: Model,
    engine: Looking,
    deadline: Deadline,
    tell: Callable[[str], None],
    *,
    restarts: Mapping[str, int],
) -> list[Health]:
    """Return when every service is well; `DeployFailed` with evidence when one has failed or the deadline is over."""
    while True:
        seen = look(model, engine, deadline.clock, restarts)
        if all(item.verdict == "well" for item in seen):
            return seen
        waiting = [item for item in seen if item.verdict != "well"]
        tell(", ".join(f"{item.service} ({item.state})" for item in waiting))
        if any(item.verdict == "failed" for item in seen) or deadline.left() <= 0:
            raise failure(waiting, engine, deadline)
        deadline.clock.sleep(min(POLL_SECONDS, max(deadline.left(), 0.01)))


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


def _judge(service: Service, containers: Sequence[Container], now: dt.datetime, restarts: Mapping[str, int]) -> Health:
    own = [item for item in containers if item.service == service.name]
    if len(own) < service.replicas:
        return Health(service.name, "waiting", "missing", f"has {len(own)} of {service.replicas} containers")
    if not own:
        return Health(service.name, "well", "scaled to 0", "has no container on purpose")
    seen = [_judge_one(service.name, item, now, item.restarts - restarts.get(item.id, 0)) for item in own]
    # The worst speaks for the service.
    return max(seen, key=lambda item: ("well", "waiting", "failed").index(item.verdict))


def _judge_one(service: str, item: Container, now: dt.datetime, restarted: int) -> Health:
    def is_(verdict: Verdict, state: str, note: str) -> Health:
        return Health(service, verdict, state, note, item)

    if restarted >= RESTARTS:
        return is_("failed", "restarting", f"was restarted {restarted} times, the last exit code is {item.exit_code}")
    if item.state == "running":
        return _judge_running(service, item, now)
    if item.state == "exited":
        if item.restart_policy in {"always", "unless-stopped"}:
            return is_("waiting", "exited", f"exited with {item.exit_code} and is to be restarted")
        if item.exit_code == 0:
            return is_("well", "done", "exited with 0")
        return is_("failed", "exited", f"exited with {item.exit_code}")
    stuck = item.state in {"dead", "removing", "paused"}
    return is_("failed" if stuck else "waiting", item.state, f"is {item.state}")


def _judge_running(service: str, item: Container, now: dt.datetime) -> Health:
    if item.health == "healthy":
        return Health(service, "well", "healthy", "is healthy", item)
    if item.health == "unhealthy":
        return Health(service, "failed", "unhealthy", "is unhealthy", item)
    if item.health is not None:
        return Health(service, "waiting", item.health, "is starting, its health check has not passed yet", item)
    seconds = (now - item.started).total_seconds() if item.started else 0.0
    if seconds >= STABLE_SECONDS:
        return Health(service, "well", "running", "runs without a restart", item)
    return Health(service, "waiting", "running", f"has run for {max(0.0, seconds):.0f} of {STABLE_SECONDS:.0f} s", item)
