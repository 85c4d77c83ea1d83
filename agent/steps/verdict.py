"""What one look at a service's containers says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from agent.dataclass import dataclass
from agent.host.engine_answers import Container
from agent.steps.service import Service

# A container without a health check has to run this long without a restart.
STABLE_SECONDS = 5.0
# A container that the engine is going to start again is `restarting`; one that stays `exited` has been given up.
RESTART_SECONDS = 5.0
# A service may restart once while what it needs comes up; the second time is a crash loop.
RESTARTS = 2
# `restart: on-failure` asks for more: a migration may try until its database is up. The engine's pauses double from
# 0.1 s, so this many take six seconds. Where the bundle says how many (`on-failure:N`), the engine gives up itself.
RETRIES = 6

Verdict = Literal["well", "waiting", "failed"]
# For how many seconds a container has been as it is.
Since = Callable[[Container], float]


@dataclass(frozen=True)
class Health:
    """What is seen of one service: `state` in one word, `note` for people."""

    service: str
    verdict: Verdict
    state: str
    note: str
    container: Container | None = None


def judge(
    service: Service,
    containers: Sequence[Container],
    since: Since,
    restarts: Mapping[str, int],
    stable: float | None = None,
) -> Health:
    """How a service is, by its containers among `containers`; `stable` is the window that the bundle asks for.

    `restarts` has each container's restart count when the watching began, by id.
    """
    own = [item for item in containers if item.service == service.name]
    if len(own) < service.replicas:
        return Health(service.name, "waiting", "missing", f"has {len(own)} of {service.replicas} containers")
    if not own:
        return Health(service.name, "well", "scaled to 0", "has no container on purpose")
    seen = [_judge_one(item, since, item.restarts - restarts.get(item.id, 0), stable) for item in own]
    # The worst speaks for the service.
    return max(seen, key=lambda item: ("well", "waiting", "failed").index(item.verdict))


def _judge_one(item: Container, since: Since, restarted: int, stable: float | None) -> Health:
    if item.state == "exited" and item.exit_code == 0 and item.restart_policy in {"no", "on-failure"}:
        return Health(item.service, "well", "done", "exited with 0", item)
    if restarted >= _most_restarts(item):
        # While it runs again, the engine has forgotten how it ended.
        ended = "" if item.state == "running" else f", the last exit code is {item.exit_code}"
        return Health(item.service, "failed", "restarting", f"was restarted {restarted} times{ended}", item)
    if item.state == "running":
        return _judge_running(item, since, stable)
    if item.state == "exited":
        return _judge_exited(item, since)
    stuck = item.state in {"dead", "removing", "paused"}
    return Health(item.service, "failed" if stuck else "waiting", item.state, f"is {item.state}", item)


def _most_restarts(item: Container) -> int:
    """How often it may restart before it is a loop; one that had its tries before is not given them again."""
    return RETRIES if item.restart_policy == "on-failure" and item.restarts <= RETRIES else RESTARTS


def _judge_exited(item: Container, since: Since) -> Health:
    if item.restart_policy in {"always", "unless-stopped"}:
        if since(item) > RESTART_SECONDS:
            note = f"exited with {item.exit_code} and is not started again"
            return Health(item.service, "failed", "exited", note, item)
        return Health(item.service, "waiting", "exited", f"exited with {item.exit_code} and is to be restarted", item)
    return Health(item.service, "failed", "exited", f"exited with {item.exit_code}", item)


def _judge_running(item: Container, since: Since, stable: float | None) -> Health:
    if item.health == "unhealthy":
        return Health(item.service, "failed", "unhealthy", "is unhealthy", item)
    if item.health not in {"healthy", None}:
        return Health(
            item.service, "waiting", str(item.health), "is starting, its health check has not passed yet", item
        )
    if item.health == "healthy" and stable is None:
        return Health(item.service, "well", "healthy", "is healthy", item)
    window = STABLE_SECONDS if stable is None else stable
    seconds = since(item)
    state = item.health or "running"
    if seconds >= window:
        return Health(item.service, "well", state, f"is {state}, without a restart", item)
    return Health(item.service, "waiting", state, f"has run for {seconds:.0f} of {window:.0f} s", item)
