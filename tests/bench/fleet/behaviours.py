"""How the instances of a fleet ask: the agent, the agent otherwise, and the scripts that it replaces."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.host.clock import Deadline
from tests.bench.fleet.callers import Adaptive, Agent, Before, Botocore, Caller, Endless, Operator
from tests.bench.fleet.plans import Plan, agent, scripts

# As in systemd/delphi-agent.service.
RESTART_SECONDS = 15.0


@dataclass(frozen=True)
class Behaviour:
    """What an instance asks for (by its pages of parameters), who makes the calls, and what limits a run."""

    name: str
    plan: Callable[[int], Plan]
    caller: Callable[[Deadline, random.Random, float | None], Caller]
    deadline_seconds: float = 300.0
    restart_seconds: float = RESTART_SECONDS


AGENT = Behaviour("agent", agent, Agent)
BEHAVIOURS = (
    AGENT,
    Behaviour("agent, deadline 1500 s", agent, Agent, deadline_seconds=1500.0),
    Behaviour("agent without the spread", agent, Operator),
    Behaviour("agent and `adaptive` mode", agent, Adaptive),
    Behaviour("agent before: `standard` mode, 10 attempts", agent, Before),
    Behaviour("agent, `standard` mode without an end", agent, Endless),
    # They know no deadline. Their unit restarts as the agent's does, or soon.
    Behaviour("scripts, restarted after 15 s", scripts, Botocore),
    Behaviour("scripts, restarted after 1 s", scripts, Botocore, restart_seconds=1.0),
)
